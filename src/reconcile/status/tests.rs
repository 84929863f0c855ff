//! Tables: the status for each state of a Deployment, and the transition times of conditions.

#![allow(clippy::needless_pass_by_value, clippy::too_many_lines)]

use serde_json::{Value, json};
use std::num::{NonZeroU32, NonZeroU64};

use super::*;
use crate::time::Timestamp;

const LOAD_TIME: Duration = Duration::from_secs(10);

const SUBJECT: Subject = Subject {
    namespace: "ns",
    name: "demo",
    endpoint: "http://demo.ns.svc.cluster.local",
    generation: 3,
    service_port: NonZeroU16::new(8080),
    hashes: Some(Hashes { inputs: 7, children: 8, by_rollout: true }),
    instance: None,
};

fn deployment(replicas: i32, generation: u32, status: Value) -> DeploymentView {
    let object = json!({
        "metadata": {"namespace": "ns", "name": "demo", "resourceVersion": "5", "generation": generation,
                     "uid": "22222222-2222-4333-8444-555555555555"},
        "spec": {"replicas": replicas},
        "status": status
    });
    serde_json::from_value(object).expect("a Deployment")
}

/// observedGeneration, replicas, updated, ready, available and one condition (type, status, reason).
fn counts(observed: i64, [replicas, updated, ready, available]: [i32; 4], condition: [&str; 3]) -> Value {
    json!({
        "observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated,
        "readyReplicas": ready, "availableReplicas": available,
        "conditions": [{"type": condition[0], "status": condition[1], "reason": condition[2], "message": "Kubernetes' words."}]
    })
}

#[test]
fn each_state_of_a_deployment_has_its_phase_and_reason() {
    const DONE: [&str; 3] = ["Progressing", "True", "NewReplicaSetAvailable"];
    const MOVING: [&str; 3] = ["Progressing", "True", "ReplicaSetUpdated"];
    const LATE: [&str; 3] = ["Progressing", "False", "ProgressDeadlineExceeded"];
    const REFUSED: [&str; 3] = ["ReplicaFailure", "True", "FailedCreate"];
    const RELIEVED: [&str; 3] = ["ReplicaFailure", "False", "FailedCreate"];
    // `was_ready` and, where not, for how long its replicas have been missing.
    for (what, desired, status, was_ready, phase, abnormal, reason) in [
        ("nothing yet", 1, json!({}), false, Phase::Progressing, Abnormal::Reconciling, "DeploymentPending"),
        ("nothing wanted", 0, json!({}), false, Phase::Ready, Abnormal::None, "ScaledToZero"),
        (
            "still shrinking to nothing",
            0,
            counts(2, [1, 1, 1, 1], DONE),
            true,
            Phase::Progressing,
            Abnormal::Reconciling,
            "RollingOut",
        ),
        ("all there", 2, counts(2, [2, 2, 2, 2], DONE), false, Phase::Ready, Abnormal::None, "ReplicasReady"),
        (
            "all there of the spec before",
            2,
            counts(1, [2, 2, 2, 2], DONE),
            false,
            Phase::Progressing,
            Abnormal::Reconciling,
            "DeploymentPending",
        ),
        (
            "one of two",
            2,
            counts(2, [2, 2, 1, 1], MOVING),
            false,
            Phase::Progressing,
            Abnormal::Reconciling,
            "RollingOut",
        ),
        (
            "an old one not gone",
            2,
            counts(2, [3, 2, 3, 3], MOVING),
            false,
            Phase::Progressing,
            Abnormal::Reconciling,
            "RollingOut",
        ),
        (
            "old ones only",
            2,
            counts(2, [2, 1, 2, 2], MOVING),
            false,
            Phase::Progressing,
            Abnormal::Reconciling,
            "RollingOut",
        ),
        (
            "more wanted than before",
            3,
            counts(2, [3, 3, 1, 1], DONE),
            false,
            Phase::Progressing,
            Abnormal::Reconciling,
            "RollingOut",
        ),
        (
            "one lost",
            2,
            counts(2, [2, 2, 1, 1], DONE),
            true,
            Phase::Degraded,
            Abnormal::Reconciling,
            "ReplicasUnavailable",
        ),
        (
            "one too many, and as many as wanted are there",
            2,
            counts(2, [3, 2, 2, 2], DONE),
            true,
            Phase::Progressing,
            Abnormal::Reconciling,
            "RollingOut",
        ),
        (
            "pods refused",
            2,
            counts(2, [0, 0, 0, 0], REFUSED),
            false,
            Phase::Degraded,
            Abnormal::Reconciling,
            "FailedCreate",
        ),
        (
            "pods refused no longer",
            2,
            counts(2, [1, 1, 0, 0], RELIEVED),
            false,
            Phase::Progressing,
            Abnormal::Reconciling,
            "RollingOut",
        ),
        (
            "too late",
            2,
            counts(2, [2, 2, 0, 0], LATE),
            false,
            Phase::Degraded,
            Abnormal::Stalled,
            "ProgressDeadlineExceeded",
        ),
    ] {
        let load_wait = LoadWait { waited: Duration::from_secs(9), load_time: LOAD_TIME, was_ready };
        let said = assess(&deployment(desired, 2, status), load_wait, &SUBJECT);
        assert_eq!((said.phase, said.abnormal, said.reason.as_str()), (phase, abnormal, reason), "{what}");
        let problem = phase == Phase::Degraded && reason != "ReplicasUnavailable";
        assert_eq!(said.message.contains("Kubernetes' words"), problem, "{what}: {}", said.message);
        assert_eq!(said.message.contains("see: kubectl -n ns describe"), phase == Phase::Degraded, "{what}");
        assert!(!said.message.contains(".;"), "{what}: {}", said.message);
    }
}

