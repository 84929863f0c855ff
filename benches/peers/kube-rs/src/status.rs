//! What the status of an InferenceService says: the same phases, reasons and messages as
//! src/reconcile/status.rs of the operator.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::Error;
use crate::api::{InferenceService, InferenceServiceStatus, Phase};
use crate::children::{endpoint, selector};

const RECONCILING: &str = "Reconciling";
const STALLED: &str = "Stalled";

/// What is to be said; `abnormal` is the condition next to Ready, if there is one.
pub struct Assessment {
    pub phase: Phase,
    abnormal: Option<&'static str>,
    pub reason: String,
    pub message: String,
}

pub fn assess(isvc: &InferenceService, deployment: &Deployment) -> Assessment {
    let status = deployment.status.clone().unwrap_or_default();
    let desired = deployment.spec.replicas.unwrap_or(1);
    let (replicas, ready) = (status.replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0));
    let (updated, available) = (status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
    let conditions = status.conditions.unwrap_or_default();
    let condition = |type_: &str| conditions.iter().find(|condition| condition.type_.as_deref() == Some(type_));
    let count = format!("{ready} of {desired} replicas ready");
    let describe = |kind: &str| {
        format!("see: kubectl -n {} describe {kind} -l {}", isvc.namespace().unwrap_or_default(), selector(isvc))
    };
    let say = |phase, abnormal, reason: &str, message| Assessment { phase, abnormal, reason: reason.into(), message };
    let said = |condition: &DeploymentCondition| condition.message.clone().unwrap_or_default();

    if desired == 0 && replicas == 0 {
        return say(Phase::Ready, None, "ScaledToZero", "spec.replicas is 0: nothing runs".into());
    }
    if status.observed_generation < deployment.metadata.generation {
        let message = "waiting for the Deployment controller to observe the change".into();
        return say(Phase::Progressing, Some(RECONCILING), "DeploymentPending", message);
    }
    if updated >= desired && replicas <= updated && available >= desired {
        return say(Phase::Ready, None, "ReplicasReady", count);
    }
    if let Some(failure) = condition("ReplicaFailure").filter(|it| it.status.as_deref() == Some("True")) {
        let message = format!("{count}; {}; {}", said(failure), describe("replicaset"));
        return say(Phase::Degraded, Some(RECONCILING), failure.reason.as_deref().unwrap_or_default(), message);
    }
    let progressing = |reason: &str| condition("Progressing").filter(|it| it.reason.as_deref() == Some(reason));
    if let Some(late) = progressing("ProgressDeadlineExceeded") {
        let message = format!("{count}; {}; {}", said(late), describe("pod"));
        return say(Phase::Degraded, Some(STALLED), "ProgressDeadlineExceeded", message);
    }
    if was_ready(isvc) && progressing("NewReplicaSetAvailable").is_some() {
        let message = format!("{count}; {}", describe("pod"));
        return say(Phase::Degraded, Some(RECONCILING), "ReplicasUnavailable", message);
    }
    say(Phase::Progressing, Some(RECONCILING), "RollingOut", count)
}

/// What the user should see of an error; None: time mends it.
pub fn refuse(isvc: &InferenceService, error: &Error) -> Option<Assessment> {
    let serving = isvc.status.as_ref().is_some_and(|status| status.ready_replicas > 0);
    let (phase, abnormal) = match error {
        Error::Kube(kube::Error::Api(answer)) if answer.code == 403 || answer.code == 422 => {
            (if serving { Phase::Degraded } else { Phase::Pending }, RECONCILING)
        }
        Error::Kube(_) | Error::Json(_) => return None,
        _ => (Phase::Failed, STALLED),
    };
    let reason = error.reason().into();
    Some(Assessment { phase, abnormal: Some(abnormal), reason, message: error.to_string() })
}

/// The status to write. Without a Deployment the replicas are as they were.
pub fn compose(isvc: &InferenceService, deployment: Option<&Deployment>, said: &Assessment) -> InferenceServiceStatus {
    let before = isvc.status.clone().unwrap_or_default();
    let generation = isvc.metadata.generation;
    let ready = deployment.map(|it| it.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0));
    let condition = |type_: &str, status: &str| Condition {
        type_: type_.into(),
        status: status.into(),
        reason: said.reason.clone(),
        message: said.message.clone(),
        observed_generation: generation,
        last_transition_time: since(&before, type_, status),
    };
    let mut conditions = vec![condition("Ready", if said.phase == Phase::Ready { "True" } else { "False" })];
    conditions.extend(said.abnormal.map(|type_| condition(type_, "True")));
    InferenceServiceStatus {
        phase: said.phase,
        ready_replicas: ready.unwrap_or(before.ready_replicas),
        endpoint: deployment.map(|_| endpoint(isvc)).or(before.endpoint),
        selector: Some(selector(isvc)),
        observed_generation: generation.unwrap_or_default(),
        conditions,
    }
}

/// A condition keeps its time while it stays what it is.
fn since(before: &InferenceServiceStatus, type_: &str, status: &str) -> Time {
    let same = before.conditions.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    same.map_or_else(|| Time(Timestamp::now()), |condition| condition.last_transition_time.clone())
}

/// Has this spec been Ready before?
fn was_ready(isvc: &InferenceService) -> bool {
    isvc.status.as_ref().is_some_and(|status| {
        Some(status.observed_generation) == isvc.metadata.generation
            && matches!(status.phase, Phase::Ready | Phase::Degraded)
    })
}
