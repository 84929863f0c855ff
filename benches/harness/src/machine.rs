//! The machine that is measured on, and how much of it somebody else used meanwhile.

use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::process;

/// Above this part of the machine's time, others are told of.
pub const NOTABLE_FOREIGN_SHARE: f64 = 0.05;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub model: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub kernel: String,
    /// Averages over 1, 5 and 15 minutes, before the run.
    pub load_before: [f64; 3],
    /// The kernel takes pages away from processes that do not use them.
    pub reclaims_memory: bool,
}

pub fn describe() -> Machine {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let memory =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Machine {
        model: model.map_or("unknown", |(_, model)| model).to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: memory.unwrap_or(0_u64) * 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        load_before: load(),
        reclaims_memory: has_process("kdamond"),
    }
}

fn load() -> [f64; 3] {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    [(); 3].map(|()| numbers.next().unwrap_or(0.0))
}

fn has_process(name: &str) -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok()).any(|comm| comm.starts_with(name))
}

/// How quiet the machine was during a round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    pub load_before: [f64; 3],
    /// The part of all cores' time that neither the cluster nor the operator nor the harness used,
    /// the hypervisor's share included.
    pub foreign_share: f64,
}

impl Noise {
    pub fn is_notable(&self) -> bool {
        self.foreign_share > NOTABLE_FOREIGN_SHARE
    }
}

/// Counts from `begin` to `end`.
pub struct NoiseMeter {
    began: Instant,
    load_before: [f64; 3],
    busy_before: f64,
    own_before: f64,
}

impl NoiseMeter {
    /// `pids`: the cluster's processes. What they have used up to now does not count.
    pub fn begin(pids: &[u32]) -> NoiseMeter {
        NoiseMeter {
            began: Instant::now(),
            load_before: load(),
            busy_before: busy_seconds(),
            own_before: own_seconds(pids),
        }
    }

    /// `ended_seconds`: CPU time of processes that were the round's and have ended.
    pub fn end(&self, pids: &[u32], ended_seconds: f64) -> Noise {
        let machine =
            self.began.elapsed().as_secs_f64() * std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let own = own_seconds(pids) - self.own_before + ended_seconds;
        let foreign = busy_seconds() - self.busy_before - own;
        Noise { load_before: self.load_before, foreign_share: (foreign / machine).clamp(0.0, 1.0) }
    }
}

fn own_seconds(pids: &[u32]) -> f64 {
    let itself = std::process::id();
    pids.iter().chain([&itself]).filter_map(|pid| process::cpu_seconds(*pid).ok()).sum()
}

/// All cores together since boot: user, nice, system, irq, softirq, steal.
fn busy_seconds() -> f64 {
    parse_busy(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

fn parse_busy(stat: &str) -> f64 {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    [0, 1, 2, 5, 6, 7].iter().filter_map(|field| ticks.get(*field)).sum::<f64>() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert!((parse_busy("cpu  100 200 300 4000 5000 1 2 3 50 0\ncpu0 1 1 1\n") - 6.06).abs() < 1e-9);
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = describe();
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && !machine.kernel.is_empty());
    }
}
