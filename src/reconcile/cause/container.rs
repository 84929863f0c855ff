//! What the containers of one pod tell. Pure.

use serde_json::Value;

use super::{
    CONTAINER_CREATING, CONTAINER_WAITING, CRASH_LOOP, Cause, IMAGE_PULL, LONGEST_PHRASE, OOM_KILLED, REASONS, cause,
    condition, list, phrase, text, time,
};
use crate::time::Timestamp;

/// How many of the last characters of a termination message are copied.
const LONGEST_END: usize = 400;

/// The first of the pod's containers that keeps it from being ready, in the order in which they start. `unready_since`:
/// since when the pod is not ready.
pub fn first(pod: &Value, unready_since: Option<Timestamp>) -> Option<Cause> {
    let of = |field: &str, kind: &str| {
        let statuses = list(&pod["status"][format!("{field}Statuses")]);
        statuses.filter(|status| status["ready"] != true).find_map(|status| {
            let name = text(&status["name"]);
            let container = list(&pod["spec"][format!("{field}s")]).find(|container| container["name"] == name);
            let container = container.unwrap_or(&Value::Null);
            of_container(pod, status, container, &format!("{kind} {name:?}"), unready_since)
        })
    };
    of("initContainer", "init container").or_else(|| of("container", "container"))
}

fn of_container(
    pod: &Value,
    status: &Value,
    container: &Value,
    who: &str,
    unready_since: Option<Timestamp>,
) -> Option<Cause> {
    if let Some(ended) = end(status, unready_since) {
        return Some(of_end(ended, container, who));
    }
    let waiting = &status["state"]["waiting"];
    let (own, message) = (text(&waiting["reason"]), text(&waiting["message"]));
    match own {
        "" | "PodInitializing" => None,
        CONTAINER_CREATING => Some(cause(CONTAINER_CREATING, creating(pod, container, who))),
        // The kubelet goes to and fro between the two; since Kubernetes 1.32 the second repeats the message of the first.
        "ErrImagePull" | IMAGE_PULL => {
            let (image, why) = (text(&container["image"]), message.rsplit("ErrImagePull: ").next().unwrap_or_default());
            Some(cause(IMAGE_PULL, format!("image {image:?}: {}", phrase(why, LONGEST_PHRASE))))
        }
        own => {
            let known = REASONS.iter().find(|reason| **reason == own);
            let shown = if known.is_some() { String::new() } else { format!("{own}: ") };
            let message = format!("{who}: {shown}{}", phrase(message, LONGEST_PHRASE));
            Some(cause(known.unwrap_or(&CONTAINER_WAITING), message))
        }
    }
}

/// How the container ended, if it keeps ending: now, or before a run in which it was not ready yet.
fn end(status: &Value, unready_since: Option<Timestamp>) -> Option<&Value> {
    let (now, before) = (&status["state"], &status["lastState"]["terminated"]);
    let has_ended = |ended: &Value| ended.is_object();
    if has_ended(&now["terminated"]) {
        return Some(&now["terminated"]);
    }
    let was_ready_since = || {
        let started = time(&now["running"]["startedAt"]);
        unready_since.is_some_and(|since| since > started)
    };
    let is_again = now["waiting"].is_object() || !was_ready_since();
    Some(before).filter(|before| has_ended(before) && is_again)
}

fn of_end(ended: &Value, container: &Value, who: &str) -> Cause {
    let message = last(text(&ended["message"]));
    if text(&ended["reason"]) == OOM_KILLED {
        let limit = match text(&container["resources"]["limits"]["memory"]) {
            "" => "it has no limit: the node is out of memory".to_owned(),
            limit => format!("its limit is {limit}"),
        };
        return cause(OOM_KILLED, format!("{who} is killed for memory; {limit}{message}"));
    }
    let code = ended["exitCode"].as_i64().unwrap_or_default();
    cause(CRASH_LOOP, format!("{who} ends with exit code {code}{message}"))
}

/// The end of a termination message, as part of a sentence.
fn last(message: &str) -> String {
    let message = message.trim();
    let start = message.char_indices().rev().nth(LONGEST_END).map_or(0, |(start, _)| start);
    let lines = message[start..].lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    if lines.is_empty() { String::new() } else { format!(": {}", lines.join(" | ")) }
}

/// The kubelet says why in Events alone, which are not read. What it may wait for is in the pod.
fn creating(pod: &Value, container: &Value, who: &str) -> String {
    // Since Kubernetes 1.29: volumes and network are there.
    let prepared = condition(&pod["status"], "PodReadyToStartContainers").map(|prepared| prepared["status"] == "True");
    let image = text(&container["image"]);
    if prepared == Some(true) {
        return format!("{who}: image {image:?} is being pulled");
    }
    let volumes = list(&pod["spec"]["volumes"]).filter_map(volume).collect::<Vec<_>>();
    let node = text(&pod["spec"]["nodeName"]);
    let mounts = if volumes.is_empty() { String::new() } else { format!(" (it mounts {})", volumes.join(", ")) };
    let or_pulled = if prepared.is_none() { format!(", or image {image:?} is being pulled") } else { String::new() };
    format!("the pod waits on node {node} for its volumes{mounts} or its network{or_pulled}")
}

/// What has to be there before the containers can be created.
fn volume(volume: &Value) -> Option<String> {
    [
        ("Secret", "secret", "secretName"),
        ("ConfigMap", "configMap", "name"),
        ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"),
    ]
    .into_iter()
    .find(|(_, field, _)| volume[*field].is_object() && volume[*field]["optional"] != true)
    .map(|(kind, field, name)| format!("{kind} {}", text(&volume[field][name])))
}
