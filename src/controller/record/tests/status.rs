//! Statuses: the operator's own, those of an older one and those of others.

use super::*;
use crate::testing::fixtures::status_of_port;

#[test]
fn a_status_that_nobody_vouches_for_keeps_nothing_but_the_times_of_its_conditions() {
    let mut record = settled();
    let before = record.summary.expect("a summary");
    let mut changed = status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady");
    changed["readyReplicas"] = serde_json::json!(9);
    record.observe(&object(UID, 101, 1, changed));
    let summary = record.summary.expect("a summary");
    assert_eq!(
        (record.dirty, summary.checksum, summary.ready_since),
        (Dirty::SPEC_AND_CHILDREN, 0, before.ready_since)
    );
    record.observe(&object(UID, 102, 1, Value::Null));
    let summary = record.summary.expect("what was known of its times");
    assert_eq!((summary.checksum, summary.ready_since), (0, before.ready_since));
}

/// So that replicas which never start are noticed in time, whatever is restarted or touched.
#[test]
fn after_a_restart_what_is_on_its_way_has_a_time_at_which_it_is_looked_at() {
    let moving = status_of(1, CONFIG_HASH, Phase::Progressing, "RollingOut");
    assert_eq!(record(&object(UID, 100, 1, moving)).dirty, Dirty::DUE);
    let degraded = status_of(1, CONFIG_HASH, Phase::Degraded, "ReplicasUnavailable");
    assert_eq!(record(&object(UID, 100, 1, degraded)).dirty, Dirty::DUE);
}

/// The status of an old operator tells whether this spec was Ready, and since when it is not.
#[test]
fn other_settings_forget_nothing_of_the_status() {
    let record = record(&object(UID, 100, 1, status_of(1, 8, Phase::Degraded, "ReplicasUnavailable")));
    let summary = record.summary.expect("a summary");
    assert!(summary.is_current && summary.reached == Reached::Ready);
    assert_eq!((record.dirty, record.versions), (Dirty::DUE, STAMPS), "it waits for its turn");
    let (of_the_spec_before, _) =
        Record::new(0, record.name, &object(UID, 100, 2, status_of(1, 8, Phase::Ready, "ReplicasReady")), &judge, true);
    assert!(!of_the_spec_before.summary.expect("a summary").is_current);
}

