//! The sizing advice, checked: predictions against a simulation and against a real server.
//!
//! `cargo bench --bench advice` runs a grid of pools, loads and handlers, and prints what was
//! predicted beside what was measured, with confidence intervals, and where the prediction fails.
//! `simulation` is the discrete-event simulation that the tests use too, `live` the real server,
//! `other` a handler that computes and clients that wait for their replies, `plot` the picture.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program that prints tables
#![allow(missing_docs, unreachable_pub)] // no API

mod live;
mod other;
mod plot;
#[allow(dead_code)] // the tests use the rest
mod simulation;

use clap::Parser;
use simulation::{Pool, Shape};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use welcomed::sizing::{Load, Target, Wait, advise, predict};

const SHAPES: [Shape; 3] = [Shape::Constant, Shape::Exponential, Shape::Hyperexponential(4.0)];
const SIZES: [usize; 3] = [4, 8, 32];
/// How long a message holds a worker on average, in seconds.
const SERVICE: f64 = 0.01;
/// A live run is as long as so many relaxation times of its queue.
const RELAXATIONS: f64 = 200.0;
/// A run is cut into so many parts, whose means are as good as independent.
const BATCHES: usize = 20;
/// Student's t for the 95 % interval of so many.
const STUDENT: f64 = 2.093;

/// Checks the sizing advice against a simulation and a real server.
#[derive(Parser)]
struct Arguments {
    /// Only a taste: two pools, a fortieth of the time; the real server is not judged by it.
    #[arg(long)]
    quick: bool,
    /// Leave out the real server.
    #[arg(long)]
    simulation_only: bool,
    /// Write the picture to this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// What cargo passes to a benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A number predicted, and measured with half the width of its 95 % interval; in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    predicted: f64,
    measured: f64,
    plus_minus: f64,
}

impl Pair {
    /// Whether the prediction is within `part` of what was measured, or within two milliseconds.
    fn holds(&self, part: f64, milliseconds: f64) -> bool {
        let off = (self.predicted - self.measured).abs();
        off <= (part * self.measured).max(milliseconds / 1e3)
    }

    fn show(&self) -> String {
        let [predicted, measured, by] =
            [self.predicted, self.measured, self.plus_minus].map(|seconds| seconds * 1e3);
        format!("{predicted:.2} | {measured:.2} ± {by:.2}")
    }
}

/// One pool under one load.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    live: bool,
    service: Shape,
    workers: usize,
    utilisation: f64,
    mean: Pair,
    p99: Pair,
}

