//! What the harness does to the cluster: namespaces, InferenceServices, changes of their specs, and
//! foreign objects; as fast as the API server takes them, over a few connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::isvc::{API_VERSION, InferenceService};

/// Connections at the same time.
pub const CONNECTIONS: usize = 8;

/// Of the API conventions' envelope of 1,500 in one namespace.
const PER_NAMESPACE: usize = 1_000;

const GPU_TYPES: [&str; 3] = ["A100", "H100", "L40S"];

/// Of each foreign Secret and ConfigMap.
const FOREIGN_BYTES: usize = 10_000;

/// 61 bytes each, of the 262,144 that an object's annotations may have together.
const BULKY_ANNOTATIONS: usize = 4_200;

pub fn name(index: usize) -> String {
    format!("isvc-{index:05}")
}

pub fn namespace(index: usize) -> String {
    format!("bench-{}", index / PER_NAMESPACE)
}

/// 0 or 1, the ones evenly among the zeros.
pub fn replicas(index: usize, zero_share: f64) -> i32 {
    let ones = |count: usize| (count as f64 * (1.0 - zero_share) + 1e-9).floor();
    i32::from(ones(index + 1) > ones(index))
}

pub fn namespaces(from: usize, to: usize) -> Vec<String> {
    let mut names: Vec<String> = (from..to).map(namespace).collect();
    names.dedup();
    names
}

pub async fn create_namespace(client: &Client, name: &str) -> Result<()> {
    let object: Namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": {"bench": "yes"}}}))?;
    match Api::all(client.clone()).create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(refusal)) if refusal.code == 409 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("namespace {name}")),
    }
}

/// Waits for what the controller-manager makes in a namespace, without which no pod is admitted.
pub async fn wait_for_service_account(client: &Client, namespace: &str) -> Result<()> {
    let api = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let end = Instant::now() + Duration::from_secs(60);
    while api.get_opt("default").await?.is_none() {
        anyhow::ensure!(Instant::now() < end, "namespace {namespace} has no ServiceAccount default after 60 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

pub async fn create_inference_services(client: &Client, from: usize, to: usize, zero_share: f64) -> Result<()> {
    let made = |index: usize| inference_service(index, zero_share);
    create_each::<InferenceService>(client, from..to, namespace, made).await
}

fn inference_service(index: usize, zero_share: f64) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "InferenceService",
        "metadata": {"name": name(index)},
        "spec": {
            "model": "meta-llama/Llama-3.1-8B-Instruct",
            "replicas": replicas(index, zero_share),
            "gpuType": GPU_TYPES[index % GPU_TYPES.len()],
        }
    })
}

/// Changes what shows in the Deployment's pod template. Returns the InferenceService's new
/// generation and when the API server's answer was there.
pub async fn change(client: &Client, index: usize, value: u32) -> Result<(i64, Instant)> {
    let api = Api::<InferenceService>::namespaced(client.clone(), &namespace(index));
    let patch = Patch::Merge(json!({"spec": {"maxBatchSize": value}}));
    let changed = api.patch(&name(index), &PatchParams::default(), &patch).await;
    let accepted = Instant::now();
    Ok((changed.with_context(|| format!("change of {}", name(index)))?.metadata.generation.unwrap_or(0), accepted))
}

/// All of them over a few connections; what `change` returns, in the order of `indexes`.
pub async fn change_all(client: &Client, indexes: &[usize], value: u32) -> Result<Vec<(i64, Instant)>> {
    let accepted = Arc::new(std::sync::Mutex::new(vec![None; indexes.len()]));
    in_parallel(0..indexes.len(), |position| {
        let (client, accepted, index) = (client.clone(), accepted.clone(), indexes[position]);
        async move {
            let answer = change(&client, index, value).await?;
            accepted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[position] = Some(answer);
            Ok(())
        }
    })
    .await?;
    let accepted = accepted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(accepted.iter().flatten().copied().collect())
}

pub fn bulky_name(index: usize) -> String {
    format!("bulky-{index:03}")
}

