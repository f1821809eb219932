//! The formulas: one queue in order of arrival before `c` equal workers.
//!
//! Called by `predict` and `advise` of this module, with numbers that those have checked. `a` is
//! the offered load in Erlang (arrivals a second times seconds of work each): the number of
//! workers that are busy on average.
//!
//! Exact for Poisson arrivals and exponential work. For other work the mean is Kimura's
//! interpolation with Cosmetatos' correction, the tail an exponential with that mean; a simulation
//! in `tests/sizing.rs` says how far off they are: for squared coefficients of variation from 0 to
//! 4, utilisations from 0.5 to 0.9 and 1 to 32 workers the mean by at most a tenth, the 99th
//! percentile by at most a quarter.

/// Erlang B for 0, 1, 2, ... workers: the part of arrivals that finds all of them busy if nobody
/// queues. `a >= 0`. A recursion without factorials, stable for any size (Jagerman 1974):
/// `B(0) = 1; B(k) = a B(k-1) / (k + a B(k-1))`.
///
/// A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in
/// automatic telephone exchanges", 1917.
fn erlang_b_by_size(a: f64) -> impl Iterator<Item = f64> {
    (1_u32..).scan(1.0, move |b, k| {
        let before = *b;
        *b = a * before / (f64::from(k) + a * before);
        Some(before)
    })
}

/// Erlang B: the part of arrivals, 0 to 1, that finds all `workers` busy if nobody queues.
pub(super) fn erlang_b(workers: usize, a: f64) -> f64 {
    erlang_b_by_size(a).nth(workers).unwrap_or(0.0)
}

/// Erlang C from Erlang B: the part of arrivals, 0 to 1, that has to wait for a worker.
/// `rho < 1` is the utilisation (Erlang 1917).
pub(super) fn erlang_c(b: f64, rho: f64) -> f64 {
    b / (1.0 - rho * (1.0 - b))
}

/// Erlang C for 1, 2, ... workers; nothing for sizes that cannot carry the load.
pub(super) fn erlang_c_by_size(a: f64) -> impl Iterator<Item = (usize, Option<f64>)> {
    (0..).zip(erlang_b_by_size(a)).skip(1).map(move |(workers, b)| {
        let rho = a / workers as f64;
        (workers, (rho < 1.0).then(|| erlang_c(b, rho)))
    })
}

/// Cosmetatos' correction: how much longer than half of the exponential case's wait the wait is if
/// all work takes the same time, 1 to 2. `0 < rho < 1`.
///
/// `1 + (1-rho)(c-1)(sqrt(4+5c)-2) / (16 rho c)`, limited to 2, because constant work never waits
/// longer than exponential work does.
///
/// G. P. Cosmetatos, "Some approximate equilibrium results for the multi-server queue (M/G/r)",
/// Operational Research Quarterly 27 (1976).
fn constant_work_correction(workers: usize, rho: f64) -> f64 {
    let c = workers as f64;
    let more = (1.0 - rho) * (c - 1.0) * ((4.0 + 5.0 * c).sqrt() - 2.0) / (16.0 * rho * c);
    (1.0 + more).min(2.0)
}

/// The mean wait in seconds, of all messages, also those that do not wait. `waiting` is Erlang C,
/// `service` the mean work in seconds, `cs2` and `ca2` the squared coefficients of variation of
/// work and of the times between arrivals.
///
/// The exponential case's `C S / (c (1-rho))` times `(ca2+cs2)/2` is Allen-Cunneen (A. O. Allen,
/// "Probability, Statistics and Queueing Theory", 1978); with few workers it is 25 % low for
/// constant work and 50 % high for a long tail. Kimura's interpolation between the constant and the
/// exponential case mends both (T. Kimura, "A two-moment approximation for the mean waiting time
/// in the GI/G/s queue", Management Science 32, 1986): it divides by `cs2 + (1-cs2)/correction`.
pub(super) fn mean_wait(
    (workers, rho): (usize, f64),
    waiting: f64,
    service: f64,
    (ca2, cs2): (f64, f64),
) -> f64 {
    let exponential = waiting * service / (workers as f64 * (1.0 - rho));
    // cs2 + (1-cs2)/correction, in a form in which a huge cs2 does not cancel itself to 0.
    let correction = constant_work_correction(workers, rho);
    let kimura = (1.0 + cs2 * (correction - 1.0)) / correction;
    exponential * (ca2 + cs2) / 2.0 / kimura
}

