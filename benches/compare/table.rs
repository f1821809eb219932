//! The results as a table for a terminal or for the README, and the targets with their verdicts.

use super::machine;
use super::measure::Sample;
use super::plan::{Case, Plan, Server};
use std::time::Duration;

/// CPU time per message, as a multiple of raw epoll's: the case, and the most that is allowed.
const CPU_TARGETS: [(Case, f64); 3] = [
    (Case { connections: 64, in_flight: 1 }, 1.10),
    (Case { connections: 1000, in_flight: 1 }, 1.20),
    (Case { connections: 64, in_flight: 16 }, 1.35),
];
/// Where p99 is compared with tokio's.
const LATENCY_TARGET: Case = Case { connections: 1000, in_flight: 1 };
/// CPU time per message of the load, as a multiple of raw epoll's: an even match, and the noise.
const GENERATOR_TARGET: f64 = 1.05;
/// Bytes of user memory per idle connection.
const MEMORY_TARGET: f64 = 512.0;

const NOTHING: &str = "-";

/// Everything that was measured.
#[derive(Default)]
pub(super) struct Results {
    pub(super) samples: Vec<Sample>,
    /// Bytes per idle connection.
    pub(super) memory: Vec<(Server, f64)>,
    failures: Vec<(Server, String)>,
}

/// One server in one case: medians over the rounds.
struct Cell {
    cpu_micros: f64,
    /// To raw epoll in the same round, if that was measured.
    ratio: Option<f64>,
    p50: Duration,
    p99: Duration,
    throughput: f64,
}

impl Results {
    /// Keeps why something has no number; a reason is kept once.
    pub(super) fn fail(&mut self, server: Server, reason: &str) {
        // Failures of a start are the same in each case: what differs is before the colon.
        let cause = reason.split_once(": ").map_or(reason, |(_, cause)| cause);
        if !self.failures.iter().any(|(of, known)| *of == server && known.contains(cause)) {
            self.failures.push((server, reason.to_owned()));
        }
    }

    /// The table for a terminal.
    pub(super) fn text(&self, plan: &Plan) -> String {
        let mut text = format!("{}\n{}\n", machine::describe(), how(plan));
        for &case in &plan.cases {
            let title = format!("connections x in flight: {case}");
            line(&mut text, &title, ["CPU us/msg", "x raw epoll", "p50 us", "p99 us", "msg/s"]);
            for &server in &plan.servers {
                let columns = self.cell(server, case).map(|cell| {
                    [
                        format!("{:.3}", cell.cpu_micros),
                        ratio(cell.ratio),
                        micros(cell.p50),
                        micros(cell.p99),
                        format!("{:.0}", cell.throughput),
                    ]
                });
                let columns = columns.unwrap_or_else(|| [NOTHING; 5].map(str::to_owned));
                line(&mut text, &format!("  {server}"), columns);
            }
            text.push('\n');
        }
        line(&mut text, "user memory", ["B/idle conn", "", "", "", ""]);
        for &server in &plan.servers {
            let row = [self.memory_of(server), String::new(), String::new()];
            line(&mut text, &format!("  {server}"), row);
        }
        text.push_str("\ntargets of welcomed\n");
        for (target, measured, verdict) in self.targets() {
            text.push_str(&format!("  {target:<60} {measured:>22}  {verdict}\n"));
        }
        for (server, reason) in &self.failures {
            text.push_str(&format!("\nnot available: {server}: {reason}\n"));
        }
        text
    }

    /// The tables for the README.
    pub(super) fn markdown(&self, plan: &Plan) -> String {
        let mut text = format!("{}; {}\n", machine::describe(), how(plan).trim_end());
        self.markdown_cells(&mut text, plan, "CPU us per message (x raw epoll)", |cell| {
            format!("{:.2} ({})", cell.cpu_micros, ratio(cell.ratio))
        });
        self.markdown_cells(&mut text, plan, "latency p50 / p99, us", |cell| {
            format!("{} / {}", micros(cell.p50), micros(cell.p99))
        });
        text.push_str("\n| user memory per idle connection | bytes |\n|---|---:|\n");
        for &server in &plan.servers {
            text.push_str(&format!("| {server} | {} |\n", self.memory_of(server)));
        }
        text.push_str("\n| target | measured | verdict |\n|---|---:|---|\n");
        for (target, measured, verdict) in self.targets() {
            text.push_str(&format!("| {target} | {measured} | {verdict} |\n"));
        }
        for (server, reason) in &self.failures {
            text.push_str(&format!("\nNot available: {server}: {reason}\n"));
        }
        text
    }