/// Each has as many annotations as an object may have, which managedFields name once more: half a megabyte.
pub async fn create_bulky(client: &Client, count: usize) -> Result<()> {
    const BULKY: &str = "bench-bulky";
    create_namespace(client, BULKY).await?;
    let annotations: serde_json::Map<String, Value> = (0..BULKY_ANNOTATIONS)
        .map(|n| (format!("bench.example.com/a-setting-of-somebody-else-{n:05}"), json!("0123456789")))
        .collect();
    let made = |index: usize| {
        let mut object = inference_service(index, 1.0);
        object["metadata"] = json!({"name": bulky_name(index), "annotations": annotations});
        object
    };
    create_each::<InferenceService>(client, 0..count, |_| BULKY.to_owned(), made).await
}

/// `count` of each: Deployments that are nobody's, Services, Secrets, ConfigMaps.
pub async fn create_foreign(client: &Client, count: usize, done: impl Fn(&str, usize)) -> Result<()> {
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
    const FOREIGN: &str = "bench-foreign";
    create_namespace(client, FOREIGN).await?;
    let place = |_: usize| FOREIGN.to_owned();
    let filler = "x".repeat(FOREIGN_BYTES);
    create_each::<Deployment>(client, 0..count, place, foreign_deployment).await?;
    done("Deployments", count);
    // Without an address of its own, which would take the API server longer than all else.
    let service = |index: usize| {
        json!({
            "metadata": {"name": format!("foreign-{index:05}")},
            "spec": {"clusterIP": "None", "selector": {"app.kubernetes.io/name": "web"}, "ports": [{"port": 80}]}
        })
    };
    create_each::<Service>(client, 0..count, place, service).await?;
    done("Services", count);
    let secret =
        |index: usize| json!({"metadata": {"name": format!("foreign-{index:05}")}, "stringData": {"data": filler}});
    create_each::<Secret>(client, 0..count, place, secret).await?;
    done("Secrets", count);
    let config = |index: usize| json!({"metadata": {"name": format!("foreign-{index:05}")}, "data": {"data": filler}});
    create_each::<ConfigMap>(client, 0..count, place, config).await?;
    done("ConfigMaps", count);
    Ok(())
}

/// An ordinary web application's.
fn foreign_deployment(index: usize) -> Value {
    let variables: Vec<Value> =
        (0..20).map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("value-{n}")})).collect();
    let labels = json!({"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": format!("foreign-{index:05}")});
    json!({
        "metadata": {"name": format!("foreign-{index:05}"), "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": "web",
                    "image": "registry.example.com/web:1",
                    "env": variables,
                    "ports": [{"containerPort": 8080}],
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}
                }]}
            }
        }
    })
}

async fn create_each<K>(
    client: &Client,
    indexes: std::ops::Range<usize>,
    place: impl Fn(usize) -> String,
    make: impl Fn(usize) -> Value,
) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    in_parallel(indexes, |index| {
        let api = Api::<K>::namespaced(client.clone(), &place(index));
        let object = serde_json::from_value::<K>(make(index));
        async move {
            let object = object?;
            let created = api.create(&PostParams::default(), &object).await;
            created
                .map(drop)
                .with_context(|| format!("creating {} {}", K::kind(&()), object.meta().name.as_deref().unwrap_or("")))
        }
    })
    .await
}

/// Runs `work` for each index, `CONNECTIONS` at a time; ends at the first error.
async fn in_parallel<F: Future<Output = Result<()>>>(
    indexes: std::ops::Range<usize>,
    work: impl Fn(usize) -> F,
) -> Result<()> {
    let next = AtomicUsize::new(indexes.start);
    let worker = || async {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= indexes.end {
                return Ok(());
            }
            work(index).await?;
        }
    };
    futures::future::try_join_all((0..CONNECTIONS).map(|_| worker())).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_without_replicas_is_as_asked_for() {
        for (zero_share, expected) in [(0.9, 500), (1.0, 0), (0.0, 5_000), (0.5, 2_500)] {
            let with: i32 = (0..5_000).map(|index| replicas(index, zero_share)).sum();
            assert_eq!(with, expected, "{zero_share}");
        }
        assert_eq!((0..10).map(|index| replicas(index, 0.9)).sum::<i32>(), 1);
    }

    #[test]
    fn namespaces_hold_a_thousand_each() {
        assert_eq!(namespaces(0, 5_000), ["bench-0", "bench-1", "bench-2", "bench-3", "bench-4"]);
        assert_eq!(namespaces(1_000, 1_001), ["bench-1"]);
        assert!(namespaces(0, 0).is_empty());
    }
}
