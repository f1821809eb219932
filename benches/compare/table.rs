//! The figures as a table, for a terminal or for the README, and against the targets.

use crate::Samples;
use crate::measure::{Case, Sample};
use crate::server::RIVALS;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, SystemTime};

/// What the others are compared with.
const LIMIT: &str = "raw-epoll";
const OURS: &str = "welcomed";

/// The highest ratio of CPU per message to the limit's, by case.
const CPU_TARGETS: [(Case, f64); 3] = [
    (Case { connections: 64, in_flight: 1 }, 1.10),
    (Case { connections: 1000, in_flight: 1 }, 1.20),
    (Case { connections: 64, in_flight: 16 }, 1.35),
];
const MEMORY_TARGET: f64 = 512.0;
const LATENCY_CASE: Case = Case { connections: 1000, in_flight: 1 };
const LATENCY_RIVAL: &str = "tokio-2";

pub fn render(
    markdown: bool,
    names: &[String],
    cases: &[Case],
    samples: &Samples,
    memory: &BTreeMap<String, f64>,
) -> String {
    let mut rows = vec![header(cases, !memory.is_empty())];
    for name in names {
        let mut row = vec![title(name).to_owned()];
        for case in cases {
            row.push(cell(samples, *case, name));
        }
        row.extend(memory.get(name).map(|bytes| format!("{bytes:.0} B")));
        rows.push(row);
    }
    let mut text = if markdown { as_markdown(&rows) } else { aligned(&rows) };
    // Writing to a string cannot fail.
    let _ =
        write!(text, "\nCPU per message (times the raw epoll loop's), p50 / p99. {}\n", machine());
    for line in verdicts(samples, memory) {
        text += &format!("- {line}\n");
    }
    text
}

fn header(cases: &[Case], memory: bool) -> Vec<String> {
    let mut row = vec!["server".to_owned()];
    for case in cases {
        row.push(format!("{} conn x {}", case.connections, case.in_flight));
    }
    if memory {
        row.push("idle connection".to_owned());
    }
    row
}

fn title(name: &str) -> &str {
    RIVALS.iter().find(|(short, _)| *short == name).map_or(name, |(_, title)| title)
}

fn cell(samples: &Samples, case: Case, name: &str) -> String {
    let Some(own) = samples.get(&(case, name.to_owned())) else {
        return String::new();
    };
    let cpu = median(own.iter().map(|sample| sample.cpu_ns)) / 1000.0;
    let ratio = ratio(samples, case, name).map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
    let (p50, p99) = (latency(own, |sample| sample.p50), latency(own, |sample| sample.p99));
    format!("{cpu:.2} µs{ratio}, {} / {}", short(p50), short(p99))
}

/// The median of the rounds' ratios of CPU per message to the limit's.
fn ratio(samples: &Samples, case: Case, name: &str) -> Option<f64> {
    let own = samples.get(&(case, name.to_owned()))?;
    let limit = samples.get(&(case, LIMIT.to_owned()))?;
    Some(median(own.iter().zip(limit).map(|(own, limit)| own.cpu_ns / limit.cpu_ns)))
}

fn latency(samples: &[Sample], quantile: fn(&Sample) -> Duration) -> Duration {
    Duration::from_secs_f64(median(samples.iter().map(|sample| quantile(sample).as_secs_f64())))
}

fn short(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.0} µs") } else { format!("{:.1} ms", micros / 1000.0) }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Each target with what was measured.
fn verdicts(samples: &Samples, memory: &BTreeMap<String, f64>) -> Vec<String> {
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    let mut lines = Vec::new();
    for (case, most) in CPU_TARGETS {
        if let Some(ratio) = ratio(samples, case, OURS) {
            let met = verdict(ratio <= most);
            lines.push(format!("CPU at {case}: {ratio:.2} x raw epoll, target {most:.2}: {met}"));
        }
    }
    let p99 = |name: &str| {
        let samples = samples.get(&(LATENCY_CASE, name.to_owned()))?;
        Some(latency(samples, |sample| sample.p99))
    };
    if let (Some(ours), Some(rival)) = (p99(OURS), p99(LATENCY_RIVAL)) {
        let (met, ours, rival) = (verdict(ours <= rival), short(ours), short(rival));
        lines.push(format!("p99 at {LATENCY_CASE}: {ours}, tokio with 2 workers {rival}: {met}"));
    }
    if let Some(bytes) = memory.get(OURS) {
        let met = verdict(*bytes <= MEMORY_TARGET);
        lines.push(format!("an idle connection: {bytes:.0} B, target {MEMORY_TARGET:.0} B: {met}"));
    }
    lines
}

/// Where and when.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let date = date.split('T').next().unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    format!("{cores} cores ({model}), Linux {kernel}, {date}.")
}

fn as_markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        text += &format!("| {} |\n", row.join(" | "));
        if number == 0 {
            text += &format!("|{}\n", "---|".repeat(row.len()));
        }
    }
    text
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}
