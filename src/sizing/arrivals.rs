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

/// The squared coefficient of variation of the times between arrivals, from the lengths in
/// seconds and the counts of successive windows; nothing if they are too few. Poisson arrivals
/// have 1, a metronome 0, bursts more.
///
/// Neighbours are compared with each other and not with the mean, so that a load that slowly
/// rises or falls does not pass for a bursty one (J. von Neumann 1941). Windows should be much
/// longer than a message's stay: what is counted are messages that left.
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
    let cv2 = scaled.sum::<f64>() / (windows.len() - 1) as f64;
    cv2.is_finite().then_some(cv2)
}

#[cfg(test)]
mod tests {
    use super::arrival_cv2;

    #[test]
    fn windows_of_equal_counts_are_regular_also_if_their_lengths_differ() {
        let windows: Vec<_> = (0..30).map(|i| 1.0 + f64::from(i % 3) / 10.0).collect();
        let windows: Vec<_> = windows.iter().map(|t| (*t, 200.0 * t)).collect();
        assert!(arrival_cv2(&windows).unwrap() < 1e-9);
        // A load that doubles in the course of the windows is regular, too.
        let rising: Vec<_> = (0..60).map(|i| (1.0, 1000.0 + f64::from(i) * 17.0)).collect();
        assert!(arrival_cv2(&rising).unwrap() < 0.2);
    }

    #[test]
    fn bursts_are_seen() {
        let bursts: Vec<_> =
            (0..40).map(|i| (1.0, if i % 2 == 0 { 50.0 } else { 150.0 })).collect();
        let cv2 = arrival_cv2(&bursts).unwrap();
        assert!((cv2 - 50.0).abs() < 1e-9, "{cv2}");
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
