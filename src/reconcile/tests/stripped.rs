//! A label that an admission webhook or policy removes or overwrites on each write.

use super::requests::{context, found, object, posted, written, written_phase};
use serde_json::json;

use super::*;
use crate::testing::fake_api_server::Reply;
use crate::time::Timestamp;

/// Rolled out once, and without a replica; the response to an apply also has the label as the policy wants it.
fn held() -> Reply {
    found(|it| {
        it["spec"]["progressDeadlineSeconds"] = json!(700);
        it["status"]["availableReplicas"] = json!(0);
        it["status"]["readyReplicas"] = json!(0);
        it["metadata"]["labels"]["app.kubernetes.io/component"] = json!("ml");
        it["status"]["conditions"] =
            json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
    })
}

#[tokio::test(start_paused = true)]
async fn replicas_that_are_late_are_missed_also_where_a_policy_holds_a_label() {
    let no_pods = Reply::object(&json!({"items": [], "metadata": {}}));
    let (context, asked) = context([held(), object(|_| {}), held(), no_pods, written(), posted()]);
    let said = Summary { abnormal_since: Timestamp(10), reached: Reached::Nothing, ..summary(Phase::Progressing) };
    reconcile(&context, Task { summary: Some(said), ..task(Dirty::DUE) }).await.expect("done");
    assert_eq!(written_phase(&asked.take()), Some("Degraded"));
}

#[tokio::test(start_paused = true)]
async fn replicas_that_are_lost_are_missed_also_where_a_policy_holds_a_label() {
    let (context, asked) = context([held(), object(|_| {}), held(), written(), posted()]);
    reconcile(&context, task(Dirty::ROLLOUT)).await.expect("done");
    assert_eq!(written_phase(&asked.take()), Some("Degraded"));
}
