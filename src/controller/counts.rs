//! How many InferenceServices are in each phase, and how many fail. Kept by the index, published as metrics.

use crate::api::Phase;
use crate::controller::record::Record;

/// Counts over all records, updated with each change of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// InferenceServices in each phase, in the order of `Phase::ALL`.
    pub phases: [u32; Phase::ALL.len()],
    /// InferenceServices whose last attempt failed.
    pub failing: u32,
}

impl Counts {
    pub fn add(&mut self, record: &Record) {
        self.phases[record.phase().unwrap_or_default() as usize] += 1;
        self.failing += u32::from(record.failures > 0);
    }

    pub fn subtract(&mut self, record: &Record) {
        self.phases[record.phase().unwrap_or_default() as usize] -= 1;
        self.failing -= u32::from(record.failures > 0);
    }
}
