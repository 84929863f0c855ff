//! Is a status true of the Deployment that it was computed from? Called for each status of the operator as it
//! arrives; reads the datastore's history only; pure.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::end_state::missing;
use super::ownership::is_adoptable;
use super::violation::ViolationKind;
use crate::api_server::{Key, Kind, Store, controller_uid};
use crate::cluster::pods::has_image;
use crate::cluster::rollout::{TIMED_OUT, condition, has_reason, is_complete, number};
use crate::operator::LOAD;

/// How long a status may report something that another client has removed meanwhile.
const VIEW: Duration = Duration::from_secs(120);
/// What the operator adds to the load time, to pull the image.
const PULL_SECONDS: u64 = 600;
/// Times in a status are whole seconds.
const ROUNDING: Duration = Duration::from_secs(5);

/// What the pods tell.
pub const IMAGE: &str = "ImagePullBackOff";
pub const UNSCHEDULABLE: &str = "Unschedulable";

pub const REFUSALS: [&str; 3] = ["ApiServerRefused", "Timeout", "RequestFailed"];

/// The reason of the condition Ready.
pub fn reason(status: &Value) -> &str {
    condition(status, "Ready").and_then(|ready| ready["reason"].as_str()).unwrap_or_default()
}

/// Is the condition Ready true?
pub fn says_ready(status: &Value) -> bool {
    condition(status, "Ready").is_some_and(|ready| ready["status"] == "True")
}

/// The spec of that generation, and the time of its creation.
pub fn spec_of<'a>(store: &'a Store, key: &Key, uid: &Value, generation: i64) -> Option<(Instant, &'a Value)> {
    let of_generation =
        |object: &Value| object["metadata"]["uid"] == *uid && number(&object["metadata"]["generation"]) == generation;
    let mut changes = store.history.iter().filter(|change| change.key == *key);
    let first = changes.find(|change| change.after.as_ref().is_some_and(of_generation))?;
    Some((first.at, &first.after.as_ref()?["spec"]))
}

/// Does this Deployment have that many ready replicas of its newest template?
pub fn has_all(deployment: &Value, replicas: i64) -> bool {
    is_complete(deployment, &deployment["status"]) && number(&deployment["spec"]["replicas"]) == replicas
}

/// The load time that a Deployment was built for, by its deadline. Never longer than that of the settings.
fn load_time(deployment: &Value) -> Duration {
    let deadline = deployment["spec"]["progressDeadlineSeconds"].as_u64();
    let seconds = deadline.and_then(|deadline| deadline.checked_sub(PULL_SECONDS)).filter(|seconds| *seconds > 0);
    seconds.map_or(LOAD, Duration::from_secs).min(LOAD)
}

/// A real API server stores no `paused: false`, so that whoever has set it and lets go of it changes nothing.
fn is_same_spec(one: &Value, other: &Value) -> bool {
    let spec = |deployment: &Value| {
        let mut spec = deployment["spec"].clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|name, value| name != "paused" || *value == true);
        }
        spec
    };
    one["spec"] == other["spec"] || spec(one) == spec(other)
}

struct Case<'a> {
    store: &'a Store,
    child: Key,
    uid: &'a Value,
    /// The spec of the generation in the status.
    spec: &'a Value,
    since: Instant,
    /// The Deployment that the status was computed from.
    deployment: Option<&'a Value>,
    version: u64,
}

/// None if the status is true.
pub fn violation(
    store: &Store,
    key: &Key,
    uid: &Value,
    status: &Value,
    refused: bool,
) -> Option<(ViolationKind, String)> {
    // A status of a deleted InferenceService is rejected.
    store.get(key).filter(|object| object["metadata"]["uid"] == *uid)?;
    let (since, spec) = spec_of(store, key, uid, number(&status["observedGeneration"]))?;
    let version = status["observed"]["deploymentResourceVersion"].as_str();
    let version = version.and_then(|version| version.parse().ok()).unwrap_or(0);
    let child = Key { kind: Kind::Deployment, ..key.clone() };
    let mut changes = store.history.iter().rev().filter(|change| change.key == child);
    let deployment = changes.find(|change| change.version == version).and_then(|change| change.after.as_ref());
    let case = Case { store, child, uid, spec, since, deployment, version };
    let kind = match (status["phase"].as_str(), reason(status)) {
        (_, IMAGE) if !case.has_lacked_its_image() => Some(ViolationKind::FalseObstacle),
        (Some("Ready"), _) => (!case.has_run()).then_some(ViolationKind::FalseReady),
        (Some("Degraded"), reason) => case.degraded(reason, refused),
        (Some("Paused"), _) => case.paused(status),
        (Some("Failed"), _) => (!case.is_for_the_user()).then_some(ViolationKind::FalseFailed),
        _ => None,
    }?;
    Some((kind, format!("{}/{}: {status}\nof {spec} from {}", key.namespace, key.name, json!(deployment))))
}

