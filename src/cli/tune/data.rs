//! The report for programs: JSON, as the help describes it. Times are seconds.

use super::measure::Measured;
use super::model::Predicted;
use super::sweep::{Size, Sweep, WaitsFrom};
use super::wait::{Wait, Waits};
use crate::bench::{Arrivals, Pace, Stop};
use crate::sizing::Target;
use serde_json::{Map, Value, json};

/// Everything, as one object.
pub(super) fn json(sweep: &Sweep) -> String {
    let (kind, target) = match sweep.target {
        Target::MeanWait(seconds) => ("mean", seconds),
        Target::P99Wait(seconds) => ("p99", seconds),
    };
    let demand = &sweep.model.demand;
    let is_known = !sweep.model.from.is_empty();
    let known = |value: f64| is_known.then_some(value);
    let whole = json!({
        "recommended_workers": sweep.choice.as_ref().map(|it| it.workers),
        "reason": sweep.choice.as_ref().map(|it| &it.reason),
        "notes": sweep.notes(),
        "target": { "of": kind, "wait_seconds": target },
        "load": load(sweep),
        "service": {
            "seconds": known(demand.service_seconds),
            "cv2": known(demand.service_cv2),
            "cpu_seconds": known(demand.cpu_seconds),
            "from_workers": sweep.model.from,
        },
        "wait_from": match sweep.waits_from {
            WaitsFrom::Clients => "clients",
            WaitsFrom::Server => "server",
        },
        "cores": known(demand.cores),
        "interrupted": sweep.interrupted,
        "sizes": sweep.sizes.iter().map(size).collect::<Vec<_>>(),
    });
    format!("{whole:#}\n")
}

fn load(sweep: &Sweep) -> Value {
    let load = &sweep.load;
    let (kind, think, rate, arrivals) = match load.pace {
        Pace::Closed { think, .. } => ("closed", Some(think.as_secs_f64()), None, None),
        Pace::Open { rate, arrivals } => {
            let arrivals = match arrivals {
                Arrivals::Constant => "constant",
                Arrivals::Poisson => "poisson",
            };
            ("open", None, Some(rate), Some(arrivals))
        }
    };
    let duration = match load.measured {
        Stop::After(time) => Some(time.as_secs_f64()),
        Stop::Messages(_) => None,
    };
    json!({
        "loop": kind,
        "connections": load.connections,
        "think_seconds": think,
        "rate_per_second": rate,
        "arrivals": arrivals,
        "warm_up_seconds": load.warm_up.as_secs_f64(),
        "duration_seconds": duration,
    })
}

fn size(size: &Size) -> Value {
    json!({
        "workers": size.measured.workers(),
        "saturated": size.waits == Waits::Saturated,
        "measured": measured(&size.measured, size.waits.known()),
        "predicted": size.predicted.as_ref().map(predicted),
    })
}

fn measured(it: &Measured, waits: Option<Wait>) -> Value {
    let Measured { seen, report, .. } = it;
    let kinds = report.errors.kinds();
    let errors: Map<String, Value> = kinds.map(|(kind, n)| (kind.to_owned(), n.into())).collect();
    let latency = (report.latency.count() > 0).then(|| {
        let quantile = |part| Some(report.latency.quantile(part).as_secs_f64());
        let mean = report.latency.mean().as_secs_f64();
        Wait { mean, p50: quantile(0.5), p99: quantile(0.99) }
    });
    json!({
        "seconds": seen.seconds,
        "messages": seen.messages,
        "throughput_per_second": it.throughput(),
        "utilisation": seen.utilisation(),
        "saturated_part": it.saturated_seconds / seen.seconds.max(1e-9),
        "handler_seconds": seen.handler_mean_seconds(),
        "handler_cv2": seen.load().service_cv2,
        "cpu_utilisation": it.cpu_utilisation(),
        "wait_seconds": wait(waits),
        "client_wait_seconds": wait(it.client_wait()),
        "server_wait_seconds": wait(it.server_wait),
        "latency_seconds": wait(latency),
        "errors": errors,
        "error_example": report.errors.example,
    })
}

fn predicted(it: &Predicted) -> Value {
    json!({
        "throughput_per_second": it.throughput,
        "utilisation": it.utilisation,
        "wait_seconds": wait(it.waits.known()),
    })
}

fn wait(wait: Option<Wait>) -> Value {
    wait.map_or(Value::Null, |it| json!({ "mean": it.mean, "p50": it.p50, "p99": it.p99 }))
}
