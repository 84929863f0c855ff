//! Every status of one InferenceService, in order, and the Events about it. For tests of promises about every moment,
//! not only the end. Must never read a status by the operator's own types: a test must see what users see.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use inference_operator::api::InferenceService;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::Value;
use simulation::oracle::kstatus::{self, Verdict};
use tokio::task::JoinHandle;

use super::fixture::Fixture;
use super::wait::eventually;

/// One version of the object, from the watch.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Since the recorder started.
    pub after: Duration,
    object: DynamicObject,
}

impl Seen {
    /// Empty if there is none.
    fn text(&self, pointer: &str) -> String {
        self.object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub fn phase(&self) -> String {
        self.text("/status/phase")
    }

    /// Is the status about the current spec?
    pub fn is_of_this_spec(&self) -> bool {
        let observed = self.object.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
        observed == self.object.metadata.generation
    }

    pub fn kstatus(&self) -> Verdict {
        kstatus::verdict(&self.object())
    }

    pub fn object(&self) -> Value {
        serde_json::to_value(&self.object).unwrap_or_default()
    }

    /// One line for the output of a failed test.
    pub fn line(&self) -> String {
        let generation = self.object.metadata.generation.unwrap_or_default();
        let status = self.object.data.get("status").unwrap_or(&Value::Null);
        format!("{:.1} s: generation {generation}: {status}", self.after.as_secs_f32())
    }
}

pub struct Recorder {
    client: Client,
    namespace: String,
    name: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    watch: JoinHandle<()>,
}

impl Recorder {
    /// Starts with the current object.
    pub async fn of(fixture: &Fixture, name: &str) -> Recorder {
        let seen = Arc::default();
        let api = Api::<DynamicObject>::namespaced_with(
            fixture.client.clone(),
            &fixture.namespace,
            &ApiResource::erase::<InferenceService>(&()),
        );
        let watch = tokio::spawn(follow(api, name.to_owned(), Arc::clone(&seen)));
        let recorder = Recorder {
            client: fixture.client.clone(),
            namespace: fixture.namespace.clone(),
            name: name.to_owned(),
            seen,
            watch,
        };
        eventually("the recorder has begun", || async {
            if recorder.lock().is_empty() { Err("nothing seen".into()) } else { Ok(()) }
        })
        .await;
        recorder
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().expect("nobody panics with it")
    }

    /// Everything seen, once `last` was.
    pub async fn up_to(&self, last: &InferenceService) -> Vec<Seen> {
        eventually("the recorder has seen the last one", || async {
            let seen = self.lock().clone();
            let is_last = |seen: &Seen| seen.object.metadata.resource_version == last.meta().resource_version;
            if seen.iter().any(is_last) { Ok(seen) } else { Err(lines(&seen)) }
        })
        .await
    }

    /// Everything seen up to the current object.
    pub async fn until_now(&self) -> Vec<Seen> {
        let api = Api::<InferenceService>::namespaced(self.client.clone(), &self.namespace);
        self.up_to(&api.get(&self.name).await.expect("there")).await
    }

    /// The Warning Events about it, as reason and note.
    pub async fn warnings(&self) -> Vec<(String, String)> {
        let kind = kube::core::GroupVersionKind::gvk("events.k8s.io", "v1", "Event");
        let api =
            Api::<DynamicObject>::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::from_gvk(&kind));
        let events = api.list(&ListParams::default()).await.expect("a list").items;
        let text = |event: &DynamicObject, field: &str| event.data[field].as_str().unwrap_or_default().to_owned();
        let about = events.iter().filter(|event| {
            event.data["regarding"]["kind"] == "InferenceService"
                && event.data["regarding"]["name"] == self.name.as_str()
                && event.data["type"] == "Warning"
        });
        about.map(|event| (text(event, "reason"), text(event, "note"))).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

pub fn lines(seen: &[Seen]) -> String {
    seen.iter().flat_map(|seen| ["\n  ".to_owned(), seen.line()]).collect()
}

/// Panics with everything seen if one of them is wrong.
pub fn all(seen: &[Seen], promise: &str, is_right: impl Fn(&Seen) -> bool) {
    let wrong: Vec<_> = seen.iter().filter(|seen| !is_right(seen)).cloned().collect();
    assert!(wrong.is_empty(), "not so: {promise}:{}\nall that was seen:{}", lines(&wrong), lines(seen));
}

/// Reopens an ended watch: the API server ends each after some minutes, and a test may stop the API server.
async fn follow(api: Api<DynamicObject>, name: String, seen: Arc<Mutex<Vec<Seen>>>) {
    let began = Instant::now();
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut version = "0".to_owned();
    loop {
        if let Ok(stream) = api.watch(&parameters, &version).await {
            let mut stream = std::pin::pin!(stream);
            while let Ok(Some(event)) = stream.try_next().await {
                if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                    version = object.resource_version().unwrap_or(version);
                    seen.lock().expect("nobody panics with it").push(Seen { after: began.elapsed(), object });
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
