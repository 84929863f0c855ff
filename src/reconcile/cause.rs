//! Why replicas are not ready, as their pods tell it. Pure: takes the pods one by one, as a list brings them, and says the
//! most telling cause in Kubernetes' own words.

mod container;

use std::num::NonZeroU16;

use serde_json::Value;

use crate::model::view::pod::PodView;
use crate::time::{Timestamp, Utc};

/// The reasons that a condition may have from a pod, the most telling first. Those of a container that waits are the
/// kubelet's own (pkg/kubelet/images/types.go, pkg/kubelet/container/sync_result.go).
pub const REASONS: [&str; 18] = [
    OOM_KILLED,
    CRASH_LOOP,
    IMAGE_PULL,
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    CONTAINER_WAITING,
    UNSCHEDULABLE,
    NODE_NOT_READY,
    CONTAINER_CREATING,
    POD_TERMINATING,
    EVICTED,
    POD_FAILED,
];
const OOM_KILLED: &str = "OOMKilled";
const CRASH_LOOP: &str = "CrashLoopBackOff";
const IMAGE_PULL: &str = "ImagePullBackOff";
const CONTAINER_WAITING: &str = "ContainerWaiting";
pub const UNSCHEDULABLE: &str = "Unschedulable";
const NODE_NOT_READY: &str = "NodeNotReady";
const CONTAINER_CREATING: &str = "ContainerCreating";
const POD_TERMINATING: &str = "PodTerminating";
const EVICTED: &str = "Evicted";
/// With the kubelet's own reason in the message: UnexpectedAdmissionError, OutOfcpu, NodeAffinity, ...
const POD_FAILED: &str = "PodFailed";

/// How many characters of a foreign message are copied.
const LONGEST_PHRASE: usize = 512;

/// A pod should be gone when its grace period is over; so many seconds later it is said that it is not.
const OVERDUE: u32 = 30;

/// A pod may have failed so many seconds before the status said that replicas are missing.
const BEFORE: u32 = 60;

/// What the pods tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Nothing,
    Cause(Cause),
    /// The operator may not list them.
    Forbidden,
}

/// Why replicas are not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// One of `REASONS`.
    pub reason: &'static str,
    pub message: String,
    /// For UNSCHEDULABLE: the labels that a node must have, as a label selector. Empty: any node will do, or it is not known.
    pub nodes: String,
}

/// What one pod tells.
struct Finding {
    cause: Cause,
    /// The pod still stands for a replica.
    lives: bool,
    /// Of its ReplicaSet.
    template: String,
}

/// What the pods of one InferenceService tell.
#[derive(Default)]
pub struct Findings {
    pods: usize,
    found: Vec<Finding>,
    /// When the newest pod that stands for a replica was created, and its ReplicaSet.
    newest: (Timestamp, String),
    /// Seconds that this pod took from its start until it was ready, if that was while replicas were missing.
    pub load: Option<NonZeroU16>,
}

impl Findings {
    /// `unready_since`: since when replicas are missing.
    pub fn look_at(&mut self, pod: &PodView, unready_since: Timestamp, now: Timestamp) {
        let PodView(pod) = pod;
        self.pods += 1;
        let template = text(&pod["metadata"]["labels"]["pod-template-hash"]).to_owned();
        let is_deleted = !pod["metadata"]["deletionTimestamp"].is_null();
        let lives = !is_deleted && text(&pod["status"]["phase"]) != "Failed";
        let created = time(&pod["metadata"]["creationTimestamp"]);
        if lives && created >= self.newest.0 {
            self.newest = (created, template.clone());
            self.load = load(pod, unready_since);
        }
        let cause = match lives {
            true => of_pod(pod),
            false if is_deleted => of_leaving(pod, now),
            false => of_dead(pod, unready_since),
        };
        self.found.extend(cause.map(|cause| Finding { cause, lives, template }));
    }

    /// The most telling cause: of pods that stand for a replica before any other, of the newest template before those
    /// of an earlier one.
    pub fn cause(&self) -> Option<Cause> {
        let rank = |finding: &Finding| {
            let reason = REASONS.iter().position(|reason| *reason == finding.cause.reason);
            (!finding.lives, finding.template != self.newest.1, reason)
        };
        let Cause { reason, mut message, nodes } = self.found.iter().min_by_key(|finding| rank(finding))?.cause.clone();
        let alike = self.found.iter().filter(|finding| finding.cause.reason == reason).count();
        if self.pods > 1 {
            message = format!("{alike} of {} pods: {message}", self.pods);
        }
        let leaving = self.found.iter().find(|finding| finding.cause.reason == POD_TERMINATING);
        // It may hold the very GPU that the other waits for.
        if let Some(leaving) = leaving.filter(|_| reason == UNSCHEDULABLE) {
            message = format!("{message}; {}", leaving.cause.message);
        }
        // What a container has written may command a terminal.
        message.retain(|character| !character.is_control());
        Some(Cause { reason, message, nodes })
    }
}

