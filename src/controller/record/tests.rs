//! How each observation, and each result of a reconcile, changes one record.

mod rollout;
mod spec;
mod status;

use serde_json::Value;
use std::num::NonZeroU64;
use std::time::Duration;

use super::*;
use crate::controller::name_arena::NameArena;
use crate::controller::task_start::TaskStart;
use crate::error::Error;
use crate::model::{Action, Outcome, Reached};
use crate::testing::fixtures::{CONFIG_HASH, OTHER_UID, STAMPS, UID, child, judge, object, outcome, ready, status_of};
use crate::time::Timestamp;

fn record(object: &InferenceServiceView) -> Record {
    let name = NameArena::default().add("demo").expect("a name");
    Record::new(0, name, object, &judge, true).0
}

/// A record that matches its status, with both children.
fn settled() -> Record {
    let record = record(&ready(100, 1));
    assert!(record.is_settled() && record.versions == STAMPS);
    record
}

/// A settled record without children.
fn childless() -> Record {
    Record { versions: ObservedVersions::default(), ..settled() }
}

fn start_task(record: &mut Record, dirty: Dirty) -> TaskStart {
    record.dirty = dirty;
    TaskStart::from(&record.start("ns".into(), "demo".into(), None))
}

/// A reconcile that ends with these versions and an unchanged status.
fn ends(record: &Record, generation: u32, versions: ObservedVersions) -> Outcome {
    Outcome { summary: record.summary, ..outcome(generation, versions, None) }
}

#[test]
fn nothing_is_done_for_one_that_goes() {
    for mark in [Flags::DELETING, Flags::GONE] {
        let mut record = settled();
        record.dirty = Dirty::SPEC_AND_CHILDREN;
        assert!(!record.is_settled());
        record.flags.set(mark, true);
        assert!(record.is_settled());
    }
}

#[test]
fn of_somebody_elses_child_only_the_loss_of_ours_is_news() {
    for kind in [ChildKind::Deployment, ChildKind::Service] {
        for (what, mut record, version, expected) in [
            ("lost", settled(), 61, true),
            ("as it is known", settled(), if kind == ChildKind::Service { 60 } else { 50 }, false),
            ("from the past", settled(), 49, false),
            ("never ours", childless(), 61, false),
        ] {
            assert_eq!(record.observe_child(kind, &child(version, 1, OTHER_UID), Seen::Event), expected, "{what}");
            assert_eq!(record.dirty == kind.dirty(), expected, "{what}");
        }
    }
}

#[test]
fn of_our_own_child_what_is_new_is_news() {
    for (what, kind, version, how, reason) in [
        ("a Service", ChildKind::Service, 61, Seen::Event, Dirty::SERVICE),
        ("a Service, again", ChildKind::Service, 60, Seen::Event, Dirty::empty()),
        ("a listed Service", ChildKind::Service, 60, Seen::Listed, Dirty::empty()),
        ("a listed Service from the past", ChildKind::Service, 59, Seen::Listed, Dirty::SERVICE),
        ("a Deployment's status", ChildKind::Deployment, 51, Seen::Event, Dirty::ROLLOUT),
        ("a Deployment, again", ChildKind::Deployment, 50, Seen::Event, Dirty::empty()),
        ("a listed Deployment", ChildKind::Deployment, 50, Seen::Listed, Dirty::empty()),
        ("a listed Deployment from the past", ChildKind::Deployment, 49, Seen::Listed, Dirty::ROLLOUT),
    ] {
        let mut record = settled();
        // A Service with the revision of the Deployment is still handled as a Service.
        assert_eq!(record.observe_child(kind, &child(version, 1, UID), how), reason != Dirty::empty(), "{what}");
        assert_eq!(record.dirty, reason, "{what}");
    }
}

#[test]
fn that_a_child_is_gone_is_news_where_it_was_known() {
    for (what, mut record, version, expected) in [
        ("known", settled(), 51, true),
        ("known at this version", settled(), 50, true),
        ("from the past", settled(), 49, false),
        ("never known", childless(), 51, false),
    ] {
        assert_eq!(record.observe_child_gone(ChildKind::Deployment, &child(version, 1, UID)), expected, "{what}");
        assert_eq!(record.dirty == Dirty::DEPLOYMENT, expected, "{what}");
    }
}

/// Otherwise an earlier read would clear the dirty bit.
#[test]
fn a_child_that_vanished_is_ahead_of_what_was_read_before() {
    let mut record = settled();
    let start = start_task(&mut record, Dirty::ROLLOUT);
    assert!(record.child_vanished(ChildKind::Deployment));
    let outcome = ends(&record, 1, STAMPS);
    record.finish(&start, &outcome);
    assert_eq!(record.dirty, Dirty::DEPLOYMENT);
    assert!(!childless().child_vanished(ChildKind::Deployment));
}

