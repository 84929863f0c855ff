//! The cluster's own controllers that InferenceServices depend on: the Deployment controller, which makes
//! replicas ready step by step, and the garbage collector. They work as long as the simulation runs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Shared;
use crate::store::{Key, Kind, Store, controller_uid};

const SLOWEST_STEP: Duration = Duration::from_secs(3);

/// Never ends.
pub async fn run(cluster: Shared) {
    loop {
        let wait = cluster.lock().faults.chance.up_to(SLOWEST_STEP);
        tokio::time::sleep(wait).await;
        let did_something = cluster.with(|inner| collect_garbage(&mut inner.store) | move_on(&mut inner.store));
        if !did_something {
            cluster.changed().await;
        }
    }
}

/// Children whose InferenceService is gone.
fn collect_garbage(store: &mut Store) -> bool {
    let living: Vec<String> = store
        .of_kind(Kind::InferenceService)
        .filter_map(|(_, object)| object["metadata"]["uid"].as_str().map(str::to_owned))
        .collect();
    let orphans: Vec<Key> = store
        .objects
        .iter()
        .filter(|(key, object)| {
            let owner = controller_uid(object);
            key.kind != Kind::InferenceService && owner.is_some_and(|owner| !living.iter().any(|uid| uid == owner))
        })
        .map(|(key, _)| key.clone())
        .collect();
    for key in &orphans {
        store.delete(key);
    }
    !orphans.is_empty()
}

/// One step for each Deployment that is not where its spec wants it.
fn move_on(store: &mut Store) -> bool {
    let before = store.version;
    let all: Vec<Key> = store.of_kind(Kind::Deployment).map(|(key, _)| key.clone()).collect();
    for key in all {
        store.update(&key, |deployment| {
            if let Some(status) = next_status(deployment) {
                deployment["status"] = status;
            }
        });
    }
    store.version != before
}

fn next_status(deployment: &Value) -> Option<Value> {
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let (generation, status) = (number(&deployment["metadata"]["generation"]), &deployment["status"]);
    let desired = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    if number(&status["observedGeneration"]) != generation {
        // It has looked, and made or taken away pods; none of the new ones is ready yet.
        let ready = number(&status["readyReplicas"]).min(desired);
        return Some(counts(generation, desired, 0, ready, "ReplicaSetUpdated"));
    }
    let ready = number(&status["readyReplicas"]);
    if number(&status["updatedReplicas"]) != desired {
        return Some(counts(generation, desired, desired, ready, "ReplicaSetUpdated"));
    }
    if ready < desired {
        return Some(counts(generation, desired, desired, ready + 1, "ReplicaSetUpdated"));
    }
    let is_told = status["conditions"][0]["reason"] == json!("NewReplicaSetAvailable");
    (!is_told).then(|| counts(generation, desired, desired, desired, "NewReplicaSetAvailable"))
}

fn counts(generation: i64, replicas: i64, updated: i64, ready: i64, reason: &str) -> Value {
    json!({
        "observedGeneration": generation, "replicas": replicas, "updatedReplicas": updated,
        "readyReplicas": ready, "availableReplicas": ready,
        "conditions": [{"type": "Progressing", "status": "True", "reason": reason, "message": "simulated"}]
    })
}
