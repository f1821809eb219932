//! The report for a terminal.

use super::super::terminal::printable;
use super::QUANTILES;
use crate::bench::{Arrivals, Load, Pace, Report, Stop};
use std::time::Duration;

/// The whole report.
pub(super) fn text(load: &Load, report: &Report) -> String {
    let Report { messages, errors, elapsed, latency, .. } = report;
    let mut text = format!("{}\n\n", describe(load));
    let rate = report.throughput();
    let mut row = |name: &str, value: &str| text.push_str(&format!("{name:<12}{value}\n"));
    row("messages", &format!("{messages} in {elapsed:.2?}"));
    row("throughput", &format!("{rate:.0} messages/s"));
    row("latency", &format!("{:.2?} mean", latency.mean()));
    let ends = [("min", latency.min()), ("max", latency.max())];
    let inner = QUANTILES.iter().map(|(name, part)| (*name, latency.quantile(*part)));
    for (name, value) in ends[..1].iter().copied().chain(inner).chain([ends[1]]) {
        row(&format!("  {name}"), &format!("{value:.2?}"));
    }
    row("errors", &printable(errors.to_string().as_bytes()));
    text
}

/// What was done, in one line.
pub(super) fn describe(load: &Load) -> String {
    let Load { target, connections, framing, threads, .. } = load;
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    let pace = match load.pace {
        Pace::Closed { in_flight, think } => {
            let think = show_if("think time", think);
            format!("closed loop, {} in flight on each{think}", count(in_flight, "message"))
        }
        Pace::Open { rate, arrivals } => {
            let arrivals = match arrivals {
                Arrivals::Constant => "constant",
                Arrivals::Poisson => "Poisson",
            };
            format!("open loop, {rate} messages/s, {arrivals} arrivals")
        }
    };
    let measured = match load.measured {
        Stop::After(time) => format!("{time:?} measured"),
        Stop::Messages(count) => format!("{count} messages measured"),
    };
    let (ramp, warm_up) = (show_if("ramp", load.ramp), show_if("warm-up", load.warm_up));
    let (connections, threads) = (count(*connections, "connection"), count(*threads, "thread"));
    format!(
        "{target}: {connections}, {pace}; {framing} framing; {measured}{warm_up}{ramp}; {threads}"
    )
}

fn show_if(what: &str, time: Duration) -> String {
    if time.is_zero() { String::new() } else { format!(", {what} {time:?}") }
}
