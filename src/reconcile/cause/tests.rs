//! Pods as the kubelet, the scheduler and the node controller leave them, and what is said of them.

#![allow(clippy::needless_pass_by_value)]

use serde_json::json;

use super::*;
use crate::time::Utc;

const NOW: Timestamp = Timestamp(10_000);
/// Since when replicas are missing.
const SINCE: Timestamp = Timestamp(9_000);

fn at(seconds: u32) -> Value {
    json!(Utc::from(Timestamp(seconds)).to_string())
}

/// A pod on a node, created at that time, whose containers have these statuses.
fn pod(created: u32, statuses: Value) -> Value {
    json!({
        "metadata": {"creationTimestamp": at(created), "labels": {"pod-template-hash": "new"}},
        "spec": {"nodeName": "edge-7", "containers": [
            {"name": "server", "image": "vllm:1", "resources": {"limits": {"memory": "8Gi"}}}]},
        "status": {"phase": "Running", "containerStatuses": statuses, "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": "False", "lastTransitionTime": at(created)}]}
    })
}

fn server(state: Value, last: Value) -> Value {
    json!([{"name": "server", "ready": false, "state": state, "lastState": last}])
}

fn waiting(reason: &str, message: &str) -> Value {
    pod(9_000, server(json!({"waiting": {"reason": reason, "message": message}}), json!({})))
}

fn told(pods: impl IntoIterator<Item = Value>) -> Option<Cause> {
    let mut findings = Findings::default();
    pods.into_iter().for_each(|pod| findings.look_at(&PodView(pod), SINCE, NOW));
    findings.cause()
}

fn said(pod: Value) -> (&'static str, String) {
    let Cause { reason, message, .. } = told([pod]).expect("a cause");
    (reason, message)
}

fn pending(message: &str) -> Value {
    let mut pod = pod(9_000, json!([]));
    pod["spec"]["nodeName"] = json!("");
    pod["status"]["conditions"] =
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]);
    pod
}

#[test]
fn a_pod_that_starts_or_serves_tells_nothing() {
    let loads = pod(9_000, server(json!({"running": {"startedAt": at(9_010)}}), json!({})));
    let mut ready = pod(9_000, json!([{"name": "server", "ready": true, "state": {"running": {}}}]));
    ready["status"]["conditions"][1]["status"] = json!("True");
    let unseen = json!({"metadata": {"creationTimestamp": at(9_000)}, "spec": {}, "status": {"phase": "Pending"}});
    let leaving = {
        let mut pod = loads.clone();
        pod["metadata"]["deletionTimestamp"] = at(9_980);
        pod
    };
    assert_eq!(told([loads, ready, unseen, leaving]), None);
    assert_eq!(told([]), None);
}

#[test]
fn an_image_that_cannot_be_pulled_is_named_in_the_registrys_words_whichever_of_both_the_kubelet_says() {
    let why = "failed to pull image \"vllm:1\": not found.";
    let expected = ("ImagePullBackOff", "image \"vllm:1\": failed to pull image \"vllm:1\": not found".to_owned());
    assert_eq!(said(waiting("ErrImagePull", why)), expected);
    let back_off = format!("Back-off pulling image \"vllm:1\": ErrImagePull: {why}");
    assert_eq!(said(waiting("ImagePullBackOff", &back_off)), expected);
    let (reason, message) = said(waiting("ErrImageNeverPull", "Container image \"vllm:1\" is not present"));
    assert_eq!(
        (reason, &*message),
        ("ErrImageNeverPull", "container \"server\": Container image \"vllm:1\" is not present")
    );
}

#[test]
fn a_missing_secret_is_said_in_the_kubelets_words_and_so_is_what_is_not_known_yet() {
    let (reason, message) = said(waiting("CreateContainerConfigError", "secret \"hf-token\" not found"));
    assert_eq!(
        (reason, &*message),
        ("CreateContainerConfigError", "container \"server\": secret \"hf-token\" not found")
    );
    let (reason, message) = said(waiting("ErrSomethingNew", "of a later release"));
    assert_eq!((reason, &*message), ("ContainerWaiting", "container \"server\": ErrSomethingNew: of a later release"));
}

