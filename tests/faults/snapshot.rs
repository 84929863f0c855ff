//! The objects of a namespace, without everything that differs between clusters, for comparison. Taken by the tests
//! from the API server itself, never through the proxy.

use std::collections::{BTreeMap, BTreeSet};

use http::Request;
use inference_operator::api::GROUP;
use inference_operator::reconcile::deployment::MANAGED_BY;
use kube::Client;
use serde_json::{Value, json};

const KINDS: [(&str, &str); 3] = [
    ("InferenceService", "/apis/ai.example.com/v1/namespaces/NAMESPACE/inferenceservices"),
    ("Deployment", "/apis/apps/v1/namespaces/NAMESPACE/deployments"),
    ("Service", "/api/v1/namespaces/NAMESPACE/services"),
];

/// By kind and name.
pub type Snapshot = BTreeMap<String, Value>;

pub async fn take(client: &Client, namespace: &str) -> Result<Snapshot, String> {
    let mut snapshot = Snapshot::new();
    for (kind, path) in KINDS {
        let request = Request::get(path.replace("NAMESPACE", namespace)).body(Vec::new()).expect("a request");
        let list = client.request::<Value>(request).await.map_err(|error| error.to_string())?;
        for object in list["items"].as_array().into_iter().flatten() {
            let name = format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or_default());
            // The endpoint contains the namespace.
            let text = essence(kind, object).to_string().replace(namespace, "NAMESPACE");
            snapshot.insert(name, serde_json::from_str(&text).expect("JSON"));
        }
    }
    Ok(snapshot)
}

/// Further results: the names of ReplicaSets, one for each template that ever existed, and of the operator's Warning
/// Events, without those that the outages themselves explain. Clusters differ in these if specs change faster than
/// they are reconciled.
pub async fn traces(client: &Client, namespace: &str) -> BTreeSet<String> {
    let list = async |path: &str| {
        let request = Request::get(path.replace("NAMESPACE", namespace)).body(Vec::new()).expect("a request");
        let mut list = client.request::<Value>(request).await.expect("a list");
        list["items"].as_array_mut().map(std::mem::take).unwrap_or_default()
    };
    let replica_sets = list("/apis/apps/v1/namespaces/NAMESPACE/replicasets").await;
    let events = list("/apis/events.k8s.io/v1/namespaces/NAMESPACE/events").await;
    // An error that lasts longer than a moment is reported, and an outage causes one.
    let of_outages = |event: &Value| {
        let reasons = ["ApiServerRefused", "RequestFailed", "Timeout"];
        reasons.iter().any(|reason| event["reason"] == *reason)
    };
    let own = events
        .into_iter()
        .filter(|event| event["reportingController"] == format!("{GROUP}/{MANAGED_BY}") && !of_outages(event));
    let names = replica_sets.into_iter().chain(own).map(|object| object["metadata"]["name"].to_string());
    names.collect()
}

pub fn assert_same_traces(expected: &BTreeSet<String>, found: &BTreeSet<String>) {
    let (missing, more): (Vec<_>, Vec<_>) =
        (expected.difference(found).collect(), found.difference(expected).collect());
    assert!(
        missing.is_empty() && more.is_empty(),
        "ReplicaSets and Events: {missing:?} are missing, {more:?} are more"
    );
}

/// The first difference between `expected` and `found`.
pub fn difference(expected: &Snapshot, found: &Snapshot) -> Option<String> {
    let names = expected.keys().chain(found.keys());
    names.into_iter().find_map(|name| {
        let (expected, found) = (expected.get(name), found.get(name));
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        (expected != found).then(|| format!("{name} is not\n{}\nbut\n{}", text(expected), text(found)))
    })
}

fn essence(kind: &str, object: &Value) -> Value {
    let mut essence = json!({
        "labels": object["metadata"]["labels"],
        "owners": owners(object),
        "spec": object["spec"],
    });
    let status = &object["status"];
    match kind {
        "InferenceService" => {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let conditions: Vec<Value> = conditions.map(|one| without(one, &["lastTransitionTime"])).collect();
            essence["status"] = without(status, &["observed", "conditions"]);
            essence["conditions"] = json!(conditions);
            essence["is observed"] = json!(status["observedGeneration"] == object["metadata"]["generation"]);
        }
        "Deployment" => {
            essence["status"] = json!([status["replicas"], status["updatedReplicas"], status["availableReplicas"]]);
            essence["is observed"] = json!(status["observedGeneration"] == object["metadata"]["generation"]);
        }
        _ => essence["spec"] = without(&object["spec"], &["clusterIP", "clusterIPs"]),
    }
    essence
}

fn owners(object: &Value) -> Vec<Value> {
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.map(|owner| without(owner, &["uid"])).collect()
}

fn without(value: &Value, names: &[&str]) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    value
}
