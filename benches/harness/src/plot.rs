//! The plots of a run as SVG: memory over time, memory against the number of InferenceServices, and
//! the distribution of latencies. Each is None where the run has nothing to show in it.

mod latency;
mod memory;
mod style;

use anyhow::Result;

use crate::results::Run;

/// In the order of `report::PLOTS`.
pub fn all(run: &Run) -> Result<[Option<String>; 3]> {
    Ok([memory::over_time(run)?, memory::by_count(run)?, latency::distribution(run)?])
}
