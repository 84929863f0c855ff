//! Responses that are far larger than usual, in any place.

use super::requests::{STATUS, context, posted, written};
use serde_json::json;

use super::*;
use crate::testing::fake_api_server::Reply;

#[tokio::test(start_paused = true)]
async fn a_deployment_of_any_size_is_read() {
    let text = |length: usize| "x".repeat(length);
    let condition =
        |length| json!({"type": "ReplicaFailure", "status": "False", "reason": "r", "message": text(length)});
    let entry = |length| json!({"manager": "m", "operation": "Update", "time": "t", "fieldsV1": {"f": text(length)}});
    let mut unread = Vec::new();
    for (what, path, value) in [
        ("a long condition", "/status/conditions", json!([condition(40_000)])),
        ("many conditions", "/status/conditions", (0..9).map(|_| condition(9_000)).collect()),
        ("long managed fields", "/metadata/managedFields", json!([entry(40_000)])),
        ("many managed fields", "/metadata/managedFields", (0..9).map(|_| entry(9_000)).collect()),
        ("a long manager", "/metadata/managedFields", json!([{"manager": text(40_000)}])),
        ("both", "/metadata/managedFields", (0..3).map(|_| entry(9_000)).collect()),
    ] {
        let mut object = deployment_json();
        object["metadata"]["managedFields"] = json!([]);
        object["status"]["conditions"] = json!([condition(if what == "both" { 9_000 } else { 1 })]);
        *object.pointer_mut(path).expect("a place") = value;
        let (context, _) = context([Reply::object(&object), written()]);
        let said = Task { summary: Some(Summary { checksum: 7, ..summary(Phase::Degraded) }), ..task(Dirty::ROLLOUT) };
        let result = tokio::time::timeout(std::time::Duration::from_secs(1), reconcile(&context, said)).await;
        let summary = result.ok().and_then(|result| result.map_err(|error| eprintln!("{what}: {error}")).ok()?.summary);
        if summary.map(|summary| summary.phase) != Some(Phase::Ready) {
            unread.push(what);
        }
    }
    assert!(unread.is_empty(), "{unread:?}");
}

/// Both conditions contain the message, and a status beyond `prune::LIMIT` can no longer be read.
#[tokio::test(start_paused = true)]
async fn a_status_stays_small_whatever_the_deployment_says() {
    let mut object = deployment_json();
    object["status"] = json!({"observedGeneration": 1, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "x".repeat(16_000)}]});
    let (context, asked) = context([Reply::object(&object), written(), posted()]);
    reconcile(&context, task(Dirty::ROLLOUT)).await.expect("done");
    let asked = asked.take();
    let said = asked.iter().find(|line| line.contains(STATUS)).expect("a status");
    assert!(said.len() <= 14_000, "{} bytes", said.len());
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_is_too_large_is_refused_with_its_size_and_the_limit() {
    let owner = json!({
        "metadata": {"namespace": "ns", "name": "demo", "uid": UID, "resourceVersion": "9", "generation": 2},
        "spec": {"model": "m", "gpuType": "A100", "other": "x".repeat(20_000)}
    });
    let (context, asked) = context([Reply::object(&owner), Reply::object(&deployment_json()), written(), posted()]);
    let changed = Task { generation: 2, spec: None, ..task(Dirty::SPEC) };
    let outcome = reconcile(&context, changed).await.expect("said in the status");
    assert!(
        matches!(outcome.action, Action::Rejected(Error::SpecTooLarge { size: 20_041, limit: 16_384 })),
        "{:?}",
        outcome.action
    );
    assert_eq!(outcome.versions.deployment_revision, None, "the Deployment is not what this spec builds");
    let asked = asked.take();
    let said = asked.iter().find(|line| line.contains(STATUS)).expect("a status");
    assert!(said.contains("SpecTooLarge") && said.contains("20041 bytes") && said.contains("16384"), "{said}");
}
