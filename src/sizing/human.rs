//! Durations as people write them. Used wherever the advice is put into words.

use std::fmt;

/// A duration in the unit that suits it: `40 ms`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Human(
    /// In seconds.
    pub f64,
);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut in_unit = |value: f64, unit| {
            let digits = if value < 9.95 && value.fract() >= 0.05 { 1 } else { 0 };
            write!(f, "{value:.digits$} {unit}")
        };
        match self.0 {
            s if s < 0.000_000_5 => in_unit(0.0, "ms"),
            s if s < 0.001 => in_unit((s * 1e6).round(), "µs"),
            s if s < 1.0 => in_unit(s * 1e3, "ms"),
            s if s < 120.0 => in_unit(s, "s"),
            s => in_unit((s / 60.0).floor(), "min"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Human;

    #[test]
    fn durations_have_a_unit_that_suits_them() {
        for (seconds, text) in [
            (0.0, "0 ms"),
            (0.000_25, "250 µs"),
            (0.0042, "4.2 ms"),
            (0.04, "40 ms"),
            (0.5, "500 ms"),
            (1.26, "1.3 s"),
            (10.0, "10 s"),
            (150.0, "2 min"),
        ] {
            assert_eq!(Human(seconds).to_string(), text);
        }
    }
}
