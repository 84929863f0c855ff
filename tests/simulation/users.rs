//! People and other programs: users who create, change, delete and make anew, and strangers who edit,
//! delete and relabel the operator's children or take their names. Drawn from the seed, one deed at a time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::cluster::{Deed, Inner, Shared};
use crate::store::{Key, Kind, Store, controller_uid};

const NAMESPACES: [&str; 2] = ["blue", "green"];
const NAMES: [&str; 3] = ["one", "two", "three"];
const LONGEST_PAUSE: Duration = Duration::from_secs(6);

/// Does so many deeds, with pauses.
pub async fn act(cluster: &Shared, chance: &mut Chance, deeds: usize) {
    for _ in 0..deeds {
        cluster.with(|inner| deed(inner, chance));
        // Often several at once.
        if chance.per_mille(700) {
            tokio::time::sleep(chance.up_to(LONGEST_PAUSE)).await;
        }
    }
}

/// Takes away what belongs to nobody, so that no name stays taken.
pub fn strangers_leave(store: &mut Store) {
    let foreign: Vec<Key> = store
        .objects
        .iter()
        .filter(|(key, object)| key.kind != Kind::InferenceService && controller_uid(object).is_none())
        .map(|(key, _)| key.clone())
        .collect();
    for key in foreign {
        store.delete(&key);
    }
}

fn deed(inner: &mut Inner, chance: &mut Chance) {
    let namespace = chance.pick(&NAMESPACES).copied().unwrap_or_default();
    let name = chance.pick(&NAMES).copied().unwrap_or_default();
    let inference_service = Key::new(Kind::InferenceService, namespace, name);
    let child = Key::new(chance.pick(&Kind::CHILDREN).copied().unwrap_or(Kind::Service), namespace, name);
    let number = chance.below(16);
    let (what, key) = match number {
        0..=3 => ("create", &inference_service),
        4 | 5 => ("change", &inference_service),
        6 => ("scale", &inference_service),
        7 => ("delete", &inference_service),
        8 => ("delete and create", &inference_service),
        9 => ("label", &inference_service),
        10 => ("delete", &child),
        11 => ("edit", &child),
        12 => ("relabel", &child),
        13 => ("take the name of", &child),
        14 => ("give back the name of", &child),
        _ => ("compact", &inference_service),
    };
    inner.deeds.push(Deed { at: Instant::now(), what, key: key.clone() });
    let store = &mut inner.store;
    match number {
        0..=3 => create(store, &inference_service, &spec(chance)),
        4 | 5 => change(store, &inference_service, |object| object["spec"] = spec(chance)),
        6 => change(store, &inference_service, |object| object["spec"]["replicas"] = json!(chance.below(4))),
        7 => store.delete(&inference_service),
        8 => {
            store.delete(&inference_service);
            create(store, &inference_service, &spec(chance));
        }
        9 => change(store, &inference_service, |object| object["metadata"]["labels"]["x"] = json!(chance.below(9))),
        10 => store.delete(&child),
        11 => change(store, &child, |object| edit(object, chance)),
        12 => change(store, &child, |object| {
            object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("somebody");
        }),
        // Refused where the name is taken already.
        13 => drop(store.create(&child, stranger(chance))),
        14 => {
            let is_foreign = store.get(&child).is_some_and(|object| controller_uid(object).is_none());
            if is_foreign {
                store.delete(&child);
            }
        }
        _ => store.compact(store.version.saturating_sub(chance.below(10))),
    }
}

fn create(store: &mut Store, key: &Key, spec: &Value) {
    drop(store.create(key, json!({"metadata": {}, "spec": spec})));
}

fn change(store: &mut Store, key: &Key, change: impl FnOnce(&mut Value)) {
    store.update(key, change);
}

fn spec(chance: &mut Chance) -> Value {
    let gpu_type = chance.pick(&["A100", "H100", "L40S", "L40S", "T4"]).copied().unwrap_or_default();
    let mut spec =
        json!({"model": format!("org/model-{}", chance.below(3)), "gpuType": gpu_type, "replicas": chance.below(3)});
    if chance.per_mille(300) {
        spec["maxBatchSize"] = json!(1 + chance.below(9));
    }
    spec
}

fn edit(object: &mut Value, chance: &mut Chance) {
    match chance.below(3) {
        0 => object["spec"]["replicas"] = json!(7),
        1 => object["spec"]["template"]["spec"]["containers"] = json!([]),
        _ => object["spec"]["ports"] = json!([{"port": 99}]),
    }
}

/// Somebody else's, with the operator's own label now and then.
fn stranger(chance: &mut Chance) -> Value {
    let manager = if chance.per_mille(300) { "inference-operator" } else { "helm" };
    json!({
        "metadata": {"labels": {"app.kubernetes.io/managed-by": manager}},
        "spec": {"selector": {"matchLabels": {"app": "foreign"}}, "replicas": 0}
    })
}
