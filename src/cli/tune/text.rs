//! The report for a terminal: a table, curves, and the lines for the configuration.

use super::super::report::canvas::{Canvas, Ink};
use super::super::terminal::printable;
use super::curves::{Curve, decisive, marks};
use super::sweep::Sweep;
use super::table::{cells, groups};
use std::env;

/// Characters of a curve, without its axes.
const WIDTH: usize = 64;
const HEIGHT: usize = 8;
/// Of the vertical axis' labels.
const LABEL: usize = 9;

/// The whole report.
pub(super) fn text(sweep: &Sweep) -> String {
    let mut text = format!("{}\n\n{}\n", sweep.title, table(sweep));
    let ink = ink();
    for curve in decisive(sweep) {
        text += &plot(&curve, &marks(sweep), ink);
        text.push('\n');
    }
    for line in sweep.notes().into_iter().chain(sweep.errors()) {
        text += &format!("{}\n", printable(line.as_bytes()));
    }
    if let Some(choice) = &sweep.choice {
        text += &format!("\n{}\n\n{}", choice.reason, choice.lines());
    }
    text
}

/// Braille where the locale has it.
fn ink() -> Ink {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    let locale = locale.unwrap_or_default().to_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") { Ink::Braille } else { Ink::Ascii }
}

fn table(sweep: &Sweep) -> String {
    let groups = groups(sweep);
    let mut table = String::new();
    for group in &groups {
        table += &format!("{:>1$}", group.name, group.width());
    }
    table.push('\n');
    let columns: Vec<_> = groups.iter().flat_map(|group| &group.columns).collect();
    let heads = columns.iter().map(|column| column.0.to_owned()).collect();
    let sizes = sweep.sizes.iter().map(|size| cells(size, sweep.is_open()));
    for row in std::iter::once(heads).chain(sizes) {
        for (cell, (_, width)) in row.iter().zip(&columns) {
            table += &format!("{cell:>width$}");
        }
        table.push('\n');
    }
    table
}

/// A curve with its axes.
fn plot(curve: &Curve, marks: &[(f64, String)], ink: Ink) -> String {
    let values = || curve.measured.iter().chain(&curve.predicted).map(|point| point.1);
    let head = format!("{}, {}", curve.title, curve.note);
    let Some(ticks) = curve.scale.ticks(values()) else {
        return format!("{head}: nothing was measured.\n");
    };
    let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
    let ends = |pick: fn(f64, f64) -> f64| marks.iter().map(|mark| mark.0).reduce(pick);
    let (first, last) = (ends(f64::min).unwrap_or(0.0), ends(f64::max).unwrap_or(0.0));
    let across = |at: f64| if last > first { (at - first) / (last - first) } else { 0.5 };
    let up = |value: f64| curve.scale.place(value, low, high);
    let at = |point: &(f64, f64)| (across(point.0), up(point.1));

    let mut canvas = Canvas::new(ink, WIDTH, HEIGHT);
    for two in curve.predicted.windows(2) {
        canvas.line(at(&two[0]), at(&two[1]));
    }
    for point in &curve.measured {
        canvas.mark(at(point));
    }
    let mut labels = vec![String::new(); HEIGHT];
    for tick in &ticks {
        if let Some(row) = canvas.row(up(*tick)) {
            labels[row] = (curve.show)(*tick);
        }
    }
    let legend = format!("{} measured  {} predicted", ink.mark(), ink.line().to_string().repeat(2));
    let gap = (LABEL + 2 + WIDTH).saturating_sub(head.chars().count());
    let mut text = format!("{head}{legend:>gap$}\n");
    for (label, row) in labels.iter().zip(canvas.rows()) {
        text += format!("{label:>LABEL$} |{row}").trim_end();
        text.push('\n');
    }
    let axis = |mark: &(f64, String)| Some((canvas.column(across(mark.0))?, mark.1.clone()));
    let sizes: Vec<(usize, String)> = marks.iter().filter_map(axis).collect();
    text + &format!("{:LABEL$} +{}\n{}\n", "", "-".repeat(WIDTH), below(&sizes))
}

/// The labels of the horizontal axis, each below its column, as many as there is room for.
fn below(labels: &[(usize, String)]) -> String {
    let mut line = String::new();
    for (column, label) in labels {
        let start = (LABEL + 2 + column + 1).saturating_sub(label.len().div_ceil(2));
        if line.is_empty() || start > line.len() {
            line = format!("{line:start$}{label}");
        }
    }
    line + " workers"
}

#[cfg(test)]
mod tests {
    use super::super::super::report::chart::Scale;
    use super::*;

    #[test]
    fn a_curve_has_its_axes_and_labels() {
        let curve = Curve {
            title: "Throughput",
            note: "messages/s",
            scale: Scale::Linear,
            show: |value| format!("{value}"),
            measured: vec![(0.0, 0.0), (1.0, 400.0)],
            predicted: vec![(0.0, 0.0), (1.0, 400.0)],
        };
        let marks = [(0.0, "1".to_owned()), (1.0, "2".to_owned())];
        let text = plot(&curve, &marks, Ink::Ascii);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + HEIGHT + 2, "{text}");
        assert!(lines[0].starts_with("Throughput, messages/s  "), "{text}");
        assert!(lines[0].ends_with("o measured  .. predicted"), "{text}");
        assert!(lines[1].starts_with("      400 |") && lines[1].ends_with(".o"), "{text}");
        assert!(lines[HEIGHT].starts_with("        0 |o."), "{text}");
        assert!(lines[HEIGHT + 2].starts_with("           1   "), "{text}");
        assert!(lines[HEIGHT + 2].ends_with("  2 workers"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 90), "{text}");
    }

    #[test]
    fn labels_without_room_are_left_out() {
        let labels = [(0, "1024"), (2, "1025"), (40, "4096")];
        let line = below(&labels.map(|(column, label)| (column, label.to_owned())));
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["1024", "4096", "workers"]);
    }
}
