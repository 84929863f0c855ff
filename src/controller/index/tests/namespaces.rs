//! A deleted namespace, and the objects that appear under its name afterwards.

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

/// The watch was closed meanwhile: the new list contains the new objects, and its end removes the old ones.
#[test]
fn a_namespace_that_came_back_while_no_watch_saw_it_is_served() {
    let (mut index, _) = gone();
    index.list_begins(ListKind::InferenceServices);
    let new = index.observe(named(object(OTHER_UID, 200, 1, Value::Null), "another"), Seen::Listed).expect("a name");
    index.list_ends(ListKind::InferenceServices);
    assert_eq!(index.len(), 1);
    assert!(index.start(new).is_some(), "{:?}", index.get(new));
}

/// Its last InferenceService was deleted during a reconcile that is not finished yet.
#[test]
fn a_namespace_that_came_back_before_the_last_work_in_the_old_one_landed_is_served() {
    let (mut index, slot) = settled();
    see(&mut index, ready(101, 2));
    let task = index.start(slot).expect("work");
    assert!(index.namespace_terminates(slot));
    index.remove("ns", "demo");
    let new = index.observe(named(object(OTHER_UID, 200, 1, Value::Null), "another"), Seen::Event).expect("a name");
    let start = crate::controller::task_start::TaskStart::from(&task);
    index.finish(slot, &start, Err(Error::Gone));
    assert_eq!(index.len(), 1);
    assert!(index.start(new).is_some(), "{:?}", index.get(new));
}

/// The datastore was restored from a backup in which the namespace is not being deleted.
#[test]
fn a_namespace_that_was_restored_with_the_datastore_is_served() {
    let (mut index, slot) = gone();
    index.list_begins(ListKind::InferenceServices);
    index.observe(object(UID, 90, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady")), Seen::Listed);
    index.list_ends(ListKind::InferenceServices);
    assert!(index.start(slot).is_some(), "{:?}", index.get(slot));
}

/// Only InferenceServices that are retried share the retry rate: a namespace may be terminating for days.
#[test]
fn what_is_not_tried_any_more_makes_nobody_else_wait() {
    let (mut index, slot) = settled();
    see(&mut index, ready(101, 2));
    let task = index.start(slot).expect("work");
    assert!(index.namespace_terminates(slot));
    index.finish(slot, &crate::controller::task_start::TaskStart::from(&task), Err(Error::Gone));
    assert_eq!(index.counts().failing, 0);
}

#[test]
fn only_in_the_namespace_that_goes_failures_are_forgotten() {
    let (mut index, slot) = settled();
    let elsewhere = |mut object: InferenceServiceView| {
        object.meta.namespace = "elsewhere".into();
        object
    };
    let other = index.observe(elsewhere(ready(101, 1)), Seen::Event).expect("a name");
    see_child_gone(&mut index, ChildKind::Deployment, &child(51, 1, UID));
    for slot in [slot, other] {
        let start = crate::controller::task_start::TaskStart::from(&index.start(slot).expect("work"));
        index.finish(slot, &start, Err(Error::Timeout(std::time::Duration::ZERO)));
    }
    assert_eq!(index.counts().failing, 2);
    assert!(index.namespace_terminates(slot) && !index.namespace_terminates(slot), "said once");
    let failures = [slot, other].map(|slot| index.get(slot).expect("a record").failures);
    assert_eq!((failures, index.counts().failing), ([0, 1], 1));
    index.remove("elsewhere", "demo");
    assert_eq!(index.counts().failing, 0);
}
