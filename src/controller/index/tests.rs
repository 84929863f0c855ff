//! How watch events change the index: when an InferenceService is settled, and when it is not.

#![allow(clippy::needless_pass_by_value, clippy::too_many_lines)]

mod changed;
mod in_flight;
mod judged;
mod memory;
mod namespaces;
mod standby;

use serde_json::{Value, json};
use std::num::{NonZeroU32, NonZeroU64};

use super::*;
use crate::api::Phase;
use crate::model::Dirty;
use crate::model::ObservedVersions;
use crate::model::view::DeploymentView;
use crate::model::{Action, Outcome};
use crate::reconcile::plan;
use crate::testing::fixtures::{
    CONFIG_HASH, DEPLOYMENT_VERSION, OTHER_UID, SERVICE_VERSION, STAMPS, UID, child, child_of_uid, judge, object,
    outcome, ready, status_of,
};

/// After a restart: everything is listed and matches the status.
fn settled() -> (Index, Slot) {
    let mut index = Index::new(Box::new(judge));
    let slot = list(&mut index, ready(100, 1));
    assert_eq!(dirty(&index, slot), Dirty::empty());
    (index, slot)
}

fn list(index: &mut Index, object: InferenceServiceView) -> Slot {
    index.list_begins(ListKind::InferenceServices);
    let slot = index.observe(object, Seen::Listed).expect("a name");
    index.list_ends(ListKind::InferenceServices);
    for (kind, version) in [(ChildKind::Deployment, DEPLOYMENT_VERSION), (ChildKind::Service, SERVICE_VERSION)] {
        index.list_begins(ListKind::Children(kind));
        index.observe_child(kind, &child(version, u32::from(kind == ChildKind::Deployment), UID), Seen::Listed);
        index.list_ends(ListKind::Children(kind));
    }
    index.children_are_listed();
    slot
}

fn see(index: &mut Index, object: InferenceServiceView) {
    index.observe(object, Seen::Event);
}

fn see_child(index: &mut Index, kind: ChildKind, child: &Meta) {
    index.observe_child(kind, child, Seen::Event);
}

fn list_child(index: &mut Index, kind: ChildKind, child: &Meta) {
    index.observe_child(kind, child, Seen::Listed);
}

fn see_child_gone(index: &mut Index, kind: ChildKind, child: &Meta) {
    index.observe_child_gone(kind, child);
}

