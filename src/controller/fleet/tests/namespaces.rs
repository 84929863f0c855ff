//! A namespace that went away, and what comes under its name afterwards.

use super::*;

fn named(mut object: InferenceService, name: &str) -> InferenceService {
    object.identity.name = name.into();
    object
}

/// One InferenceService, ns/demo, in a namespace that is being deleted.
fn gone() -> (Fleet, Slot) {
    let (mut fleet, slot) = settled();
    assert!(fleet.namespace_terminates(slot));
    (fleet, slot)
}

/// The watch was away while it happened: the new list names what is new before it ends, and the old goes when it does.
#[test]
fn a_namespace_that_came_back_while_no_watch_saw_it_is_served() {
    let (mut fleet, _) = gone();
    fleet.list_begins(List::InferenceServices);
    let new = fleet.observe(named(object(OTHER_UID, 200, 1, Value::Null), "another"), true).expect("a name");
    fleet.list_ends(List::InferenceServices);
    assert_eq!(fleet.len(), 1);
    assert!(fleet.depart(new).is_some(), "{:?}", fleet.get(new));
}

/// Its last InferenceService was deleted while work on it was in flight, which has not landed yet.
#[test]
fn a_namespace_that_came_back_before_the_last_work_in_the_old_one_landed_is_served() {
    let (mut fleet, slot) = settled();
    see(&mut fleet, ready(101, 2));
    let task = fleet.depart(slot).expect("work");
    assert!(fleet.namespace_terminates(slot));
    fleet.remove("ns", "demo");
    let new = fleet.observe(named(object(OTHER_UID, 200, 1, Value::Null), "another"), false).expect("a name");
    let departed = crate::controller::record::Departed::from(&task);
    fleet.land(slot, &departed, Err(Error::Gone));
    assert_eq!(fleet.len(), 1);
    assert!(fleet.depart(new).is_some(), "{:?}", fleet.get(new));
}

/// The datastore was put back to an earlier copy, in which the namespace is not being deleted.
#[test]
fn a_namespace_that_was_restored_with_the_datastore_is_served() {
    let (mut fleet, slot) = gone();
    fleet.list_begins(List::InferenceServices);
    fleet.observe(object(UID, 90, 2, status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady")), true);
    fleet.list_ends(List::InferenceServices);
    assert!(fleet.depart(slot).is_some(), "{:?}", fleet.get(slot));
}

/// The share of one that fails is that of those who try: a namespace may be on its way for days.
#[test]
fn what_is_not_tried_any_more_makes_nobody_else_wait() {
    let (mut fleet, slot) = settled();
    see(&mut fleet, ready(101, 2));
    let task = fleet.depart(slot).expect("work");
    assert!(fleet.namespace_terminates(slot));
    fleet.land(slot, &crate::controller::record::Departed::from(&task), Err(Error::Gone));
    assert_eq!(fleet.tally().failing, 0);
}
