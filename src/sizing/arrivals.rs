//! How irregular arrivals are, from counts of them.
//!
//! Stamping each arrival would cost every message a write to memory that all workers share. Counts
//! of successive windows are there anyway, and say the same: for independent times between
//! arrivals the variance of a count by its mean tends to their squared coefficient of variation
//! (the index of dispersion; D. R. Cox and P. A. W. Lewis 1966).

/// With fewer windows the estimate is chance.
const FEWEST_WINDOWS: usize = 10;
/// The same for windows in which next to nothing arrives.
const FEWEST_PER_WINDOW: f64 = 5.0;
/// The median of the squares of normal numbers with mean square 1 (chi-squared, one degree).
const MEDIAN_SQUARE: f64 = 0.4549;
/// The standard error of such a median, by its expectation, is this by the root of their number.
const MEDIAN_ERROR: f64 = 2.33;
/// How many of them are no chance.
const STANDARD_ERRORS: f64 = 3.0;

/// The squared coefficient of variation of the times between arrivals, from the lengths in
/// seconds and the counts of successive windows; nothing if they are too few. Poisson arrivals
/// have 1, a metronome 0, bursts more; what so few windows cannot tell from Poisson, by three
/// standard errors, is taken to be Poisson.
///
/// Neighbours are compared with each other and not with the mean (J. von Neumann 1941), and of
/// their squared differences the median counts, so that neither a load that slowly rises or falls
/// nor one that begins, ends or changes once passes for a bursty one. Windows should be much longer
/// than a message's stay: what is counted are messages that left.
#[must_use]
pub fn arrival_cv2(windows: &[(f64, f64)]) -> Option<f64> {
    let usable = |&(seconds, count): &(f64, f64)| {
        seconds.is_finite() && seconds > 0.0 && count.is_finite() && count >= 0.0
    };
    if windows.len() < FEWEST_WINDOWS || !windows.iter().all(usable) {
        return None;
    }
    let seconds: f64 = windows.iter().map(|(seconds, _)| seconds).sum();
    let count: f64 = windows.iter().map(|(_, count)| count).sum();
    if count < FEWEST_PER_WINDOW * windows.len() as f64 {
        return None;
    }
    // Two Poisson counts over t1 and t2 give rates that differ with variance rate (1/t1 + 1/t2).
    let rate = count / seconds;
    let scaled = windows.windows(2).map(|pair| {
        let [(t1, n1), (t2, n2)] = [pair[0], pair[1]];
        (n1 / t1 - n2 / t2).powi(2) / (rate * (1.0 / t1 + 1.0 / t2))
    });
    let mut scaled: Vec<f64> = scaled.collect();
    scaled.sort_unstable_by(f64::total_cmp);
    let middle = scaled.len() / 2;
    let median = (scaled[middle] + scaled[(scaled.len() - 1) / 2]) / 2.0;
    let cv2 = median / MEDIAN_SQUARE;
    let error = MEDIAN_ERROR / (scaled.len() as f64).sqrt();
    let cv2 = if (cv2 - 1.0).abs() < STANDARD_ERRORS * error { 1.0 } else { cv2 };
    cv2.is_finite().then_some(cv2)
}

#[cfg(test)]
mod tests {
    use super::arrival_cv2;

    #[test]
    fn windows_of_equal_counts_are_regular_also_if_their_lengths_differ() {
        let windows: Vec<_> = (0..100).map(|i| 1.0 + f64::from(i % 3) / 10.0).collect();
        let windows: Vec<_> = windows.iter().map(|t| (*t, 200.0 * t)).collect();
        assert!(arrival_cv2(&windows).unwrap() < 1e-9);
        // A load that doubles in the course of the windows is regular, too.
        let rising: Vec<_> = (0..100).map(|i| (1.0, 1000.0 + f64::from(i) * 10.0)).collect();
        assert!(arrival_cv2(&rising).unwrap() < 0.3);
    }

    #[test]
    fn chance_is_not_taken_for_irregularity() {
        // Of a Poisson process.
        let counts = [101, 105, 103, 90, 115, 92, 94, 87, 106, 101, 90, 101, 81, 88, 99];
        let windows: Vec<_> = counts.iter().map(|count| (1.0, f64::from(*count))).collect();
        assert_eq!(arrival_cv2(&windows), Some(1.0));
    }

    #[test]
    fn bursts_are_seen() {
        let bursts: Vec<_> =
            (0..40).map(|i| (1.0, if i % 2 == 0 { 50.0 } else { 150.0 })).collect();
        assert!(arrival_cv2(&bursts).unwrap() > 10.0);
    }

    #[test]
    fn a_load_that_begins_is_not_a_bursty_one() {
        let begins: Vec<_> = (0..15).map(|i| (2.0, if i < 4 { 0.0 } else { 900.0 })).collect();
        assert!(arrival_cv2(&begins).unwrap() <= 1.0);
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(arrival_cv2(&[]), None);
        assert_eq!(arrival_cv2(&[(1.0, 100.0); 9]), None);
        assert_eq!(arrival_cv2(&[(1.0, 0.0); 20]), None);
        assert_eq!(arrival_cv2(&[(0.0, 100.0); 20]), None);
        assert_eq!(arrival_cv2(&[(1.0, f64::NAN); 20]), None);
    }
}