/// The kubelet goes from terminated to waiting to running, and the same is said all the time.
#[test]
fn a_container_that_keeps_ending_says_its_exit_code_and_its_last_lines() {
    let ended = json!({"terminated": {"reason": "Error", "exitCode": 3, "message": "loading\n\n  no such model \n"}});
    let expected =
        ("CrashLoopBackOff", "container \"server\" ends with exit code 3: loading | no such model".to_owned());
    let back_off = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
    for (state, last) in [
        (ended.clone(), json!({})),
        (back_off, ended.clone()),
        (json!({"running": {"startedAt": at(9_500)}}), ended.clone()),
    ] {
        assert_eq!(said(pod(9_000, server(state, last))), expected);
    }
    // It was ready in this run, and is not any more for another reason.
    let mut unready = pod(9_000, server(json!({"running": {"startedAt": at(9_500)}}), ended));
    unready["status"]["conditions"][1]["lastTransitionTime"] = at(9_600);
    assert_eq!(told([unready]), None);
    let red = json!({"terminated": {"reason": "Error", "exitCode": 1, "message": "\u{1b}[31mred"}});
    assert!(said(pod(9_000, server(red, json!({})))).1.ends_with(": [31mred"));
    let long = "x".repeat(5_000);
    let talks = json!({"terminated": {"reason": "Error", "exitCode": 1, "message": long}});
    assert!(said(pod(9_000, server(talks, json!({})))).1.len() < 500);
}

#[test]
fn a_container_that_is_killed_for_memory_says_its_limit() {
    let killed = || server(json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}}), json!({}));
    let message = "container \"server\" is killed for memory; its limit is 8Gi";
    assert_eq!(said(pod(9_000, killed())), ("OOMKilled", message.into()));
    let mut unlimited = pod(9_000, killed());
    unlimited["spec"]["containers"][0]["resources"] = json!({});
    assert!(said(unlimited).1.ends_with("it has no limit: the node is out of memory"));
}

#[test]
fn an_init_container_comes_before_the_others_which_wait_for_it() {
    let mut pod = waiting("PodInitializing", "");
    pod["spec"]["initContainers"] = json!([{"name": "download", "image": "curl:1"}]);
    pod["status"]["initContainerStatuses"] =
        json!([{"name": "download", "ready": false, "state": {"terminated": {"reason": "Error", "exitCode": 6}}}]);
    assert_eq!(said(pod.clone()), ("CrashLoopBackOff", "init container \"download\" ends with exit code 6".into()));
    pod["status"]["initContainerStatuses"][0] = json!({"name": "download", "ready": false, "state": {"running": {}}});
    assert_eq!(told([pod]), None);
}

#[test]
fn a_pod_without_a_node_has_the_schedulers_words_and_the_labels_that_it_asks_for() {
    let mut pod = pending("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.");
    let message = "no node: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu";
    assert_eq!(told([pod.clone()]).map(|cause| (cause.message, cause.nodes)), Some((message.into(), String::new())));
    let term = |expressions: Value| json!({"matchExpressions": expressions});
    let asks =
        json!([{"key": "gpu", "operator": "In", "values": ["A", "B"]}, {"key": "old", "operator": "DoesNotExist"}]);
    pod["spec"]["nodeSelector"] = json!({"zone": "a"});
    let mut nodes = |terms: Value| {
        let affinity =
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
        pod["spec"]["affinity"] = affinity;
        told([pod.clone()]).expect("a cause").nodes
    };
    assert_eq!(nodes(json!([term(asks.clone())])), "zone=a,gpu in (A,B),!old");
    assert_eq!(nodes(json!([term(asks), term(json!([]))])), "zone=a", "any one of several terms will do");
}

#[test]
fn a_pod_that_is_not_created_says_what_it_waits_for_as_far_as_that_is_told() {
    let mut pod = waiting("ContainerCreating", "");
    pod["spec"]["volumes"] = json!([{"secret": {"secretName": "token"}}, {"emptyDir": {}},
        {"configMap": {"name": "maybe", "optional": true}}, {"persistentVolumeClaim": {"claimName": "models"}}]);
    let message = |pod: &Value| {
        let (reason, message) = said(pod.clone());
        assert_eq!(reason, "ContainerCreating");
        message
    };
    let waits = "the pod waits on node edge-7 for its volumes (it mounts Secret token, PersistentVolumeClaim models) or its network";
    assert_eq!(message(&pod), format!("{waits}, or image \"vllm:1\" is being pulled"));
    let prepared = |status: &str| json!({"type": "PodReadyToStartContainers", "status": status});
    pod["status"]["conditions"][0] = prepared("False");
    assert_eq!(message(&pod), waits);
    pod["status"]["conditions"][0] = prepared("True");
    assert_eq!(message(&pod), "container \"server\": image \"vllm:1\" is being pulled");
}

