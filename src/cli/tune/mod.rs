//! `welcomed tune`: arguments in; one pool after another under the same load; a report out.
//!
//! `args` makes the `plan`, `measure` runs it for one size, `model` predicts the same, `sweep`
//! has both of all sizes and `choice` takes one; `text`, `data` and `page` tell, with the
//! `table` and the `curves` that the terminal and the page share.

mod args;
mod choice;
mod curves;
mod data;
mod live;
mod measure;
mod model;
mod page;
mod plan;
mod sweep;
mod table;
mod text;
mod wait;

pub(super) use args::TuneArgs;

use super::Failure;
use super::report::outputs::{Outputs, Render};
use super::terminal::printable;
use crate::service::Service;
use choice::count;
use live::Live;
use measure::measure;
use std::sync::Arc;
use sweep::Sweep;

/// Tries the sizes on the service that the settings name, or on the one given in its place.
pub(super) fn run(args: TuneArgs, own: Option<Arc<dyn Service>>) -> Result<(), Failure> {
    let plan = args.plan(own)?;
    let wanted = [(&args.json, data::json as Render<Sweep>), (&args.html, page::html)];
    let outputs = Outputs::open("tune", text::text, &wanted)?;
    let live = Live::start(&plan).map_err(Failure::usage)?;
    let mut measured = Vec::new();
    for (nth, &workers) in plan.sizes.iter().enumerate() {
        measured.extend(measure(&plan, workers, &mut |now| live.show(nth, workers, now))?);
        if live.bar.interrupted() {
            break;
        }
    }
    live.bar.clear();
    let sweep = Sweep::new(&plan, measured, live.bar.interrupted());
    outputs.write(&sweep)?;
    judge(&sweep)
}

/// Whether the report is what was wanted.
fn judge(sweep: &Sweep) -> Result<(), Failure> {
    let mut wrong = sweep.errors();
    if !sweep.interrupted {
        let silent = sweep.sizes.iter().filter(|it| it.measured.seen.messages == 0);
        wrong.extend(silent.map(|it| {
            let workers = count(it.measured.workers());
            format!("no message was answered with {workers}: a longer --duration may show some")
        }));
    }
    match (wrong.is_empty(), sweep.interrupted) {
        (false, _) => {
            Err(Failure::failed(format!("tune: {}", printable(wrong.join("; ").as_bytes()))))
        }
        (true, true) => Err(Failure::cut_off("tune: interrupted")),
        (true, false) => Ok(()),
    }
}
