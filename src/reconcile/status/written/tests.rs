//! A status as it is written, as it is read again, and what is kept of it.

use std::num::{NonZeroU32, NonZeroU64};

use super::super::tests::SUBJECT;
use super::*;

const ONE: Replicas = Replicas { all: 2, ready: 1 };

const STAMPS: ObservedVersions = ObservedVersions {
    deployment: NonZeroU64::new(5),
    deployment_revision: NonZeroU32::new(2),
    deployment_fields: NonZeroU32::new(9),
    service: NonZeroU64::new(6),
};

pub fn written(
    phase: Phase,
    abnormal: Abnormal,
    before: Option<&Summary>,
    now: u32,
) -> (InferenceServiceStatus, Summary) {
    let assessment = Assessment::new(phase, abnormal, "Reason", format!("{phase:?}"));
    compose(assessment, ONE, STAMPS, &SUBJECT, before, Timestamp(now))
}

#[test]
fn a_status_is_read_back_as_what_was_written() {
    for (phase, abnormal) in [
        (Phase::Ready, Abnormal::None),
        (Phase::Progressing, Abnormal::Reconciling),
        (Phase::Failed, Abnormal::Stalled),
    ] {
        let (status, summary) = written(phase, abnormal, None, 1000);
        assert_eq!(status.selector.as_deref(), Some("ai.example.com/inferenceservice=demo"));
        let json = serde_json::to_string(&status).expect("JSON");
        let status: InferenceServiceStatus = serde_json::from_str(&json).expect("a status");
        let parsed = parse(&status);
        let abnormal_since = Timestamp(if abnormal == Abnormal::None { 0 } else { 1000 });
        assert_eq!(parsed.summary, Summary { abnormal_since, written: 0, is_current: false, ..summary });
        assert!(parsed.trusted && !parsed.unfinished);
        assert_eq!(parsed.observed_generation, SUBJECT.generation);
        assert_eq!(parsed.versions, STAMPS);
        assert_eq!((parsed.service_port, parsed.last_load), (SUBJECT.service_port, SUBJECT.last_load));
        assert_eq!((parsed.replicas, status.ready_replicas), (Some(2), 1));
    }
}

/// A restart then knows whether the rollout still waits for it.
#[test]
fn that_a_rollout_has_brought_the_children_is_said_until_they_were_ready() {
    let said = |(status, summary): (InferenceServiceStatus, Summary)| {
        let hashes = status.observed.and_then(|observed| observed.hashes).expect("hashes");
        (hashes.ends_with("-rollout"), summary)
    };
    let (is_said, starting) = said(written(Phase::Progressing, Abnormal::Reconciling, None, 1000));
    assert!(is_said);
    let (is_said, failing) = said(written(Phase::Degraded, Abnormal::Reconciling, Some(&starting), 1010));
    assert!(is_said);
    let late = Assessment::new(Phase::Degraded, Abnormal::Reconciling, REPLICAS_UNAVAILABLE, String::new());
    let (is_said, late) = said(compose(late, ONE, STAMPS, &SUBJECT, Some(&failing), Timestamp(1015)));
    assert!(is_said && said(written(Phase::Degraded, Abnormal::Reconciling, Some(&late), 1016)).0, "they never were");
    let (is_said, ready) = said(written(Phase::Ready, Abnormal::None, Some(&failing), 1020));
    assert!(!is_said);
    assert!(
        !said(written(Phase::Degraded, Abnormal::Reconciling, Some(&ready), 1030)).0,
        "taken down by something else"
    );
    assert!(said(written(Phase::Progressing, Abnormal::Reconciling, Some(&ready.of_others()), 1040)).0, "others");
}

