//! What the cluster looks like from outside: all InferenceServices and their Deployments, kept by
//! two watches, with the time at which each change was seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::isvc::InferenceService;

/// By the names of InferenceServices, which the harness makes unique in the cluster.
#[derive(Default)]
pub struct Seen {
    pub deployments: HashMap<String, DeploymentSeen>,
    pub inference_services: HashMap<String, InferenceServiceSeen>,
}

pub struct DeploymentSeen {
    pub generation: i64,
    /// When that generation was first seen.
    pub generation_at: Instant,
    pub first_at: Instant,
}

pub struct InferenceServiceSeen {
    pub generation: i64,
    /// When that generation was first seen.
    pub generation_at: Instant,
    pub observed_generation: i64,
    pub is_ready: bool,
    /// When it was first seen Ready.
    pub ready_at: Option<Instant>,
}

impl Seen {
    pub fn ready(&self) -> usize {
        self.inference_services.values().filter(|seen| seen.is_ready).count()
    }

    /// When the last of them got its Deployment.
    pub fn last_deployment_at(&self) -> Option<Instant> {
        self.deployments.values().map(|seen| seen.first_at).max()
    }

    /// When the last of them was first Ready.
    pub fn last_ready_at(&self) -> Option<Instant> {
        self.inference_services.values().filter_map(|seen| seen.ready_at).max()
    }

    pub fn generation_of(&self, name: &str) -> i64 {
        self.deployments.get(name).map_or(0, |seen| seen.generation)
    }
}

pub struct World {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    watches: [JoinHandle<()>; 2],
}

impl World {
    pub fn watch(client: &Client) -> World {
        let (seen, changed) = (Arc::new(Mutex::new(Seen::default())), Arc::new(Notify::new()));
        let config = || watcher::Config::default().timeout(290);
        // The harness's own noise has no such label.
        let children = config().labels("app.kubernetes.io/managed-by=inference-operator");
        let watches = [
            tokio::spawn(follow(
                watcher::watcher(Api::<PartialObjectMeta<Deployment>>::all(client.clone()), children),
                seen.clone(),
                changed.clone(),
                |seen, object| see_deployment(seen, &object.name_any(), object.metadata.generation.unwrap_or(0)),
            )),
            tokio::spawn(follow(
                watcher::watcher(Api::<InferenceService>::all(client.clone()), config()),
                seen.clone(),
                changed.clone(),
                |seen, object| see_inference_service(seen, &object),
            )),
        ];
        World { seen, changed, watches }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is_so` of what is seen, which is asked at each change; None after `patience`.
    pub async fn until<T>(&self, patience: Duration, is_so: impl Fn(&Seen) -> Option<T>) -> Option<T> {
        let end = tokio::time::Instant::now() + patience;
        loop {
            let changed = self.changed.notified();
            if let Some(value) = is_so(&self.seen()) {
                return Some(value);
            }
            if tokio::time::timeout_at(end, changed).await.is_err() {
                return is_so(&self.seen());
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
    }
}

async fn follow<K>(
    stream: impl futures::Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    see: impl Fn(&mut Seen, K),
) {
    let mut stream = std::pin::pin!(stream.default_backoff());
    while let Some(event) = stream.next().await {
        // An error is followed by another try; what was deleted does not matter to any phase.
        if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
            see(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), object);
            changed.notify_waiters();
        }
    }
}

fn see_deployment(seen: &mut Seen, name: &str, generation: i64) {
    let now = Instant::now();
    match seen.deployments.get_mut(name) {
        Some(known) if known.generation < generation => {
            (known.generation, known.generation_at) = (generation, now);
        }
        Some(_) => {}
        None => {
            seen.deployments.insert(name.to_owned(), DeploymentSeen { generation, generation_at: now, first_at: now });
        }
    }
}

fn see_inference_service(seen: &mut Seen, object: &InferenceService) {
    let generation = object.metadata.generation.unwrap_or(0);
    let status = object.status.clone().unwrap_or_default();
    let is_ready = status.phase == "Ready" && status.observed_generation == generation;
    let known = seen.inference_services.get(&object.name_any());
    let ready_before = known.and_then(|known| known.ready_at);
    let generation_before = known.filter(|known| known.generation == generation).map(|known| known.generation_at);
    seen.inference_services.insert(
        object.name_any(),
        InferenceServiceSeen {
            generation,
            generation_at: generation_before.unwrap_or_else(Instant::now),
            observed_generation: status.observed_generation,
            is_ready,
            ready_at: ready_before.or_else(|| is_ready.then(Instant::now)),
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_keeps_the_time_at_which_it_came() {
        let mut seen = Seen::default();
        see_deployment(&mut seen, "a", 1);
        let first = seen.deployments["a"].generation_at;
        see_deployment(&mut seen, "a", 1);
        assert_eq!(seen.deployments["a"].generation_at, first);
        std::thread::sleep(Duration::from_millis(2));
        see_deployment(&mut seen, "a", 2);
        assert!(seen.deployments["a"].generation_at > first && seen.deployments["a"].first_at == first);
        assert_eq!((seen.generation_of("a"), seen.generation_of("b")), (2, 0));
    }
}
