//! An owner reference that another client removes again and again.

use super::requests::{context, found, object, written};
use serde_json::json;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_child_that_is_given_away_again_and_again_is_repaired_ever_more_slowly() {
    let given_away = found(|it| it["metadata"]["ownerReferences"] = json!([]));
    let adopted = found(|it| it["metadata"]["resourceVersion"] = json!("52"));
    let (context, _) = context([given_away, object(|_| {}), adopted, written()]);
    let outcome = reconcile(&context, task(Dirty::DEPLOYMENT)).await.expect("done");
    assert!(outcome.repaired, "it was ours before, so that this is a repair");
    assert!(matches!(outcome.action, Action::AwaitChange), "nobody fights yet: {:?}", outcome.action);
}
