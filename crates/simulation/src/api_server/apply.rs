//! The merges of server-side apply and of a strategic merge patch: lists merged by their keys, conflicts, and removal
//! of fields that are no longer applied; and who still owns a field after a write. Called by the datastore; pure.

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

/// The strategic merge of a Service's ports: one with `$patch: delete` goes, another is laid over that of its number.
pub fn replace_by_number(found: &mut Value, patch: &[Value]) {
    let Some(found) = found.as_array_mut() else { return };
    for port in patch {
        let place = found.iter().position(|other| other["port"] == port["port"]);
        match (place, port["$patch"] == "delete") {
            (Some(place), true) => drop(found.remove(place)),
            (Some(place), false) => overlay(&mut found[place], port, ""),
            (None, true) => {}
            // As the real server, which puts what only the patch has before what only the object has.
            (None, false) => found.insert(0, port.clone()),
        }
    }
}

/// Removes what was applied `last` and is no longer desired, except for what `stays` sets too: another write than an
/// apply has set it. What is not named in `last` belongs to others.
pub fn remove_what_is_gone(target: &mut Value, last: &Value, desired: &Value, stays: &Value, path: &str) {
    match (target, last) {
        (Value::Object(target), Value::Object(last)) => {
            for (name, last) in last {
                let (desired, stays, path) = (&desired[name], &stays[name], format!("{path}.{name}"));
                let Some(found) = target.get_mut(name) else { continue };
                remove_what_is_gone(found, last, desired, stays, &path);
                let is_left = match found {
                    Value::Object(found) => !found.is_empty(),
                    Value::Array(found) => key_of(&path).is_some() && !found.is_empty(),
                    _ => false,
                };
                if desired.is_null() && stays.is_null() && !is_left {
                    target.remove(name);
                }
            }
        }
        (Value::Array(target), Value::Array(_)) => {
            let Some(key) = key_of(path) else { return };
            let is_in = |list: &Value, one: &Value| !element(list, key, one).is_null();
            target.retain(|one| !is_in(last, one) || is_in(desired, one) || is_in(stays, one));
            for one in target {
                let [last, desired, stays] = [last, desired, stays].map(|list| element(list, key, one));
                remove_what_is_gone(one, last, desired, stays, path);
            }
        }
        _ => {}
    }
}

/// The element of this list with the same key as `one`; null: there is none.
fn element<'a>(list: &'a Value, key: &str, one: &Value) -> &'a Value {
    let found = list.as_array().and_then(|list| list.iter().find(|other| other[key] == one[key]));
    found.unwrap_or(&Value::Null)
}

/// Forgets the fields of `owned` that a write has changed: they are the writer's now. Null: none is left.
pub fn forget_changed(owned: &mut Value, before: &Value, after: &Value, path: &str) {
    let is_gone = match owned {
        Value::Object(owned) if !owned.is_empty() && !path.ends_with(".selector") => {
            owned.retain(|name, value| {
                forget_changed(value, &before[name], &after[name], &format!("{path}.{name}"));
                !value.is_null()
            });
            owned.is_empty()
        }
        Value::Array(owned) if key_of(path).is_some() => {
            let key = key_of(path).unwrap_or_default();
            owned.retain_mut(|one| {
                let (before, after) = (element(before, key, one), element(after, key, one));
                forget_changed(one, before, after, path);
                !one.is_null()
            });
            owned.is_empty()
        }
        _ => before != after,
    };
    if is_gone {
        *owned = Value::Null;
    }
}
