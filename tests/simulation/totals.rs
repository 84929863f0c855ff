//! How much was simulated: what the operator asked for, and what went wrong. Summed up over all seeds, and printed as
//! one line that scripts/reliability.sh reads.

use std::collections::BTreeMap;
use std::fmt;

use crate::violation::Name;
use crate::world::Failure;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// That were answered, lists and watches among them.
    pub requests: u64,
    /// Of each kind.
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

/// A row for each name: in how many seeds, the smallest of them, and what it was there.
pub fn by_name(failed: &BTreeMap<u64, Failure>) -> String {
    let mut rows: BTreeMap<Name, (usize, u64, &str)> = BTreeMap::new();
    for (seed, failure) in failed {
        let mut names: Vec<Name> = failure.violations.iter().map(|violation| violation.name).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let what = failure.violations.iter().find(|violation| violation.name == name);
            let what = what.map_or("", |violation| violation.what.lines().next().unwrap_or_default());
            rows.entry(name).or_insert((0, *seed, what)).0 += 1;
        }
    }
    let row = |(name, (seeds, seed, what)): (&Name, &(usize, u64, &str))| {
        let what: String = what.chars().take(400).collect();
        format!("| {} | {seeds} | {seed} | {what} |\n", name.as_str())
    };
    rows.iter().map(row).collect()
}