/// The list may have been made before the Service, or after its label was removed.
#[test]
fn a_service_that_a_list_does_not_name_while_it_is_made_is_looked_at_again() {
    for (kind, expected) in [(ChildKind::Service, Dirty::SERVICE), (ChildKind::Deployment, Dirty::empty())] {
        let mut record = childless();
        let start = start_task(&mut record, Dirty::SPEC_AND_CHILDREN);
        assert!(!record.child_vanished(kind));
        let outcome = ends(&record, 1, STAMPS);
        record.finish(&start, &outcome);
        assert_eq!(record.dirty, expected, "{kind:?}");
        let again = start_task(&mut record, Dirty::SERVICE);
        let outcome = ends(&record, 1, STAMPS);
        record.finish(&again, &outcome);
        assert_eq!(record.dirty, Dirty::empty(), "{kind:?}");
    }
    let mut idle = childless();
    assert!(!idle.child_vanished(ChildKind::Service) && !idle.flags.contains(Flags::MISSED));
}

#[test]
fn a_service_comes_along_only_where_a_spec_was_refused() {
    let failed = || Record { versions: STAMPS.of_no_spec(), ..settled() };
    let spec_and_service = Dirty::SPEC | Dirty::SERVICE;
    for (what, mut record, dirty, expected) in [
        ("served", settled(), Dirty::SPEC, Dirty::SPEC),
        ("without a Service", childless(), Dirty::SPEC, spec_and_service),
        ("without a Service, a look", childless(), Dirty::ROLLOUT, Dirty::ROLLOUT | Dirty::SERVICE),
        ("refused", failed(), Dirty::SPEC, spec_and_service),
        ("refused, both", failed(), spec_and_service, spec_and_service),
        // The spec that is read may be a corrected one that the watch has not shown yet.
        ("refused, a look", failed(), Dirty::ROLLOUT, Dirty::ROLLOUT | Dirty::SERVICE),
        ("refused, an edit", failed(), Dirty::DEPLOYMENT, Dirty::DEPLOYMENT | Dirty::SERVICE),
        ("mended, and its status not written", failed(), Dirty::STATUS, Dirty::STATUS),
        ("mended anew", failed(), Dirty::STATUS | Dirty::SPEC, Dirty::STATUS | spec_and_service),
    ] {
        assert_eq!(start_task(&mut record, dirty).dirty, expected, "{what}");
        assert_eq!(record.dirty, Dirty::empty(), "{what}");
    }
}

