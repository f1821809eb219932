//! What a latency must not be above: `p99=10ms`.

use crate::bench::Latency;
use std::str::FromStr;
use std::time::Duration;

/// A latency and the most that it may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Threshold {
    name: String,
    of: Of,
    most: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Of {
    Quantile(f64),
    Mean,
    Max,
}

impl Threshold {
    /// What is wrong, if it is exceeded.
    pub(super) fn complaint(&self, latency: &Latency) -> Option<String> {
        let measured = match self.of {
            Of::Quantile(part) => latency.quantile(part),
            Of::Mean => latency.mean(),
            Of::Max => latency.max(),
        };
        let Self { name, most, .. } = self;
        (measured > *most).then(|| format!("{name} is {measured:.2?}, above {most:?}"))
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(name, most)| {
            let percent = name.strip_prefix('p').and_then(|it| it.parse::<f64>().ok());
            let of = match (name, percent) {
                ("mean", _) => Of::Mean,
                ("max", _) => Of::Max,
                (_, Some(percent)) if (0.0..=100.0).contains(&percent) => {
                    Of::Quantile(percent / 100.0)
                }
                _ => return None,
            };
            Some(Self { name: name.to_owned(), of, most: humantime::parse_duration(most).ok()? })
        });
        parts.ok_or_else(|| "allowed are `p99=10ms`, `p99.9=1s`, `mean=5ms` or `max=2s`".to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_quantile_and_a_time() {
        let p999: Threshold = "p99.9=10ms".parse().unwrap();
        assert!(matches!(p999.of, Of::Quantile(part) if (part - 0.999).abs() < 1e-12));
        assert_eq!(p999.most, Duration::from_millis(10));
        for wrong in ["", "p99", "p101=1s", "p99=1", "99=1s", "px=1s", "min=1s"] {
            assert!(wrong.parse::<Threshold>().is_err(), "{wrong}");
        }
    }
}
