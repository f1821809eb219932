//! Quantiles of a [`Distribution`], as Prometheus' `histogram_quantile` estimates them: the page,
//! `welcomed advise` and a dashboard show the same number.

use super::Distribution;

impl Distribution {
    /// The value below which the part `q` (0 to 1) of all values lies, in seconds; nothing if
    /// there are none. Inside a bucket the values are taken to lie evenly; what is above the last
    /// bound is taken to be that bound.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = q * count as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (upper, inside) in self.bounds.iter().zip(&self.counts) {
            let inside = *inside as f64;
            if inside > 0.0 && below + inside >= rank {
                return Some(lower + (upper - lower) * (rank - below).max(0.0) / inside);
            }
            below += inside;
            lower = *upper;
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(counts: [u64; 4]) -> Distribution {
        Distribution { bounds: &[1.0, 2.0, 4.0], counts: counts.to_vec(), sum: 0.0 }
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(distribution([0; 4]).quantile(0.5), None);
    }

    #[test]
    fn inside_a_bucket_it_is_linear() {
        for (q, counts, value) in [
            (0.5, [10, 0, 0, 0], 0.5),
            (0.5, [0, 10, 0, 0], 1.5),
            (0.25, [0, 0, 4, 0], 2.5),
            (0.5, [5, 5, 0, 0], 1.0),
            (0.75, [5, 5, 0, 0], 1.5),
            (0.9, [0, 8, 2, 0], 3.0),
            (1.0, [0, 8, 2, 0], 4.0),
            (0.0, [0, 8, 2, 0], 1.0),
        ] {
            assert_eq!(distribution(counts).quantile(q), Some(value), "{q} {counts:?}");
        }
    }

    #[test]
    fn above_the_last_bound_it_is_that_bound() {
        assert_eq!(distribution([1, 0, 0, 99]).quantile(0.99), Some(4.0));
    }
}
