//! Events that cannot be posted.

use std::time::Duration;

use super::requests::{STATUS, context, written};
use serde_json::json;

use super::*;
use crate::testing::fake_api_server::{Part, Reply};

fn lost() -> Value {
    let mut object = deployment_json();
    object["status"]["availableReplicas"] = json!(0);
    object["status"]["conditions"] =
        json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
    object
}

/// Events may be stored in a separate etcd (`--etcd-servers-overrides`), which may be down.
#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_answered_changes_no_status() {
    // Like a real response it takes some time; the response to the Event never arrives.
    let lost = Reply::parts([Part::Pause(Duration::from_millis(10)), Part::Text(lost().to_string())]);
    let (context, asked) = context([lost, written()]);
    let outcome = reconcile(&context, task(Dirty::ROLLOUT)).await;
    let asked = asked.take();
    let writes: Vec<&String> = asked.iter().filter(|line| line.contains(STATUS)).collect();
    assert!(writes[0].contains("ReplicasUnavailable"), "{writes:?}");
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert!(outcome.is_ok_and(|outcome| outcome.written.is_some()), "what was written is known");
}