impl Case<'_> {
    /// One that waits for its turn in a rollout is as an earlier catalogue had it.
    fn has_run(&self) -> bool {
        let (Some(deployment), Some(uid)) = (self.deployment, self.uid.as_str()) else { return false };
        let replicas = number(&self.spec["replicas"]);
        let is_it = |desired: &Value| missing(&deployment["spec"], &desired["spec"], "").is_none();
        let is_ours = || self.store.offers.any(Kind::Deployment, &self.child, uid, self.spec, is_it);
        (replicas == 0 || has_all(deployment, replicas)) && is_ours()
    }

    fn paused(&self, status: &Value) -> Option<ViolationKind> {
        if self.spec["paused"] != true {
            return Some(ViolationKind::FalsePaused);
        }
        let is_ready = self.deployment.is_some_and(|deployment| is_complete(deployment, &deployment["status"]));
        (says_ready(status) && !is_ready).then_some(ViolationKind::FalseReady)
    }

    fn degraded(&self, reason: &str, refused: bool) -> Option<ViolationKind> {
        let null = Value::Null;
        let deployment = self.deployment.unwrap_or(&null);
        let has = |obstacle: bool| (!obstacle).then_some(ViolationKind::FalseObstacle);
        match reason {
            "ReplicasUnavailable" => (!self.replicas_may_be_missed()).then_some(ViolationKind::EarlyDegraded),
            TIMED_OUT => has(has_reason(&deployment["status"], TIMED_OUT)),
            "FailedCreate" => has(condition(&deployment["status"], "ReplicaFailure").is_some()),
            "DeploymentPaused" => has(deployment["spec"]["paused"] == true),
            // What a pod tells takes the place of one of two reasons.
            IMAGE | UNSCHEDULABLE if has_reason(&deployment["status"], TIMED_OUT) => None,
            IMAGE | UNSCHEDULABLE => (!self.replicas_may_be_missed()).then_some(ViolationKind::EarlyDegraded),
            "Terminating" | "Contested" | "ReplicasOverridden" => None,
            reason if REFUSALS.contains(&reason) => has(refused),
            _ => Some(ViolationKind::EarlyDegraded),
        }
    }

    /// Was a template in force of which no registry has the image?
    fn has_lacked_its_image(&self) -> bool {
        let changes = self.store.history.iter().filter(|change| change.key == self.child);
        let mut templates = changes.filter_map(|change| Some(&change.after.as_ref()?["spec"]["template"]));
        templates.any(|template| !has_image(template))
    }

    /// The replicas were all ready with this spec, or had enough time for that.
    fn replicas_may_be_missed(&self) -> bool {
        let Some(deployment) = self.deployment else { return false };
        let replicas = number(&self.spec["replicas"]);
        let mut began = Instant::now();
        let changes = self.store.history.iter().rev().filter(|change| change.key == self.child);
        for change in changes.skip_while(|change| change.version > self.version) {
            let Some(then) = &change.after else { break };
            if then["metadata"]["uid"] != deployment["metadata"]["uid"] || !is_same_spec(then, deployment) {
                break;
            }
            // The state held until the next change.
            if began >= self.since && has_all(then, replicas) {
                return true;
            }
            began = change.at;
        }
        began.max(self.since).elapsed() + ROUNDING >= load_time(deployment)
    }

    /// A rejected spec, a taken name, or a rollout that exceeded its deadline.
    fn is_for_the_user(&self) -> bool {
        let timed_out = self.deployment.is_some_and(|deployment| has_reason(&deployment["status"], TIMED_OUT));
        let is_rejected = || {
            let uid = self.uid.as_str();
            uid.is_none_or(|uid| self.store.offers.may_reject(&self.child, uid, self.spec))
        };
        timed_out || is_rejected() || Kind::CHILDREN.iter().any(|kind| self.was_taken(*kind))
    }

    fn was_taken(&self, kind: Kind) -> bool {
        let key = Key { kind, ..self.child.clone() };
        let is_foreign = |object: &Value| is_foreign(&key, object, self.uid);
        let of_late = self.store.history.iter().rev().take_while(|change| change.at.elapsed() < VIEW);
        self.store.get(&key).is_some_and(is_foreign)
            || of_late.filter(|change| change.key == key).any(|change| change.before.as_ref().is_some_and(is_foreign))
    }
}

/// Neither its own child nor one that it may adopt.
pub fn is_foreign(key: &Key, object: &Value, uid: &Value) -> bool {
    controller_uid(object) != uid.as_str() && !is_adoptable(key, object)
}
