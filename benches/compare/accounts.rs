//! What the kernel says that a process has cost. Used by the comparison, and by the measurement of
//! size.

use std::{fs, io};

/// CPU time of a process's threads, by the scheduler's accounts. A thread that has ended is not
/// in them; none does while its connection is open.
pub(super) fn cpu_nanos(process: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let accounts = fs::read_to_string(task?.path().join("schedstat"))?;
        let running = accounts.split_whitespace().next().and_then(|first| first.parse().ok());
        sum += running.unwrap_or(0);
    }
    Ok(sum)
}

/// What a process has written to and shares with nobody. The kernel's side of a socket is not in
/// it, and is the same for all.
pub(super) fn private_bytes(process: u32) -> Result<u64, String> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    let kilobytes = kilobytes.and_then(|rest| rest.trim().strip_suffix("kB"));
    let kilobytes = kilobytes.and_then(|number| number.trim().parse::<u64>().ok());
    kilobytes.map(|number| number * 1024).ok_or_else(|| format!("{path}: no Private_Dirty"))
}
