//! A node that loses power.

use std::time::Duration;

use inference_operator::api::Phase;
use serde_json::{Value, json};

use super::witness::{Sample, Witness};
use super::{Models, completion, install_with_chat};
use crate::support::kubectl;
use crate::support::wait::within;
use crate::{installed, node};

/// How long a machine takes to come back.
const DOWN: Duration = Duration::from_secs(20);

const PATIENCE: Duration = Duration::from_secs(180);

/// All that is on the node is gone at once, the operator too: until that runs again, nobody changes the status. So it
/// is true within a minute only of a node that is back sooner, as here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_on_a_node_that_lost_power_is_ready_again_by_itself_and_the_status_is_true() {
    let models = Models::new("reboot");
    let fixture = install_with_chat(&models, "reboot", &json!({})).await;
    fixture.until("chat", Phase::Ready).await;
    let witness = Witness::of(&fixture, "chat").await;
    let before = [installed::pod(), model(&fixture.namespace)];

    node::crash();
    witness.until(PATIENCE, "nobody answers", |sample| !sample.answers).await;
    tokio::time::sleep(DOWN).await;
    node::boot();
    within(PATIENCE, "the pods that were there run again", || async {
        let now = [installed::pod(), model(&fixture.namespace)];
        let runs_again = before.iter().zip(&now).all(|(before, now)| is_back(before, now));
        if runs_again { Ok(()) } else { Err(format!("{} {}", now[0]["status"], now[1]["status"])) }
    })
    .await;
    witness.until(PATIENCE, "it serves", Sample::serves).await;
    let answer = completion(&fixture, "chat", "afterwards", false).await;
    assert!(answer.contains("\"model\":\"chat\""), "{answer}");
    let samples = witness.testifies_that_the_status_was_true();
    assert!(samples.last().is_some_and(Sample::serves), "it did not stay so");
    fixture.clean_up().await;
}

/// The same pod, with a container that has started since.
fn is_back(before: &Value, now: &Value) -> bool {
    now["metadata"]["uid"] == before["metadata"]["uid"]
        && installed::restarts(now) > installed::restarts(before)
        && now["status"]["containerStatuses"][0]["ready"] == true
}

/// The pod of the model.
fn model(namespace: &str) -> Value {
    let list = kubectl(&["-n", namespace, "get", "pods", "-l", "ai.example.com/inferenceservice=chat", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    list["items"][0].clone()
}
