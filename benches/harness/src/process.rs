//! What Linux says of a process in /proc: memory, CPU time, context switches, sockets. Read-only but
//! for the peak, which can be set back. The parsing is apart from the reading.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Linux tells CPU time in hundredths of a second to every program, whatever its own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory as a place can tell it. What it cannot tell is None.
#[allow(clippy::struct_field_names)] // the unit is in the name
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub rss_bytes: u64,
    pub anonymous_bytes: Option<u64>,
    pub file_bytes: Option<u64>,
    /// What the kubelet counts against the limit of a pod.
    pub working_set_bytes: Option<u64>,
}

/// From smaps_rollup, because the counters of /proc/PID/status lag behind by some pages a CPU.
pub fn memory(pid: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).with_context(|| gone(pid))?;
    parse_smaps_rollup(&text).with_context(|| gone(pid))
}

fn parse_smaps_rollup(text: &str) -> Option<Memory> {
    let (rss, anonymous) = (kilobytes(text, "Rss:")?, kilobytes(text, "Anonymous:")?);
    Some(Memory {
        rss_bytes: rss,
        anonymous_bytes: Some(anonymous),
        file_bytes: Some(rss.saturating_sub(anonymous)),
        working_set_bytes: None,
    })
}

/// The largest RSS since the start, or since `reset_peak`.
pub fn peak_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| gone(pid))?;
    kilobytes(&text, "VmHWM:").with_context(|| gone(pid))
}

/// From now on the peak is that of the time to come.
pub fn reset_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").with_context(|| gone(pid))
}

/// User and system time, of all threads, also those that have ended. /proc/PID/stat counts in
/// hundredths of a second; where all threads still live, schedstat is finer.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| gone(pid))?;
    let coarse = parse_cpu_ticks(&stat).with_context(|| gone(pid))? as f64 / TICKS_PER_SECOND;
    let fine: u64 = each_thread(pid, "schedstat")?.iter().filter_map(|text| parse_schedstat(text)).sum();
    Ok(coarse.max(fine as f64 / 1e9))
}

/// Fields 14 and 15. The name in field 2 may hold anything, so counting begins behind its last bracket.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Nanoseconds on a CPU.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Switches {
    /// The process slept: each is a wake-up later.
    pub voluntary: u64,
    pub involuntary: u64,
}

/// Of all threads that live.
pub fn switches(pid: u32) -> Result<Switches> {
    let threads = each_thread(pid, "status")?;
    Ok(threads.iter().fold(Switches::default(), |sum, text| Switches {
        voluntary: sum.voluntary + number(text, "voluntary_ctxt_switches:").unwrap_or(0),
        involuntary: sum.involuntary + number(text, "nonvoluntary_ctxt_switches:").unwrap_or(0),
    }))
}

/// The inodes of all its sockets.
pub fn sockets(pid: u32) -> Result<BTreeSet<u64>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).with_context(|| gone(pid))?;
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(targets
        .filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect())
}

/// File descriptors, sockets among them.
pub fn open_files(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd")).with_context(|| gone(pid))?.count())
}

pub fn is_alive(pid: u32) -> bool {
    // A process that has ended but was not waited for is a zombie, and has no memory map.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn each_thread(pid: u32, file: &str) -> Result<Vec<String>> {
    let threads: io::Result<Vec<_>> = fs::read_dir(format!("/proc/{pid}/task")).and_then(Iterator::collect);
    let threads = threads.with_context(|| gone(pid))?;
    Ok(threads.iter().filter_map(|thread| fs::read_to_string(thread.path().join(file)).ok()).collect())
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    number(text, name).map(|kilobytes| kilobytes * 1024)
}

fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn gone(pid: u32) -> String {
    format!("process {pid} has ended or may not be looked at")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_backed_memory_is_what_is_not_anonymous() {
        let text =
            "00400000-7fff0000 ---p 00000000 00:00 0   [rollup]\nRss:    4000 kB\nPss:   3 kB\nAnonymous:    1500 kB\n";
        let memory = parse_smaps_rollup(text).expect("parsed");
        assert_eq!(memory.rss_bytes, 4_096_000);
        assert_eq!((memory.anonymous_bytes, memory.file_bytes), (Some(1_536_000), Some(2_560_000)));
        assert_eq!(parse_smaps_rollup(""), None);
    }

    #[test]
    fn cpu_ticks_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 100 1 1";
        assert_eq!(parse_cpu_ticks(stat), Some(42));
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(memory(pid).expect("memory").rss_bytes > 100_000);
        assert!(peak_bytes(pid).expect("peak") > 100_000);
        assert!(cpu_seconds(pid).expect("cpu") >= 0.0);
        assert!(switches(pid).is_ok() && sockets(pid).is_ok() && is_alive(pid));
        assert!(!is_alive(u32::MAX - 1) && memory(u32::MAX - 1).is_err());
    }
}