#[test]
fn an_answer_that_is_older_than_what_was_seen_is_not_taken_in() {
    let mut record = settled();
    let start = start_task(&mut record, Dirty::DEPLOYMENT);
    record.observe(&ready(120, 1));
    record.finish(&start, &outcome(1, STAMPS, Some(ready(110, 1))));
    assert_eq!((record.dirty, record.resource_version), (Dirty::empty(), NonZeroU64::new(120)));
    // Nor is a response for another object of the same name.
    let mut record = settled();
    let start = start_task(&mut record, Dirty::DEPLOYMENT);
    let of_another = object(OTHER_UID, 110, 1, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady"));
    record.finish(&start, &outcome(1, STAMPS, Some(of_another)));
    assert_eq!((record.uid, record.resource_version), (start.uid, NonZeroU64::new(100)));
}

#[test]
fn only_what_somebody_else_changed_counts_as_a_repair() {
    for (repaired, expected) in [(true, 1), (false, 0)] {
        let mut record = settled();
        let start = start_task(&mut record, Dirty::ROLLOUT);
        let outcome = Outcome { repaired, ..ends(&record, 1, STAMPS) };
        record.finish(&start, &outcome);
        assert_eq!(record.repairs, expected);
    }
}

#[test]
fn a_refusal_is_tried_again_unless_the_user_has_to_mend_the_spec() {
    let taken = || Error::NameTaken { kind: "Service", namespace: "ns".into(), name: "demo".into(), owner: "x".into() };
    for (action, failures, dirty) in [
        (Action::AwaitChange, 0, Dirty::empty()),
        (Action::Recheck(Dirty::STATUS), 0, Dirty::STATUS),
        (Action::Recheck(Dirty::COUNT), 0, Dirty::COUNT),
        (Action::RequeueAfter(Dirty::empty(), Duration::from_secs(1)), 0, Dirty::DUE),
        (Action::Rejected(Error::MissingField("model")), 0, Dirty::empty()),
        (Action::Rejected(taken()), 4, Dirty::DEPLOYMENT),
    ] {
        let mut record = settled();
        record.failures = 3;
        let start = start_task(&mut record, Dirty::DEPLOYMENT);
        let outcome = Outcome { action, ..ends(&record, 1, STAMPS) };
        record.finish(&start, &outcome);
        assert_eq!((record.failures, record.dirty), (failures, dirty), "{:?}", outcome.action);
        assert!(!record.flags.contains(Flags::IN_FLIGHT));
    }
}

#[test]
fn looks_are_counted_while_they_have_nothing_to_say() {
    let moving = || object(UID, 100, 1, status_of(1, CONFIG_HASH, Phase::Progressing, "RollingOut"));
    for (what, object, dirty, writes, expected) in [
        ("nothing to say", moving(), Dirty::ROLLOUT, false, 3),
        ("written", moving(), Dirty::ROLLOUT, true, 0),
        ("Ready", ready(100, 1), Dirty::ROLLOUT, false, 0),
        ("a repair", moving(), Dirty::DEPLOYMENT, false, 0),
    ] {
        let mut record = record(&object);
        record.quiet_reads = 2;
        let start = start_task(&mut record, dirty);
        let mut outcome = ends(&record, 1, STAMPS);
        let mut written = object.clone();
        written.meta.resource_version = 110;
        outcome.written = writes.then(|| Box::new(written));
        record.finish(&start, &outcome);
        assert_eq!(record.quiet_reads, expected, "{what}");
    }
}

#[test]
fn what_was_seen_of_a_child_in_flight_is_not_taken_for_looked_at() {
    for (what, kind, seen, ended, expected) in [
        ("a Deployment", ChildKind::Deployment, 70, STAMPS, Dirty::ROLLOUT),
        (
            "a Deployment, and it was read",
            ChildKind::Deployment,
            70,
            ObservedVersions { deployment: NonZeroU64::new(70), ..STAMPS },
            Dirty::empty(),
        ),
        ("a Service", ChildKind::Service, 70, STAMPS, Dirty::SERVICE),
        (
            "a Service, and it was read",
            ChildKind::Service,
            70,
            ObservedVersions { service: NonZeroU64::new(70), ..STAMPS },
            Dirty::empty(),
        ),
    ] {
        let mut record = settled();
        let start = start_task(&mut record, Dirty::DEPLOYMENT | Dirty::SERVICE);
        record.observe_child(kind, &child(seen, 1, UID), Seen::Event);
        let outcome = ends(&record, 1, ended);
        record.finish(&start, &outcome);
        assert_eq!(record.dirty, expected, "{what}");
    }
    // A child that was not in the task is unchanged, whatever the versions say.
    let mut record = settled();
    let start = start_task(&mut record, Dirty::ROLLOUT);
    record.observe_child(ChildKind::Service, &child(70, 1, UID), Seen::Event);
    let outcome = ends(&record, 1, ObservedVersions { service: NonZeroU64::new(70), ..STAMPS });
    record.finish(&start, &outcome);
    assert_eq!(record.dirty, Dirty::SERVICE);
}

#[test]
fn what_stood_in_the_way_and_goes_is_news() {
    let mut record = childless();
    let gone = child(70, 1, OTHER_UID);
    assert!(!record.observe_child_gone(ChildKind::Deployment, &gone));
    record.failures = 7;
    assert!(record.observe_child_gone(ChildKind::Deployment, &gone));
    assert_eq!((record.dirty, record.failures, record.versions.deployment), (Dirty::DEPLOYMENT, 0, None));
}

/// An HPA on the child causes a repair every 45 s on average, for hours; then it is deleted.
#[test]
fn what_was_repaired_for_hours_is_forgotten_as_soon_as_what_was_repaired_for_minutes() {
    let mut index = crate::controller::index::Index::new(Box::new(judge));
    let slot = index.observe(ready(100, 1), Seen::Listed).expect("a name");
    index.children_are_listed();
    let mut version = 51;
    for repair in 0..4 * 80 {
        version += 1;
        index.observe_child(ChildKind::Deployment, &child(version, 2, UID), Seen::Event);
        let task = index.start(slot).expect("work");
        let versions = ObservedVersions { deployment: NonZeroU64::new(version + 1), ..task.versions };
        version += 1;
        let outcome = Outcome { versions, repaired: true, ..Outcome::unchanged(&task) };
        index.finish(slot, &TaskStart::from(&task), Ok(outcome));
        if repair % 7 == 6 {
            index.forget_repairs(1);
        }
    }
    // Half an hour without a change.
    index.forget_repairs(6);
    let repairs = index.get(slot).expect("a record").repairs;
    assert!(repairs < crate::reconcile::plan::CONTESTED_AFTER, "{repairs}, one less in each five minutes");
}

/// Found by the simulation, seed 3568: writes at full speed until the datastore had reached that version again.
#[test]
fn an_answer_from_a_datastore_that_was_put_back_is_written_again_ever_more_slowly() {
    let mut record = settled();
    for repairs in 1..4 {
        let start = start_task(&mut record, Dirty::SPEC_AND_CHILDREN);
        let other = status_of(1, CONFIG_HASH, Phase::Progressing, "RollingOut");
        record.finish(&start, &outcome(1, STAMPS, Some(object(UID, 50, 1, other))));
        assert_eq!((record.dirty, record.repairs), (Dirty::SPEC_AND_CHILDREN, repairs));
    }
}
