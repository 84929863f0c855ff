//! The cluster's own controllers that InferenceServices depend on: the Deployment controller with everything that
//! makes pods, the garbage collector, and the namespace controller. They run until the simulation ends.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::pods::ReplicaSet;
use super::rollout::Rollout;
use super::{Inner, Shared};
use crate::api_server::{Key, Kind, Propagation, Store, controller_uid, finalizers, is_deleting};
use crate::chance::Chance;
use crate::clock;

const QUICK_STEP: Duration = Duration::from_millis(50);
const SLOWEST_STEP: Duration = Duration::from_secs(3);

/// Never returns. The controllers have their own random numbers.
pub async fn run(cluster: Shared, mut chance: Chance) {
    loop {
        let slowest = if chance.per_mille(700) { QUICK_STEP } else { SLOWEST_STEP };
        tokio::time::sleep(chance.up_to(slowest)).await;
        let did_something = cluster.with(|inner| {
            let collected = collect_garbage(inner);
            empty_namespaces(&mut inner.store, &mut chance) | collected | move_on(inner, &mut chance)
        });
        if did_something {
            continue;
        }
        let wake = wakes_at(&cluster.lock());
        tokio::select! {
            biased;
            () = cluster.changed() => {}
            () = tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
    }
}

/// The next time at which something is due that no write announces.
fn wakes_at(inner: &Inner) -> Option<Instant> {
    let now = Instant::now();
    let pods = inner.rollouts.values().flat_map(|rollout| rollout.sets.iter().filter_map(ReplicaSet::wakes_at));
    let deadlines = inner.store.of_kind(Kind::Deployment).filter_map(|(_, deployment)| {
        let seconds = Rollout::deadline(deployment)?.saturating_sub(u64::from(clock::now().0));
        Some(now + Duration::from_secs(seconds.max(1)))
    });
    pods.chain(deadlines).chain(inner.nodes.wakes_at(now)).min()
}

// === the garbage collector ===

fn collect_garbage(inner: &mut Inner) -> bool {
    let before = inner.store.version;
    let deleting: Vec<(Key, Value)> = inner
        .store
        .objects
        .iter()
        .filter(|(_, object)| is_deleting(object))
        .map(|(k, o)| (k.clone(), o.clone()))
        .collect();
    for (key, object) in deleting {
        finish(inner, &key, &object);
    }
    let store = &mut inner.store;
    let living: Vec<String> = store
        .of_kind(Kind::InferenceService)
        .filter_map(|(_, object)| object["metadata"]["uid"].as_str().map(str::to_owned))
        .collect();
    let orphans: Vec<Key> = store
        .objects
        .iter()
        .filter(|(key, object)| {
            let owner = controller_uid(object);
            key.kind.is_child()
                && !is_deleting(object)
                && owner.is_some_and(|owner| !living.iter().any(|uid| uid == owner))
        })
        .map(|(key, _)| key.clone())
        .collect();
    for key in &orphans {
        store.delete(key);
    }
    store.version != before
}

/// The garbage collector's work for an object with one of its finalizers.
fn finish(inner: &mut Inner, key: &Key, object: &Value) {
    let waits_for = |finalizer: &str| finalizers(object).any(|found| found == finalizer);
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    if waits_for("orphan") {
        let dependents: Vec<Key> = inner
            .store
            .objects
            .iter()
            .filter(|(_, object)| controller_uid(object) == Some(&uid))
            .map(|(key, _)| key.clone())
            .collect();
        for dependent in dependents {
            inner.store.update(&dependent, |object| remove(object, "/metadata", "ownerReferences"));
        }
    } else if waits_for("foregroundDeletion") {
        // No child blocks its owner's deletion here: dependents are deleted after the owner. Pods are deleted at
        // once.
        inner.rollouts.remove(&uid);
    } else {
        return;
    }
    inner.store.update(key, |object| drop_finalizers(object, &["orphan", "foregroundDeletion"]));
}

pub fn drop_finalizers(object: &mut Value, names: &[&str]) {
    let Some(finalizers) = object.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) else { return };
    finalizers.retain(|found| !names.iter().any(|name| found == name));
    if finalizers.is_empty() {
        remove(object, "/metadata", "finalizers");
    }
}

/// Removes a field; an absent one stays absent, and does not become null.
pub fn remove(object: &mut Value, path: &str, field: &str) {
    if let Some(object) = object.pointer_mut(path).and_then(Value::as_object_mut) {
        object.remove(field);
    }
}

// === the namespace controller ===

/// Deletes one object of each terminating namespace, and at last the namespace.
fn empty_namespaces(store: &mut Store, chance: &mut Chance) -> bool {
    let before = store.version;
    for namespace in store.terminating.clone() {
        let left = || store.objects.iter().filter(|(key, _)| key.namespace == namespace);
        let is_empty = left().next().is_none();
        let stays: Vec<Key> = left().filter(|(_, object)| !is_deleting(object)).map(|(key, _)| key.clone()).collect();
        if let Some(key) = chance.pick(&stays) {
            store.delete_as(key, Propagation::Background);
        } else if is_empty {
            store.terminating.remove(&namespace);
            store.gone.insert(namespace);
        }
    }
    store.version != before
}

// === the Deployment controller ===

/// One step for each Deployment that does not match its spec yet.
fn move_on(inner: &mut Inner, chance: &mut Chance) -> bool {
    let (before, now) = (inner.store.version, Instant::now());
    let all: Vec<(Key, String)> = inner
        .store
        .of_kind(Kind::Deployment)
        .map(|(key, object)| (key.clone(), object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()))
        .collect();
    inner.rollouts.retain(|uid, _| all.iter().any(|(_, living)| living == uid));
    let mut moved = false;
    for (key, uid) in all {
        let rollout = inner.rollouts.entry(uid).or_default();
        let Some(deployment) = inner.store.objects.get(&key) else { continue };
        let version = deployment["metadata"]["resourceVersion"].clone();
        let is_late = Rollout::deadline(deployment).is_some_and(|deadline| deadline <= u64::from(clock::now().0));
        let mut acts = false;
        if is_late || rollout.rests_at != version {
            let (scaled, status) = rollout.sync(deployment);
            let is_news = status != deployment["status"];
            acts = scaled || is_news;
            if is_news {
                inner.store.update(&key, |deployment| deployment["status"] = status);
            }
        }
        for set in &mut rollout.sets {
            acts |= set.step(&inner.nodes, chance, now);
        }
        rollout.rests_at = if acts { Value::Null } else { version };
        moved |= acts;
    }
    moved || inner.store.version != before
}

/// Deletes one of the ready pods.
pub fn lose_a_pod(inner: &mut Inner, key: &Key) -> bool {
    let uid = inner.store.get(key).and_then(|object| object["metadata"]["uid"].as_str()).unwrap_or_default();
    let Some(rollout) = inner.rollouts.get_mut(uid) else { return false };
    rollout.sets.iter_mut().for_each(ReplicaSet::lose_one);
    true
}