fn main() -> ExitCode {
    match check(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("advice: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether every prediction held.
fn check(arguments: &Arguments) -> Result<bool, String> {
    let sizes = if arguments.quick { &SIZES[..2] } else { &SIZES };
    let messages = if arguments.quick { 400_000 } else { 2_000_000 };
    let mut points = simulated(sizes, messages);
    let mut holds = table("Simulated", &points);
    holds &= recommendations(sizes, messages / 4);
    if !arguments.simulation_only {
        let relaxations = if arguments.quick { RELAXATIONS / 40.0 } else { RELAXATIONS };
        let live = live_runs(sizes, relaxations)?;
        let all = table("A real server", &live);
        // A taste is too short to judge by.
        holds &= all || arguments.quick;
        points.extend(live);
        other::computing(arguments.quick)?;
        other::closed_loops(arguments.quick)?;
    }
    if let Some(file) = &arguments.plot {
        std::fs::write(file, plot::svg(&points))
            .map_err(|error| format!("cannot write `{}`: {error}", file.display()))?;
    }
    println!("\n{}", if holds { "Every prediction holds." } else { "Some predictions fail." });
    Ok(holds)
}

fn load(arrivals_per_second: f64, service_seconds: f64, cv2: f64, messages: usize) -> Load {
    Load {
        messages: messages as u64,
        arrivals_per_second,
        arrival_cv2: 1.0,
        service_seconds,
        service_cv2: cv2,
        cpu_seconds: 0.0,
        cores: 2.0,
        clients: None,
    }
}

fn wait(load: &Load, workers: usize) -> Result<Wait, String> {
    let prediction = predict(load, workers).map_err(|limit| limit.to_string())?;
    prediction.wait.map_err(|limit| limit.to_string())
}

fn simulated(sizes: &[usize], messages: usize) -> Vec<Point> {
    let of_shape = |service: Shape| {
        let mut points = Vec::new();
        for &workers in sizes {
            for utilisation in [0.5, 0.8, 0.9] {
                let arrivals_per_second = utilisation * workers as f64 / SERVICE;
                let load = load(arrivals_per_second, SERVICE, service.cv2(), messages);
                let (arrivals, service_seconds) = (Shape::Exponential, SERVICE);
                let pool =
                    Pool { workers, arrivals_per_second, arrivals, service, service_seconds };
                let runs: Vec<_> = (0..BATCHES as u64)
                    .map(|seed| {
                        let waits = pool.waits(messages / BATCHES, 1909 + seed);
                        (waits.mean_seconds(), waits.quantile_seconds(0.99))
                    })
                    .collect();
                let Ok(wait) = wait(&load, workers) else { continue };
                let mean = pair(wait.mean, runs.iter().map(|run| run.0).collect());
                let p99 = pair(wait.p99, runs.iter().map(|run| run.1).collect());
                points.push(Point { live: false, service, workers, utilisation, mean, p99 });
            }
        }
        points
    };
    // A thread each; the seeds are the runs' own.
    thread::scope(|scope| {
        let of_shape = &of_shape;
        let runs = SHAPES.map(|shape| scope.spawn(move || of_shape(shape)));
        runs.into_iter().flat_map(|run| run.join().unwrap_or_default()).collect()
    })
}

/// A prediction beside the mean of what batches measured.
fn pair(predicted: f64, batches: Vec<f64>) -> Pair {
    let count = batches.len() as f64;
    let measured = batches.iter().sum::<f64>() / count;
    let variance = batches.iter().map(|it| (it - measured).powi(2)).sum::<f64>() / (count - 1.0);
    Pair { predicted, measured, plus_minus: STUDENT * (variance / count).sqrt() }
}

fn live_runs(sizes: &[usize], relaxations: f64) -> Result<Vec<Point>, String> {
    let mut points = Vec::new();
    for service in SHAPES {
        for &workers in sizes {
            for utilisation in [0.5, 0.8] {
                eprintln!("{service:?}, {workers} workers, utilisation {utilisation} ...");
                points.push(live_run(service, workers, utilisation, relaxations)?);
            }
        }
    }
    Ok(points)
}

/// One run, predicted from what it measured of arrivals and work.
fn live_run(
    service: Shape,
    workers: usize,
    utilisation: f64,
    relaxations: f64,
) -> Result<Point, String> {
    // Of the M/M/c queue (P. M. Morse, "Stochastic properties of waiting lines", 1955), stretched
    // for a longer tail.
    let relaxation = SERVICE / (workers as f64 * (1.0 - utilisation.sqrt()).powi(2))
        * (1.0 + service.cv2()).max(2.0)
        / 2.0;
    let arrivals_per_second = utilisation * workers as f64 / SERVICE;
    let fewest = 10.0 * relaxations;
    let messages = (arrivals_per_second * relaxations * relaxation).max(fewest) as usize;
    let seed = 1909 + workers as u64;
    let service_seconds = SERVICE;
    let run = live::Run { workers, arrivals_per_second, service, service_seconds, messages, seed };
    let mut met = live::run(run)?;
    // The pool fills during the first tenth.
    let waits = met.waits.split_off(messages / 10);
    let services = met.services.split_off(messages / 10);
    let count = services.len() as f64;
    let mean = services.iter().sum::<f64>() / count;
    let squares = services.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / count;
    let rate = messages as f64 / met.seconds;
    let load = Load {
        cpu_seconds: met.cpu_seconds / messages as f64,
        ..load(rate, mean, squares / (mean * mean), messages)
    };
    let wait = wait(&load, workers)?;
    let batches =
        |of: fn(&[f64]) -> f64| waits.chunks(waits.len().div_ceil(BATCHES)).map(of).collect();
    let mut p99 = pair(wait.p99, batches(|batch| quantile(batch, 0.99)));
    // The batches give its spread; the run as a whole has more of the tail.
    p99.measured = quantile(&waits, 0.99);
    Ok(Point {
        live: true,
        service,
        workers,
        utilisation: load.offered() / workers as f64,
        mean: pair(wait.mean, batches(|batch| batch.iter().sum::<f64>() / batch.len() as f64)),
        p99,
    })
}

fn quantile(values: &[f64], p: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let rank = (p * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// Prints predicted against measured; says whether all is as promised: the mean within 25 % or
/// 2 ms, the 99th percentile within 35 % or 2 ms.
fn table(title: &str, points: &[Point]) -> bool {
    println!("\n{title}: waits in ms, predicted | measured with its 95 % interval\n");
    println!(
        "| work (cv2) | workers | utilisation | mean predicted | measured | p99 predicted \
         | measured | |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---|");
    let mut all = true;
    for point in points {
        let mean = point.mean.holds(0.25, 2.0);
        let p99 = point.p99.holds(0.35, 2.0);
        all &= mean && p99;
        let verdict = match (mean, p99) {
            (true, true) => "",
            (false, true) => "the mean is off",
            (true, false) => "p99 is off",
            (false, false) => "both are off",
        };
        println!(
            "| {} ({}) | {} | {:.2} | {} | {} | {verdict} |",
            name(point.service),
            point.service.cv2(),
            point.workers,
            point.utilisation,
            point.mean.show(),
            point.p99.show(),
        );
    }
    all
}

fn name(shape: Shape) -> &'static str {
    match shape {
        Shape::Constant => "constant",
        Shape::Exponential => "exponential",
        Shape::Hyperexponential(_) => "long tail",
    }
}

/// The recommended sizes beside the best, found by simulating every size from the least on.
fn recommendations(sizes: &[usize], messages: usize) -> bool {
    println!("\nRecommended sizes, against the smallest that keeps the target in the simulation\n");
    println!("| work (cv2) | offered load | target | recommended | best |");
    println!("|---|---:|---|---:|---:|");
    let mut all = true;
    for service in SHAPES {
        for &workers in sizes {
            let rate = 0.8 * workers as f64 / SERVICE;
            for target in [Target::MeanWait(SERVICE), Target::P99Wait(3.0 * SERVICE)] {
                let load = load(rate, SERVICE, service.cv2(), messages);
                let advice = advise(&load, target, &[]);
                let best = best_by_force(target, rate, service, messages);
                let recommended = advice.recommended.unwrap_or(0);
                all &= recommended.abs_diff(best) <= 2;
                let (work, cv2, offered) = (name(service), service.cv2(), load.offered());
                println!("| {work} ({cv2}) | {offered:.1} | {target} | {recommended} | {best} |");
            }
        }
    }
    all
}

fn best_by_force(target: Target, rate: f64, service: Shape, messages: usize) -> usize {
    let mut workers = (rate * SERVICE) as usize + 1;
    loop {
        let (arrivals, service_seconds, arrivals_per_second) = (Shape::Exponential, SERVICE, rate);
        let pool = Pool { workers, arrivals_per_second, arrivals, service, service_seconds };
        let waits = pool.waits(messages, 1927);
        let wait = match target {
            Target::MeanWait(_) => waits.mean_seconds(),
            Target::P99Wait(_) => waits.quantile_seconds(0.99),
        };
        if wait <= target.seconds() {
            return workers;
        }
        workers += 1;
    }
}
