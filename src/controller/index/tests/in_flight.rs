//! Changes that arrive while a reconcile is in flight.

use super::*;

#[test]
fn the_echo_of_our_own_writes_is_ignored_before_and_after_the_answer() {
    let after = ObservedVersions { deployment: NonZeroU64::new(70), service: NonZeroU64::new(71), ..STAMPS };
    for echo_first in [true, false] {
        let mut index = Index::new(Box::new(judge));
        index.children_are_listed();
        let slot = index.observe(object(UID, 100, 1, Value::Null), Seen::Event).expect("a name");
        let task = index.start(slot).expect("work");
        let start = TaskStart::from(&task);
        let echo = |index: &mut Index| {
            index.observe_child(ChildKind::Deployment, &child(70, 1, UID), Seen::Event);
            index.observe_child(ChildKind::Service, &child(71, 0, UID), Seen::Event);
            index.observe(ready(110, 1), Seen::Event);
        };
        if echo_first {
            echo(&mut index);
        }
        index.finish(slot, &start, Ok(outcome(1, after, Some(ready(110, 1)))));
        if !echo_first {
            echo(&mut index);
        }
        assert_eq!(dirty(&index, slot), Dirty::empty(), "echo first: {echo_first}");
    }
}

#[test]
fn what_changes_while_work_is_in_flight_is_not_lost() {
    let cases: [Case; 5] = [
        (
            "a spec",
            |index| see(index, object(UID, 105, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady"))),
            Dirty::SPEC,
        ),
        ("a Deployment", |index| see_child(index, ChildKind::Deployment, &child(90, 2, UID)), Dirty::ROLLOUT),
        (
            "a Deployment gone",
            |index| see_child_gone(index, ChildKind::Deployment, &child(90, 1, UID)),
            Dirty::DEPLOYMENT,
        ),
        ("a Service", |index| see_child(index, ChildKind::Service, &child(90, 0, UID)), Dirty::SERVICE),
        ("made anew", |index| see(index, object(OTHER_UID, 105, 1, Value::Null)), Dirty::SPEC_AND_CHILDREN),
    ];
    for (what, change, expected) in cases {
        let (mut index, slot) = settled();
        index.observe_child(ChildKind::Deployment, &child(80, 1, UID), Seen::Event);
        let task = index.start(slot).expect("work");
        let start = TaskStart::from(&task);
        change(&mut index);
        assert!(index.start(slot).is_none(), "{what}: never twice at once");
        index.finish(
            slot,
            &start,
            Ok(outcome(1, ObservedVersions { deployment: NonZeroU64::new(80), ..STAMPS }, None)),
        );
        assert!(dirty(&index, slot).contains(expected), "{what}: {:?}", dirty(&index, slot));
        assert!(index.start(slot).is_some(), "{what}");
    }
}

#[test]
fn a_spec_that_an_answer_brings_is_not_lost() {
    let (mut index, slot) = settled();
    index.observe_child(ChildKind::Deployment, &child(80, 1, UID), Seen::Event);
    let start = TaskStart::from(&index.start(slot).expect("work"));
    let mut written = ready(110, 1);
    written.meta.generation = 2;
    index.finish(
        slot,
        &start,
        Ok(outcome(1, ObservedVersions { deployment: NonZeroU64::new(80), ..STAMPS }, Some(written))),
    );
    // Its event arrives later and is older than the response.
    index.observe(object(UID, 109, 2, Value::Null), Seen::Event);
    assert_eq!(dirty(&index, slot), Dirty::SPEC);
    let task = index.start(slot).expect("work");
    assert!(task.generation == 2 && task.spec.is_some(), "{task:?}");
}

/// A label change delivers the spec again, and a read in flight returns a newer one before its event arrives.
#[test]
fn a_spec_that_came_in_flight_is_not_taken_for_a_newer_one_that_was_read() {
    let mut index = Index::new(Box::new(judge));
    let slot = list(&mut index, object(UID, 100, 1, Value::Null));
    let start = TaskStart::from(&index.start(slot).expect("work"));
    see(&mut index, object(UID, 101, 1, Value::Null));
    let read = Outcome { action: Action::Recheck(Dirty::STATUS), ..outcome(2, STAMPS, None) };
    index.finish(slot, &start, Ok(read));
    let task = index.start(slot).expect("work");
    assert!(task.generation == 2 && task.spec.is_none(), "{task:?}");
}

#[test]
fn what_failed_keeps_its_reasons() {
    let (mut index, slot) = settled();
    index.observe_child(ChildKind::Service, &child(61, 0, UID), Seen::Event);
    let start = TaskStart::from(&index.start(slot).expect("work"));
    index.finish(slot, &start, Err(Error::Gone));
    let record = index.get(slot).expect("a record");
    assert_eq!((record.dirty, record.failures), (Dirty::SERVICE, 1));
}

#[test]
fn one_that_is_deleted_in_flight_goes_when_it_lands() {
    let (mut index, slot) = settled();
    index.observe_child(ChildKind::Service, &child(61, 0, UID), Seen::Event);
    let start = TaskStart::from(&index.start(slot).expect("work"));
    index.remove("ns", "demo");
    assert_eq!(index.len(), 1);
    index.finish(slot, &start, Err(Error::Gone));
    assert!(index.is_empty());
}

#[test]
fn one_that_is_made_anew_in_flight_starts_from_nothing() {
    let (mut index, slot) = settled();
    index.observe_child(ChildKind::Service, &child(61, 0, UID), Seen::Event);
    let start = TaskStart::from(&index.start(slot).expect("work"));
    index.remove("ns", "demo");
    assert_eq!(index.observe(object(OTHER_UID, 120, 1, Value::Null), Seen::Event), Some(slot));
    assert!(index.start(slot).is_none(), "never twice at once for one name");
    index.finish(slot, &start, Ok(outcome(1, STAMPS, None)));
    let task = index.start(slot).expect("work");
    assert_eq!(
        (task.uid.to_string().as_str(), task.dirty, task.versions),
        (OTHER_UID, Dirty::SPEC_AND_CHILDREN, ObservedVersions::default())
    );
}