#[test]
fn no_field_of_a_status_can_be_changed_unnoticed() {
    let (status, _) = written(Phase::Degraded, Abnormal::Stalled, None, 1000);
    let observed = |status: &mut InferenceServiceStatus, change: fn(&mut Observed)| {
        change(status.observed.as_mut().expect("versions"));
    };
    let changes: [&dyn Fn(&mut InferenceServiceStatus); 11] = [
        &|status| observed(status, |observed| observed.hashes = None),
        &|status| observed(status, |observed| observed.service_port = None),
        &|status| status.phase = Phase::Ready,
        &|status| status.ready_replicas += 1,
        &|status| status.replicas = None,
        &|status| status.endpoint = None,
        &|status| status.selector = None,
        &|status| status.observed_generation += 1,
        &|status| status.conditions[0].status = "True".into(),
        &|status| status.conditions[0].message.push('!'),
        &|status| drop(status.conditions.pop()),
    ];
    for change in changes {
        let mut spoiled = status.clone();
        change(&mut spoiled);
        assert!(!parse(&spoiled).trusted, "{spoiled:?}");
    }
}

#[test]
fn a_condition_keeps_its_time_while_it_stays_what_it_is() {
    let since = |status: &InferenceServiceStatus| -> Vec<(String, u32)> {
        status.conditions.iter().map(|c| (c.type_.clone(), c.last_transition_time.0)).collect()
    };
    let (status, first) = written(Phase::Progressing, Abnormal::Reconciling, None, 1000);
    assert_eq!(since(&status), [("Ready".into(), 1000), ("Reconciling".into(), 1000)]);
    let (status, second) = written(Phase::Degraded, Abnormal::Stalled, Some(&first), 2000);
    assert_eq!(since(&status), [("Ready".into(), 1000), ("Stalled".into(), 2000)]);
    let (status, third) = written(Phase::Ready, Abnormal::None, Some(&second), 3000);
    assert_eq!(since(&status), [("Ready".into(), 3000)]);
    let (status, _) = written(Phase::Ready, Abnormal::None, Some(&third), 4000);
    assert_eq!(since(&status), [("Ready".into(), 3000)]);
    // An unreadable time.
    let timeless = Summary { ready_since: Timestamp::default(), abnormal_since: Timestamp::default(), ..first };
    let (status, _) = written(Phase::Progressing, Abnormal::Reconciling, Some(&timeless), 5000);
    assert_eq!(since(&status), [("Ready".into(), 5000), ("Reconciling".into(), 5000)]);
}

#[test]
fn a_pods_cause_that_is_read_back_is_what_it_was_and_no_number_in_it_makes_it_another() {
    let said = |reason: &str, message: &str| {
        let said = Assessment::new(Phase::Degraded, Abnormal::Reconciling, reason, message.into());
        compose(said, ONE, STAMPS, &SUBJECT, None, Timestamp(1000))
    };
    let (status, summary) = said("Unschedulable", "0/3 nodes are available");
    assert_eq!((summary.reached, parse(&status).summary.reached), (Reached::LoadTime, Reached::LoadTime));
    assert!(parse(&status).trusted);
    assert_eq!(said("Unschedulable", "0/12 nodes are available").1.checksum, summary.checksum);
    assert_ne!(said("Unschedulable", "no nodes are available").1.checksum, summary.checksum);
    assert_ne!(said("FailedCreate", "quota 1").1.checksum, said("FailedCreate", "quota 2").1.checksum);
}

#[test]
fn what_was_ready_once_is_remembered_until_there_is_another_spec() {
    let degraded = |reason: &str| Assessment::new(Phase::Degraded, Abnormal::None, reason, String::new());
    let before = |reached| Some(Summary { reached, ..Summary::default() });
    for (assessment, before, expected) in [
        (degraded("RollingOut"), before(Reached::Ready), Reached::Ready),
        (degraded("RollingOut"), before(Reached::LoadTime), Reached::LoadTime),
        (degraded("RollingOut"), None, Reached::Nothing),
        (degraded(REPLICAS_UNAVAILABLE), before(Reached::Ready), Reached::Ready),
        (degraded(REPLICAS_UNAVAILABLE), before(Reached::Nothing), Reached::LoadTime),
        (degraded(REPLICAS_UNAVAILABLE), None, Reached::LoadTime),
        (Assessment::new(Phase::Ready, Abnormal::None, "ReplicasReady", String::new()), None, Reached::Ready),
    ] {
        let reason = assessment.reason.clone();
        let (_, summary) = compose(assessment, ONE, STAMPS, &SUBJECT, before.as_ref(), Timestamp(1000));
        assert_eq!(summary.reached, expected, "{reason} after {before:?}");
    }
}
