//! People and other programs: users who create, change, delete and recreate InferenceServices, and strangers who
//! edit, delete and relabel the operator's children or take their names. Drawn from the seed, one action at a time.

use std::time::Duration;

use inference_operator::reconcile::deployment::SELECTOR_LABEL;
use serde_json::{Value, json};
use simulation::api_server::faults::Poison;
use simulation::api_server::outage::Outage;
use simulation::api_server::{Key, Kind, Propagation, Store, controller_uid, is_deleting};
use simulation::chance::Chance;
use simulation::cluster::controllers::{drop_finalizers, lose_a_pod, remove};
use simulation::cluster::{Inner, Shared, UserAction};
use simulation::oracle::budget::NOISE;
use simulation::oracle::invariants;
use simulation::oracle::ownership::is_adoptable;
use tokio::time::Instant;

use crate::administrator::Administrator;
use crate::specs::{Draws, pause_or_resume, resume_some, spec};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const NAMESPACES: [&str; 2] = ["blue", "green"];
const NAMES: [&str; 3] = ["one", "two", "three"];
/// The labels that the operator sets.
const LABELS: [&str; 5] =
    ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component", MANAGED_BY, SELECTOR_LABEL];
const FINALIZER: &str = "example.com/hold";
const LONGEST_PAUSE: Duration = Duration::from_secs(6);
const LONGEST_CALM: Duration = Duration::from_secs(20 * 60);
/// The durations of a shortage.
const SHORT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(30 * 60);
/// The operator detects this within three silent minutes and a few retries.
const IN_SYNC_WITHIN: Duration = Duration::from_secs(600);

/// The hazards of a run. Some runs have fewer, so that a run without findings still means something.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is drawn independently
pub struct Hazards {
    /// The datastore is restored to an earlier state.
    pub restores: bool,
    /// Watches are rejected from one version on.
    pub poison: bool,
    /// Requests are rejected for minutes.
    pub refusals: bool,
    /// Namespaces are deleted and recreated.
    pub namespaces: bool,
}

impl Hazards {
    pub fn draw(chance: &mut Chance) -> Hazards {
        Hazards {
            restores: chance.per_mille(50),
            poison: chance.per_mille(50),
            refusals: chance.per_mille(200),
            namespaces: chance.per_mille(150),
        }
    }
}

/// Does this number of actions, with pauses.
pub async fn act(
    cluster: &Shared,
    draws: &mut Draws,
    actions: usize,
    hazards: Hazards,
    administrator: &mut Option<Administrator>,
) {
    for _ in 0..actions {
        if let Some(administrator) = administrator {
            administrator.act_sometimes(cluster).await;
        }
        let kind = draws.chance.below(100);
        cluster.with(|inner| {
            match kind {
                0..70 => ordinary(inner, draws),
                70..91 => trouble(inner, draws),
                _ => hazard(inner, &mut draws.chance, hazards),
            }
            invariants::check_kstatus(inner);
        });
        cluster.wake();
        // Often several actions at once; now and then a long pause, during which problems show.
        let (chance, calm) = (&mut draws.chance, if kind < 70 { 30 } else { 200 });
        if chance.per_mille(calm) {
            tokio::time::sleep(chance.up_to(LONGEST_CALM)).await;
        } else if chance.per_mille(700) {
            tokio::time::sleep(chance.up_to(LONGEST_PAUSE)).await;
        }
    }
}

