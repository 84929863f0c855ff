//! What the status of one InferenceService says, and whether its model answers, twice a second.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use inference_operator::api::{InferenceService, Phase};
use kube::Api;
use tokio::task::JoinHandle;

use super::client::Model;
use crate::support::Fixture;
use crate::support::wait::within;

const INTERVAL: Duration = Duration::from_millis(500);

/// An idle engine answers within a tenth of it.
const ANSWER: Duration = Duration::from_secs(2);

/// The promise: the status never states for longer than this what is not true.
const LONGEST_UNTRUTH: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Sample {
    /// Since the witness began.
    after: Duration,
    pub phase: Phase,
    pub ready_replicas: i32,
    /// Of the condition Ready.
    pub reason: String,
    pub answers: bool,
}

impl Sample {
    pub fn serves(&self) -> bool {
        self.phase == Phase::Ready && self.answers
    }

    fn is_untrue(&self) -> bool {
        self.phase == Phase::Ready && !self.answers
    }

    /// Without the time: two that are the same tell nothing new.
    fn says(&self) -> String {
        let answers = if self.answers { "the model answers" } else { "no answer" };
        format!("{:?} {} ({} ready), {answers}", self.phase, self.reason, self.ready_replicas)
    }
}

pub struct Witness {
    samples: Arc<Mutex<Vec<Sample>>>,
    task: JoinHandle<()>,
}

impl Witness {
    /// Begins with a model that serves.
    pub async fn of(fixture: &Fixture, name: &str) -> Witness {
        let samples = Arc::default();
        let model = Model::of(fixture, name).await;
        let task =
            tokio::spawn(follow(fixture.inference_services.clone(), name.to_owned(), model, Arc::clone(&samples)));
        let witness = Witness { samples, task };
        witness.until(Duration::from_secs(10), "it serves", Sample::serves).await;
        witness
    }

    pub fn all(&self) -> Vec<Sample> {
        self.samples.lock().expect("nobody panics with it").clone()
    }

    /// Waits for a sample, from now on, that is so.
    pub async fn until(&self, patience: Duration, what: &str, is_so: impl Fn(&Sample) -> bool) -> Sample {
        let mark = self.all().len();
        within(patience, what, || async {
            let samples = self.all();
            let found = samples.iter().skip(mark).find(|sample| is_so(sample)).cloned();
            found.ok_or_else(|| story(&samples))
        })
        .await
    }

    /// Ends, prints all that was seen, and panics if the status said for too long what was not true.
    pub fn testifies_that_the_status_was_true(&self) -> Vec<Sample> {
        self.task.abort();
        let samples = self.all();
        let longest = longest_untruth(&samples);
        println!("Ready without an answer for {:.1} s at most:{}", longest.as_secs_f32(), story(&samples));
        assert!(longest < LONGEST_UNTRUTH, "Ready for {} s while the model did not answer", longest.as_secs());
        samples
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: Api<InferenceService>, name: String, model: Model, samples: Arc<Mutex<Vec<Sample>>>) {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let after = began.elapsed();
        let (answer, object) = futures::join!(model.ask(ANSWER), api.get(&name));
        let status = object.expect("it is there").status.unwrap_or_default();
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let sample = Sample {
            after,
            phase: status.phase,
            ready_replicas: status.ready_replicas,
            reason: ready.map(|condition| condition.reason.clone()).unwrap_or_default(),
            answers: answer.is_ok(),
        };
        samples.lock().expect("nobody panics with it").push(sample);
    }
}

/// From the first of several such samples to the one that ends them.
fn longest_untruth(samples: &[Sample]) -> Duration {
    let (mut longest, mut since) = (Duration::ZERO, None);
    for sample in samples {
        longest = longest.max(since.map_or(Duration::ZERO, |since| sample.after.saturating_sub(since)));
        since = sample.is_untrue().then(|| since.unwrap_or(sample.after));
    }
    longest
}

/// A line for each change.
fn story(samples: &[Sample]) -> String {
    let mut changes: Vec<_> = samples.iter().map(|sample| (sample.after, sample.says())).collect();
    changes.dedup_by(|(_, later), (_, says)| later == says);
    changes.iter().flat_map(|(after, says)| [format!("\n  {:.1} s: ", after.as_secs_f32()), says.clone()]).collect()
}
