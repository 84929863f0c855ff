//! What the fleet makes of what the watches bring: when an InferenceService is settled, and when
//! it is not.

#![allow(clippy::needless_pass_by_value, clippy::too_many_lines)]

mod memory;
mod namespaces;
mod news;

use serde_json::{Value, json};

use super::*;
use crate::controller::reasons::Reasons;
use crate::controller::samples::{
    CONFIGURATION, OTHER_UID, STAMPS, UID, child, child_of_uid, done, object, ready, status_of,
};
use crate::projection::Deployment;
use crate::reconcile::status::Stamps;
use crate::reconcile::{Done, Next, plan};

/// After a restart: everything was listed, and is as the status says.
fn settled() -> (Fleet, Slot) {
    let mut fleet = Fleet::new(CONFIGURATION);
    let slot = list(&mut fleet, ready(100, 1));
    assert_eq!(reasons(&fleet, slot), Reasons::NONE);
    (fleet, slot)
}

fn list(fleet: &mut Fleet, object: InferenceService) -> Slot {
    fleet.list_begins(List::InferenceServices);
    let slot = fleet.observe(object, true).expect("a name");
    fleet.list_ends(List::InferenceServices);
    for (kind, version) in [(ChildKind::Deployment, STAMPS.deployment), (ChildKind::Service, STAMPS.service)] {
        fleet.list_begins(List::Children(kind));
        fleet.observe_child(kind, &child(version, u32::from(kind == ChildKind::Deployment), UID), true);
        fleet.list_ends(List::Children(kind));
    }
    fleet.children_are_listed();
    slot
}

fn see(fleet: &mut Fleet, object: InferenceService) {
    fleet.observe(object, false);
}

fn see_child(fleet: &mut Fleet, kind: ChildKind, child: &Identity) {
    fleet.observe_child(kind, child, false);
}

fn list_child(fleet: &mut Fleet, kind: ChildKind, child: &Identity) {
    fleet.observe_child(kind, child, true);
}

fn see_child_gone(fleet: &mut Fleet, kind: ChildKind, child: &Identity) {
    fleet.observe_child_gone(kind, child);
}

