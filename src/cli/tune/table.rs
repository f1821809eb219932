//! The sizes as a table, measured beside predicted: its headings and cells, for the terminal and
//! the page.

use super::sweep::{Size, Sweep};
use super::wait::{Wait, Waits};
use crate::sizing::Human;

/// Columns that belong together, each with its heading and width.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) columns: Vec<(&'static str, usize)>,
}

impl Group {
    pub(super) fn width(&self) -> usize {
        self.columns.iter().map(|column| column.1).sum()
    }
}

/// The headings.
pub(super) fn groups(sweep: &Sweep) -> Vec<Group> {
    let pair = |name, width| Group { name, columns: vec![("measured", width), ("predicted", 10)] };
    let one = |name| Group { name, columns: vec![("measured", 10)] };
    let mut groups = vec![
        Group { name: "", columns: vec![("workers", 7)] },
        pair("messages/s", 10),
        Group { name: "busy", columns: vec![("meas.", 7), ("pred.", 7)] },
        pair("mean wait", 11),
    ];
    if sweep.is_open() {
        groups.extend([pair("p50 wait", 11), pair("p99 wait", 11)]);
    } else {
        // Nothing is predicted of them.
        groups.extend([one("p50 wait"), one("p99 wait")]);
    }
    groups
}

/// One size's cells, in the order of the headings.
pub(super) fn cells(size: &Size, is_open: bool) -> Vec<String> {
    let Size { measured, waits, predicted } = size;
    let unknown = || "-".to_owned();
    let is_seen = measured.seen.messages > 0;
    let seen = |text: String| if is_seen { text } else { unknown() };
    let foretold = predicted.map_or(Waits::Unknown, |it| it.waits);
    let mut cells = vec![
        measured.workers().to_string(),
        seen(rate(measured.throughput())),
        predicted.map_or_else(unknown, |it| rate(it.throughput)),
        seen(percent(measured.seen.utilisation())),
        predicted.map_or_else(unknown, |it| percent(it.utilisation)),
    ];
    let of: [fn(&Wait) -> Option<f64>; 3] = [|it| Some(it.mean), |it| it.p50, |it| it.p99];
    for (nth, of) in of.into_iter().enumerate() {
        cells.push(wait(*waits, of));
        if nth == 0 || is_open {
            cells.push(wait(foretold, of));
        }
    }
    cells
}

fn rate(rate: f64) -> String {
    if rate < 99.5 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

fn wait(waits: Waits, of: fn(&Wait) -> Option<f64>) -> String {
    match waits {
        Waits::Saturated => "saturated".to_owned(),
        Waits::Unknown => "-".to_owned(),
        Waits::Known(wait) => of(&wait).map_or("-".to_owned(), |wait| Human(wait).to_string()),
    }
}
