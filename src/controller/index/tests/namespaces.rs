//! A namespace that went away, and what comes under its name afterwards.

use super::*;

fn named(mut object: InferenceServiceView, name: &str) -> InferenceServiceView {
    object.meta.name = name.into();
    object
}

/// One InferenceService, ns/demo, in a namespace that is being deleted.
fn gone() -> (Index, Slot) {
    let (mut index, slot) = settled();
    assert!(index.namespace_terminates(slot));
    (index, slot)
}

/// The watch was away while it happened: the new list names what is new before it ends, and the old goes when it does.
#[test]
fn a_namespace_that_came_back_while_no_watch_saw_it_is_served() {
    let (mut index, _) = gone();
    index.list_begins(ListKind::InferenceServices);
    let new = index.observe(named(object(OTHER_UID, 200, 1, Value::Null), "another"), true).expect("a name");
    index.list_ends(ListKind::InferenceServices);
    assert_eq!(index.len(), 1);
    assert!(index.start(new).is_some(), "{:?}", index.get(new));
}

/// Its last InferenceService was deleted while work on it was in flight, which has not landed yet.
#[test]
fn a_namespace_that_came_back_before_the_last_work_in_the_old_one_landed_is_served() {
    let (mut index, slot) = settled();
    see(&mut index, ready(101, 2));
    let task = index.start(slot).expect("work");
    assert!(index.namespace_terminates(slot));
    index.remove("ns", "demo");
    let new = index.observe(named(object(OTHER_UID, 200, 1, Value::Null), "another"), false).expect("a name");
    let start = crate::controller::record::TaskStart::from(&task);
    index.finish(slot, &start, Err(Error::Gone));
    assert_eq!(index.len(), 1);
    assert!(index.start(new).is_some(), "{:?}", index.get(new));
}

/// The datastore was put back to an earlier copy, in which the namespace is not being deleted.
#[test]
fn a_namespace_that_was_restored_with_the_datastore_is_served() {
    let (mut index, slot) = gone();
    index.list_begins(ListKind::InferenceServices);
    index.observe(object(UID, 90, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady")), true);
    index.list_ends(ListKind::InferenceServices);
    assert!(index.start(slot).is_some(), "{:?}", index.get(slot));
}

/// The share of one that fails is that of those who try: a namespace may be on its way for days.
#[test]
fn what_is_not_tried_any_more_makes_nobody_else_wait() {
    let (mut index, slot) = settled();
    see(&mut index, ready(101, 2));
    let task = index.start(slot).expect("work");
    assert!(index.namespace_terminates(slot));
    index.finish(slot, &crate::controller::record::TaskStart::from(&task), Err(Error::Gone));
    assert_eq!(index.counts().failing, 0);
}