/// What is done to the fleet, and the reasons that it leaves.
type Case = (&'static str, fn(&mut Fleet), Reasons);

fn reasons(fleet: &Fleet, slot: Slot) -> Reasons {
    fleet.get(slot).expect("a record").reasons
}

#[test]
fn after_a_restart_what_is_as_its_status_says_is_settled() {
    let (mut fleet, slot) = settled();
    assert!(fleet.depart(slot).is_none());
    assert_eq!(fleet.tally().phases[Phase::Ready as usize], 1);
}

#[test]
fn after_a_restart_what_the_status_cannot_vouch_for_is_not_settled() {
    let mut tampered = status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady");
    tampered["readyReplicas"] = json!(9);
    for (what, object, expected) in [
        ("no status", object(UID, 100, 1, Value::Null), Reasons::ALL),
        (
            "a newer spec",
            object(UID, 100, 2, status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady")),
            Reasons::SPEC,
        ),
        ("another configuration", object(UID, 100, 1, status_of(1, 8, Phase::Ready, "ReplicasReady")), Reasons::ALL),
        ("a status that somebody changed", object(UID, 100, 1, tampered), Reasons::ALL),
        ("a taken name", object(UID, 100, 1, status_of(1, CONFIGURATION, Phase::Failed, "NameTaken")), Reasons::ALL),
        (
            "a refused write",
            object(UID, 100, 1, status_of(1, CONFIGURATION, Phase::Pending, "ApiServerRefused")),
            Reasons::ALL,
        ),
        (
            "a bad spec waits for its user",
            object(UID, 100, 1, status_of(1, CONFIGURATION, Phase::Failed, "InvalidGpuType")),
            Reasons::NONE,
        ),
    ] {
        let mut fleet = Fleet::new(CONFIGURATION);
        let slot = list(&mut fleet, object);
        assert_eq!(reasons(&fleet, slot), expected, "{what}");
    }
}

#[test]
fn each_change_has_its_reason() {
    let cases: [Case; 15] = [
        ("a spec", |fleet| see(fleet, object(UID, 101, 2, Value::Null)), Reasons::ALL),
        ("an annotation", |fleet| see(fleet, ready(101, 1)), Reasons::NONE),
        ("an event from the past", |fleet| see(fleet, object(UID, 99, 1, Value::Null)), Reasons::NONE),
        ("made anew", |fleet| see(fleet, object(OTHER_UID, 101, 1, Value::Null)), Reasons::ALL),
        (
            "a Deployment's status",
            |fleet| see_child(fleet, ChildKind::Deployment, &child(51, 1, UID)),
            Reasons::PROGRESS,
        ),
        (
            "a Deployment's spec",
            |fleet| see_child(fleet, ChildKind::Deployment, &child(51, 2, UID)),
            Reasons::PROGRESS | Reasons::EDIT,
        ),
        (
            "a Deployment that is to go",
            |fleet| see_child(fleet, ChildKind::Deployment, &Identity { deleting: true, ..child(51, 2, UID) }),
            Reasons::DEPLOYMENT,
        ),
        (
            "a Deployment of another spec in a list",
            |fleet| list_child(fleet, ChildKind::Deployment, &child(51, 2, UID)),
            Reasons::DEPLOYMENT,
        ),
        (
            "a Deployment from the past",
            |fleet| see_child(fleet, ChildKind::Deployment, &child(49, 2, UID)),
            Reasons::NONE,
        ),
        (
            "a list from the past",
            |fleet| list_child(fleet, ChildKind::Deployment, &child(49, 1, UID)),
            Reasons::PROGRESS,
        ),
        (
            "a Deployment gone",
            |fleet| see_child_gone(fleet, ChildKind::Deployment, &child(51, 1, UID)),
            Reasons::DEPLOYMENT,
        ),
        (
            "a Deployment that was gone before",
            |fleet| see_child_gone(fleet, ChildKind::Deployment, &child(49, 1, UID)),
            Reasons::NONE,
        ),
        (
            "a Deployment that lost its owner",
            |fleet| see_child(fleet, ChildKind::Deployment, &child(51, 1, OTHER_UID)),
            Reasons::DEPLOYMENT,
        ),
        ("a Service", |fleet| see_child(fleet, ChildKind::Service, &child(61, 0, UID)), Reasons::SERVICE),
        ("a Service gone", |fleet| see_child_gone(fleet, ChildKind::Service, &child(61, 0, UID)), Reasons::SERVICE),
    ];
    for (what, change, expected) in cases {
        let (mut fleet, slot) = settled();
        change(&mut fleet);
        assert_eq!(reasons(&fleet, slot), expected, "{what}");
    }
    // The same child of somebody we do not know is no news.
    let (mut fleet, _) = settled();
    let mut stranger = child(51, 1, UID);
    stranger.name = "stranger".into();
    assert_eq!(fleet.observe_child(ChildKind::Deployment, &stranger, false), None);
}

#[test]
fn what_a_new_list_does_not_name_is_gone() {
    let (mut fleet, slot) = settled();
    fleet.list_begins(List::Children(ChildKind::Deployment));
    assert_eq!(fleet.list_ends(List::Children(ChildKind::Deployment)), [slot]);
    assert_eq!(reasons(&fleet, slot), Reasons::DEPLOYMENT);
    fleet.list_begins(List::InferenceServices);
    fleet.list_ends(List::InferenceServices);
    assert!(fleet.is_empty());
    assert_eq!(*fleet.tally(), Tally::default());
}

#[test]
fn the_echo_of_our_own_writes_is_no_news_whether_it_comes_before_or_after_the_answer() {
    let after = Stamps { deployment: 70, service: 71, ..STAMPS };
    for echo_first in [true, false] {
        let mut fleet = Fleet::new(CONFIGURATION);
        fleet.children_are_listed();
        let slot = fleet.observe(object(UID, 100, 1, Value::Null), false).expect("a name");
        let task = fleet.depart(slot).expect("work");
        let departed = Departed::from(&task);
        let echo = |fleet: &mut Fleet| {
            fleet.observe_child(ChildKind::Deployment, &child(70, 1, UID), false);
            fleet.observe_child(ChildKind::Service, &child(71, 0, UID), false);
            fleet.observe(ready(110, 1), false);
        };
        if echo_first {
            echo(&mut fleet);
        }
        fleet.land(slot, &departed, Ok(done(1, after, Some(ready(110, 1)))));
        if !echo_first {
            echo(&mut fleet);
        }
        assert_eq!(reasons(&fleet, slot), Reasons::NONE, "echo first: {echo_first}");
    }
}

#[test]
fn what_changes_while_work_is_in_flight_is_not_lost() {
    let cases: [Case; 5] = [
        (
            "a spec",
            |fleet| see(fleet, object(UID, 105, 2, status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady"))),
            Reasons::SPEC,
        ),
        ("a Deployment", |fleet| see_child(fleet, ChildKind::Deployment, &child(90, 2, UID)), Reasons::PROGRESS),
        (
            "a Deployment gone",
            |fleet| see_child_gone(fleet, ChildKind::Deployment, &child(90, 1, UID)),
            Reasons::DEPLOYMENT,
        ),
        ("a Service", |fleet| see_child(fleet, ChildKind::Service, &child(90, 0, UID)), Reasons::SERVICE),
        ("made anew", |fleet| see(fleet, object(OTHER_UID, 105, 1, Value::Null)), Reasons::ALL),
    ];
    for (what, change, expected) in cases {
        let (mut fleet, slot) = settled();
        fleet.observe_child(ChildKind::Deployment, &child(80, 1, UID), false);
        let task = fleet.depart(slot).expect("work");
        let departed = Departed::from(&task);
        change(&mut fleet);
        assert!(fleet.depart(slot).is_none(), "{what}: never twice at once");
        fleet.land(slot, &departed, Ok(done(1, Stamps { deployment: 80, ..STAMPS }, None)));
        assert!(reasons(&fleet, slot).contains(expected), "{what}: {:?}", reasons(&fleet, slot));
        assert!(fleet.depart(slot).is_some(), "{what}");
    }
}

#[test]
fn a_spec_that_an_answer_brings_is_not_lost() {
    let (mut fleet, slot) = settled();
    fleet.observe_child(ChildKind::Deployment, &child(80, 1, UID), false);
    let departed = Departed::from(&fleet.depart(slot).expect("work"));
    let mut written = ready(110, 1);
    written.identity.generation = 2;
    fleet.land(slot, &departed, Ok(done(1, Stamps { deployment: 80, ..STAMPS }, Some(written))));
    // Its event comes later and is older than the answer.
    fleet.observe(object(UID, 109, 2, Value::Null), false);
    assert_eq!(reasons(&fleet, slot), Reasons::SPEC);
    let task = fleet.depart(slot).expect("work");
    assert!(task.generation == 2 && task.spec.is_some(), "{task:?}");
}

#[test]
fn what_failed_keeps_its_reasons() {
    let (mut fleet, slot) = settled();
    fleet.observe_child(ChildKind::Service, &child(61, 0, UID), false);
    let departed = Departed::from(&fleet.depart(slot).expect("work"));
    fleet.land(slot, &departed, Err(Error::Gone));
    let record = fleet.get(slot).expect("a record");
    assert_eq!((record.reasons, record.failures), (Reasons::SERVICE, 1));
}

#[test]
fn one_that_is_deleted_in_flight_goes_when_it_lands() {
    let (mut fleet, slot) = settled();
    fleet.observe_child(ChildKind::Service, &child(61, 0, UID), false);
    let departed = Departed::from(&fleet.depart(slot).expect("work"));
    fleet.remove("ns", "demo");
    assert_eq!(fleet.len(), 1);
    fleet.land(slot, &departed, Err(Error::Gone));
    assert!(fleet.is_empty());
}

#[test]
fn one_that_is_made_anew_in_flight_starts_from_nothing() {
    let (mut fleet, slot) = settled();
    fleet.observe_child(ChildKind::Service, &child(61, 0, UID), false);
    let departed = Departed::from(&fleet.depart(slot).expect("work"));
    fleet.remove("ns", "demo");
    assert_eq!(fleet.observe(object(OTHER_UID, 120, 1, Value::Null), false), Some(slot));
    assert!(fleet.depart(slot).is_none(), "never twice at once for one name");
    fleet.land(slot, &departed, Ok(done(1, STAMPS, None)));
    let task = fleet.depart(slot).expect("work");
    assert_eq!(
        (task.uid.to_string().as_str(), task.reasons, task.stamps),
        (OTHER_UID, Reasons::ALL, Stamps::default())
    );
}

#[test]
fn a_deployment_that_was_made_anew_and_has_come_to_the_same_generation_is_looked_at_as_another_one() {
    let (mut fleet, slot) = settled();
    assert!(fleet.observe_child(ChildKind::Deployment, &child_of_uid(OTHER_UID, 70, 1, UID), false).is_some());
    assert_eq!(reasons(&fleet, slot), Reasons::PROGRESS | Reasons::EDIT);
    let stamps = fleet.depart(slot).expect("work").stamps;
    let other = Deployment { identity: child_of_uid(OTHER_UID, 70, 1, UID), ..Deployment::default() };
    assert!(!plan::is_as_left(&stamps, &other));
}

#[test]
fn children_of_one_that_is_being_deleted_are_left_alone() {
    let (mut fleet, slot) = settled();
    let mut dying = ready(101, 1);
    dying.identity.deleting = true;
    fleet.observe(dying, false);
    fleet.observe_child_gone(ChildKind::Deployment, &child(70, 1, UID));
    assert!(fleet.depart(slot).is_none());
}

#[test]
fn a_slot_is_used_again_and_nothing_is_left_of_what_went() {
    let mut fleet = Fleet::new(CONFIGURATION);
    let count = 522;
    for number in 0..count {
        let mut object = object(UID, 100, 1, Value::Null);
        object.identity.name = format!("demo-{number}");
        fleet.observe(object, false);
    }
    assert_eq!(fleet.specs.len(), count);
    for number in 0..count {
        fleet.remove("ns", &format!("demo-{number}"));
    }
    assert_eq!((fleet.len(), *fleet.tally(), fleet.specs.len()), (0, Tally::default(), 0));
    assert_eq!(fleet.namespaces.len(), 1);
    fleet.observe(ready(100, 1), false);
    assert_eq!(fleet.records.len(), count);
}

#[test]
fn namespaces_that_come_and_go_leave_nothing_behind() {
    let mut fleet = Fleet::new(CONFIGURATION);
    let in_namespace = |namespace: String, name: &str| {
        let mut object = object(UID, 100, 1, Value::Null);
        (object.identity.namespace, object.identity.name) = (namespace, name.into());
        object
    };
    let kept = fleet.observe(in_namespace("kept".into(), "demo"), false).expect("a name");
    for number in 0..1000 {
        let namespace = format!("run-{number}");
        for name in ["one", "two"] {
            fleet.observe(in_namespace(namespace.clone(), name), false).expect("a name");
        }
        for name in ["one", "two"] {
            fleet.remove(&namespace, name);
        }
    }
    assert_eq!((fleet.len(), fleet.namespaces.len(), fleet.records.len()), (1, 2, 3));
    let record = fleet.get(kept).expect("a record");
    assert_eq!((fleet.namespace(record), fleet.name(record)), ("kept", "demo"));
}

#[test]
fn a_spec_that_was_refused_gets_its_service_once_it_is_mended() {
    let mut fleet = Fleet::new(CONFIGURATION);
    let slot = fleet.observe(object(UID, 100, 1, Value::Null), false).expect("a name");
    fleet.children_are_listed();
    let task = fleet.depart(slot).expect("work");
    let refused = Done { next: Next::Refused(Error::MissingField("model")), ..done(1, Stamps::default(), None) };
    fleet.land(slot, &Departed::from(&task), Ok(refused));
    assert!(fleet.depart(slot).is_none(), "waits for the user");
    see(&mut fleet, object(UID, 110, 2, status_of(1, CONFIGURATION, Phase::Failed, "MissingField")));
    assert!(fleet.depart(slot).expect("work").reasons.contains(Reasons::SERVICE));
}

/// Found by the simulation, seed 294: the edit was looked at, and nothing repaired it.
#[test]
fn a_service_that_was_edited_while_the_spec_was_refused_is_repaired_once_it_is_mended() {
    let mut fleet = Fleet::new(CONFIGURATION);
    let mut status = status_of(1, CONFIGURATION, Phase::Failed, "InvalidGpuType");
    status["observed"]["deploymentRevision"] = json!(0);
    let slot = list(&mut fleet, object(UID, 100, 1, status));
    assert_eq!(reasons(&fleet, slot), Reasons::NONE);
    see(&mut fleet, object(UID, 110, 2, status_of(1, CONFIGURATION, Phase::Failed, "InvalidGpuType")));
    assert!(fleet.depart(slot).expect("work").reasons.contains(Reasons::SERVICE));
}

/// The status was true once, so its checksum is right.
#[test]
fn a_status_that_somebody_puts_back_is_put_right_whenever_it_comes() {
    let lie = |version| object(UID, version, 1, status_of(1, CONFIGURATION, Phase::Progressing, "RollingOut"));
    let (mut fleet, slot) = settled();
    see(&mut fleet, lie(101));
    assert_eq!(reasons(&fleet, slot), Reasons::ALL);

    // While a look is in flight that has nothing to write.
    let (mut fleet, slot) = settled();
    let right = fleet.get(slot).expect("a record").summary;
    fleet.observe_child(ChildKind::Deployment, &child(80, 1, UID), false);
    let departed = Departed::from(&fleet.depart(slot).expect("work"));
    see(&mut fleet, lie(101));
    let looked = Done { summary: right, ..done(1, Stamps { deployment: 80, ..STAMPS }, None) };
    fleet.land(slot, &departed, Ok(looked));
    assert_eq!(reasons(&fleet, slot), Reasons::ALL);
}

#[test]
fn repairs_are_counted_and_forgotten_with_time() {
    let (mut fleet, slot) = settled();
    let mut version = 80;
    let mut repair = |fleet: &mut Fleet| {
        version += 1;
        fleet.observe_child(ChildKind::Deployment, &child(version, version.try_into().expect("small"), UID), false);
        let departed = Departed::from(&fleet.depart(slot).expect("work"));
        version += 1;
        let stamps = Stamps { deployment: version, deployment_revision: version.try_into().expect("small"), ..STAMPS };
        let summary = fleet.get(slot).expect("a record").summary;
        fleet.land(slot, &departed, Ok(Done { summary, repaired: true, ..done(1, stamps, None) }));
    };
    repair(&mut fleet);
    repair(&mut fleet);
    let repairs = |fleet: &Fleet| fleet.get(slot).expect("a record").repairs;
    assert_eq!(repairs(&fleet), 2);
    fleet.forget_repairs(1);
    assert_eq!(repairs(&fleet), 1);
    // A user who changes the spec is served at once.
    see(&mut fleet, object(UID, 200, 2, status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady")));
    assert_eq!((repairs(&fleet), reasons(&fleet, slot)), (0, Reasons::SPEC));
}
