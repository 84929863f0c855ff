//! One watch that never ends: kube's `watcher` with streaming lists where the server has them, small
//! pages where it has not, waits after errors, and says once in clear words what it is waiting for.
//! Used by the controller, once for each kind; must never hand on an error.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::runtime::watcher::{self, Event, InitialListStrategy};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::controller::queue::{Jitter, backoff};

/// Objects in a page where lists are paged: a page is held as a whole.
const PAGE_SIZE: u32 = 100;

/// An operator that waits for its CRD or its rights should not keep people waiting for it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

pub struct Watch<K> {
    api: Api<K>,
    /// As the person reads it who has to mend what is missing: "inferenceservices.ai.example.com".
    resource: String,
    config: watcher::Config,
    stream: BoxStream<'static, watcher::Result<Event<K>>>,
    failures: u8,
    resume: Instant,
    complaint: Option<String>,
    jitter: Jitter,
}

impl<K> Watch<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    /// `namespace` None: all of them. `labels`: a label selector, "" for none.
    pub fn new(client: kube::Client, namespace: Option<&str>, labels: &str, seed: u64) -> Watch<K> {
        let api = match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let mut config = watcher::Config::default().page_size(PAGE_SIZE);
        config.initial_list_strategy = InitialListStrategy::StreamingList;
        if !labels.is_empty() {
            config = config.labels(labels);
        }
        let group = K::group(&());
        let dot = if group.is_empty() { "" } else { "." };
        let resource = format!("{}{dot}{group}", K::plural(&()));
        let stream = watcher::watcher(api.clone(), config.clone()).boxed();
        Watch {
            api,
            resource,
            config,
            stream,
            failures: 0,
            resume: Instant::now(),
            complaint: None,
            jitter: Jitter::new(seed),
        }
    }

    /// The next event. Can be dropped and called again without losing one.
    pub async fn next(&mut self) -> Event<K> {
        loop {
            tokio::time::sleep_until(self.resume).await;
            match self.stream.next().await {
                Some(Ok(event)) => {
                    self.note_success(&event);
                    return event;
                }
                Some(Err(error)) if self.lacks_streaming_lists(&error) => {
                    tracing::info!(resource = self.resource, "the API server has no streaming lists: reading pages");
                    self.config.initial_list_strategy = InitialListStrategy::ListWatch;
                    self.restart();
                }
                Some(Err(error)) => self.note_failure(&error),
                // kube's watcher never ends; should it one day, begin again.
                None => self.restart(),
            }
        }
    }

    fn restart(&mut self) {
        self.stream = watcher::watcher(self.api.clone(), self.config.clone()).boxed();
    }

    /// Servers answer the request for a streaming list with 422 (or an old 400) where the feature
    /// WatchList is off.
    fn lacks_streaming_lists(&self, error: &watcher::Error) -> bool {
        self.config.initial_list_strategy == InitialListStrategy::StreamingList
            && matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 400 | 422))
    }

    fn note_success(&mut self, event: &Event<K>) {
        // The start of a list says nothing yet: a paged one has not asked the server.
        if !matches!(event, Event::Init) {
            self.failures = 0;
        }
        if matches!(event, Event::InitDone) && self.complaint.take().is_some() {
            tracing::info!(resource = self.resource, "watching");
        }
    }

    fn note_failure(&mut self, error: &watcher::Error) {
        self.failures = self.failures.saturating_add(1);
        self.resume = Instant::now() + backoff(self.failures, LONGEST_WAIT, self.jitter.draw());
        let complaint = self.complaint_of(error);
        match complaint {
            // A watch that was cut or has fallen behind is begun again: nobody needs to act.
            None => tracing::debug!(resource = self.resource, %error, "watching again"),
            Some(complaint) if self.complaint.as_ref() == Some(&complaint) => {}
            Some(complaint) => {
                tracing::warn!(resource = self.resource, "{complaint}");
                self.complaint = Some(complaint);
            }
        }
    }

    /// What the watch is waiting for, for the person who has to see to it.
    fn complaint_of(&self, error: &watcher::Error) -> Option<String> {
        use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
        let resource = &self.resource;
        let source = match error {
            WatchError(_) | WatchFailed(_) => return None,
            NoResourceVersion => return Some(format!("the API server lists {resource} without a resourceVersion")),
            InitialListFailed(source) | WatchStartFailed(source) => source,
        };
        match source {
            kube::Error::Api(status) if status.code == 404 => Some(format!(
                "waiting for the CRD: the API server does not know {resource} (apply k3s-manifests/crd.yaml)"
            )),
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                Some(format!("waiting for rights (apply k3s-manifests/rbac.yaml): {}", status.message))
            }
            kube::Error::Api(status) if status.code == 410 => None,
            kube::Error::Api(status) => {
                Some(format!("waiting for the API server: {} ({})", status.message, status.code))
            }
            other => Some(format!("waiting for the API server: {}", crate::error::describe(other))),
        }
    }
}
