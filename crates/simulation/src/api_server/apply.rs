//! How server-side apply puts what is applied into what is there: lists merged by their keys, conflicts, and fields that
//! are not applied any more. Called by the datastore; pure.

use serde_json::Value;

/// The first path at which somebody else has another value than what is to be applied: neither that of `desired`
/// nor what was applied `last`.
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

/// Lists whose elements are told apart by this field, and merged; others are replaced as a whole.
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
