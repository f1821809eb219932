//! The picture: predicted against measured waits, as an SVG.

use super::Point;
use super::simulation::Shape;
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 50.0;
const TOP: f64 = 20.0;
const RIGHT: f64 = 20.0;
/// Both axes, in milliseconds, by decades.
const DECADES: (i32, i32) = (-2, 3);

/// Where a time in milliseconds stands on an axis, 0 to 1.
fn place(milliseconds: f64) -> f64 {
    let (low, high) = (f64::from(DECADES.0), f64::from(DECADES.1));
    ((milliseconds.max(1e-9).log10() - low) / (high - low)).clamp(0.0, 1.0)
}

fn x(milliseconds: f64) -> f64 {
    LEFT + place(milliseconds) * (WIDTH - LEFT - RIGHT)
}

fn y(milliseconds: f64) -> f64 {
    HEIGHT - BOTTOM - place(milliseconds) * (HEIGHT - BOTTOM - TOP)
}

/// All points, the mean waits as circles and the 99th percentiles as squares; live ones filled.
pub fn svg(points: &[Point]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    // Writing to a string cannot fail.
    let mut put = |text: std::fmt::Arguments<'_>| out.write_fmt(text).unwrap_or_default();
    for decade in DECADES.0..=DECADES.1 {
        let at = 10_f64.powi(decade);
        let (low, high) = (10_f64.powi(DECADES.0), 10_f64.powi(DECADES.1));
        put(format_args!(
            "<path d=\"M{:.1} {:.1}V{:.1}M{:.1} {:.1}H{:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{at} ms</text>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{at} ms</text>\n",
            x(at),
            y(low),
            y(high),
            x(low),
            y(at),
            x(high),
            x(at),
            HEIGHT - BOTTOM + 18.0,
            LEFT - 6.0,
            y(at) + 4.0,
        ));
    }
    let (low, high) = (10_f64.powi(DECADES.0), 10_f64.powi(DECADES.1));
    for (factor, style) in
        [(1.0, ""), (1.25, "stroke-dasharray=\"4\""), (0.75, "stroke-dasharray=\"4\"")]
    {
        put(format_args!(
            "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#888\" {style}/>\n",
            x(low),
            y(low * factor),
            x(high / 1.3),
            y(high / 1.3 * factor),
        ));
    }
    for point in points {
        let colour = match point.service {
            Shape::Constant => "#1b6ca8",
            Shape::Exponential => "#2e8b57",
            Shape::Hyperexponential(_) => "#c0392b",
        };
        let fill = if point.live { colour } else { "none" };
        let (mean, p99) = (point.mean, point.p99);
        put(format_args!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4.5\" fill=\"{fill}\" stroke=\"{colour}\"/>\n\
             <rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" fill=\"{fill}\" \
             stroke=\"{colour}\"/>\n",
            x(mean.predicted * 1e3),
            y(mean.measured * 1e3),
            x(p99.predicted * 1e3) - 4.0,
            y(p99.measured * 1e3) - 4.0,
        ));
    }
    let legend = "blue: constant work, green: exponential, red: a long tail (cv2 4); circles: \
                  mean, squares: p99; filled: a real server, hollow: simulated";
    put(format_args!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">predicted wait ({legend})</text>\n\
         <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">measured \
         wait</text>\n</svg>\n",
        WIDTH / 2.0,
        HEIGHT - 10.0,
        HEIGHT / 2.0,
    ));
    out
}
