//! Tables: the status for each state of a Deployment, and the transition times of conditions.

#![allow(clippy::needless_pass_by_value, clippy::too_many_lines)]

use serde_json::{Value, json};

use super::*;
use crate::reconcile::cause::Cause;
use crate::reconcile::status::written::tests::written;
use crate::time::Timestamp;

const LOAD_TIME: Duration = Duration::from_secs(10);

pub const SUBJECT: Subject = Subject {
    namespace: "ns",
    name: "demo",
    endpoint: "http://demo.ns.svc.cluster.local",
    generation: 3,
    service_port: NonZeroU16::new(8080),
    last_load: NonZeroU16::new(95),
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
        let load_wait =
            LoadWait { waited: Duration::from_secs(9), load_time: LOAD_TIME, missing: Duration::ZERO, was_ready };
        let said = assess(&deployment(desired, 2, status), load_wait, &Told::Nothing, &SUBJECT);
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

#[test]
fn replicas_that_never_come_are_missed_when_the_load_time_is_over() {
    let scaled = deployment(3, 2, counts(2, [3, 3, 1, 1], ["Progressing", "True", "NewReplicaSetAvailable"]));
    let at = |waited| {
        assess(
            &scaled,
            LoadWait {
                waited: Duration::from_secs(waited),
                load_time: LOAD_TIME,
                missing: Duration::ZERO,
                was_ready: false,
            },
            &Told::Nothing,
            &SUBJECT,
        )
    };
    assert_eq!((at(9).phase, at(9).reason.as_str()), (Phase::Progressing, "RollingOut"));
    assert_eq!((at(10).phase, at(10).reason.as_str()), (Phase::Degraded, "ReplicasUnavailable"));
    assert!(at(10).message.starts_with("1 of 3 replicas ready after 10 s; see: kubectl"), "{}", at(10).message);
    // The Deployment controller has its own deadline for a rollout.
    let moving = deployment(3, 2, counts(2, [3, 3, 1, 1], ["Progressing", "True", "ReplicaSetUpdated"]));
    let load_wait =
        LoadWait { waited: Duration::from_secs(99), load_time: LOAD_TIME, missing: Duration::ZERO, was_ready: true };
    assert_eq!(assess(&moving, load_wait, &Told::Nothing, &SUBJECT).phase, Phase::Progressing);
}

/// In Kubernetes' own word; the phase is that of the Deployment.
#[test]
fn what_the_pods_tell_takes_the_place_of_that_replicas_are_missing() {
    let scaled = deployment(3, 2, counts(2, [3, 3, 1, 1], ["Progressing", "True", "NewReplicaSetAvailable"]));
    let late = deployment(3, 2, counts(2, [3, 3, 1, 1], ["Progressing", "False", "ProgressDeadlineExceeded"]));
    let cause = Cause { reason: "OOMKilled", message: "2 of 3 pods: killed".into(), nodes: String::new() };
    let load_wait = LoadWait { waited: LOAD_TIME, load_time: LOAD_TIME, missing: LOAD_TIME, was_ready: false };
    for (found, is_early, phase, begin) in [
        (&scaled, true, Phase::Progressing, "1 of 3 replicas ready"),
        (&scaled, false, Phase::Degraded, "1 of 3 replicas ready after 10 s"),
        (&late, false, Phase::Degraded, "1 of 3 replicas ready; Kubernetes' words"),
    ] {
        let wait = LoadWait { waited: if is_early { Duration::ZERO } else { LOAD_TIME }, ..load_wait };
        let by = |told: &Told| assess(found, wait, told, &SUBJECT);
        let see = "see: kubectl -n ns describe pod -l ai.example.com/inferenceservice=demo";
        let told = by(&Told::Cause(cause.clone()));
        assert_eq!((told.phase, told.reason.as_str()), (phase, "OOMKilled"));
        assert_eq!(told.message, format!("{begin}; 2 of 3 pods: killed; {see}"));
        assert_eq!(told.abnormal, by(&Told::Nothing).abnormal);
        let forbidden = by(&Told::Forbidden);
        assert_eq!(forbidden.reason, by(&Told::Nothing).reason);
        assert_eq!(forbidden.message, format!("{begin}; {see} ({MAY_NOT_LIST})"));
    }
}

#[test]
fn what_is_stalled_has_been_missing_for_long() {
    let missing = |abnormal| {
        let before = Summary { abnormal, abnormal_since: Timestamp(990), ..Summary::default() };
        LoadWait::new(Some(&before), LOAD_TIME, Timestamp(1000)).missing.as_secs()
    };
    assert_eq!(
        [Abnormal::None, Abnormal::Reconciling, Abnormal::Stalled, Abnormal::Paused].map(missing),
        [0, 10, 30, 0]
    );
}

/// Or else an image that was put right would be said not to run, and halt a rollout, for a moment.
#[test]
fn what_the_replica_set_before_could_not_create_is_not_said_of_the_one_that_follows() {
    let at = |generation: u32, waited, was_ready| {
        let load_wait =
            LoadWait { waited: Duration::from_secs(waited), load_time: LOAD_TIME, missing: Duration::ZERO, was_ready };
        let refused = counts(generation.into(), [0, 0, 0, 0], ["ReplicaFailure", "True", "FailedCreate"]);
        assess(&deployment(1, generation, refused), load_wait, &Told::Nothing, &SUBJECT).reason
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
    let load_wait =
        LoadWait { waited: Duration::ZERO, load_time: LOAD_TIME, missing: Duration::ZERO, was_ready: false };
    let said = assess(&paused([2, 0, 2, 2]), load_wait, &Told::Nothing, &SUBJECT);
    assert_eq!(
        (said.phase, said.abnormal, said.reason.as_str()),
        (Phase::Degraded, Abnormal::Reconciling, "DeploymentPaused")
    );
    assert!(said.message.ends_with("kubectl -n ns rollout resume deployment/demo"), "{}", said.message);
    assert_eq!(assess(&paused([2, 2, 2, 2]), load_wait, &Told::Nothing, &SUBJECT).phase, Phase::Ready);
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
