//! The specs that users write, and their pauses. Drawn from the seed; what is newer than the listed seeds is drawn from
//! numbers of its own, so that those seeds keep their meaning.

use serde_json::{Value, json};
use simulation::api_server::{Key, Kind};
use simulation::chance::Chance;
use simulation::cluster::controllers::remove;
use simulation::cluster::{Inner, UserAction};
use tokio::time::Instant;

/// The random numbers of users: `chance` those of what they do, `fields` those of the newer fields.
pub struct Draws {
    pub chance: Chance,
    pub fields: Chance,
}

pub fn spec(draws: &mut Draws) -> Value {
    let Draws { chance, fields } = draws;
    let gpu_type = chance.pick(&["A100", "H100", "L40S", "L40S", "T4"]).copied().unwrap_or_default();
    let mut spec =
        json!({"model": format!("org/model-{}", chance.below(3)), "gpuType": gpu_type, "replicas": chance.below(3)});
    if chance.per_mille(300) {
        spec["maxBatchSize"] = json!(1 + chance.below(9));
    }
    if fields.per_mille(100) {
        spec["paused"] = json!(true);
    }
    if fields.per_mille(250) {
        spec["service"] = service(fields);
    }
    spec
}

fn service(fields: &mut Chance) -> Value {
    let mut service = json!({});
    if fields.per_mille(500) {
        service["type"] = json!(fields.pick(&["NodePort", "LoadBalancer"]).copied().unwrap_or_default());
    }
    if fields.per_mille(600) {
        service["port"] = json!(8080);
    }
    if fields.per_mille(300) {
        service["annotations"] = json!({"example.com/load-balancer": fields.below(3).to_string()});
    }
    service
}

/// Pauses an InferenceService now and then, or more often lets it go on.
pub fn pause_or_resume(inner: &mut Inner, key: &Key, fields: &mut Chance) {
    if !fields.per_mille(80) {
        return;
    }
    let Some(is_paused) = inner.store.get(key).map(|object| object["spec"]["paused"] == true) else { return };
    if is_paused {
        resume(inner, key);
    } else if fields.per_mille(600) {
        inner.store.update(key, |object| object["spec"]["paused"] = json!(true));
        inner.actions.push(UserAction { at: Instant::now(), what: "pause", key: key.clone() });
    }
}

/// At the end every second one that is paused goes on; the others must stay as they are.
pub fn resume_some(inner: &mut Inner, fields: &mut Chance) {
    let is_paused = |object: &Value| object["spec"]["paused"] == true;
    let paused = inner.store.of_kind(Kind::InferenceService).filter(|(_, object)| is_paused(object));
    let paused: Vec<Key> = paused.map(|(key, _)| key.clone()).collect();
    for key in paused {
        if fields.per_mille(500) {
            resume(inner, &key);
        }
    }
}

fn resume(inner: &mut Inner, key: &Key) {
    inner.store.update(key, |object| remove(object, "/spec", "paused"));
    inner.actions.push(UserAction { at: Instant::now(), what: "resume", key: key.clone() });
}
