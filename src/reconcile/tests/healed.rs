//! An obstacle to a read of the Service alone that is over.

use super::requests::{as_it_was, context, written, written_phase};
use serde_json::json;

use super::*;
use crate::testing::fake_api_server::Reply;

/// The Service changed, and the read failed for long enough to be reported; now the read succeeds, and the Service is
/// unchanged.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_service_is_taken_back_when_it_is_over() {
    let said = status::refuse(&Error::Kube(kube::Error::Api(kube::core::Status::default().into())), true);
    let refused = Summary { phase: said.phase, abnormal: said.abnormal, ..summary(Phase::Degraded) };
    let task = Task { summary: Some(refused), failures: 3, ..task(Dirty::SERVICE) };
    let mut service = Desired::new("ns", "demo", task.uid, None).object;
    service["metadata"]["resourceVersion"] = json!("61");
    let (context, asked) = context([as_it_was(), Reply::object(&service), written()]);
    let outcome = reconcile(&context, task).await.expect("done");
    assert_eq!(written_phase(&asked.take()), Some("Ready"), "{:?}", outcome.action);
}
