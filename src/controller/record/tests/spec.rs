//! Specs that are read or received while a reconcile is in flight.

use super::*;

#[test]
fn a_spec_that_was_read_in_flight_is_not_acted_on_twice() {
    let newer = || object(UID, 105, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady"));
    // Its event arrives before the reconcile that has read it finishes, or after.
    for before in [true, false] {
        let mut record = settled();
        let start = start_task(&mut record, Dirty::DEPLOYMENT);
        if before {
            record.observe(&newer());
        }
        let outcome = ends(&record, 2, STAMPS);
        record.finish(&start, &outcome);
        if !before {
            record.observe(&newer());
        }
        assert_eq!((record.dirty, record.generation), (Dirty::empty(), 2), "before: {before}");
    }
}

#[test]
fn a_spec_that_was_read_before_a_newer_one_came_is_read_again() {
    let mut record = settled();
    let start = start_task(&mut record, Dirty::SPEC);
    record.observe(&object(UID, 105, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady")));
    let outcome = ends(&record, 1, STAMPS);
    record.finish(&start, &outcome);
    assert_eq!((record.dirty, record.generation), (Dirty::SPEC, 2));
}

#[test]
fn what_came_up_in_flight_for_the_same_spec_stays() {
    let mut record = settled();
    let start = start_task(&mut record, Dirty::DEPLOYMENT);
    record.dirty |= Dirty::SPEC;
    let outcome = ends(&record, 1, STAMPS);
    record.finish(&start, &outcome);
    assert_eq!(record.dirty, Dirty::SPEC);
}

#[test]
fn a_spec_from_the_past_takes_nothing_back_until_it_is_read() {
    let now = || object(UID, 105, 2, status_of(2, CONFIG_HASH, Phase::Ready, "ReplicasReady"));
    let past = || object(UID, 99, 1, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady"));
    for (what, read, expected) in [("an API server that lags", 2, 2), ("a datastore that was put back", 1, 1)] {
        let mut record = record(&now());
        record.observe(&past());
        assert!(record.dirty.contains(Dirty::SPEC) && record.generation == 2, "{what}");
        let start = start_task(&mut record, Dirty::SPEC);
        let outcome = ends(&record, read, STAMPS);
        record.finish(&start, &outcome);
        assert_eq!((record.dirty, record.generation), (Dirty::empty(), expected), "{what}");
    }
}

/// Found by the simulation, seed 9977: the status said Ready for a spec that was never applied.
#[test]
fn a_newer_spec_that_was_read_and_could_not_be_applied_is_still_to_be_acted_on() {
    let refused = || Error::Timeout(std::time::Duration::from_secs(30));
    for (read, expected) in [(2, Dirty::SERVICE | Dirty::SPEC), (1, Dirty::SERVICE)] {
        let mut record = settled();
        let start = start_task(&mut record, Dirty::SERVICE);
        let outcome = Outcome { action: Action::Rejected(refused()), ..ends(&record, read, STAMPS) };
        record.finish(&start, &outcome);
        assert_eq!((record.dirty, record.generation), (expected, read));
    }
}
