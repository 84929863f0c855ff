//! The `process_*` metrics, read from /proc on each scrape. Called by metrics; writes nothing on a system without
//! /proc.

use std::fs;

use crate::telemetry::metrics::{family, line};

/// Linux reports CPU time to programs in hundredths of a second, whatever the kernel's own tick rate.
const TICKS_PER_SECOND: u64 = 100;

/// Appends the metrics of this process.
pub fn write(out: &mut String) {
    gauge(out, "process_resident_memory_bytes", "Resident memory size in bytes.", status_kilobytes("VmRSS:"));
    gauge(out, "process_virtual_memory_bytes", "Virtual memory size in bytes.", status_kilobytes("VmSize:"));
    gauge(out, "process_open_fds", "Number of open file descriptors.", open_files());
    gauge(out, "process_max_fds", "Maximum number of open file descriptors.", most_files());
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some((cpu, start)) = times(&stat) {
        family(out, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.");
        line(out, format_args!("process_cpu_seconds_total {}", seconds(cpu)));
        let boot = boot_time();
        if let Some(boot) = boot {
            family(out, "process_start_time_seconds", "gauge", "Start time of the process since the epoch in seconds.");
            line(out, format_args!("process_start_time_seconds {}", seconds(boot * TICKS_PER_SECOND + start)));
        }
    }
}

fn gauge(out: &mut String, name: &str, help: &str, value: Option<u64>) {
    if let Some(value) = value {
        family(out, name, "gauge", help);
        line(out, format_args!("{name} {value}"));
    }
}

fn seconds(ticks: u64) -> String {
    format!("{}.{:02}", ticks / TICKS_PER_SECOND, ticks % TICKS_PER_SECOND)
}

/// The bytes in a line such as `VmRSS:     2304 kB`.
fn status_kilobytes(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn open_files() -> Option<u64> {
    // One of them is the descriptor of the folder being read.
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

fn most_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU time and start time in ticks: proc(5), fields 14, 15 and 22. The name in field 2 may hold anything, so counting
/// begins after the last bracket.
fn times(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(22)?))
}

fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 40 2 13 14 15 16 1 18 900 20";
        assert_eq!(times(stat), Some((42, 900)));
        assert_eq!(times(""), None);
    }
}
