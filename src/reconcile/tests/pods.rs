//! When the pods are asked, what for, and what becomes of the answer.

use std::num::NonZeroU16;

use serde_json::json;

use super::requests::{STATUS, as_it_was, context, found, posted, written};
use super::*;
use crate::testing::fake_api_server::Reply;
use crate::time::Timestamp;

const PODS: &str = "GET /api/v1/namespaces/ns/pods?limit=100&labelSelector=ai.example.com%2Finferenceservice%3Ddemo";

/// Replicas are missing.
fn starting() -> Reply {
    found(|it| it["status"] = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}))
}

/// Since so many seconds.
fn missing(seconds: u32, failures: u8) -> Task {
    let since = Summary { abnormal_since: Timestamp(1000 - seconds), written: 0, ..summary(Phase::Progressing) };
    Task { summary: Some(since), failures, ..task(Dirty::DUE) }
}

fn pods(pods: &Value) -> Reply {
    Reply::object(&json!({"kind": "PodList", "metadata": {"resourceVersion": "9"}, "items": pods}))
}

fn unschedulable() -> Reply {
    pods(&json!([{"metadata": {"name": "demo-1"}, "spec": {"nodeSelector": {"gpu": "A100"}},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}}]))
}

fn status(asked: &[String]) -> &str {
    asked.iter().find(|line| line.contains(STATUS)).map_or("", String::as_str)
}

#[tokio::test(start_paused = true)]
async fn the_pods_are_asked_once_replicas_have_been_missing_for_twenty_seconds() {
    let (early, asked) = context([starting(), written()]);
    let outcome = reconcile(&early, missing(19, 0)).await.expect("done");
    assert!(!asked.take().iter().any(|line| line.contains("/pods")));
    assert!(matches!(outcome.action, Action::RequeueAfter(dirty, after) if dirty.is_empty() && after.as_secs() == 2));

    let crash = json!([{"status": {"containerStatuses": [
        {"name": "server", "ready": false, "state": {"terminated": {"exitCode": 3, "message": "no such model"}}}]}}]);
    let (late, asked) = context([starting(), pods(&crash), written()]);
    let outcome = reconcile(&late, missing(20, 0)).await.expect("done");
    let asked = asked.take();
    assert_eq!(asked[1], PODS);
    assert!(status(&asked).contains("CrashLoopBackOff") && status(&asked).contains("no such model"), "{asked:?}");
    assert!(status(&asked).contains("\"phase\":\"Progressing\""), "the phase is the Deployment's");
    assert!(matches!(outcome.action, Action::RequeueAfter(_, after) if after.as_secs() == 20));
}

#[tokio::test(start_paused = true)]
async fn a_label_that_is_on_no_node_is_said_where_nodes_may_be_listed() {
    let one = || Reply::object(&json!({"items": [{"metadata": {"name": "edge-7"}}], "metadata": {}}));
    let none = || Reply::object(&json!({"items": [], "metadata": {"resourceVersion": "9"}}));
    for (answer, is_said) in [(none(), true), (one(), false), (Reply::refusal(403, "no"), false)] {
        let (context, asked) = context([starting(), unschedulable(), answer, written()]);
        reconcile(&context, missing(60, 0)).await.expect("done");
        let asked = asked.take();
        assert_eq!(asked[2], "GET /api/v1/nodes?limit=1&labelSelector=gpu%3DA100");
        assert!(status(&asked).contains("no node: 0/1 nodes"), "{asked:?}");
        let hint = "no node has the labels that it needs: kubectl get nodes -l 'gpu=A100'";
        assert_eq!(status(&asked).contains(hint), is_said, "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_list_pods_the_status_says_which_right_would_tell_more() {
    let (context, asked) = context([starting(), Reply::refusal(403, "pods is forbidden"), written()]);
    let outcome = reconcile(&context, missing(60, 0)).await.expect("done");
    let asked = asked.take();
    assert!(status(&asked).contains("if it were allowed to list pods"), "{asked:?}");
    assert!(status(&asked).contains("RollingOut") && matches!(outcome.action, Action::RequeueAfter(..)));
}

/// An answer that fails for long keeps nothing back.
#[tokio::test(start_paused = true)]
async fn pods_that_cannot_be_listed_are_tried_again_and_then_done_without() {
    let (again, asked) = context([starting(), Reply::refusal(500, "no")]);
    assert!(reconcile(&again, missing(60, 1)).await.is_err());
    assert_eq!(asked.take().len(), 2);
    let (without, asked) = context([starting(), Reply::refusal(500, "no"), written(), posted()]);
    reconcile(&without, missing(60, 2)).await.expect("done");
    assert!(status(&asked.take()).contains("RollingOut"));
}

/// The answer of a proxy, or a pod of another kind of API server, is no reason to fail.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_of_a_pod_tells_nothing() {
    let strange =
        json!([{"metadata": "x", "spec": 7, "status": {"containerStatuses": {"a": 1}, "conditions": "y"}}, {}]);
    let (context, asked) = context([starting(), pods(&strange), written()]);
    reconcile(&context, missing(60, 0)).await.expect("done");
    assert!(status(&asked.take()).contains("RollingOut"));
}

/// One request when it becomes Ready, and only if that has taken a while; no other write.
#[tokio::test(start_paused = true)]
async fn how_long_a_load_took_is_in_the_status_that_says_ready() {
    let time = |seconds: u32| json!(crate::time::Utc::from(Timestamp(seconds)).to_string());
    let loaded = json!([{
        "metadata": {"creationTimestamp": time(900)},
        "status": {"startTime": time(900), "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time(995)}]}
    }]);
    let (slow, asked) = context([as_it_was(), pods(&loaded), written()]);
    let outcome = reconcile(&slow, missing(100, 0)).await.expect("done");
    assert_eq!(outcome.last_load.map(NonZeroU16::get), Some(95));
    let asked = asked.take();
    assert!(asked[1].starts_with(PODS) && status(&asked).contains("\"lastLoadSeconds\":95"), "{asked:?}");

    let (fast, asked) = context([as_it_was(), written()]);
    let known = Task { last_load: outcome.last_load, ..missing(19, 0) };
    let outcome = reconcile(&fast, known).await.expect("done");
    let asked = asked.take();
    assert!(
        asked.len() == 2 && status(&asked).contains("\"lastLoadSeconds\":95"),
        "the last one that was measured: {asked:?}"
    );
    assert_eq!(outcome.last_load.map(NonZeroU16::get), Some(95));
}