#[test]
fn a_node_that_does_not_answer_is_named() {
    let mut pod = pod(9_000, json!([{"name": "server", "ready": true, "state": {"running": {}}}]));
    assert_eq!(said(pod.clone()), ("NodeNotReady", "node edge-7 does not answer".into()));
    pod["spec"]["readinessGates"] = json!([{"conditionType": "x"}]);
    assert_eq!(told([pod]), None, "somebody's gate is closed");
}

#[test]
fn a_pod_that_should_be_gone_is_told_and_beside_one_that_may_wait_for_its_gpu() {
    let mut stuck = pod(8_000, json!([]));
    stuck["metadata"]["deletionTimestamp"] = at(9_969);
    let message = "a pod on node edge-7 is still being deleted: is the node gone?";
    assert_eq!(said(stuck.clone()), ("PodTerminating", message.into()));
    let beside = told([stuck.clone(), pending("no GPU")]).expect("a cause");
    assert_eq!((beside.reason, beside.message), ("Unschedulable", format!("1 of 2 pods: no node: no GPU; {message}")));
    stuck["metadata"]["deletionTimestamp"] = at(9_970);
    assert_eq!(told([stuck]), None, "a moment late");
}

#[test]
fn a_pod_that_has_failed_is_told_if_it_failed_when_replicas_went_missing() {
    let failed = |reason: &str, at_: u32| {
        let mut pod = pod(1_000, json!([]));
        pod["status"] = json!({"phase": "Failed", "reason": reason, "message": "The node was low on memory.",
            "startTime": at(1_000), "conditions": [{"type": "DisruptionTarget", "status": "True", "lastTransitionTime": at(at_)}]});
        pod
    };
    assert_eq!(said(failed("Evicted", 8_940)), ("Evicted", "Evicted: The node was low on memory".into()));
    let (reason, message) = said(failed("UnexpectedAdmissionError", 9_100));
    assert_eq!((reason, &*message), ("PodFailed", "UnexpectedAdmissionError: The node was low on memory"));
    assert_eq!(told([failed("Evicted", 8_939)]), None, "long before");
    let alive = told([failed("Evicted", 9_000), pending("taint")]).expect("a cause");
    assert_eq!(alive.reason, "Unschedulable", "what stands for a replica comes first");
}

#[test]
fn the_most_telling_of_several_pods_is_told_of_the_newest_template_first() {
    let crash = || pod(9_000, server(json!({"terminated": {"reason": "Error", "exitCode": 1}}), json!({})));
    let several = told([pending("x"), crash(), crash()]).expect("a cause");
    assert_eq!(
        (several.reason, &*several.message),
        ("CrashLoopBackOff", "2 of 3 pods: container \"server\" ends with exit code 1")
    );
    let mut before = crash();
    before["metadata"] = json!({"creationTimestamp": at(8_000), "labels": {"pod-template-hash": "old"}});
    assert_eq!(told([before.clone(), pending("x")]).expect("a cause").reason, "Unschedulable");
    assert_eq!(
        told([before, pod(9_000, json!([]))]).expect("a cause").reason,
        "CrashLoopBackOff",
        "nothing newer tells"
    );
}

#[test]
fn the_newest_pod_tells_how_long_it_took_to_load_if_it_did_so_while_replicas_were_missing() {
    let serves = |created: u32, started: u32, ready: u32| {
        let mut pod =
            pod(created, json!([{"name": "server", "ready": true, "state": {"running": {"startedAt": at(started)}}}]));
        pod["status"]["startTime"] = at(created);
        pod["status"]["conditions"][1] = json!({"type": "Ready", "status": "True", "lastTransitionTime": at(ready)});
        pod
    };
    let load = |pods: Vec<Value>| {
        let mut findings = Findings::default();
        for pod in pods {
            findings.look_at(&PodView(pod), SINCE, NOW);
        }
        findings.load.map(NonZeroU16::get)
    };
    assert_eq!(load(vec![serves(9_000, 9_030, 9_095)]), Some(95), "from the pod's start");
    assert_eq!(load(vec![serves(1_000, 9_030, 9_095)]), Some(65), "a container that was started again");
    assert_eq!(load(vec![serves(1_000, 1_030, 9_095)]), None, "a node that came back");
    assert_eq!(load(vec![serves(9_200, 9_210, 9_250), serves(9_000, 9_030, 9_095)]), Some(50), "of two the newest");
    assert_eq!(load(vec![serves(9_000, 9_030, 9_095), pending("x")]), None, "the newest is not ready");
    assert_eq!(load(vec![]), None);
}
