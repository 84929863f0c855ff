//! What must hold once faults have stopped: each InferenceService matches its spec, and its status says so. Called by
//! the simulation; reads the datastore only.

use inference_operator::api::ServiceSettings;
use inference_operator::model::view::RawSpec;
use inference_operator::reconcile::validate::{Valid, decode, validate};
use inference_operator::reconcile::{deployment, service};
use inference_operator::settings::Settings;
use serde_json::Value;

use super::catalog;
use super::ownership::is_adoptable;
use super::status::says_ready;
use super::violation::ViolationKind;
use crate::api_server::{Key, Kind, Store, controller_uid, is_deleting, is_managed};
use crate::cluster::pods::has_image;
use crate::cluster::rollout::{Rollout, is_complete, number};
use crate::operator::in_force;

/// All deviations; empty if there are none.
pub fn violations(store: &Store) -> Vec<(ViolationKind, Key, String)> {
    let in_force = in_force(store);
    let halts = in_force.is_some_and(|settings| catalog::halting(store, settings).is_some());
    let mut violations = Vec::new();
    for (key, object) in store.of_kind(Kind::InferenceService) {
        let result = in_force.map_or(Err(String::new()), |settings| check(store, settings, key, object));
        // The others are as an earlier catalogue had them, as is each where nobody knows which one is in force.
        let is_as_before = || store.offers.all().any(|settings| check(store, settings, key, object).is_ok());
        let waits = || (halts || in_force.is_none()) && is_as_before();
        if let Some(problem) = result.err().filter(|_| !waits()) {
            let is_left = Kind::CHILDREN.iter().any(|kind| {
                let child = Key { kind: *kind, ..key.clone() };
                store.get(&child).is_some_and(|found| is_adoptable(&child, found))
            });
            let kind = if is_left { ViolationKind::NotAdopted } else { ViolationKind::NotSettled };
            violations.push((kind, key.clone(), format!("{}/{}: {problem}\n{object}", key.namespace, key.name)));
        }
    }
    // Also of one whose InferenceService is gone.
    for (key, deployment) in store.of_kind(Kind::Deployment).filter(|(_, deployment)| has_deadline(deployment)) {
        violations.push((
            ViolationKind::NotSettled,
            key.clone(),
            format!("its deadline is still to come: {deployment}"),
        ));
    }
    if let Some(problem) = catalog::violation(store, in_force) {
        violations.push((ViolationKind::CatalogStatus, Key::catalog(), problem));
    }
    violations
}

/// Is this InferenceService as these settings have it, and does its status say so?
pub fn check(store: &Store, settings: &Settings, key: &Key, object: &Value) -> Result<(), String> {
    let (metadata, status) = (&object["metadata"], &object["status"]);
    if status["observedGeneration"] != metadata["generation"] {
        return Err("the status does not speak of the latest spec".into());
    }
    if object["spec"]["paused"] == true {
        return paused(store, key, object);
    }
    let uid = metadata["uid"].as_str().unwrap_or_default().parse().map_err(|_| "no uid".to_owned())?;
    let phase = status["phase"].as_str().unwrap_or_default();
    let spec = decode(&RawSpec::from(&object["spec"]));
    let valid = spec.as_ref().map(|spec| validate(&key.namespace, &key.name, uid, spec, &settings.catalog));
    let Ok(Ok(valid)) = valid else {
        return if phase == "Failed" { Ok(()) } else { Err(format!("a spec that is refused is {phase}")) };
    };
    let deployment = deployment::build(&valid, &settings.pods).map_err(|error| error.to_string())?;
    child(store, key, Kind::Deployment, &valid, &deployment)?;
    child(store, key, Kind::Service, &valid, &service::build(&valid))?;
    if is_deleting(object) {
        return Err("it is being deleted still".into());
    }
    let replicas = number(&object["spec"]["replicas"]);
    if replicas > 0 && !has_image(&deployment["spec"]["template"]) {
        let is_said = matches!(phase, "Failed" | "Degraded");
        return if is_said { Ok(()) } else { Err(format!("it has no image, and is {phase}")) };
    }
    let [all, ready] = ["replicas", "readyReplicas"].map(|field| &status[field]);
    if phase != "Ready" || *ready != replicas || *all != replicas {
        return Err(format!("it is {phase} with {ready} of {all} pods ready"));
    }
    let port = valid.spec.service.as_ref().map(ServiceSettings::port);
    if status["endpoint"] != service::endpoint(&key.namespace, &key.name, port, settings) {
        return Err("it has no endpoint, or another".into());
    }
    Ok(())
}

/// A paused one says so, and how its Deployment is, whatever the spec desires.
fn paused(store: &Store, key: &Key, object: &Value) -> Result<(), String> {
    let (uid, status) = (object["metadata"]["uid"].as_str(), &object["status"]);
    if status["phase"] != "Paused" {
        return Err(format!("it is paused, and said to be {}", status["phase"]));
    }
    if is_deleting(object) {
        return Err("it is being deleted still".into());
    }
    let deployment = store.get(&Key { kind: Kind::Deployment, ..key.clone() });
    let deployment = deployment.filter(|deployment| controller_uid(deployment) == uid);
    // Without its label the watch does not report how it goes on, or that it is gone, and nobody gives it back.
    let is_known = !status["observed"]["deploymentResourceVersion"].is_null();
    let is_seen = deployment.map_or(is_known, is_managed);
    let is_ready = is_seen && deployment.is_some_and(|deployment| is_complete(deployment, &deployment["status"]));
    let ready = deployment.map_or(0, |deployment| number(&deployment["status"]["readyReplicas"]));
    let all = deployment.map_or(0, |deployment| number(&deployment["status"]["replicas"]));
    let is_counted = number(&status["readyReplicas"]) == ready && number(&status["replicas"]) == all;
    if says_ready(status) != is_ready || is_seen && !is_counted {
        return Err(format!("it is paused with {ready} ready and ready is {is_ready}, which its status does not say"));
    }
    Ok(())
}

/// Does it wait for an image that does not come, and not yet until its deadline? Then something is still to come.
fn has_deadline(deployment: &Value) -> bool {
    !has_image(&deployment["spec"]["template"]) && Rollout::deadline(deployment).is_some()
}

fn child(store: &Store, key: &Key, kind: Kind, valid: &Valid, desired: &Value) -> Result<(), String> {
    let found = store.get(&Key { kind, ..key.clone() }).ok_or_else(|| format!("there is no {kind:?}"))?;
    if controller_uid(found) != Some(&valid.uid.to_string()) {
        return Err(format!("the {kind:?} belongs to somebody else: {found}"));
    }
    match missing(found, desired, "") {
        None => Ok(()),
        Some(path) => Err(format!("the {kind:?} differs at {path}: {found}")),
    }
}

/// The first path at which `found` differs from `desired`; fields that `desired` does not name may have any value.
pub fn missing(found: &Value, desired: &Value, path: &str) -> Option<String> {
    match (found, desired) {
        (Value::Object(found), Value::Object(desired)) => desired.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            missing(found.get(name).unwrap_or(&Value::Null), value, &path)
        }),
        // Lists of objects are merged: a stranger's port beside ours stays.
        (Value::Array(found), Value::Array(desired)) if desired.iter().all(Value::is_object) => {
            let is_there = |one: &Value| found.iter().any(|other| missing(other, one, path).is_none());
            (!desired.iter().all(is_there)).then(|| path.to_owned())
        }
        _ => (found != desired).then(|| path.to_owned()),
    }
}
