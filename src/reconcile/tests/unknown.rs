//! Contention with a client that is not in managedFields.

use super::requests::{STATUS, context, found, object, posted, written};
use serde_json::json;

use super::*;

/// A client that only removes fields has no entry in managedFields, and an object with too many entries has none at
/// all.
#[tokio::test(start_paused = true)]
async fn where_nobody_is_known_nobody_is_accused() {
    let edited = found(|it| it["metadata"]["generation"] = json!(2));
    let repaired = found(|it| it["metadata"]["resourceVersion"] = json!("52"));
    let (context, asked) = context([edited, object(|_| {}), repaired, written(), posted()]);
    reconcile(&context, Task { repairs: 4, ..task(Dirty::ROLLOUT) }).await.expect("done");
    let asked = asked.take();
    let said = asked.iter().find(|line| line.contains(STATUS)).expect("a status");
    assert!(said.contains("Contested") && !said.contains("another instance of this operator"), "{said}");
}
