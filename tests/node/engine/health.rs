//! Engines that answer late, pause, or hang: which of them are started again, and what the status says.

use std::time::{Duration, Instant};

use inference_operator::api::Phase;
use serde_json::{Value, json};

use super::witness::{Sample, Witness};
use super::{Models, engine, install_with_chat};
use crate::installed;
use crate::support::Fixture;
use crate::support::shell::signal;
use crate::support::wait::within;

/// A model whose probes are the operator's, but for these fields of readiness and liveness.
async fn chat_probed(models: &Models, name: &str, probes: &Value) -> Fixture {
    let server = json!({
        "name": "server", "startupProbe": {"periodSeconds": 1}, "readinessProbe": probes, "livenessProbe": probes
    });
    let fixture = install_with_chat(models, name, &json!({"template": {"spec": {"containers": [server]}}})).await;
    fixture.until("chat", Phase::Ready).await;
    fixture
}

async fn stop_for(seconds: u64) {
    let engine = engine();
    signal("STOP", engine);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    signal("CONT", engine);
}

/// Its probes come each second, and one that fails would be the last: none does, because each waits for 25 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_whose_health_takes_fifteen_seconds_stays_ready_and_is_not_restarted() {
    let models = Models::new("slow");
    let probes = json!({"periodSeconds": 1, "failureThreshold": 1});
    let fixture = chat_probed(&models, "slow", &probes).await;
    let before = installed::pods_of(&fixture.namespace);
    let witness = Witness::of(&fixture, "chat").await;
    for _ in 0..3 {
        stop_for(15).await;
        witness.until(Duration::from_secs(10), "it serves", Sample::serves).await;
    }
    assert_eq!(installed::pods_of(&fixture.namespace), before);
    let samples = witness.testifies_that_the_status_was_true();
    assert!(samples.iter().all(|sample| sample.phase == Phase::Ready));
    assert!(samples.iter().any(|sample| !sample.answers), "it was not slow");
    fixture.clean_up().await;
}

/// Probes of which three that fail, the operator's number, end readiness after 6 s, and ten liveness after 20 s.
fn impatient() -> Value {
    json!({"periodSeconds": 2, "timeoutSeconds": 1})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_pauses_is_not_ready_meanwhile_and_is_not_restarted() {
    let models = Models::new("pauses");
    let fixture = chat_probed(&models, "pauses", &impatient()).await;
    let before = installed::pods_of(&fixture.namespace);
    let witness = Witness::of(&fixture, "chat").await;
    for _ in 0..3 {
        let mark = witness.all().len();
        stop_for(14).await;
        witness.until(Duration::from_secs(60), "it serves", Sample::serves).await;
        let during = witness.all().split_off(mark);
        assert!(during.iter().any(says_that_it_is_lost), "{during:?}");
    }
    assert_eq!(installed::pods_of(&fixture.namespace), before);
    witness.testifies_that_the_status_was_true();
    fixture.clean_up().await;
}

/// Soon: a pod has 130 s to finish its answers when it ends, and what hangs finishes none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_hangs_is_killed_soon_and_restarted_and_the_status_says_so_meanwhile() {
    let models = Models::new("hangs");
    let fixture = chat_probed(&models, "hangs", &impatient()).await;
    let witness = Witness::of(&fixture, "chat").await;
    let hung = Instant::now();
    signal("STOP", engine());
    let lost = witness.until(Duration::from_secs(60), "the status says so", says_that_it_is_lost).await;
    println!("after {:.1} s: {lost:?}", hung.elapsed().as_secs_f32());
    let mark = witness.all().len();
    // 20 s until liveness gives up, 15 s to end, and as much again for a busy machine.
    within(Duration::from_secs(70), "the kubelet has started it again", || async {
        let restarts = installed::pods_of(&fixture.namespace);
        if restarts.trim_end().ends_with(" 1") { Ok(()) } else { Err(restarts) }
    })
    .await;
    println!("started again after {:.1} s", hung.elapsed().as_secs_f32());
    let meanwhile = witness.all().split_off(mark);
    assert!(meanwhile.iter().all(says_that_it_is_lost), "{meanwhile:?}");
    witness.until(Duration::from_secs(60), "it serves", Sample::serves).await;
    witness.testifies_that_the_status_was_true();
    fixture.clean_up().await;
}

fn says_that_it_is_lost(sample: &Sample) -> bool {
    sample.phase == Phase::Degraded && sample.reason == "ReplicasUnavailable" && sample.ready_replicas == 0
}