    /// What a message costs the load, beside what it costs the cheapest server.
    pub(super) fn generator(&self, plan: &Plan) -> String {
        let (rounds, window) = (plan.rounds, plan.window);
        let mut text = format!(
            "{}\nserver and load share one core; median of {rounds} x {window:?}\n\n",
            machine::describe()
        );
        let heads = ["load us/msg", "server us/msg", "load/server", "msg/s"];
        line(&mut text, "connections x in flight", heads);
        for &case in &plan.cases {
            let samples = || self.samples(Server::LIMIT, case);
            let load = median(samples().map(|sample| sample.load_nanos / 1000.0));
            let server = median(samples().map(|sample| sample.cpu_nanos / 1000.0));
            let part = median(samples().map(|sample| sample.load_nanos / sample.cpu_nanos));
            let rate = median(samples().map(|sample| sample.throughput));
            let show = |number: Option<f64>, digits| {
                number.map_or(NOTHING.to_owned(), |number| format!("{number:.digits$}"))
            };
            let row = [show(load, 3), show(server, 3), show(part, 2), show(rate, 0)];
            line(&mut text, &format!("  {case}"), row);
            if let Some(part) = part {
                let verdict = verdict(part <= GENERATOR_TARGET);
                let target = format!("at most {GENERATOR_TARGET} x the server: {verdict}");
                text.push_str(&format!("    {target}\n"));
            }
        }
        for (server, reason) in &self.failures {
            text.push_str(&format!("\nnot available: {server}: {reason}\n"));
        }
        text
    }

    /// A table of servers by cases.
    fn markdown_cells(
        &self,
        text: &mut String,
        plan: &Plan,
        title: &str,
        show: fn(&Cell) -> String,
    ) {
        let heads: String = plan.cases.iter().map(|case| format!(" {case} |")).collect();
        let rules = "---:|".repeat(plan.cases.len());
        text.push_str(&format!("\n| {title} |{heads}\n|---|{rules}\n"));
        for &server in &plan.servers {
            let cells = plan.cases.iter().map(|&case| {
                let shown = self.cell(server, case).as_ref().map(show);
                format!(" {} |", shown.as_deref().unwrap_or(NOTHING))
            });
            text.push_str(&format!("| {server} |{}\n", cells.collect::<String>()));
        }
    }

    fn samples(&self, server: Server, case: Case) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.server == server && sample.case == case)
    }

    fn cell(&self, server: Server, case: Case) -> Option<Cell> {
        let median_of = |part: fn(&Sample) -> f64| median(self.samples(server, case).map(part));
        let ratios = self.samples(server, case).filter_map(|sample| {
            let mut limits = self.samples(Server::LIMIT, case);
            let limit = limits.find(|limit| limit.round == sample.round)?;
            Some(sample.cpu_nanos / limit.cpu_nanos)
        });
        Some(Cell {
            cpu_micros: median_of(|sample| sample.cpu_nanos / 1000.0)?,
            ratio: median(ratios),
            p50: Duration::from_secs_f64(median_of(|sample| sample.p50.as_secs_f64())?),
            p99: Duration::from_secs_f64(median_of(|sample| sample.p99.as_secs_f64())?),
            throughput: median_of(|sample| sample.throughput)?,
        })
    }

    fn memory_of(&self, server: Server) -> String {
        let found = self.memory.iter().find(|(of, _)| *of == server);
        found.map_or(NOTHING.to_owned(), |(_, bytes)| format!("{bytes:.0}"))
    }

    /// Each target: what is wanted, what was measured, and the verdict.
    fn targets(&self) -> Vec<(String, String, &'static str)> {
        let mut targets = Vec::new();
        for (case, most) in CPU_TARGETS {
            let ratio = self.cell(Server::Welcomed, case).and_then(|cell| cell.ratio);
            let target = format!("CPU per message at {case}: at most {most:.2} x raw epoll");
            targets.push(match ratio {
                Some(ratio) => (target, format!("{ratio:.2}"), verdict(ratio <= most)),
                None => missing(target),
            });
        }
        let memory = self.memory.iter().find(|(server, _)| *server == Server::Welcomed);
        let target = format!("user memory per idle connection: at most {MEMORY_TARGET} bytes");
        targets.push(match memory {
            Some((_, bytes)) => (target, format!("{bytes:.0}"), verdict(*bytes <= MEMORY_TARGET)),
            None => missing(target),
        });
        let p99 = |server| self.cell(server, LATENCY_TARGET).map(|cell| cell.p99);
        let target = format!("p99 at {LATENCY_TARGET}: no worse than tokio with 2 workers");
        targets.push(match (p99(Server::Welcomed), p99(Server::TOKIO)) {
            (Some(ours), Some(theirs)) => {
                let measured = format!("{} against {} us", micros(ours), micros(theirs));
                (target, measured, verdict(ours <= theirs))
            }
            _ => missing(target),
        });
        targets
    }
}

/// How the numbers came about.
fn how(plan: &Plan) -> String {
    format!(
        "server on one core, load on another; median of {} x {:?} for each number, \
         memory between 1,000 and 10,000 connections\n",
        plan.rounds, plan.window
    )
}

fn line(text: &mut String, first: &str, columns: impl IntoIterator<Item = impl AsRef<str>>) {
    let mut row = format!("{first:<36}");
    for column in columns {
        row.push_str(&format!(" {:>12}", column.as_ref()));
    }
    text.push_str(row.trim_end());
    text.push('\n');
}

fn verdict(reached: bool) -> &'static str {
    if reached { "pass" } else { "fail" }
}

fn missing(target: String) -> (String, String, &'static str) {
    (target, NOTHING.to_owned(), "not measured")
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or(NOTHING.to_owned(), |ratio| format!("{ratio:.2}"))
}

fn micros(latency: Duration) -> String {
    format!("{:.0}", latency.as_secs_f64() * 1e6)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
