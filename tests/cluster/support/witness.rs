//! How many models a change takes down at a time, seen by a watch of the test's own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::task::JoinHandle;

use super::fixture::Fixture;

/// Sees every change of the Deployments, in the order in which they were made.
pub struct Witness {
    most: Arc<AtomicUsize>,
    watch: JoinHandle<()>,
}

impl Witness {
    /// Whatever changes from now on is seen.
    pub async fn of(fixture: &Fixture) -> Witness {
        let most = Arc::<AtomicUsize>::default();
        let deployments = fixture.deployments.clone();
        let listed = list(&deployments, &most).await.expect("a list");
        let watch = tokio::spawn(follow(deployments, most.clone(), listed));
        Witness { most, watch }
    }

    /// How many were down at a time, at most.
    pub fn most(self) -> usize {
        self.watch.abort();
        self.most.load(Relaxed)
    }
}

/// Those that are down, by name, and the version to watch from.
type Listed = (BTreeSet<String>, String);

async fn list(deployments: &Api<Deployment>, most: &AtomicUsize) -> kube::Result<Listed> {
    let list = deployments.list(&ListParams::default()).await?;
    let down: BTreeSet<String> = list.iter().filter(|deployment| is_down(deployment)).map(name).collect();
    most.fetch_max(down.len(), Relaxed);
    Ok((down, list.metadata.resource_version.unwrap_or_default()))
}

/// The API server ends each watch after some minutes.
async fn follow(deployments: Api<Deployment>, most: Arc<AtomicUsize>, mut listed: Listed) {
    loop {
        let (mut down, version) = listed;
        if let Ok(stream) = deployments.watch(&WatchParams::default(), &version).await {
            let mut stream = std::pin::pin!(stream);
            while let Ok(Some(event)) = stream.try_next().await {
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) if is_down(&object) => {
                        down.insert(name(&object));
                    }
                    WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                        down.remove(&name(&object));
                    }
                    WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
                }
                most.fetch_max(down.len(), Relaxed);
            }
        }
        listed = loop {
            match list(&deployments, &most).await {
                Ok(listed) => break listed,
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
    }
}

fn name(deployment: &Deployment) -> String {
    deployment.metadata.name.clone().expect("a name")
}

/// Not all replicas of its latest version are there.
fn is_down(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let is_seen = status.observed_generation >= deployment.metadata.generation;
    let there = status.available_replicas.min(status.updated_replicas).unwrap_or(0);
    wanted > 0 && (there < wanted || !is_seen)
}
