//! The simulated datastore: objects with uid, generation and resourceVersion, and everything that ever
//! happened to them. Used by the server and by whoever acts in the cluster; knows nothing of HTTP.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    InferenceService,
    Deployment,
    Service,
}

impl Kind {
    pub const CHILDREN: [Kind; 2] = [Kind::Deployment, Kind::Service];

    pub fn type_meta(self) -> (&'static str, &'static str) {
        match self {
            Kind::InferenceService => ("ai.example.com/v1", "InferenceService"),
            Kind::Deployment => ("apps/v1", "Deployment"),
            Kind::Service => ("v1", "Service"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Key {
        Key { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// One write.
#[derive(Clone, Debug)]
pub struct Change {
    pub version: u64,
    pub key: Key,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// Why the API server does not do what it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

pub fn refusal(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, reason, message: message.into() }
}

#[derive(Default)]
pub struct Store {
    pub version: u64,
    pub objects: BTreeMap<Key, Value>,
    pub history: Vec<Change>,
    /// What happened up to this resourceVersion is compacted.
    pub floor: u64,
    made: u64,
    /// What the operator applied last, to take away what it does not apply any more.
    applied: BTreeMap<Key, Value>,
}

impl Store {
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter().filter(move |(key, _)| key.kind == kind)
    }

    /// All objects of a kind as they were then.
    pub fn snapshot(&self, kind: Kind, version: u64) -> BTreeMap<Key, Value> {
        let mut objects: BTreeMap<Key, Value> =
            self.of_kind(kind).map(|(key, object)| (key.clone(), object.clone())).collect();
        for change in self.history.iter().rev().take_while(|change| change.version > version) {
            if change.key.kind == kind {
                match &change.before {
                    Some(before) => objects.insert(change.key.clone(), before.clone()),
                    None => objects.remove(&change.key),
                };
            }
        }
        objects
    }

    pub fn create(&mut self, key: &Key, mut object: Value) -> Result<Value, Refusal> {
        if self.objects.contains_key(key) {
            return Err(refusal(409, "AlreadyExists", format!("{key:?} already exists")));
        }
        self.made += 1;
        let (api_version, kind) = key.kind.type_meta();
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!(key.name);
        object["metadata"]["namespace"] = json!(key.namespace);
        object["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{:012x}", self.made));
        if key.kind != Kind::Service {
            object["metadata"]["generation"] = json!(1);
        }
        Ok(self.write(key, Some(object)).unwrap_or_default())
    }

    /// Changes an object that is there; nothing is written where nothing changes.
    pub fn update(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let before = self.objects.get(key)?.clone();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Some(before);
        }
        if after["spec"] != before["spec"] && key.kind != Kind::Service {
            after["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        self.write(key, Some(after))
    }

    pub fn delete(&mut self, key: &Key) {
        if self.objects.contains_key(key) {
            self.applied.remove(key);
            self.write(key, None);
        }
    }

    fn write(&mut self, key: &Key, mut after: Option<Value>) -> Option<Value> {
        self.version += 1;
        if let Some(object) = &mut after {
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
        let before = match &after {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(key),
        };
        self.history.push(Change { version: self.version, key: key.clone(), before, after: after.clone() });
        after
    }

    /// Forgets what is older, as etcd's compaction does.
    pub fn compact(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
    }

    /// Server-side apply by the operator, as far as the operator can tell it from the real one: fields
    /// that are not applied any more go, and without force the selector of somebody else conflicts.
    pub fn apply(&mut self, key: &Key, mut desired: Value, force: bool) -> Result<Value, Refusal> {
        let uid = take(&mut desired, "uid");
        let version = take(&mut desired, "resourceVersion");
        let Some(found) = self.objects.get(key) else {
            if uid.is_some() || version.is_some() {
                return Err(refusal(409, "Conflict", "the object to be applied on is not there"));
            }
            let made = self.create(key, desired.clone())?;
            self.applied.insert(key.clone(), desired);
            return Ok(made);
        };
        let metadata = &found["metadata"];
        if uid.is_some_and(|uid| uid != metadata["uid"]) {
            return Err(refusal(409, "Conflict", "Precondition failed: UID in precondition"));
        }
        if version.is_some_and(|version| version != metadata["resourceVersion"]) {
            return Err(refusal(409, "Conflict", "the object has been modified"));
        }
        let is_ours = self.applied.contains_key(key);
        if !force && !is_ours && found["spec"]["selector"] != desired["spec"]["selector"] {
            return Err(refusal(409, "Conflict", "Apply failed with 1 conflict: conflict with \"x\": .spec.selector"));
        }
        if key.kind == Kind::Deployment && found["spec"]["selector"] != desired["spec"]["selector"] {
            return Err(refusal(422, "Invalid", "spec.selector: field is immutable"));
        }
        let last = self.applied.insert(key.clone(), desired.clone()).unwrap_or_default();
        let after = self.update(key, |object| {
            remove_what_is_gone(object, &last, &desired);
            overlay(object, &desired);
        });
        Ok(after.unwrap_or_default())
    }

    /// A merge patch of the status subresource.
    pub fn patch_status(&mut self, key: &Key, patch: &Value) -> Result<Value, Refusal> {
        let found = self.objects.get(key).ok_or_else(|| refusal(404, "NotFound", format!("{key:?} not found")))?;
        let uid = &patch["metadata"]["uid"];
        if !uid.is_null() && *uid != found["metadata"]["uid"] {
            return Err(refusal(409, "Conflict", "Precondition failed: UID in precondition"));
        }
        let after = self.update(key, |object| merge(&mut object["status"], &patch["status"]));
        Ok(after.unwrap_or_default())
    }
}

pub fn controller_uid(object: &Value) -> Option<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == json!(true))?["uid"].as_str()
}

fn take(object: &mut Value, field: &str) -> Option<Value> {
    object["metadata"].as_object_mut()?.remove(field)
}

fn overlay(target: &mut Value, source: &Value) {
    match (target, source) {
        (Value::Object(target), Value::Object(source)) => {
            for (name, value) in source {
                overlay(target.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (target, source) => *target = source.clone(),
    }
}

fn remove_what_is_gone(target: &mut Value, last: &Value, desired: &Value) {
    let (Value::Object(target), Value::Object(last)) = (target, last) else { return };
    for (name, value) in last {
        match desired.get(name) {
            None => drop(target.remove(name)),
            Some(desired) => {
                if let Some(target) = target.get_mut(name) {
                    remove_what_is_gone(target, value, desired);
                }
            }
        }
    }
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
