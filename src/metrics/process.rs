//! The `process_*` metrics that every Prometheus client library exports under these names, with
//! these help texts and no prefix.
//!
//! Read from `/proc/self` at scrape time. A value that cannot be read is left out, never made up;
//! that is also why `process_heap_bytes` is missing: Rust's allocator does not say.

use super::table::{Kind, Row, Samples, Table, Value};
use procfs::process::{LimitValue, Limits, Process, Stat};
use prometheus::core::Collector;
use std::fs;

/// The metrics of this process, for a `prometheus::Registry`.
///
/// The crate's own collector counts CPU time in whole seconds, which hides whatever costs less
/// than a core; this one counts it in the kernel's ticks.
///
/// # Errors
///
/// None that can be met: the names are constants. The result is the registry's.
pub fn process_collector() -> prometheus::Result<Box<dyn Collector>> {
    let process = Process::myself().ok();
    // Read once: the kernel corrects its boot time with the clock, and a start does not move.
    let start_seconds = process.as_ref().and_then(start_seconds);
    let read = move || Reading {
        stat: process.as_ref().and_then(|process| process.stat().ok()),
        limits: process.as_ref().and_then(|process| process.limits().ok()),
        open_fds: open_fds(),
        start_seconds,
    };
    Ok(Box::new(Table::new("", FAMILIES, read)?))
}

/// What one scrape found.
struct Reading {
    stat: Option<Stat>,
    limits: Option<Limits>,
    open_fds: Option<u64>,
    start_seconds: Option<f64>,
}

const FAMILIES: &[Row<Reading>] = &[
    Row {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Total user and system CPU time spent in seconds.",
        read: |now| maybe(now.stat.as_ref().map(|stat| seconds(stat.utime + stat.stime))),
    },
    Row {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Number of open file descriptors.",
        read: |now| maybe(now.open_fds.map(|count| count as f64)),
    },
    Row {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Maximum number of open file descriptors.",
        read: |now| maybe(now.limits.as_ref().map(|all| soft(all.max_open_files.soft_limit))),
    },
    Row {
        name: "process_virtual_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Virtual memory size in bytes.",
        read: |now| maybe(now.stat.as_ref().map(|stat| stat.vsize as f64)),
    },
    Row {
        name: "process_virtual_memory_max_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Maximum amount of virtual memory available in bytes.",
        read: |now| maybe(now.limits.as_ref().map(|all| soft(all.max_address_space.soft_limit))),
    },
    Row {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Resident memory size in bytes.",
        read: |now| maybe(now.stat.as_ref().map(|stat| (stat.rss * procfs::page_size()) as f64)),
    },
    Row {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Start time of the process since unix epoch in seconds.",
        read: |now| maybe(now.start_seconds),
    },
    Row {
        name: "process_threads",
        kind: Kind::Gauge,
        labels: &[],
        help: "Number of OS threads in the process.",
        read: |now| maybe(now.stat.as_ref().map(|stat| stat.num_threads as f64)),
    },
];

fn maybe(number: Option<f64>) -> Samples<'static> {
    number.into_iter().map(|number| (Vec::new(), Value::Number(number))).collect()
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

/// The signals that this thread does not let through, as a bit each, the first for signal 1; none
/// if the system does not say.
pub(crate) fn blocked_signals() -> u64 {
    Process::myself().and_then(|it| it.status()).map_or(0, |status| status.sigblk)
}

/// No limit is what the kernel says for it (`RLIM_INFINITY`), as other client libraries have it.
fn soft(limit: LimitValue) -> f64 {
    match limit {
        LimitValue::Unlimited => u64::MAX as f64,
        LimitValue::Value(value) => value as f64,
    }
}

fn start_seconds(process: &Process) -> Option<f64> {
    let boot = procfs::boot_time_secs().ok()?;
    Some(boot as f64 + seconds(process.stat().ok()?.starttime))
}

/// Since Linux 6.2 the directory's size is the count, at no cost and without a descriptor of its
/// own, so that it can be read when there are none left. Before, its entries are counted, without
/// the descriptor that lists them.
fn open_fds() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.len() {
        0 => (fs::read_dir(DIRECTORY).ok()?.count() as u64).checked_sub(1),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::{FAMILIES, Reading, Table, process_collector};
    use prometheus::core::Collector;
    use std::fs::File;
    use std::hint::black_box;
    use std::time::{Duration, Instant, SystemTime};

    fn read(collector: &dyn Collector, name: &str) -> f64 {
        let families = collector.collect();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metric = &family.get_metric()[0];
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    #[test]
    fn cpu_time_moves_in_fractions_of_a_second() {
        let collector = process_collector().unwrap();
        let cpu = || read(&*collector, "process_cpu_seconds_total");
        let before = cpu();
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut last = before;
        while last == before || last.fract() == 0.0 {
            assert!(Instant::now() < deadline, "30 s of work: from {before} to {last}");
            for number in 0..1_000_000_u64 {
                black_box(number);
            }
            let now = cpu();
            assert!(now >= last, "fell from {last} to {now}");
            last = now;
        }
    }

    #[test]
    fn open_files_and_threads_are_counted() {
        let collector = process_collector().unwrap();
        let files: Vec<File> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
        let open = read(&*collector, "process_open_fds");
        assert!(open >= 100.0 && open < read(&*collector, "process_max_fds"), "{open}");
        drop(files);
        // This test's own thread and the harness's.
        assert!(read(&*collector, "process_threads") >= 2.0);
    }

    #[test]
    fn memory_and_start_time_are_plausible() {
        let collector = process_collector().unwrap();
        let value = |name| read(&*collector, name);
        let resident = value("process_resident_memory_bytes");
        let size = value("process_virtual_memory_bytes");
        assert!(100e3 < resident && resident <= size, "{resident} of {size}");
        assert!(size <= value("process_virtual_memory_max_bytes"));

        let start = value("process_start_time_seconds");
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        // The boot time is known to the second.
        assert!(now - 86_400.0 < start && start < now + 2.0, "started at {start}, now {now}");
        assert_eq!(start, value("process_start_time_seconds"));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let nothing = || Reading { stat: None, limits: None, open_fds: None, start_seconds: None };
        let collector = Table::new("", FAMILIES, nothing).unwrap();
        assert!(collector.collect().iter().all(|family| family.get_metric().is_empty()));
        assert_eq!(collector.collect().len(), 8);
    }
}
