//! Does the status of the catalogue say what is so, once faults have stopped? Called by the end state; reads the datastore
//! only.

use inference_operator::api::catalog::{ACCEPTED, ROLLOUT};
use inference_operator::settings::Settings;
use serde_json::Value;

use super::end_state::check;
use crate::api_server::{Key, Kind, Store};
use crate::cluster::rollout::{condition, number};

/// The InferenceService that the status names as the one that has halted the rollout, if it is one that is not ready with
/// what these settings build.
pub fn halting(store: &Store, settings: &Settings) -> Option<Key> {
    let rollout = condition(&store.get(&Key::catalog())?["status"], ROLLOUT)?;
    let name = rollout["message"].as_str().filter(|_| rollout["reason"] == "Halted")?.split(' ').next()?;
    let (namespace, name) = name.split_once('/')?;
    let key = Key::new(Kind::InferenceService, namespace, name);
    let object = store.get(&key)?;
    (is_down(object) && check(store, settings, &key, object).is_ok()).then_some(key)
}

fn is_down(object: &Value) -> bool {
    matches!(object["status"]["phase"].as_str(), Some("Failed" | "Degraded"))
}

/// None if there is no catalogue, or its status is true. `in_force`: see `operator::in_force`.
pub fn violation(store: &Store, in_force: Option<&Settings>) -> Option<String> {
    let catalog = store.get(&Key::catalog())?;
    check_status(store, catalog, in_force).err().map(|problem| format!("{problem}\n{catalog}"))
}

fn check_status(store: &Store, catalog: &Value, in_force: Option<&Settings>) -> Result<(), String> {
    let status = &catalog["status"];
    if status["observedGeneration"] != catalog["metadata"]["generation"] {
        return Err("the status does not speak of the latest catalogue".into());
    }
    let said = |type_: &str| condition(status, type_).ok_or_else(|| format!("the status has no condition {type_}"));
    let (accepted, rollout) = (said(ACCEPTED)?, said(ROLLOUT)?);
    let is_accepted = store.offers.of(&catalog["spec"]).is_some();
    if (accepted["status"] == "True") != is_accepted {
        return Err(format!("it can be accepted: {is_accepted}"));
    }
    if is_accepted && status["accepted"] != catalog["spec"] {
        return Err("it is accepted, and another is said to be in force".into());
    }
    let Some(settings) = in_force else { return Ok(()) };
    let all = || store.of_kind(Kind::InferenceService).filter(|(_, object)| object["spec"]["paused"] != true);
    let is_outdated = |(key, object): &(&Key, &Value)| check(store, settings, key, object).is_err();
    let waits = all().any(|one| is_outdated(&one) && number(&one.1["spec"]["replicas"]) > 0);
    match rollout["reason"].as_str() {
        Some("Halted") if waits && halting(store, settings).is_some() => Ok(()),
        Some("Complete") if !waits => Ok(()),
        // The last one has been changed, and does not become ready.
        Some("InProgress") if !waits && all().any(|(_, object)| is_down(object)) => Ok(()),
        _ => Err(format!("the rollout is not so: {waits} that some wait for their turn")),
    }
}
