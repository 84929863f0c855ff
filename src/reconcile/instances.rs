//! This process, as one of several instances of the operator: how new it is, and whether it has met a newer one. Part
//! of the context, and shared by its copies.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::model::Instance;
use crate::time::Utc;

/// See `Instance`: its start is kept in a form that can be raised.
#[derive(Debug)]
pub struct Instances {
    started: AtomicU64,
    has_met_newer: AtomicBool,
    /// See `has_just_met_newer`.
    is_known: AtomicBool,
}

impl Instances {
    /// `started`: now.
    pub fn new(started: Utc) -> Instances {
        let microseconds = u64::try_from(started.0.as_micros()).unwrap_or(u64::MAX);
        let (has_met_newer, is_known) = Default::default();
        Instances { started: AtomicU64::new(microseconds), has_met_newer, is_known }
    }

    pub fn own(&self) -> Instance {
        Instance::of_this_release(self.started.load(Relaxed))
    }

    /// An instance found at the start: this one is newer, whatever the clocks of both say (a Lamport clock). To be
    /// called before anything is written.
    pub fn start_after(&self, found: &Instance) {
        self.started.fetch_max(found.started.saturating_add(1), Relaxed);
    }

    /// The newer one no longer acts, or this process is newer now.
    pub fn forget_newer(&self) {
        self.has_met_newer.store(false, Relaxed);
        self.is_known.store(false, Relaxed);
    }

    /// Children of `other` were read, which belong to this InferenceService. Is it newer than this one?
    pub fn meet(&self, other: &Instance, namespace: &str, name: &str) -> bool {
        let own = self.own();
        let is_newer = *other > own;
        if is_newer && !self.has_met_newer.swap(true, Relaxed) {
            tracing::warn!(
                namespace,
                name,
                newer = %other,
                this = %own,
                "a newer instance of this operator has changed an InferenceService; what it builds otherwise is left \
                 to it (run one operator only)"
            );
        }
        is_newer
    }

    /// From then on, nothing is applied that was not read before.
    pub fn has_met_newer(&self) -> bool {
        self.has_met_newer.load(Relaxed)
    }

    /// The same, and it was not asked for since.
    pub fn has_just_met_newer(&self) -> bool {
        self.has_met_newer() && !self.is_known.swap(true, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(microseconds: u64) -> Instances {
        Instances::new(Utc(Duration::from_micros(microseconds)))
    }

    #[test]
    fn one_that_starts_is_newer_than_all_whose_children_it_finds_though_its_clock_is_wrong() {
        let (first, second) = (at(1000), at(7));
        second.start_after(&first.own());
        second.start_after(&at(3).own());
        assert_eq!(second.own(), Instance::of_this_release(1001));
        assert!(second.own() > first.own());
        let late = at(5000);
        late.start_after(&first.own());
        assert_eq!(late.own(), Instance::of_this_release(5000), "a clock that is right stays so");
        let last = at(u64::MAX);
        last.start_after(&last.own());
        assert_eq!(last.own().started, u64::MAX);
    }

    #[test]
    fn only_a_newer_one_is_met_and_that_is_logged_once() {
        let (log, _guard) = crate::testing::log_capture::listen();
        let instances = at(1000);
        for other in [at(999), at(1000)] {
            assert!(!instances.meet(&other.own(), "ns", "demo") && !instances.has_met_newer());
        }
        let newer = Instance { release: "0.0.1".into(), ..at(1001).own() };
        assert!(!instances.has_just_met_newer());
        assert!(instances.meet(&newer, "ns", "demo") && instances.has_met_newer());
        assert!(instances.has_just_met_newer() && !instances.has_just_met_newer());
        assert!(!instances.meet(&at(1).own(), "ns", "demo"));
        assert!(instances.has_met_newer(), "for good");
        assert!(instances.meet(&newer, "ns", "other"));
        assert_eq!(log.take().len(), 1);
    }
}
