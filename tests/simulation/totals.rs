//! The size of a simulation: the operator's requests and the faults, summed over all seeds and printed as one line
//! that scripts/reliability.sh reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use simulation::oracle::violation::ViolationKind;

use crate::world::Failure;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Answered requests, including lists and watches.
    pub requests: u64,
    /// The number of faults of each kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Totals {
    pub fn add(&mut self, other: &Totals) {
        self.requests += other.requests;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.faults.values().sum();
        let kinds: Vec<String> = self.faults.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        write!(out, "{} requests answered, {all} faults ({})", self.requests, kinds.join(", "))
    }
}

/// One row per violation: the number of seeds, the smallest of them, and the violation there. Obstacles are listed
/// separately.
pub fn by_name(failed: &BTreeMap<u64, Failure>) -> String {
    let mut rows: BTreeMap<String, (BTreeSet<u64>, &str)> = BTreeMap::new();
    for (seed, failure) in failed {
        for violation in &failure.violations {
            let what = violation.what.lines().next().unwrap_or_default();
            let obstacle = what.split(": ").nth(1).filter(|_| violation.kind == ViolationKind::SilentObstacle);
            let name = obstacle.map_or(violation.kind.as_str().to_owned(), |obstacle| {
                format!("{}: {obstacle}", violation.kind.as_str())
            });
            rows.entry(name).or_insert((BTreeSet::new(), what)).0.insert(*seed);
        }
    }
    let row = |(name, (seeds, what)): (&String, &(BTreeSet<u64>, &str))| {
        let what: String = what.chars().take(400).collect();
        format!("| {name} | {} | {} | {what} |\n", seeds.len(), seeds.first().unwrap_or(&0))
    };
    rows.iter().map(row).collect()
}