/// Removes all objects without an owner, so that no name stays taken, and every other obstacle.
pub fn strangers_leave(inner: &mut Inner, fields: &mut Chance) {
    resume_some(inner, fields);
    let all: Vec<Key> = inner.store.objects.keys().cloned().collect();
    for key in all {
        let is_foreign =
            |object: &Value| key.kind.is_child() && controller_uid(object).is_none() && !is_adoptable(&key, object);
        if inner.store.get(&key).is_some_and(is_foreign) {
            inner.store.delete(&key);
            inner.actions.push(UserAction { at: Instant::now(), what: "give back the name of", key: key.clone() });
        }
        let before = inner.store.version;
        inner.store.update(&key, |object| drop_finalizers(object, &[FINALIZER]));
        if key.kind == Kind::Deployment {
            inner.store.update(&key, |object| remove(object, "/spec", "paused"));
        }
        if inner.store.version != before {
            inner.actions.push(UserAction { at: Instant::now(), what: "let go of", key });
        }
    }
    inner.nodes.heal();
    inner.faults.outage = None;
    inner.invariants.refused.clear();
    // Requests rejected until now are retried after their backoff.
    inner.disturbances.add(None);
}

/// The ordinary actions of users and strangers.
fn ordinary(inner: &mut Inner, draws: &mut Draws) {
    let chance = &mut draws.chance;
    let namespace = chance.pick(&NAMESPACES).copied().unwrap_or_default();
    let name = chance.pick(&NAMES).copied().unwrap_or_default();
    let inference_service = Key::new(Kind::InferenceService, namespace, name);
    let child = Key::new(chance.pick(&Kind::CHILDREN).copied().unwrap_or(Kind::Service), namespace, name);
    pause_or_resume(inner, &inference_service, &mut draws.fields);
    let store = &mut inner.store;
    let before = (store.version, store.floor);
    let (what, key) = match chance.below(17) {
        0..=3 => {
            create(store, &inference_service, &spec(draws));
            ("create", inference_service)
        }
        4 | 5 => {
            store.update(&inference_service, |object| object["spec"] = spec(draws));
            ("change", inference_service)
        }
        6 | 7 => {
            store.update(&inference_service, |object| object["spec"]["replicas"] = json!(chance.below(4)));
            ("scale", inference_service)
        }
        8 => {
            let earlier = earlier_spec(store, &inference_service, chance);
            store.update(&inference_service, |object| object["spec"] = earlier.unwrap_or(object["spec"].clone()));
            ("put back", inference_service)
        }
        9 => {
            store.delete(&inference_service);
            ("delete", inference_service)
        }
        10 => {
            store.delete(&inference_service);
            create(store, &inference_service, &spec(draws));
            ("delete and create", inference_service)
        }
        11 => {
            store.update(&inference_service, |object| object["metadata"]["labels"]["x"] = json!(chance.below(9)));
            ("label", inference_service)
        }
        12 => {
            store.delete(&child);
            ("delete", child)
        }
        13 => {
            store.update(&child, |object| edit(object, child.kind, chance));
            ("edit", child)
        }
        14 => {
            store.update(&child, |object| object["metadata"]["labels"][MANAGED_BY] = json!("somebody"));
            ("relabel", child)
        }
        15 => {
            // Rejected if the name is already taken.
            drop(store.create(&child, stranger(&child, chance)));
            ("take the name of", child)
        }
        _ => {
            let is_foreign = store.get(&child).is_some_and(|object| controller_uid(object).is_none());
            if is_foreign {
                store.delete(&child);
            }
            ("give back the name of", child)
        }
    };
    if before != (store.version, store.floor) {
        inner.actions.push(UserAction { at: Instant::now(), what, key });
    }
}

