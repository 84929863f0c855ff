//! The simulated time of day: the paused clock's seconds, counted from a day in 2027. Used by everything that writes
//! a time into an object.

use std::cell::Cell;
use std::time::Duration;

use inference_operator::time::{Timestamp, Utc};
use tokio::time::Instant;

const FIRST: u32 = 1_800_000_000;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Starts the time of a run, which has a thread of its own.
pub fn begin() {
    BEGAN.set(Some(Instant::now()));
}

/// Time since the run began.
pub fn elapsed(at: Instant) -> Duration {
    at.saturating_duration_since(BEGAN.get().unwrap_or(at))
}

/// Seconds since 1970.
pub fn now() -> Timestamp {
    Timestamp(FIRST + u32::try_from(elapsed(Instant::now()).as_secs()).unwrap_or(0))
}

/// The same in microseconds.
pub fn precise() -> Utc {
    Utc(Duration::from_secs(FIRST.into()) + elapsed(Instant::now()))
}

/// The time in Kubernetes' format.
pub fn stamp() -> String {
    Utc::from(now()).to_string()
}

/// Parses a `stamp` into seconds since 1970; 0 if it is invalid.
pub fn seconds(stamp: &str) -> u64 {
    Utc::parse(stamp).map_or(0, |time| time.0.as_secs())
}
