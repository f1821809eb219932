//! Two loads that the open queue says nothing about: a handler that computes, whose bound is the
//! machine, and clients that wait for their replies, who slow down with the server.

use super::SERVICE;
use super::live::{Running, cpu_seconds};
use super::simulation::{Chance, Shape};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use welcomed::bench::{self, Expect, Load, Pace, Stop};
use welcomed::service::{Context, Flow, Reply, Service, ServiceError};
use welcomed::sizing::Closed;

/// Clients of a closed loop.
const CLIENTS: usize = 16;

/// Computes for a while, and answers with what it was sent.
struct Computes(Duration);

impl Service for Computes {
    fn call(
        &self,
        _: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        // By the thread's own CPU time: a worker that has to share its core takes longer.
        let until = thread_cpu() + self.0;
        while thread_cpu() < until {
            std::hint::spin_loop();
        }
        reply.push(message);
        Ok(Flow::Continue)
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Sleeps for exponential times, and answers with what it was sent.
struct Sleeps(AtomicU64);

impl Service for Sleeps {
    fn call(
        &self,
        _: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        let mut chance = Chance::new(self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37));
        thread::sleep(Duration::from_secs_f64(Shape::Exponential.sample(SERVICE, &mut chance)));
        reply.push(message);
        Ok(Flow::Continue)
    }
}

/// What a closed loop of [`CLIENTS`] measured.
struct Measured {
    per_second: f64,
    service_seconds: f64,
    cpu_seconds: f64,
    utilisation: f64,
    wait_seconds: f64,
}

fn measure(
    workers: usize,
    service: impl Service,
    think: Duration,
    time: Duration,
) -> Result<Measured, String> {
    let server = Running::start(workers, service)?;
    let load = Load {
        connections: CLIENTS,
        pace: Pace::Closed { in_flight: 1, think },
        expect: Expect::Echo,
        greeting: false,
        warm_up: time / 10,
        measured: Stop::After(time),
        ..Load::new(server.address()?)
    };
    let (begin, before, cpu) = (Instant::now(), server.handle.stats(), cpu_seconds());
    let report = bench::run(&load).map_err(|error| error.to_string())?;
    let (seconds, after) = (begin.elapsed().as_secs_f64(), server.handle.stats());
    let cpu = cpu_seconds() - cpu;
    if !report.errors.is_empty() {
        return Err(format!("errors: {}", report.errors));
    }
    let messages = (after.messages - before.messages) as f64;
    let spent = |of: fn(&welcomed::metrics::Snapshot) -> f64| (of(&after) - of(&before)) / messages;
    Ok(Measured {
        per_second: report.throughput(),
        service_seconds: spent(|stats| stats.handler_time.sum),
        cpu_seconds: cpu / messages,
        utilisation: (after.worker_busy_seconds - before.worker_busy_seconds)
            / (seconds * workers as f64),
        wait_seconds: spent(|stats| stats.queue_wait.sum),
    })
}

/// More workers than cores do not help a handler that computes.
pub fn computing(quick: bool) -> Result<(), String> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let time = if quick { Duration::from_millis(500) } else { Duration::from_secs(10) };
    println!("\nA handler that computes for 2 ms, on {cores} cores, {CLIENTS} clients that wait\n");
    println!("| workers | bound, messages/s | measured | in the handler, ms |");
    println!("|---:|---:|---:|---:|");
    let mut alone = None;
    for workers in [1, 2, 4, 8] {
        eprintln!("computing, {workers} workers ...");
        let service = Computes(Duration::from_millis(2));
        let now = measure(workers, service, Duration::ZERO, time)?;
        // One worker tells what a message takes and what CPU it costs.
        let (service_seconds, cpu) = *alone.get_or_insert((now.service_seconds, now.cpu_seconds));
        let closed = Closed { clients: CLIENTS, think_seconds: 0.0, service_seconds };
        let bound = closed.bound_per_second(workers, cpu, cores as f64).unwrap_or_default();
        let (rate, took) = (now.per_second, now.service_seconds * 1e3);
        println!("| {workers} | {bound:.0} | {rate:.0} | {took:.2} |");
    }
    Ok(())
}

/// Clients that wait for their replies: the machine repairman's model.
pub fn closed_loops(quick: bool) -> Result<(), String> {
    let time = if quick { Duration::from_millis(500) } else { Duration::from_secs(10) };
    println!(
        "\n{CLIENTS} clients that wait for each reply, and think; exponential work of 10 ms\n"
    );
    println!(
        "| think, ms | workers | messages/s predicted | measured | utilisation predicted \
         | measured | mean wait, ms, predicted | measured |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for think in [Duration::ZERO, Duration::from_millis(40)] {
        for workers in [2, 4, 8, 32] {
            eprintln!("closed loop, {workers} workers, {think:?} of thought ...");
            let now = measure(workers, Sleeps(AtomicU64::new(1)), think, time)?;
            let closed = Closed {
                clients: CLIENTS,
                think_seconds: think.as_secs_f64(),
                service_seconds: now.service_seconds,
            };
            let predicted = closed.predict(workers).ok_or("no prediction")?;
            println!(
                "| {} | {workers} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
                think.as_millis(),
                predicted.throughput_per_second,
                now.per_second,
                predicted.utilisation,
                now.utilisation,
                predicted.wait_mean_seconds * 1e3,
                now.wait_seconds * 1e3,
            );
        }
    }
    Ok(())
}
