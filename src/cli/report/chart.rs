//! Line charts as SVG, drawn here: no script, nothing from elsewhere. Knows numbers, no load.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// A chart of one or several lines.
pub(in super::super) struct Chart<'a> {
    pub(in super::super) title: &'a str,
    /// The unit, or what the reader has to know.
    pub(in super::super) note: &'a str,
    /// Where ticks stand on the horizontal axis, and what they say.
    pub(in super::super) marks: Vec<(f64, String)>,
    pub(in super::super) scale: Scale,
    /// How a value on the vertical axis is written.
    pub(in super::super) show: fn(f64) -> String,
    pub(in super::super) lines: Vec<Line<'a>>,
}

/// A line with its name, in the page's style of this name: `one`, `two`.
pub(in super::super) struct Line<'a> {
    pub(in super::super) style: &'a str,
    pub(in super::super) name: &'a str,
    pub(in super::super) points: Vec<(f64, f64)>,
}

/// The vertical axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Scale {
    /// From zero.
    Linear,
    /// By powers of ten; values are more than zero.
    Logarithmic,
}

impl Chart<'_> {
    /// The chart as a `figure`.
    pub(in super::super) fn draw(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let Some(ticks) = self.scale.ticks(points().map(|point| point.1)) else {
            return format!(
                "{}<p class=\"quiet\">Nothing was measured.</p></figure>\n",
                self.head()
            );
        };
        let marks = || self.marks.iter().map(|mark| mark.0);
        let across = || points().map(|point| point.0).chain(marks());
        let (first, last) = (across().fold(f64::MAX, f64::min), across().fold(f64::MIN, f64::max));
        let x = |value: f64| {
            let part = if last > first { (value - first) / (last - first) } else { 0.5 };
            LEFT + part * (WIDTH - LEFT - RIGHT)
        };
        let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
        let y = |value: f64| {
            HEIGHT - BOTTOM - self.scale.place(value, low, high) * (HEIGHT - TOP - BOTTOM)
        };
        let mut svg = self.head();
        let label = format!("{}, {}", self.title, self.note);
        let mut put = |text: String| svg.push_str(&text);
        put(format!("<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" "));
        put(format!("aria-label=\"{label}\">\n"));
        for &tick in &ticks {
            let (class, at) = (if tick == low { "base" } else { "grid" }, y(tick));
            let right = WIDTH - RIGHT;
            put(format!(
                "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" \
                 y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                LEFT - 6.0,
                at + 4.0,
                (self.show)(tick)
            ));
        }
        for (mark, text) in &self.marks {
            let at = x(*mark);
            put(format!(
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>\n",
                HEIGHT - 8.0
            ));
        }
        for line in &self.lines {
            put(line.draw(x, y));
        }
        put("</svg></figure>\n".to_owned());
        svg
    }

    fn head(&self) -> String {
        let Self { title, note, lines, .. } = self;
        let mut head = format!(
            "<figure class=\"chart\"><figcaption>{title} <small>{note}</small></figcaption>\n\
             <div class=\"keys\">"
        );
        for Line { style, name, .. } in lines {
            write!(
                head,
                "<span><svg viewBox=\"0 0 20 8\" aria-hidden=\"true\"><line class=\"line {style}\" \
                 x1=\"1\" y1=\"4\" x2=\"19\" y2=\"4\"/></svg>{name}</span>"
            )
            .expect("a string takes any text");
        }
        head + "</div>\n"
    }
}

impl Line<'_> {
    fn draw(&self, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
        let points: Vec<String> = self
            .points
            .iter()
            .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
            .collect();
        match points.as_slice() {
            // A line of one point is no line.
            [one] => {
                let (at, value) = one.split_once(',').unwrap_or((one, "0"));
                let style = self.style;
                format!("<circle class=\"line {style}\" cx=\"{at}\" cy=\"{value}\" r=\"2\"/>\n")
            }
            all => {
                format!("<polyline class=\"line {}\" points=\"{}\"/>\n", self.style, all.join(" "))
            }
        }
    }
}

impl Scale {
    /// Round values that enclose all of these, at least two; nothing if there are none.
    pub(in super::super) fn ticks(self, values: impl Iterator<Item = f64>) -> Option<Vec<f64>> {
        let (mut low, mut high) = (f64::MAX, 0.0_f64);
        for value in values {
            (low, high) = (low.min(value), high.max(value));
        }
        if high <= 0.0 {
            return None;
        }
        match self {
            Self::Linear => {
                let (digit, power) = round_up(high / 4.0);
                // A division, for there is no power of ten below 1 in binary: 6 / 10 is 0.6, and
                // 6 * 0.1 is not.
                let at = |nth: i32| match f64::from(nth * digit) {
                    value if power < 0 => value / 10_f64.powi(-power),
                    value => value * 10_f64.powi(power),
                };
                let count = (1..).find(|nth| at(*nth) >= high)?;
                Some((0..=count).map(at).collect())
            }
            Self::Logarithmic => {
                let first = low.log10().floor() as i32;
                let last = (high.log10().ceil() as i32).max(first + 1);
                Some((first..=last).map(|power| 10_f64.powi(power)).collect())
            }
        }
    }

    /// Where between the ends a value is, 0 to 1.
    pub(in super::super) fn place(self, value: f64, low: f64, high: f64) -> f64 {
        match self {
            Self::Linear => (value - low) / (high - low),
            Self::Logarithmic => (value / low).log10() / (high / low).log10(),
        }
    }
}

/// The next number that is 1, 2 or 5 times a power of ten: the digit, and the power.
fn round_up(value: f64) -> (i32, i32) {
    let power = value.log10().floor() as i32;
    let digits = value / 10_f64.powi(power);
    let digit = [1, 2, 5].into_iter().find(|digit| f64::from(*digit) >= digits);
    digit.map_or((1, power + 1), |digit| (digit, power))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let linear = Scale::Linear.ticks([3.0, 700.0].into_iter()).unwrap();
        assert_eq!(linear, [0.0, 200.0, 400.0, 600.0, 800.0]);
        let shown = |ticks: Vec<f64>| format!("{ticks:?}");
        let small = Scale::Linear.ticks([0.57].into_iter()).unwrap();
        assert_eq!(shown(small), "[0.0, 0.2, 0.4, 0.6]");
        let smaller = Scale::Linear.ticks([0.0027].into_iter()).unwrap();
        assert_eq!(shown(smaller), "[0.0, 0.001, 0.002, 0.003]");
        let powers = Scale::Logarithmic.ticks([0.02, 3.0].into_iter()).unwrap();
        assert_eq!(powers, [0.01, 0.1, 1.0, 10.0]);
        assert_eq!(Scale::Logarithmic.ticks([1.0].into_iter()).unwrap(), [1.0, 10.0]);
        assert_eq!(Scale::Linear.ticks([0.0].into_iter()), None);
        assert_eq!(Scale::Linear.ticks(std::iter::empty()), None);
    }

    #[test]
    fn a_value_has_its_place_on_its_scale() {
        assert_eq!(Scale::Linear.place(2.0, 0.0, 8.0), 0.25);
        assert!((Scale::Logarithmic.place(0.1, 0.01, 1.0) - 0.5).abs() < 1e-12);
    }
}
