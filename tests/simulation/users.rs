//! People and other programs: users who create, change, delete and make anew, and strangers who edit,
//! delete and relabel the operator's children or take their names. Drawn from the seed, one deed at a time.

use std::time::Duration;

use inference_operator::reconcile::deployment::SELECTOR_LABEL;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::cluster::{Deed, Inner, Shared};
use crate::store::{Key, Kind, Store, controller_uid};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
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
pub fn strangers_leave(inner: &mut Inner) {
    let foreign: Vec<Key> = inner
        .store
        .objects
        .iter()
        .filter(|(key, object)| key.kind != Kind::InferenceService && controller_uid(object).is_none())
        .map(|(key, _)| key.clone())
        .collect();
    for key in foreign {
        inner.store.delete(&key);
        inner.deeds.push(Deed { at: Instant::now(), what: "give back the name of", key });
    }
}

fn deed(inner: &mut Inner, chance: &mut Chance) {
    let namespace = chance.pick(&NAMESPACES).copied().unwrap_or_default();
    let name = chance.pick(&NAMES).copied().unwrap_or_default();
    let inference_service = Key::new(Kind::InferenceService, namespace, name);
    let child = Key::new(chance.pick(&Kind::CHILDREN).copied().unwrap_or(Kind::Service), namespace, name);
    let store = &mut inner.store;
    let before = (store.version, store.floor);
    let (what, key) = match chance.below(16) {
        0..=3 => {
            create(store, &inference_service, &spec(chance));
            ("create", inference_service)
        }
        4 | 5 => {
            store.update(&inference_service, |object| object["spec"] = spec(chance));
            ("change", inference_service)
        }
        6 => {
            store.update(&inference_service, |object| object["spec"]["replicas"] = json!(chance.below(4)));
            ("scale", inference_service)
        }
        7 => {
            store.delete(&inference_service);
            ("delete", inference_service)
        }
        8 => {
            store.delete(&inference_service);
            create(store, &inference_service, &spec(chance));
            ("delete and create", inference_service)
        }
        9 => {
            store.update(&inference_service, |object| object["metadata"]["labels"]["x"] = json!(chance.below(9)));
            ("label", inference_service)
        }
        10 => {
            store.delete(&child);
            ("delete", child)
        }
        11 => {
            store.update(&child, |object| edit(object, child.kind, chance));
            ("edit", child)
        }
        12 => {
            store.update(&child, |object| {
                object["metadata"]["labels"][MANAGED_BY] = json!("somebody");
            });
            ("relabel", child)
        }
        13 => {
            // Refused where the name is taken already.
            drop(store.create(&child, stranger(&child, chance)));
            ("take the name of", child)
        }
        14 => {
            let is_foreign = store.get(&child).is_some_and(|object| controller_uid(object).is_none());
            if is_foreign {
                store.delete(&child);
            }
            ("give back the name of", child)
        }
        _ => {
            store.compact(store.version.saturating_sub(chance.below(10)));
            ("compact", inference_service)
        }
    };
    if before != (store.version, store.floor) {
        inner.deeds.push(Deed { at: Instant::now(), what, key });
    }
}

fn create(store: &mut Store, key: &Key, spec: &Value) {
    drop(store.create(key, json!({"metadata": {}, "spec": spec})));
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

/// What people and other programs do to a child, each kind's own way.
fn edit(object: &mut Value, kind: Kind, chance: &mut Chance) {
    match (chance.below(6), kind) {
        (0, _) => remove(&mut object["metadata"], "ownerReferences"),
        (1, _) => remove(&mut object["metadata"]["labels"], MANAGED_BY),
        (2 | 3, Kind::Service) => object["spec"]["ports"] = json!([{"port": 99}]),
        (_, Kind::Service) => object["spec"]["selector"] = json!({"app": "foreign"}),
        (2, _) => object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("foreign"),
        (3, _) => object["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["--foreign"]),
        (_, _) => object["spec"]["replicas"] = json!(7),
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(field);
    }
}

/// Somebody else's. Half of them look like the operator's own, so that nothing but the owner tells, and a forced
/// apply would go through.
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