#[test]
fn an_error_says_who_mends_it() {
    let taken = Error::NameTaken {
        kind: "Service",
        namespace: "ns".into(),
        name: "demo".into(),
        owner: "has no controller".into(),
    };
    let said = refuse(&taken, true);
    assert_eq!((said.phase, said.abnormal, said.reason.as_str()), (Phase::Failed, Abnormal::Stalled, "NameTaken"));
    let status = kube::core::Status::failure("exceeded quota", "Forbidden").with_code(403);
    let refused = Error::Kube(kube::Error::Api(status.boxed()));
    assert_eq!(refuse(&refused, false).phase, Phase::Pending);
    assert_eq!(refuse(&refused, true).phase, Phase::Degraded);
    assert_eq!(refuse(&refused, true).message, "exceeded quota (403)");
}

const STAMPS: ObservedVersions = ObservedVersions {
    deployment: NonZeroU64::new(5),
    deployment_revision: NonZeroU32::new(2),
    deployment_fields: NonZeroU32::new(9),
    service: NonZeroU64::new(6),
};

fn written(phase: Phase, abnormal: Abnormal, before: Option<&Summary>, now: u32) -> (InferenceServiceStatus, Summary) {
    let assessment = Assessment::new(phase, abnormal, "Reason", format!("{phase:?}"));
    compose(assessment, 1, STAMPS, &SUBJECT, before, Timestamp(now))
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
        assert_eq!(parsed.service_port, SUBJECT.service_port);
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
    let (is_said, late) = said(compose(late, 1, STAMPS, &SUBJECT, Some(&failing), Timestamp(1015)));
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
    let changes: [&dyn Fn(&mut InferenceServiceStatus); 10] = [
        &|status| observed(status, |observed| observed.hashes = None),
        &|status| observed(status, |observed| observed.service_port = None),
        &|status| status.phase = Phase::Ready,
        &|status| status.ready_replicas += 1,
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
fn replicas_that_never_come_are_missed_when_the_load_time_is_over() {
    let scaled = deployment(3, 2, counts(2, [3, 3, 1, 1], ["Progressing", "True", "NewReplicaSetAvailable"]));
    let at = |waited| {
        assess(
            &scaled,
            LoadWait { waited: Duration::from_secs(waited), load_time: LOAD_TIME, was_ready: false },
            &SUBJECT,
        )
    };
    assert_eq!((at(9).phase, at(9).reason.as_str()), (Phase::Progressing, "RollingOut"));
    assert_eq!((at(10).phase, at(10).reason.as_str()), (Phase::Degraded, "ReplicasUnavailable"));
    assert!(at(10).message.starts_with("1 of 3 replicas ready after 10 s; see: kubectl"), "{}", at(10).message);
    // The Deployment controller has its own deadline for a rollout.
    let moving = deployment(3, 2, counts(2, [3, 3, 1, 1], ["Progressing", "True", "ReplicaSetUpdated"]));
    let load_wait = LoadWait { waited: Duration::from_secs(99), load_time: LOAD_TIME, was_ready: true };
    assert_eq!(assess(&moving, load_wait, &SUBJECT).phase, Phase::Progressing);
}

/// Or else an image that was put right would be said not to run, and halt a rollout, for a moment.
#[test]
fn what_the_replica_set_before_could_not_create_is_not_said_of_the_one_that_follows() {
    let at = |generation: u32, waited, was_ready| {
        let load_wait = LoadWait { waited: Duration::from_secs(waited), load_time: LOAD_TIME, was_ready };
        let refused = counts(generation.into(), [0, 0, 0, 0], ["ReplicaFailure", "True", "FailedCreate"]);
        assess(&deployment(1, generation, refused), load_wait, &SUBJECT).reason
    };
    assert_eq!(at(2, 4, false), "RollingOut");
    assert_eq!(at(2, 5, false), "FailedCreate", "it lasts");
    assert_eq!(at(1, 0, false), "FailedCreate", "there is none before the first");
    assert_eq!(at(2, 0, true), "FailedCreate", "it is not the children that have changed");
}

#[test]
fn a_wait_is_counted_from_what_the_status_says_and_never_from_the_future() {
    let at = |phase, since| {
        let abnormal = if phase == Phase::Ready { Abnormal::None } else { Abnormal::Reconciling };
        let before = Summary { abnormal_since: Timestamp(since), ..written(phase, abnormal, None, since).1 };
        LoadWait::new(Some(&before), LOAD_TIME, Timestamp(1000))
    };
    assert_eq!((at(Phase::Progressing, 900).waited.as_secs(), at(Phase::Progressing, 900).was_ready), (100, false));
    assert_eq!(
        (at(Phase::Progressing, 2000).waited, at(Phase::Progressing, 0).waited),
        (Duration::ZERO, Duration::ZERO)
    );
    assert_eq!((at(Phase::Ready, 900).waited.as_secs(), at(Phase::Ready, 900).was_ready), (0, true));
    let of_others = written(Phase::Ready, Abnormal::None, None, 900).1.of_others();
    assert!(!LoadWait::new(Some(&of_others), LOAD_TIME, Timestamp(1000)).was_ready);
    // The summary keeps the time, so that it continues from there.
    let (status, _) = written(
        Phase::Progressing,
        Abnormal::Reconciling,
        Some(&written(Phase::Progressing, Abnormal::Reconciling, None, 5000).1),
        1000,
    );
    assert!(status.conditions.iter().all(|condition| condition.last_transition_time == Timestamp(1000)), "{status:?}");
}

#[test]
fn a_deployment_that_is_paused_says_so_until_it_is_complete() {
    let paused = |counted| DeploymentView {
        paused: true,
        ..deployment(2, 2, counts(2, counted, ["Progressing", "Unknown", "DeploymentPaused"]))
    };
    let load_wait = LoadWait { waited: Duration::ZERO, load_time: LOAD_TIME, was_ready: false };
    let said = assess(&paused([2, 0, 2, 2]), load_wait, &SUBJECT);
    assert_eq!(
        (said.phase, said.abnormal, said.reason.as_str()),
        (Phase::Degraded, Abnormal::Reconciling, "DeploymentPaused")
    );
    assert!(said.message.ends_with("kubectl -n ns rollout resume deployment/demo"), "{}", said.message);
    assert_eq!(assess(&paused([2, 2, 2, 2]), load_wait, &SUBJECT).phase, Phase::Ready);
}

#[test]
fn who_keeps_changing_a_child_is_named() {
    for (who, expected) in [
        (Some(Some("kube-controller-manager (scale)")), "a HorizontalPodAutoscaler targets the Deployment"),
        (Some(Some("kubectl-edit")), "kubectl-edit keeps changing Deployment ns/demo"),
        (Some(None), "a second instance of this operator"),
        (None, "another client keeps deleting Deployment ns/demo"),
    ] {
        let said = contested(ChildKind::Deployment, who, &SUBJECT);
        assert_eq!((said.phase, said.reason.as_str()), (Phase::Degraded, "Contested"));
        assert!(said.message.contains(expected), "{}", said.message);
    }
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
        let (_, summary) = compose(assessment, 1, STAMPS, &SUBJECT, before.as_ref(), Timestamp(1000));
        assert_eq!(summary.reached, expected, "{reason} after {before:?}");
    }
}
