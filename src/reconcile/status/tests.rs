//! Which Deployment makes which status: a table, and what conditions keep.

#![allow(clippy::needless_pass_by_value, clippy::too_many_lines)]

use serde_json::{Value, json};

use super::*;

const SUBJECT: Subject = Subject {
    namespace: "ns",
    name: "demo",
    endpoint: "http://demo.ns.svc.cluster.local",
    generation: 3,
    configuration: 7,
};

fn deployment(replicas: i32, generation: u32, status: Value) -> Deployment {
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
        let said = assess(&deployment(desired, 2, status), was_ready, &SUBJECT);
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

fn written(phase: Phase, abnormal: Abnormal, before: Option<&Summary>, now: u32) -> (InferenceServiceStatus, Summary) {
    let assessment = Assessment { phase, abnormal, reason: "Reason".into(), message: format!("{phase:?}") };
    let stamps = Stamps { deployment: 5, deployment_revision: 2, service: 6 };
    compose(assessment, 1, stamps, &SUBJECT, before, now)
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
        let reading = read(&status, SUBJECT.configuration);
        let abnormal_since = if abnormal == Abnormal::None { 0 } else { 1000 };
        assert_eq!(reading.summary, Summary { abnormal_since, written: 0, ..summary });
        assert!(reading.trusted && !reading.unfinished);
        assert_eq!(reading.observed_generation, SUBJECT.generation);
        assert_eq!(reading.stamps, Stamps { deployment: 5, deployment_revision: 2, service: 6 });
        assert!(!read(&status, SUBJECT.configuration + 1).trusted);
    }
}

#[test]
fn no_field_of_a_status_can_be_changed_unnoticed() {
    let (status, _) = written(Phase::Degraded, Abnormal::Stalled, None, 1000);
    let changes: [fn(&mut InferenceServiceStatus); 8] = [
        |status| status.phase = Phase::Ready,
        |status| status.ready_replicas += 1,
        |status| status.endpoint = None,
        |status| status.selector = None,
        |status| status.observed_generation += 1,
        |status| status.conditions[0].status = "True".into(),
        |status| status.conditions[0].message.push('!'),
        |status| drop(status.conditions.pop()),
    ];
    for change in changes {
        let mut spoiled = status.clone();
        change(&mut spoiled);
        assert!(!read(&spoiled, SUBJECT.configuration).trusted, "{spoiled:?}");
    }
}

#[test]
fn a_condition_keeps_its_time_while_it_stays_what_it_is() {
    let since = |status: &InferenceServiceStatus| -> Vec<(String, u32)> {
        status.conditions.iter().map(|c| (c.type_.clone(), c.last_transition_time)).collect()
    };
    let (status, first) = written(Phase::Progressing, Abnormal::Reconciling, None, 1000);
    assert_eq!(since(&status), [("Ready".into(), 1000), ("Reconciling".into(), 1000)]);
    let (status, second) = written(Phase::Degraded, Abnormal::Stalled, Some(&first), 2000);
    assert_eq!(since(&status), [("Ready".into(), 1000), ("Stalled".into(), 2000)]);
    let (status, third) = written(Phase::Ready, Abnormal::None, Some(&second), 3000);
    assert_eq!(since(&status), [("Ready".into(), 3000)]);
    let (status, _) = written(Phase::Ready, Abnormal::None, Some(&third), 4000);
    assert_eq!(since(&status), [("Ready".into(), 3000)]);
    // One that nobody could read.
    let timeless = Summary { ready_since: 0, abnormal_since: 0, ..first };
    let (status, _) = written(Phase::Progressing, Abnormal::Reconciling, Some(&timeless), 5000);
    assert_eq!(since(&status), [("Ready".into(), 5000), ("Reconciling".into(), 5000)]);
}

#[test]
fn replicas_that_come_one_by_one_are_not_a_write_each() {
    let at = |phase, abnormal, now| written(phase, abnormal, None, now).1;
    let moving = |now| at(Phase::Progressing, Abnormal::Reconciling, now);
    assert!(can_wait(&moving(1000), &moving(1001)));
    assert!(!can_wait(&moving(1000), &moving(1000 + COUNT_PACE)));
    assert!(!can_wait(&moving(1000), &at(Phase::Ready, Abnormal::None, 1001)));
    assert!(!can_wait(&moving(1000), &at(Phase::Degraded, Abnormal::Reconciling, 1001)));
    assert!(!can_wait(&at(Phase::Ready, Abnormal::None, 1000), &moving(1001)));
    let of_another_process = Summary { written: 0, ..moving(1000) };
    assert!(!can_wait(&of_another_process, &moving(1001)));
}