/// Its children were built, and another catalogue took force before its status said so.
#[test]
fn a_status_that_does_not_say_yet_what_was_built_last_proves_nothing() {
    let mut record = settled();
    let judge =
        |record: &Record, object: InferenceServiceView| record.judge(&object, &|_, _| Standing::UpToDate, false);
    let of_the_spec_before = || object(UID, 100, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady"));
    assert_eq!(judge(&record, ready(100, 1)), Standing::UpToDate);
    // What is Ready may be so still, such as after a repair of a label, and waits for its turn.
    for (phase, replicas) in [(Phase::Ready, 1), (Phase::Progressing, 0)] {
        record.summary = Some(Summary { phase, ..record.summary.expect("a summary") });
        assert_eq!(judge(&record, object(UID, 100, 1, Value::Null)), Standing::Outdated { replicas });
        assert_eq!(judge(&record, of_the_spec_before()), Standing::Outdated { replicas });
    }
    record.dirty = Dirty::SPEC;
    assert_eq!(judge(&record, of_the_spec_before()), Standing::UpToDate, "it is about to be built");
}

/// An API server whose CRD has no such field prunes it.
#[test]
fn a_status_whose_stamps_are_not_kept_is_written_once() {
    let mut record = settled();
    let start = start_task(&mut record, Dirty::DEPLOYMENT);
    let mut cut = status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady");
    cut.as_object_mut().expect("a status").remove("observed");
    let outcome = Outcome { summary: record.summary, ..outcome(1, STAMPS, Some(object(UID, 110, 1, cut.clone()))) };
    assert!(!record.finish(&start, &outcome), "it is told");
    assert_eq!(record.dirty, Dirty::empty());
    record.observe(&object(UID, 110, 1, cut.clone()));
    record.observe(&object(UID, 111, 1, cut));
    assert_eq!(record.dirty, Dirty::empty(), "nor when somebody touches it");
    let start = start_task(&mut record, Dirty::DEPLOYMENT);
    let kept = Outcome { summary: record.summary, ..self::outcome(1, STAMPS, Some(ready(112, 1))) };
    assert!(record.finish(&start, &kept));
}

#[test]
fn a_status_that_is_none_of_ours_is_a_repair_where_one_was_known() {
    let mut record = settled();
    record.summary.as_mut().expect("a status").written = 77;
    record.observe(&object(UID, 101, 1, Value::Null));
    let summary = record.summary.expect("its times are kept");
    assert_eq!((record.repairs, summary.checksum, summary.written), (1, 0, 0));
    assert_eq!(summary.ready_since, settled().summary.expect("a status").ready_since);
    // If there was no status, none was removed.
    let mut new = self::record(&object(UID, 100, 1, Value::Null));
    new.observe(&object(UID, 101, 1, Value::Null));
    assert_eq!((new.repairs, new.summary), (0, None));
    // Nor is it a repair when a status of other settings is first seen.
    assert_eq!(self::record(&object(UID, 100, 1, status_of(1, 8, Phase::Ready, "ReplicasReady"))).repairs, 0);
}

/// The same status with another time: it was not written, so its age is unchanged.
#[test]
fn a_time_that_was_put_right_is_kept_without_a_write() {
    let mut record = settled();
    record.summary.as_mut().expect("a status").written = 77;
    let start = start_task(&mut record, Dirty::ROLLOUT);
    let later = record.summary.map(|summary| Summary { abnormal_since: Timestamp(5), written: 99, ..summary });
    let outcome = Outcome { summary: later, ..ends(&record, 1, STAMPS) };
    assert!(record.finish(&start, &outcome));
    let summary = record.summary.expect("a status");
    assert_eq!((summary.abnormal_since, summary.written, record.dirty), (Timestamp(5), 77, Dirty::empty()));
}

/// No watch reports it. Of two operators, each would otherwise correct the other's status forever; but one that timed out
/// before it had read the Service does not know its port.
#[test]
fn the_port_of_the_service_is_learnt_from_another_operator_and_not_forgotten_by_one() {
    let port = std::num::NonZeroU16::new(8080);
    let says = |reason, port| status_of_port(1, CONFIG_HASH, Phase::Ready, reason, port);
    let mut record = settled();
    let mut forged = says("Forged", 8080);
    forged["readyReplicas"] = serde_json::json!(9);
    record.observe(&object(UID, 101, 1, forged));
    assert_eq!(record.service_port, None, "nobody vouches for it");
    record.observe(&object(UID, 102, 1, says("ReplicasReady", 8080)));
    record.observe(&object(UID, 103, 1, says("Other", 8080)));
    assert_eq!(record.service_port, port);
    record.observe(&object(UID, 104, 1, says("Timeout", 0)));
    assert_eq!(record.service_port, port);
}

/// Or else replicas that another operator's change has only just started would be missed at once.
#[test]
fn a_status_seen_while_other_children_were_read_does_not_wait_like_the_children_before() {
    let seen_meanwhile = |revision: u32| {
        let mut record = settled();
        let start = start_task(&mut record, Dirty::ROLLOUT);
        let revision = std::num::NonZeroU32::new(revision);
        let outcome = ends(&record, 1, ObservedVersions { deployment_revision: revision, ..STAMPS });
        record.observe(&object(UID, 101, 1, status_of(1, CONFIG_HASH, Phase::Progressing, "RollingOut")));
        record.finish(&start, &outcome);
        record.summary.map(|summary| summary.reached == Reached::Ready)
    };
    let known = STAMPS.deployment_revision.expect("a revision").get();
    assert_eq!((seen_meanwhile(known), seen_meanwhile(known + 1)), (Some(true), Some(false)));
}

/// An autoscaler computes from it.
#[test]
fn a_status_that_does_not_have_the_number_of_pods_yet_is_trusted_and_gets_it() {
    let mut earlier = status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady");
    earlier.as_object_mut().expect("a map").remove("replicas");
    let parsed: InferenceServiceStatus = serde_json::from_value(earlier.clone()).expect("a status");
    let sealed = crate::reconcile::status::sealed(parsed);
    let record = record(&object(UID, 100, 1, serde_json::to_value(sealed).expect("JSON")));
    assert_eq!(record.dirty, Dirty::COUNT);
}

/// Found by the simulation, seeds 1296 and 3584: all were brought up to date at once after a list from the past, and one whose
/// status was written without an answer.
#[test]
fn a_status_that_is_written_again_takes_nobody_out_of_turn() {
    let children = Dirty::DEPLOYMENT | Dirty::SERVICE;
    for (what, version, generation, expected) in [
        ("an event", 101, 1, children),
        ("a list from the past", 99, 1, children),
        ("of an older spec", 101, 0, Dirty::SPEC_AND_CHILDREN),
    ] {
        let mut record = settled();
        let status = status_of(generation, CONFIG_HASH, Phase::Progressing, "RollingOut");
        record.observe(&object(UID, version, 1, status));
        assert_eq!(record.dirty, expected, "{what}");
    }
}