/// The name of a change, the change of the index, and the dirty bits that it leaves.
type Case = (&'static str, fn(&mut Index), Dirty);

fn dirty(index: &Index, slot: Slot) -> Dirty {
    index.get(slot).expect("a record").dirty
}

#[test]
fn after_a_restart_what_is_as_its_status_says_is_settled() {
    let (mut index, slot) = settled();
    assert!(index.start(slot).is_none());
    assert_eq!(index.counts().phases[Phase::Ready as usize], 1);
}

#[test]
fn after_a_restart_what_the_status_cannot_vouch_for_is_not_settled() {
    let mut tampered = status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady");
    tampered["readyReplicas"] = json!(9);
    for (what, object, expected) in [
        ("no status", object(UID, 100, 1, Value::Null), Dirty::SPEC_AND_CHILDREN),
        ("a newer spec", object(UID, 100, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady")), Dirty::SPEC),
        (
            "other children wait for their turn",
            object(UID, 100, 1, status_of(1, 8, Phase::Ready, "ReplicasReady")),
            Dirty::empty(),
        ),
        ("a status that somebody changed", object(UID, 100, 1, tampered), Dirty::SPEC_AND_CHILDREN),
        (
            "a taken name",
            object(UID, 100, 1, status_of(1, CONFIG_HASH, Phase::Failed, "NameTaken")),
            Dirty::SPEC_AND_CHILDREN,
        ),
        (
            "a refused write",
            object(UID, 100, 1, status_of(1, CONFIG_HASH, Phase::Pending, "ApiServerRefused")),
            Dirty::SPEC_AND_CHILDREN,
        ),
        (
            "a bad spec waits for its user",
            object(UID, 100, 1, status_of(1, CONFIG_HASH, Phase::Failed, "InvalidGpuType")),
            Dirty::empty(),
        ),
    ] {
        let mut index = Index::new(Box::new(judge));
        let slot = list(&mut index, object);
        assert_eq!(dirty(&index, slot), expected, "{what}");
    }
}

#[test]
fn each_change_has_its_reason() {
    let cases: [Case; 15] = [
        ("a spec", |index| see(index, object(UID, 101, 2, Value::Null)), Dirty::SPEC_AND_CHILDREN),
        ("an annotation", |index| see(index, ready(101, 1)), Dirty::empty()),
        ("an event from the past", |index| see(index, object(UID, 99, 1, Value::Null)), Dirty::empty()),
        ("made anew", |index| see(index, object(OTHER_UID, 101, 1, Value::Null)), Dirty::SPEC_AND_CHILDREN),
        ("a Deployment's status", |index| see_child(index, ChildKind::Deployment, &child(51, 1, UID)), Dirty::ROLLOUT),
        (
            "a Deployment's spec",
            |index| see_child(index, ChildKind::Deployment, &child(51, 2, UID)),
            Dirty::ROLLOUT | Dirty::EDIT,
        ),
        (
            "a Deployment that is to go",
            |index| see_child(index, ChildKind::Deployment, &Meta { deleting: true, ..child(51, 2, UID) }),
            Dirty::DEPLOYMENT,
        ),
        (
            "a Deployment of another spec in a list",
            |index| list_child(index, ChildKind::Deployment, &child(51, 2, UID)),
            Dirty::DEPLOYMENT,
        ),
        (
            "a Deployment from the past",
            |index| see_child(index, ChildKind::Deployment, &child(49, 2, UID)),
            Dirty::empty(),
        ),
        ("a list from the past", |index| list_child(index, ChildKind::Deployment, &child(49, 1, UID)), Dirty::ROLLOUT),
        (
            "a Deployment gone",
            |index| see_child_gone(index, ChildKind::Deployment, &child(51, 1, UID)),
            Dirty::DEPLOYMENT,
        ),
        (
            "a Deployment that was gone before",
            |index| see_child_gone(index, ChildKind::Deployment, &child(49, 1, UID)),
            Dirty::empty(),
        ),
        (
            "a Deployment that lost its owner",
            |index| see_child(index, ChildKind::Deployment, &child(51, 1, OTHER_UID)),
            Dirty::DEPLOYMENT,
        ),
        ("a Service", |index| see_child(index, ChildKind::Service, &child(61, 0, UID)), Dirty::SERVICE),
        ("a Service gone", |index| see_child_gone(index, ChildKind::Service, &child(61, 0, UID)), Dirty::SERVICE),
    ];
    for (what, change, expected) in cases {
        let (mut index, slot) = settled();
        change(&mut index);
        assert_eq!(dirty(&index, slot), expected, "{what}");
    }
    // The same child without a known InferenceService is ignored.
    let (mut index, _) = settled();
    let mut stranger = child(51, 1, UID);
    stranger.name = "stranger".into();
    assert_eq!(index.observe_child(ChildKind::Deployment, &stranger, Seen::Event), None);
}

#[test]
fn what_a_new_list_does_not_name_is_gone() {
    let (mut index, slot) = settled();
    index.list_begins(ListKind::Children(ChildKind::Deployment));
    assert_eq!(index.list_ends(ListKind::Children(ChildKind::Deployment)), [slot]);
    assert_eq!(dirty(&index, slot), Dirty::DEPLOYMENT);
    index.list_begins(ListKind::InferenceServices);
    index.list_ends(ListKind::InferenceServices);
    assert!(index.is_empty());
    assert_eq!(*index.counts(), Counts::default());
}

#[test]
fn a_deployment_that_was_made_anew_and_has_come_to_the_same_generation_is_looked_at_as_another_one() {
    let (mut index, slot) = settled();
    assert!(index.observe_child(ChildKind::Deployment, &child_of_uid(OTHER_UID, 70, 1, UID), Seen::Event).is_some());
    assert_eq!(dirty(&index, slot), Dirty::ROLLOUT | Dirty::EDIT);
    let versions = index.start(slot).expect("work").versions;
    let other = DeploymentView { meta: child_of_uid(OTHER_UID, 70, 1, UID), ..DeploymentView::default() };
    assert!(!plan::is_as_left(&versions, &other));
}

#[test]
fn children_of_one_that_is_being_deleted_are_left_alone() {
    let (mut index, slot) = settled();
    let mut dying = ready(101, 1);
    dying.meta.deleting = true;
    index.observe(dying, Seen::Event);
    index.observe_child_gone(ChildKind::Deployment, &child(70, 1, UID));
    assert!(index.start(slot).is_none());
}

#[test]
fn a_slot_is_used_again_and_nothing_is_left_of_what_went() {
    let mut index = Index::new(Box::new(judge));
    let count = 522;
    for number in 0..count {
        let mut object = object(UID, 100, 1, Value::Null);
        object.meta.name = format!("demo-{number}");
        index.observe(object, Seen::Event);
    }
    assert_eq!(index.specs.len(), count);
    for number in 0..count {
        index.remove("ns", &format!("demo-{number}"));
    }
    assert_eq!((index.len(), *index.counts(), index.specs.len()), (0, Counts::default(), 0));
    assert_eq!(index.namespaces.len(), 1);
    index.observe(ready(100, 1), Seen::Event);
    assert_eq!(index.records.len(), count);
}

#[test]
fn namespaces_that_come_and_go_leave_nothing_behind() {
    let mut index = Index::new(Box::new(judge));
    let in_namespace = |namespace: String, name: &str| {
        let mut object = object(UID, 100, 1, Value::Null);
        (object.meta.namespace, object.meta.name) = (namespace, name.into());
        object
    };
    let kept = index.observe(in_namespace("kept".into(), "demo"), Seen::Event).expect("a name");
    for number in 0..1000 {
        let namespace = format!("run-{number}");
        for name in ["one", "two"] {
            index.observe(in_namespace(namespace.clone(), name), Seen::Event).expect("a name");
        }
        for name in ["one", "two"] {
            index.remove(&namespace, name);
        }
    }
    assert_eq!((index.len(), index.namespaces.len(), index.records.len()), (1, 2, 3));
    let record = index.get(kept).expect("a record");
    assert_eq!((index.namespace(record), index.name(record)), ("kept", "demo"));
}

#[test]
fn a_spec_that_was_refused_gets_its_service_once_it_is_mended() {
    let mut index = Index::new(Box::new(judge));
    let slot = index.observe(object(UID, 100, 1, Value::Null), Seen::Event).expect("a name");
    index.children_are_listed();
    let task = index.start(slot).expect("work");
    let refused = Outcome {
        action: Action::Rejected(Error::MissingField("model")),
        ..outcome(1, ObservedVersions::default(), None)
    };
    index.finish(slot, &TaskStart::from(&task), Ok(refused));
    assert!(index.start(slot).is_none(), "waits for the user");
    see(&mut index, object(UID, 110, 2, status_of(1, CONFIG_HASH, Phase::Failed, "MissingField")));
    assert!(index.start(slot).expect("work").dirty.contains(Dirty::SERVICE));
}

/// Found by the simulation, seed 294: the edit was read, and nothing repaired it.
#[test]
fn a_service_that_was_edited_while_the_spec_was_refused_is_repaired_once_it_is_mended() {
    let mut index = Index::new(Box::new(judge));
    let mut status = status_of(1, CONFIG_HASH, Phase::Failed, "InvalidGpuType");
    status["observed"]["deploymentRevision"] = json!(0);
    let slot = list(&mut index, object(UID, 100, 1, status));
    assert_eq!(dirty(&index, slot), Dirty::empty());
    see(&mut index, object(UID, 110, 2, status_of(1, CONFIG_HASH, Phase::Failed, "InvalidGpuType")));
    assert!(index.start(slot).expect("work").dirty.contains(Dirty::SERVICE));
}

/// The status was true once, so its checksum is right.
#[test]
fn a_status_that_somebody_puts_back_is_put_right_whenever_it_comes() {
    let lie = |version| object(UID, version, 1, status_of(1, CONFIG_HASH, Phase::Progressing, "RollingOut"));
    let (mut index, slot) = settled();
    see(&mut index, lie(101));
    assert_eq!(dirty(&index, slot), Dirty::DEPLOYMENT | Dirty::SERVICE);

    // During a reconcile that has nothing to write.
    let (mut index, slot) = settled();
    let right = index.get(slot).expect("a record").summary;
    index.observe_child(ChildKind::Deployment, &child(80, 1, UID), Seen::Event);
    let start = TaskStart::from(&index.start(slot).expect("work"));
    see(&mut index, lie(101));
    let looked =
        Outcome { summary: right, ..outcome(1, ObservedVersions { deployment: NonZeroU64::new(80), ..STAMPS }, None) };
    index.finish(slot, &start, Ok(looked));
    assert_eq!(dirty(&index, slot), Dirty::SPEC_AND_CHILDREN);
}

#[test]
fn repairs_are_counted_and_forgotten_with_time() {
    let (mut index, slot) = settled();
    let mut version = 80;
    let mut repair = |index: &mut Index| {
        version += 1;
        index.observe_child(
            ChildKind::Deployment,
            &child(version, version.try_into().expect("small"), UID),
            Seen::Event,
        );
        let start = TaskStart::from(&index.start(slot).expect("work"));
        version += 1;
        let versions = ObservedVersions {
            deployment: NonZeroU64::new(version),
            deployment_revision: NonZeroU32::new(version.try_into().expect("small")),
            ..STAMPS
        };
        let summary = index.get(slot).expect("a record").summary;
        index.finish(slot, &start, Ok(Outcome { summary, repaired: true, ..outcome(1, versions, None) }));
    };
    repair(&mut index);
    repair(&mut index);
    let repairs = |index: &Index| index.get(slot).expect("a record").repairs;
    assert_eq!(repairs(&index), 2);
    index.forget_repairs(1);
    assert_eq!(repairs(&index), 1);
    // A change of the spec is acted on at once.
    see(&mut index, object(UID, 200, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady")));
    assert_eq!((repairs(&index), dirty(&index, slot)), (0, Dirty::SPEC));
}