/// Trouble and unusual actions with existing objects.
fn trouble(inner: &mut Inner, draws: &mut Draws) {
    let chance = &mut draws.chance;
    let namespace = chance.pick(&NAMESPACES).copied().unwrap_or_default();
    let name = chance.pick(&NAMES).copied().unwrap_or_default();
    let inference_service = Key::new(Kind::InferenceService, namespace, name);
    let deployment = Key::new(Kind::Deployment, namespace, name);
    let child = Key::new(chance.pick(&Kind::CHILDREN).copied().unwrap_or(Kind::Service), namespace, name);
    let store = &mut inner.store;
    let before = store.version;
    let (what, key) = match chance.below(14) {
        0 => {
            let is_paused = chance.per_mille(600);
            store.update(&deployment, |object| object["spec"]["paused"] = json!(is_paused));
            if is_paused && chance.per_mille(500) {
                // A spec change paused for inspection, and then forgotten.
                store.update(&inference_service, |object| object["spec"] = spec(draws));
            }
            (if is_paused { "pause" } else { "resume" }, deployment)
        }
        1 => {
            store.update(&deployment, |object| remove(object, "/spec", "paused"));
            ("resume", deployment)
        }
        2 | 3 => {
            store.update(&child, |object| object["metadata"]["annotations"]["x"] = json!(chance.below(99).to_string()));
            (NOISE[0], child)
        }
        4 => {
            store.update(&child, |object| object["metadata"]["labels"]["x"] = json!(chance.below(99).to_string()));
            (NOISE[1], child)
        }
        5 => {
            let label = chance.pick(&LABELS).copied().unwrap_or_default();
            store.update(&child, |object| remove(object, "/metadata/labels", label));
            ("take a label from", child)
        }
        6 => {
            store.delete_as(&inference_service, Propagation::Orphan);
            ("orphan the children of", inference_service)
        }
        7 => {
            let propagation = chance.pick(&[Propagation::Foreground, Propagation::Background]).copied();
            store.delete_as(&child, propagation.unwrap_or(Propagation::Foreground));
            ("delete", child)
        }
        8 => {
            store.update(&child, |object| {
                if !is_deleting(object) {
                    object["metadata"]["finalizers"] = json!([FINALIZER]);
                }
            });
            ("hold", child)
        }
        9 => {
            store.update(&child, |object| drop_finalizers(object, &[FINALIZER]));
            ("let go of", child)
        }
        10 => {
            restore_from_backup(store, &inference_service);
            ("delete and create from a backup", inference_service)
        }
        11 => {
            if lose_a_pod(inner, &deployment) {
                inner.actions.push(UserAction { at: Instant::now(), what: "lose a pod of", key: deployment });
            }
            return;
        }
        _ => return shortage(inner, chance),
    };
    if inner.store.version != before {
        inner.actions.push(UserAction { at: Instant::now(), what, key });
    }
}

/// No node or no quota for pods for a while, most often a short one.
fn shortage(inner: &mut Inner, chance: &mut Chance) {
    let longest = chance.pick(&[SHORT, SHORT, SHORT, LONG]).copied().unwrap_or(SHORT);
    let until = Some(Instant::now() + chance.up_to(longest));
    let what = if chance.per_mille(600) {
        inner.nodes.cordoned_until = until;
        "cordon the nodes of"
    } else {
        inner.nodes.quota_until = until;
        "use up the quota of"
    };
    for_all(inner, what);
}

/// One of the hazards of this run, if it has any.
fn hazard(inner: &mut Inner, chance: &mut Chance, hazards: Hazards) {
    match chance.below(6) {
        0 if hazards.restores => {
            let back = 1 + chance.below(30);
            inner.store.restore(inner.store.version.saturating_sub(back));
            invariants::loses_sync(inner, IN_SYNC_WITHIN);
            for_all(inner, "put back the datastore of");
        }
        1 if hazards.poison => {
            let poison = Poison { version: inner.store.version, inside: chance.per_mille(500) };
            inner.faults.poisoned.insert(chance.pick(&Kind::FAMILY).copied().unwrap_or(Kind::Deployment), poison);
            // All watches end.
            inner.store.restores += 1;
            invariants::loses_sync(inner, IN_SYNC_WITHIN);
        }
        2 | 3 if hazards.refusals => {
            inner.faults.outage = match inner.faults.outage {
                None => chance.pick(&Outage::ALL).copied(),
                Some(_) => None,
            };
            inner.invariants.refused.clear();
            inner.disturbances.add(None);
        }
        4 if hazards.namespaces => {
            let namespace = chance.pick(&NAMESPACES).copied().unwrap_or_default();
            let is_there = inner.store.objects.keys().any(|key| key.namespace == namespace);
            if is_there && inner.store.terminating.insert(namespace.to_owned()) {
                for_all(inner, "take away the namespace of");
            }
        }
        _ => inner.store.compact(inner.store.version.saturating_sub(chance.below(10))),
    }
}

