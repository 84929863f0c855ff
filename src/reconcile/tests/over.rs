//! Reconciles after another client has stopped reverting changes.

use super::requests::{context, found, posted, written, written_phase};
use serde_json::json;

use super::*;

/// The status is Ready: the contention was withdrawn, or never reported.
#[tokio::test(start_paused = true)]
async fn replicas_that_are_lost_are_told_at_once_whatever_was_repaired_of_late() {
    let lost = || {
        found(|it| {
            it["status"]["availableReplicas"] = json!(0);
            it["status"]["readyReplicas"] = json!(0);
            it["status"]["conditions"] =
                json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
        })
    };
    for dirty in [Dirty::ROLLOUT, Dirty::ROLLOUT | Dirty::COUNT] {
        let (context, asked) = context([lost(), written(), posted()]);
        let said = Task { repairs: plan::CONTESTED_AFTER, ..task(dirty) };
        reconcile(&context, said).await.expect("done");
        assert_eq!(written_phase(&asked.take()), Some("Degraded"), "{dirty:?}");
    }
}