/// The wait in seconds that the part `p` (0 to 1) of the messages does not exceed: those that do
/// wait do so exponentially. Exact for exponential work, and in general near saturation
/// (J. F. C. Kingman, "The single server queue in heavy traffic", 1961).
pub(super) fn wait_quantile(p: f64, waiting: f64, mean: f64) -> f64 {
    if waiting <= 1.0 - p { 0.0 } else { mean / waiting * (waiting / (1.0 - p)).ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, by: f64) {
        assert!((found - expected).abs() <= by, "{found} is not {expected}");
    }

    /// The classic table, as in the ITU-D Teletraffic Engineering Handbook and R. Syski: the load
    /// that so many lines carry at this part of calls lost.
    #[test]
    fn erlang_b_is_that_of_the_published_tables() {
        for (lines, load, lost) in [
            (1, 0.0101, 0.01),
            (2, 0.153, 0.01),
            (5, 1.36, 0.01),
            (10, 4.46, 0.01),
            (20, 12.0, 0.01),
            (50, 37.9, 0.01),
            (100, 84.1, 0.01),
            (5, 2.22, 0.05),
            (10, 6.22, 0.05),
            (20, 15.2, 0.05),
            (100, 95.2, 0.05),
        ] {
            // The tables have three digits of the load.
            near(erlang_b(lines, load), lost, lost * 0.025);
        }
        near(erlang_b(0, 3.0), 1.0, 0.0);
        near(erlang_b(3, 0.0), 0.0, 0.0);
        // (2^2/2!) / (1 + 2 + 2^2/2!)
        near(erlang_b(2, 2.0), 0.4, 1e-15);
    }

    /// M/M/1: rho. M/M/2: 2 rho^2 / (1+rho). Others from the closed form with factorials.
    #[test]
    fn erlang_c_is_the_closed_form() {
        let c = |workers: usize, a: f64| erlang_c(erlang_b(workers, a), a / workers as f64);
        for rho in [0.1, 0.5, 0.9, 0.99] {
            near(c(1, rho), rho, 1e-12);
            near(c(2, 2.0 * rho), 2.0 * rho * rho / (1.0 + rho), 1e-12);
        }
        for workers in [3, 4, 8, 20] {
            let a = 0.8 * workers as f64;
            let term = |k: usize| (1..=k).fold(1.0, |product, i| product * a / i as f64);
            let last = term(workers) / (1.0 - 0.8);
            let all = (0..workers).map(term).sum::<f64>() + last;
            near(c(workers, a), last / all, 1e-12);
        }
        let by_size: Vec<_> = erlang_c_by_size(2.0).take(3).collect();
        assert_eq!((by_size[0], by_size[1]), ((1, None), (2, None)));
        near(by_size[2].1.unwrap(), 4.0 / 9.0, 1e-12);
    }

    /// M/M/1, M/D/1 and M/G/1 (Pollaczek-Khinchine) are met exactly; M/D/c by published values
    /// (G. P. Cosmetatos 1976 against Crommelin's exact ones: 2 workers at 0.5 wait 0.1767 of the
    /// work's time).
    #[test]
    fn mean_waits_are_the_exact_ones_where_those_are_known() {
        for rho in [0.2, 0.5, 0.9] {
            for cs2 in [0.0, 0.3, 1.0, 4.0] {
                let exact = rho * 0.01 * (1.0 + cs2) / 2.0 / (1.0 - rho);
                near(mean_wait((1, rho), rho, 0.01, (1.0, cs2)), exact, 1e-12);
            }
        }
        let waiting = erlang_c(erlang_b(2, 1.0), 0.5);
        near(mean_wait((2, 0.5), waiting, 1.0, (1.0, 0.0)), 0.1767, 0.002);
    }

    #[test]
    fn a_huge_variation_makes_a_huge_wait_and_not_an_infinite_one() {
        for cs2 in [1e16, 1e30] {
            // Pollaczek-Khinchine: rho S (1+cs2) / (2 (1-rho)).
            let exact = 0.5 * (1.0 + cs2) / (2.0 * 0.5);
            near(mean_wait((1, 0.5), 0.5, 1.0, (1.0, cs2)) / exact, 1.0, 1e-12);
        }
    }

    #[test]
    fn waits_of_an_exponential_queue_have_its_quantiles() {
        // M/M/1 at 0.8: a wait exceeds t with 0.8 exp(-(1-0.8) t / S).
        let mean = 0.8 * 0.01 / 0.2;
        for p in [0.5, 0.95, 0.99] {
            let t = wait_quantile(p, 0.8, mean);
            near(0.8 * (-0.2 * t / 0.01).exp(), 1.0 - p, 1e-12);
        }
        near(wait_quantile(0.1, 0.8, mean), 0.0, 0.0);
        near(wait_quantile(0.99, 0.0, 0.0), 0.0, 0.0);
    }
}