/// See `Findings::load`. A pod that was there before was started again, or else is ready again and was not loaded.
fn load(pod: &Value, unready_since: Timestamp) -> Option<NonZeroU16> {
    let status = &pod["status"];
    let ready = condition(status, "Ready").filter(|ready| ready["status"] == "True")?;
    let containers = list(&status["containerStatuses"]).map(|status| time(&status["state"]["running"]["startedAt"]));
    let mut starts = [time(&status["startTime"])].into_iter().chain(containers);
    let start = starts.find(|start| start.0.saturating_add(BEFORE) >= unready_since.0)?;
    let took = time(&ready["lastTransitionTime"]).since(start);
    NonZeroU16::new(u16::try_from(took.as_secs()).ok()?)
}

fn of_pod(pod: &Value) -> Option<Cause> {
    let (status, node) = (&pod["status"], text(&pod["spec"]["nodeName"]));
    let scheduled = condition(status, "PodScheduled");
    if let Some(refused) = scheduled.filter(|scheduled| scheduled["status"] == "False") {
        // Also SchedulingGated, and what another scheduler may say.
        let what = phrase(text(&refused["message"]), LONGEST_PHRASE);
        let nodes = nodes(&pod["spec"]);
        return Some(Cause { reason: UNSCHEDULABLE, message: format!("no node: {what}"), nodes });
    }
    let ready = condition(status, "Ready");
    let containers = || list(&status["containerStatuses"]);
    if let Some(cause) = container::first(pod, ready.map(|ready| time(&ready["lastTransitionTime"]))) {
        return Some(cause);
    }
    let all_ready = containers().next().is_some() && containers().all(|container| container["ready"] == true);
    let is_ready = ready.is_none_or(|ready| ready["status"] == "True");
    let has_gates = list(&pod["spec"]["readinessGates"]).next().is_some();
    if all_ready && !is_ready && !has_gates {
        // The node controller takes the condition away, and nobody is there who could change the containers.
        return Some(cause(NODE_NOT_READY, format!("node {node} does not answer")));
    }
    None
}

/// A pod that is being deleted for longer than it may.
fn of_leaving(pod: &Value, now: Timestamp) -> Option<Cause> {
    let deadline = time(&pod["metadata"]["deletionTimestamp"]);
    let is_overdue = now.0.saturating_sub(deadline.0) > OVERDUE;
    let message = match text(&pod["spec"]["nodeName"]) {
        "" => "a pod is still being deleted: has it a finalizer?".to_owned(),
        node => format!("a pod on node {node} is still being deleted: is the node gone?"),
    };
    is_overdue.then(|| cause(POD_TERMINATING, message))
}

/// A pod that has failed stays until it is cleared away, and has to do with what is missing only if it failed then.
fn of_dead(pod: &Value, unready_since: Timestamp) -> Option<Cause> {
    let status = &pod["status"];
    let times = list(&status["conditions"]).map(|condition| time(&condition["lastTransitionTime"]));
    let failed = times.chain([time(&status["startTime"])]).max().unwrap_or_default();
    let (own, what) = (text(&status["reason"]), phrase(text(&status["message"]), LONGEST_PHRASE));
    let reason = if own == EVICTED { EVICTED } else { POD_FAILED };
    let message = [own, what].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    (failed.0.saturating_add(BEFORE) >= unready_since.0).then(|| cause(reason, message))
}

/// The labels that this pod requires of a node, as a label selector; empty where it requires none, or more than a
/// selector can say.
fn nodes(spec: &Value) -> String {
    let labels = spec["nodeSelector"].as_object().into_iter().flatten();
    let mut parts: Vec<String> = labels.map(|(key, value)| format!("{key}={}", text(value))).collect();
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = list(&required["nodeSelectorTerms"]).collect::<Vec<_>>();
    // Of several terms any one will do.
    let [term] = terms[..] else { return parts.join(",") };
    for expression in list(&term["matchExpressions"]) {
        let (key, values) = (text(&expression["key"]), list(&expression["values"]).map(text).collect::<Vec<_>>());
        parts.push(match text(&expression["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => continue,
        });
    }
    parts.join(",")
}

// === parts of a pod ===

fn cause(reason: &'static str, message: String) -> Cause {
    Cause { reason, message, nodes: String::new() }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn time(value: &Value) -> Timestamp {
    Utc::parse(text(value)).map(Timestamp::from).unwrap_or_default()
}

fn condition<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    list(&status["conditions"]).find(|condition| condition["type"] == type_)
}

/// Kubernetes' own sentence, without its period so that text can follow; one of more characters than `longest` is cut off.
pub fn phrase(sentence: &str, longest: usize) -> &str {
    let end = sentence.char_indices().nth(longest).map_or(sentence.len(), |(end, _)| end);
    sentence[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests;
