//! The merge of server-side apply: lists merged by their keys, conflicts, and removal of fields that are no longer
//! applied. Called by the datastore; pure.

use serde_json::Value;

/// The first conflict: a path at which `found` has neither the value of `desired` nor the one applied `last`.
pub fn conflict(found: &Value, desired: &Value, last: &Value, path: &str) -> Option<String> {
    match (found, desired) {
        (Value::Null, _) => None,
        (Value::Object(found), Value::Object(desired)) if !path.ends_with(".selector") => {
            desired.iter().find_map(|(name, desired)| {
                let found = found.get(name).unwrap_or(&Value::Null);
                conflict(found, desired, last.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"))
            })
        }
        (Value::Array(_), Value::Array(_)) if key_of(path).is_some() => None,
        _ => (found != desired && found != last).then(|| path.to_owned()),
    }
}

/// The key field of a list that is merged by key; other lists are replaced as a whole.
fn key_of(path: &str) -> Option<&'static str> {
    match path.rsplit('.').next()? {
        "containers" => Some("name"),
        "ports" if path.contains("containers") => Some("containerPort"),
        "ports" => Some("port"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

pub fn overlay(target: &mut Value, source: &Value, path: &str) {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) if !path.ends_with(".selector") => {
            for (name, value) in source {
                overlay(target.entry(name.clone()).or_insert(Value::Null), value, &format!("{path}.{name}"));
            }
        }
        (Value::Array(target), Value::Array(source)) if key_of(path).is_some() => {
            let key = key_of(path).unwrap_or_default();
            for element in source {
                match target.iter_mut().find(|found| found[key] == element[key]) {
                    Some(found) => overlay(found, element, path),
                    None => target.push(element.clone()),
                }
            }
        }
        (target, source) => *target = source.clone(),
    }
}

pub fn remove_what_is_gone(target: &mut Value, last: &Value, desired: &Value, path: &str) {
    match (target, last) {
        (Value::Object(target), Value::Object(last)) => {
            for (name, value) in last {
                let path = format!("{path}.{name}");
                match (desired.get(name), target.get_mut(name)) {
                    (None, _) => drop(target.remove(name)),
                    (Some(desired), Some(target)) => remove_what_is_gone(target, value, desired, &path),
                    _ => {}
                }
            }
        }
        (Value::Array(target), Value::Array(last)) => {
            let Some(key) = key_of(path) else { return };
            let is_in = |list: &[Value], one: &Value| list.iter().any(|other| other[key] == one[key]);
            let desired = desired.as_array().map(Vec::as_slice).unwrap_or_default();
            target.retain(|one| !is_in(last, one) || is_in(desired, one));
        }
        _ => {}
    }
}