fn for_all(inner: &mut Inner, what: &'static str) {
    let all: Vec<Key> = inner.store.of_kind(Kind::InferenceService).map(|(key, _)| key.clone()).collect();
    inner.actions.extend(all.into_iter().map(|key| UserAction { at: Instant::now(), what, key }));
}

/// Deletes an InferenceService and its children and recreates them as a backup tool does: with labels and specs, and
/// without uids, owner references and status.
fn restore_from_backup(store: &mut Store, key: &Key) {
    if store.get(key).is_none() || store.terminating.contains(&key.namespace) {
        return;
    }
    let keys = [Kind::InferenceService, Kind::Deployment, Kind::Service].map(|kind| Key { kind, ..key.clone() });
    let saved: Vec<(Key, Value)> =
        keys.into_iter().filter_map(|key| store.get(&key).cloned().map(|object| (key, object))).collect();
    for (key, _) in &saved {
        store.delete(key);
    }
    for (key, object) in saved {
        let mut saved = json!({"metadata": {}, "spec": object["spec"]});
        if object["metadata"]["labels"].is_object() {
            saved["metadata"]["labels"] = object["metadata"]["labels"].clone();
        }
        drop(store.create(&key, saved));
    }
}

/// An earlier spec of this InferenceService.
fn earlier_spec(store: &Store, key: &Key, chance: &mut Chance) -> Option<Value> {
    let uid = &store.get(key)?["metadata"]["uid"];
    let changes = store.history.iter().filter(|change| change.key == *key);
    let specs: Vec<&Value> = changes
        .filter_map(|change| change.before.as_ref())
        .filter(|before| before["metadata"]["uid"] == *uid)
        .map(|before| &before["spec"])
        .collect();
    chance.pick(&specs).map(|spec| (*spec).clone())
}

fn create(store: &mut Store, key: &Key, spec: &Value) {
    store.gone.remove(&key.namespace);
    drop(store.create(key, json!({"metadata": {}, "spec": spec})));
}

/// Edits a child as people and other programs do, in a way that depends on its kind.
fn edit(object: &mut Value, kind: Kind, chance: &mut Chance) {
    match (chance.below(6), kind) {
        (0, _) => remove(object, "/metadata", "ownerReferences"),
        (1, _) => remove(object, "/metadata/labels", MANAGED_BY),
        (2 | 3, Kind::Service) => object["spec"]["ports"] = json!([{"port": 99}]),
        (_, Kind::Service) => object["spec"]["selector"] = json!({"app": "foreign"}),
        (2, _) => object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("foreign"),
        (3, _) => object["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["--foreign"]),
        (_, _) => object["spec"]["replicas"] = json!(7),
    }
}

/// A stranger's object. Half of them look like the operator's own, so that only the owner reference shows the
/// difference, and a forced apply would succeed.
fn stranger(key: &Key, chance: &mut Chance) -> Value {
    let looks_like_ours = chance.per_mille(500);
    let manager = if looks_like_ours { "inference-operator" } else { "helm" };
    let label = if looks_like_ours { SELECTOR_LABEL } else { "app" };
    let labels = json!({MANAGED_BY: manager, label: key.name});
    let spec = match key.kind {
        Kind::Service => json!({"selector": {label: key.name}, "ports": [{"port": 80}]}),
        _ => json!({
            "replicas": 0,
            "selector": {"matchLabels": {label: key.name}},
            "template": {
                "metadata": {"labels": {label: key.name}},
                "spec": {"containers": [{"name": "server", "image": "foreign"}]}
            }
        }),
    };
    json!({"metadata": {"labels": labels}, "spec": spec})
}
