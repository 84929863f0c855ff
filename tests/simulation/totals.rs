//! How much was simulated: what the operator asked for, and what went wrong. Summed up over all seeds, and printed as
//! one line that scripts/reliability.sh reads.

use std::collections::BTreeMap;
use std::fmt;

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
