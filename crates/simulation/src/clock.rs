//! The simulated time of day: the paused clock's seconds, counted from a day in 2027. Used by whatever writes a time
//! into an object.

use std::cell::Cell;
use std::time::Duration;

use inference_operator::time::{Timestamp, Utc};
use tokio::time::Instant;

const FIRST: u32 = 1_800_000_000;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A run has a thread of its own, and begins now.
pub fn begin() {
    BEGAN.set(Some(Instant::now()));
}

/// Since the run began.
pub fn elapsed(at: Instant) -> Duration {
    at.saturating_duration_since(BEGAN.get().unwrap_or(at))
}

/// Seconds since 1970.
pub fn now() -> Timestamp {
    Timestamp(FIRST + u32::try_from(elapsed(Instant::now()).as_secs()).unwrap_or(0))
}

/// As Kubernetes writes it.
pub fn stamp() -> String {
    Utc::from(now()).to_string()
}

/// Seconds since 1970 of what `stamp` has written; 0 where it is none.
pub fn seconds(stamp: &str) -> u64 {
    Utc::parse(stamp).map_or(0, |time| time.0.as_secs())
}
