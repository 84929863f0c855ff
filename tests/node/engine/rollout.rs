//! A spec that changes while clients ask.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use inference_operator::api::Phase;
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use super::client::Model;
use super::{Models, install_with_chat};
use crate::installed;
use crate::support::wait::within;

const BETWEEN_REQUESTS: Duration = Duration::from_millis(100);

/// As long as a client would wait at the most.
const ANSWER: Duration = Duration::from_secs(30);

/// Two pods, one after the other; each sleeps 10 s when it ends, and is probed every 10 s when it starts.
const ROLLOUT: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_spec_rolls_out_under_ten_requests_a_second_and_none_fails() {
    let models = Models::new("rollout");
    let fixture = install_with_chat(&models, "rollout", &json!({"replicas": 2})).await;
    fixture.until("chat", Phase::Ready).await;
    let before = uids(&fixture.namespace);
    assert_eq!(before.len(), 2, "{before:?}");

    let load = Load::on(Model::of(&fixture, "chat").await);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let changed = Instant::now();
    fixture.change("chat", json!({"args": ["--seed", "7"]})).await;
    within(ROLLOUT, "both pods are new, and Ready", || async {
        let now = uids(&fixture.namespace);
        let object = fixture.inference_services.get("chat").await.map_err(|error| error.to_string())?;
        let status = object.status.clone().unwrap_or_default();
        let is_ready = status.phase == Phase::Ready && Some(status.observed_generation) == object.metadata.generation;
        // The old ones are gone altogether: it is their end that could cost a request.
        if is_ready && now.len() == 2 && now.is_disjoint(&before) { Ok(()) } else { Err(format!("{status:?} {now:?}")) }
    })
    .await;
    println!("rolled out in {} s", changed.elapsed().as_secs());
    let answers = load.end().await;
    println!("{} requests, the slowest took {:?}", answers.len(), answers.iter().map(|answer| answer.took).max());
    let failed: Vec<_> = answers.iter().filter(|answer| answer.result.is_err()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), answers.len());
    fixture.clean_up().await;
}

/// Of the pods that are there, those that are ending too.
fn uids(namespace: &str) -> BTreeSet<String> {
    let pods = installed::pods_of(namespace);
    pods.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

#[derive(Debug)]
#[allow(dead_code)] // `at` is only printed
struct Answer {
    /// Since the load began.
    at: Duration,
    took: Duration,
    result: Result<(), String>,
}

/// Ten requests a second, however long the answers take.
struct Load {
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Vec<Answer>>,
    began: Instant,
}

impl Load {
    fn on(model: Model) -> Load {
        let (is_over, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let task = tokio::spawn(requests(model, began, Arc::clone(&is_over)));
        Load { is_over, task, began }
    }

    /// Waits for the answers that are missing.
    async fn end(self) -> Vec<Answer> {
        self.is_over.store(true, Ordering::Relaxed);
        let lasted = self.began.elapsed();
        let answers = self.task.await.expect("no panic");
        let least = lasted.as_millis() / BETWEEN_REQUESTS.as_millis() * 9 / 10;
        assert!(answers.len() as u128 >= least, "only {} requests in {} s", answers.len(), lasted.as_secs());
        answers
    }
}

async fn requests(model: Model, began: Instant, is_over: Arc<AtomicBool>) -> Vec<Answer> {
    let mut ticks = tokio::time::interval(BETWEEN_REQUESTS);
    let mut requests = JoinSet::new();
    while !is_over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let model = model.clone();
        requests.spawn(async move {
            let (at, asked) = (began.elapsed(), Instant::now());
            let result = model.ask(ANSWER).await;
            Answer { at, took: asked.elapsed(), result }
        });
    }
    requests.join_all().await
}
