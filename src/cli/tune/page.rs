//! The report as a page in one file.

use super::super::report::chart::{Chart, Line};
use super::super::report::page::{Page, escape, notice, tiles};
use super::super::terminal::printable;
use super::curves::{Curve, all, marks};
use super::sweep::Sweep;
use super::table::{cells, groups};
use crate::sizing::Human;

/// The whole page.
pub(super) fn html(sweep: &Sweep) -> String {
    let errors = sweep.errors().join("; ");
    let charts: String = all(sweep).into_iter().map(|curve| chart(curve, sweep)).collect();
    let notes = sweep.notes();
    let notes = notes.iter().map(|note| format!("<p class=\"quiet\">{}</p>\n", escape(note)));
    let body = format!(
        "{}{}{}<section class=\"charts\">\n{charts}</section>\n{}{}",
        notice(&printable(errors.as_bytes())),
        summary(sweep),
        advice(sweep),
        table(sweep),
        notes.collect::<String>(),
    );
    Page { title: "The size of the pool", about: &sweep.title, by: "tune", body }.html()
}

fn summary(sweep: &Sweep) -> String {
    let best = sweep.sizes.iter().map(|it| it.measured.throughput()).fold(0.0, f64::max);
    let messages: u64 = sweep.sizes.iter().map(|it| it.measured.report.messages).sum();
    let errors: u64 = sweep.sizes.iter().map(|it| it.measured.report.errors.total()).sum();
    let workers = sweep.choice.as_ref().map_or("-".to_owned(), |it| it.workers.to_string());
    let demand = &sweep.model.demand;
    tiles([
        ("Workers", workers, "recommended".to_owned()),
        ("Target", Human(sweep.target.seconds()).to_string(), sweep.target.to_string()),
        ("Best", format!("{best:.0}/s"), "messages, of all sizes".to_owned()),
        ("Work", Human(demand.service_seconds).to_string(), "of a worker per message".to_owned()),
        ("Messages", messages.to_string(), "right replies".to_owned()),
        ("Errors", errors.to_string(), "of all kinds".to_owned()),
    ])
}

fn advice(sweep: &Sweep) -> String {
    let Some(choice) = &sweep.choice else { return String::new() };
    let (reason, lines) = (escape(&choice.reason), escape(&choice.lines()));
    format!("<section><p>{reason}</p>\n<pre>{lines}</pre></section>\n")
}

fn chart(curve: Curve, sweep: &Sweep) -> String {
    Chart {
        title: curve.title,
        note: curve.note,
        marks: marks(sweep),
        scale: curve.scale,
        show: curve.show,
        lines: vec![
            Line { style: "one", name: "measured", points: curve.measured },
            Line { style: "two", name: "predicted", points: curve.predicted },
        ],
    }
    .draw()
}

fn table(sweep: &Sweep) -> String {
    let groups = groups(sweep);
    let names = groups.iter().map(|group| {
        format!("<th colspan=\"{}\" scope=\"colgroup\">{}</th>", group.columns.len(), group.name)
    });
    let columns = groups.iter().flat_map(|group| &group.columns);
    let heads = columns.map(|(head, _)| format!("<th scope=\"col\">{head}</th>"));
    let row = |size| {
        let cells = cells(size, sweep.is_open()).into_iter();
        let cells: String = cells.map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr>{cells}</tr>\n")
    };
    format!(
        "<div class=\"sizes\"><table><thead><tr>{}</tr>\n<tr>{}</tr></thead>\n\
         <tbody>{}</tbody></table></div>\n",
        names.collect::<String>(),
        heads.collect::<String>(),
        sweep.sizes.iter().map(row).collect::<String>(),
    )
}
