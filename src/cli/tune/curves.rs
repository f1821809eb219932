//! The curves of a sweep, measured and predicted, over the number of workers: what the terminal
//! and the page both draw.

use super::super::report::chart::Scale;
use super::super::report::page::show_time;
use super::model::Predicted;
use super::sweep::{Size, Sweep};
use super::wait::Wait;
use crate::sizing::Target;

/// How many sizes a predicted curve has at most.
const POINTS: usize = 100;
/// No wait is shorter on a logarithmic axis.
const SHORTEST: f64 = 1e-6;

/// One number at each size; the horizontal axis is [`place`].
pub(super) struct Curve {
    pub(super) title: &'static str,
    pub(super) note: &'static str,
    pub(super) scale: Scale,
    pub(super) show: fn(f64) -> String,
    pub(super) measured: Vec<(f64, f64)>,
    pub(super) predicted: Vec<(f64, f64)>,
}

/// Where a size stands on the axis: twice as many workers are a step.
pub(super) fn place(workers: usize) -> f64 {
    (workers as f64).log2()
}

/// The sizes with their places.
pub(super) fn marks(sweep: &Sweep) -> Vec<(f64, String)> {
    let sizes = sweep.sizes.iter().map(|it| it.measured.workers());
    sizes.map(|size| (place(size), size.to_string())).collect()
}

/// The curve of the wait that the target is about; those of throughput and utilisation before it.
pub(super) fn decisive(sweep: &Sweep) -> [Curve; 3] {
    let wait = match sweep.target {
        Target::MeanWait(_) => mean(sweep),
        Target::P99Wait(_) => p99(sweep),
    };
    [throughput(sweep), utilisation(sweep), wait]
}

/// All of them.
pub(super) fn all(sweep: &Sweep) -> [Curve; 5] {
    let p50 = waits(sweep, "Wait, p50", |wait| wait.p50);
    [throughput(sweep), utilisation(sweep), mean(sweep), p50, p99(sweep)]
}

fn throughput(sweep: &Sweep) -> Curve {
    let measured = |size: &Size| Some(size.measured.throughput());
    let curve = curve(sweep, measured, |it| Some(it.throughput));
    Curve { title: "Throughput", note: "messages/s", ..curve }
}

fn utilisation(sweep: &Sweep) -> Curve {
    let measured = |size: &Size| Some(size.measured.seen.utilisation().min(1.0) * 100.0);
    let curve = curve(sweep, measured, |it| Some(it.utilisation * 100.0));
    Curve { title: "Utilisation", note: "% of the workers' time", ..curve }
}

fn mean(sweep: &Sweep) -> Curve {
    waits(sweep, "Wait, mean", |wait| Some(wait.mean))
}

fn p99(sweep: &Sweep) -> Curve {
    waits(sweep, "Wait, p99", |wait| wait.p99)
}

fn waits(sweep: &Sweep, title: &'static str, of: fn(&Wait) -> Option<f64>) -> Curve {
    let measured = |size: &Size| size.waits.known().and_then(|wait| of(&wait));
    let predicted = |it: &Predicted| it.waits.known().and_then(|wait| of(&wait));
    let mut curve = curve(sweep, measured, predicted);
    // A prediction may come as near to zero as it likes; the axis ends where measurements do.
    let shortest = curve.measured.iter().map(|point| point.1).reduce(f64::min);
    let shortest = shortest.unwrap_or(SHORTEST).max(SHORTEST);
    for (_, wait) in curve.measured.iter_mut().chain(&mut curve.predicted) {
        *wait = wait.max(shortest);
    }
    Curve { title, note: "logarithmic", scale: Scale::Logarithmic, show: show_time, ..curve }
}

fn curve(
    sweep: &Sweep,
    measured: impl Fn(&Size) -> Option<f64>,
    predicted: impl Fn(&Predicted) -> Option<f64>,
) -> Curve {
    let points = sweep.sizes.iter().filter(|it| it.measured.seen.messages > 0);
    let measured = points.filter_map(|it| Some((place(it.measured.workers()), measured(it)?)));
    let between = sizes(sweep);
    let predictions = between.iter().filter_map(|size| sweep.model.predict(*size));
    Curve {
        title: "",
        note: "",
        scale: Scale::Linear,
        show: |value| format!("{value}"),
        measured: measured.collect(),
        predicted: predictions
            .filter_map(|it| Some((place(it.workers), predicted(&it)?)))
            .collect(),
    }
}

/// The sizes from the smallest to the largest, all or enough for a curve, evenly on the axis.
fn sizes(sweep: &Sweep) -> Vec<usize> {
    let sizes = || sweep.sizes.iter().map(|it| it.measured.workers());
    let (Some(first), Some(last)) = (sizes().min(), sizes().max()) else { return Vec::new() };
    if last - first < POINTS {
        return (first..=last).collect();
    }
    let (from, to) = (place(first), place(last));
    let at = |step: usize| (from + (to - from) * step as f64 / POINTS as f64).exp2().round();
    let mut sizes: Vec<usize> = (0..=POINTS).map(|step| at(step) as usize).collect();
    sizes.dedup();
    sizes
}
