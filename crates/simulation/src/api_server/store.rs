//! The simulated datastore: objects with uid, generation and resourceVersion, and the history of all changes. Used by
//! the server and by everything that acts in the cluster; knows nothing of HTTP.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::apply::{conflict, forget_changed, overlay, remove_what_is_gone, replace_by_number};
use super::defaults;
use super::object::{Key, Kind, Propagation, controllers, finalizers, is_deleting};
use super::refusal::{NAMESPACE_TERMINATING, Refusal, refusal};
use crate::chance::Chance;
use crate::clock;
use crate::operator::Offers;

/// One write.
#[derive(Clone, Debug)]
pub struct Change {
    pub at: Instant,
    pub version: u64,
    pub key: Key,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

#[derive(Default)]
pub struct Store {
    pub version: u64,
    pub objects: BTreeMap<Key, Value>,
    pub history: Vec<Change>,
    /// The history up to this resourceVersion is compacted.
    pub floor: u64,
    /// Terminating namespaces: nothing can be created in them.
    pub terminating: BTreeSet<String>,
    /// Namespaces that do not exist.
    pub gone: BTreeSet<String>,
    /// How often the datastore was restored to an earlier state. A restore ends all watches.
    pub restores: u64,
    /// The changes that no watch from before a restore reports: the objects that the restore changed, and those
    /// written until the datastore reached its earlier version again.
    pub missed: BTreeSet<Key>,
    /// Objects whose status is still the CRD's default, which is stored only by a write: the first status write
    /// changes the object even if it has the same content.
    defaulted: BTreeSet<Key>,
    /// The datastore's version before the restore.
    peak: u64,
    /// All objects ever created, by uid.
    pub existed: BTreeSet<(Key, String)>,
    made: u64,
    /// The API server does not know the kind InferenceCatalog.
    pub lacks_catalog: bool,
    /// What InferenceServices may have been built from.
    pub offers: Offers,
    /// What the operator has applied last and nobody has changed since, to remove the fields that it no longer applies.
    applied: BTreeMap<Key, Value>,
    /// What the operator has set by other writes than an apply, and nobody has changed since: it stays when it is no
    /// longer applied.
    posted: BTreeMap<Key, Value>,
}

impl Store {
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    /// Can an operator that runs throughout know the state of this InferenceService, its children and the catalogue?
    pub fn is_observed(&self, key: &Key) -> bool {
        // Its status speaks of all of them.
        if key.kind == Kind::InferenceCatalog {
            return self.missed.is_empty();
        }
        let is_missed = |kind: &Kind| self.missed.contains(&Key { kind: *kind, ..key.clone() });
        !Kind::FAMILY.iter().any(is_missed) && !self.missed.contains(&Key::catalog())
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter().filter(move |(key, _)| key.kind == kind)
    }

    /// All objects of a kind at that version.
    pub fn snapshot(&self, kind: Kind, version: u64) -> BTreeMap<&Key, &Value> {
        let mut objects: BTreeMap<&Key, &Value> = self.of_kind(kind).collect();
        for change in self.history.iter().rev().take_while(|change| change.version > version) {
            if change.key.kind == kind {
                match &change.before {
                    Some(before) => objects.insert(&change.key, before),
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
        self.refuse_by_namespace(&key.namespace)?;
        self.made += 1;
        let (api_version, kind) = key.kind.type_meta();
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        object["metadata"]["name"] = json!(key.name);
        object["metadata"]["namespace"] = json!(key.namespace);
        // In ascending order, and as different as real ones: only the difference shows that a Deployment was
        // recreated.
        let uid = format!("{:08x}-0000-4000-8000-{:012x}", self.made, Chance::new(self.made).below(1 << 48));
        object["metadata"]["uid"] = json!(uid);
        self.existed.insert((key.clone(), uid));
        if key.kind != Kind::Service {
            object["metadata"]["generation"] = json!(1);
        }
        defaults::fill(key.kind, &mut object);
        let made = self.write(key, Some(object)).unwrap_or_default();
        if key.kind == Kind::InferenceService {
            self.defaulted.insert(key.clone());
        }
        Ok(made)
    }

    pub fn refuse_by_namespace(&self, namespace: &str) -> Result<(), Refusal> {
        if self.terminating.contains(namespace) {
            let message =
                format!("unable to create new content in namespace {namespace} because it is being terminated");
            return Err(Refusal { cause: Some(NAMESPACE_TERMINATING), ..refusal(403, "Forbidden", message) });
        }
        if self.gone.contains(namespace) {
            return Err(refusal(404, "NotFound", format!("namespaces \"{namespace}\" not found")));
        }
        Ok(())
    }

    /// Creates an object as the operator does.
    pub fn post(&mut self, key: &Key, object: Value) -> Result<Value, Refusal> {
        let made = self.create(key, object.clone())?;
        self.posted.insert(key.clone(), object);
        Ok(made)
    }

    /// Changes an existing object; a change without effect writes nothing.
    pub fn update(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let before = self.objects.get(key)?;
        let mut after = before.clone();
        change(&mut after);
        if after == *before && !self.defaulted.contains(key) {
            return Some(after);
        }
        // The last finalizer is gone, so the object is removed.
        if is_deleting(before) && finalizers(&after).next().is_none() {
            return self.remove(key, Some(after));
        }
        let annotated = after["metadata"]["annotations"] != before["metadata"]["annotations"];
        let is_changed = after["spec"] != before["spec"] || key.kind == Kind::Deployment && annotated;
        if is_changed && key.kind != Kind::Service {
            raise_generation(&mut after);
        }
        self.write(key, Some(after))
    }

    /// Deletes in the background, which is the default of controllers and kubectl.
    pub fn delete(&mut self, key: &Key) {
        self.delete_as(key, Propagation::Background);
    }

    /// Deletes an object. One with a finalizer, or one that waits for the garbage collector, stays meanwhile with a
    /// deletionTimestamp, which increments the generation.
    pub fn delete_as(&mut self, key: &Key, propagation: Propagation) {
        let Some(before) = self.objects.get(key).cloned() else { return };
        let of_collector = match propagation {
            Propagation::Background => None,
            Propagation::Foreground => Some("foregroundDeletion"),
            Propagation::Orphan => Some("orphan"),
        };
        let others = finalizers(&before).filter(|name| !matches!(*name, "foregroundDeletion" | "orphan"));
        let left: Vec<&str> = others.chain(of_collector).collect();
        if left.is_empty() {
            self.remove(key, None);
            return;
        }
        let mut after = before.clone();
        after["metadata"]["finalizers"] = json!(left);
        if !is_deleting(&before) {
            after["metadata"]["deletionTimestamp"] = json!(clock::stamp());
            if key.kind != Kind::Service {
                raise_generation(&mut after);
            }
        }
        if after != before {
            self.write(key, Some(after));
        }
    }

    fn remove(&mut self, key: &Key, last: Option<Value>) -> Option<Value> {
        self.write(key, None);
        last
    }

    /// Restores an earlier state, with its resourceVersions. Objects created later still get new uids.
    pub fn restore(&mut self, version: u64) {
        let version = version.max(self.floor).min(self.version);
        let restored = Kind::ALL.into_iter().flat_map(|kind| self.snapshot(kind, version));
        let restored = restored.map(|(key, object)| (key.clone(), object.clone())).collect();
        let before = std::mem::replace(&mut self.objects, restored);
        self.history.retain(|change| change.version <= version);
        let objects = &self.objects;
        let null = Value::Null;
        for (key, owned) in self.applied.iter_mut().chain(&mut self.posted) {
            forget_changed(owned, before.get(key).unwrap_or(&null), objects.get(key).unwrap_or(&null), "");
        }
        self.missed
            .extend(before.iter().filter(|(key, object)| objects.get(key) != Some(object)).map(|(key, _)| key.clone()));
        self.peak = self.peak.max(self.version);
        self.version = version;
        // Its namespaces are restored too.
        self.terminating.clear();
        self.gone.clear();
        self.restores += 1;
    }

    fn write(&mut self, key: &Key, mut after: Option<Value>) -> Option<Value> {
        self.version += 1;
        if let Some(object) = &mut after {
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
        if let Some(object) = after.as_ref().filter(|_| *key == Key::catalog()) {
            self.offers.add(&object["spec"]);
        }
        self.defaulted.remove(key);
        let before = match &after {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(key),
        };
        let null = Value::Null;
        for owned in [&mut self.applied, &mut self.posted].into_iter().filter_map(|owned| owned.get_mut(key)) {
            forget_changed(owned, before.as_ref().unwrap_or(&null), after.as_ref().unwrap_or(&null), "");
        }
        if self.version <= self.peak {
            self.missed.insert(key.clone());
        }
        let (at, version) = (Instant::now(), self.version);
        self.history.push(Change { at, version, key: key.clone(), before, after: after.clone() });
        after
    }

    /// Drops older history, as etcd's compaction does.
    pub fn compact(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
    }

    /// Server-side apply by the operator, as far as the operator can tell it from the real one: fields that are no
    /// longer applied are removed, and without force a foreign selector conflicts.
    pub fn apply(&mut self, key: &Key, mut desired: Value, force: bool) -> Result<Value, Refusal> {
        let uid = take(&mut desired, "uid");
        let version = take(&mut desired, "resourceVersion");
        let Some(found) = self.objects.get(key) else {
            // A resourceVersion does not require the object to exist.
            if uid.is_some() {
                return Err(refusal(409, "Conflict", "the object to be applied on is not there"));
            }
            let made = self.create(key, desired.clone())?;
            self.applied.insert(key.clone(), desired);
            return Ok(made);
        };
        let metadata = &found["metadata"];
        if version.is_some_and(|version| version != metadata["resourceVersion"]) {
            return Err(refusal(409, "Conflict", "the object has been modified"));
        }
        if uid.is_some_and(|uid| uid != metadata["uid"]) {
            return Err(refusal(422, "Invalid", "metadata.uid: Invalid value: field is immutable"));
        }
        let last = self.applied.get(key).cloned();
        if let (false, Some(path)) = (force, conflict(found, &desired, last.as_ref().unwrap_or(&Value::Null), "")) {
            return Err(refusal(409, "Conflict", format!("Apply failed with 1 conflict: conflict with \"x\": {path}")));
        }
        if key.kind == Kind::Deployment && found["spec"]["selector"] != desired["spec"]["selector"] {
            return Err(refusal(422, "Invalid", "spec.selector: field is immutable"));
        }
        let null = Value::Null;
        let (gone, stays) = (last.as_ref().unwrap_or(&null), self.posted.get(key).unwrap_or(&null));
        let mut merged = found.clone();
        remove_what_is_gone(&mut merged, gone, &desired, stays, "");
        overlay(&mut merged, &desired, "");
        refuse_invalid(&merged)?;
        let before = self.version;
        let mut after = self.update(key, |object| *object = merged);
        // The first apply makes the client a manager of these fields, which is a write.
        if self.version == before && last.as_ref() != Some(&desired) {
            after = self.write(key, after);
        }
        if self.objects.contains_key(key) {
            self.applied.insert(key.clone(), desired);
        }
        Ok(after.unwrap_or_default())
    }

    /// A strategic merge patch of a Service's owners and ports, those by their numbers: one with `$patch: delete` goes,
    /// whoever has set it; the others are laid over.
    pub fn replace_ports(
        &mut self,
        key: &Key,
        version: &Value,
        owners: &Value,
        ports: &[Value],
    ) -> Result<Value, Refusal> {
        let found = self.objects.get(key).ok_or_else(|| refusal(404, "NotFound", format!("{key:?} not found")))?;
        if *version != found["metadata"]["resourceVersion"] {
            return Err(refusal(409, "Conflict", "the object has been modified"));
        }
        let mut merged = found.clone();
        replace_by_number(&mut merged["spec"]["ports"], ports);
        overlay(&mut merged, &json!({"metadata": {"ownerReferences": owners}}), "");
        refuse_invalid(&merged)?;
        let ports = |object: &Value| object["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let before = ports(found);
        let new: Vec<Value> = ports(&merged).into_iter().filter(|port| !before.contains(port)).collect();
        let after = self.update(key, |object| *object = merged);
        overlay(self.posted.entry(key.clone()).or_default(), &json!({"spec": {"ports": new}}), "");
        Ok(after.unwrap_or_default())
    }

    /// A JSON patch of the status subresource, which tests the uid.
    pub fn set_status(&mut self, key: &Key, uid: &Value, status: Value) -> Result<Value, Refusal> {
        let found = self.objects.get(key).ok_or_else(|| refusal(404, "NotFound", format!("{key:?} not found")))?;
        if *uid != found["metadata"]["uid"] {
            return Err(refusal(422, "Invalid", "the server rejected our request due to an error in our request"));
        }
        let after = self.update(key, |object| object["status"] = status);
        Ok(after.unwrap_or_default())
    }
}

impl Store {
    /// The same of a catalogue. `is_whole`: otherwise only these fields are set, in a status that must be there.
    pub fn set_catalog_status(
        &mut self,
        key: &Key,
        uid: &Value,
        status: Value,
        is_whole: bool,
    ) -> Result<Value, Refusal> {
        let before = self.objects.get(key).map(|object| object["status"].clone());
        let status = match (is_whole, before, status) {
            (false, Some(Value::Object(mut before)), Value::Object(fields)) => {
                before.extend(fields);
                before.into()
            }
            (false, Some(_), _) => {
                return Err(refusal(422, "Invalid", "add operation does not apply: doc is missing path"));
            }
            (_, _, status) => status,
        };
        self.set_status(key, uid, status)
    }
}

/// An object has one controller at most, and each port of a Service that has several a name of its own.
fn refuse_invalid(object: &Value) -> Result<(), Refusal> {
    if controllers(object) > 1 {
        return Err(refusal(422, "Invalid", "Only one reference can have Controller set to true"));
    }
    let mut names = BTreeSet::new();
    let ports = object["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    match ports.iter().find(|port| port["name"].as_str().is_none_or(|name| !names.insert(name))) {
        Some(port) if ports.len() > 1 => {
            Err(refusal(422, "Invalid", format!("spec.ports: Required or Duplicate value: {}", port["name"])))
        }
        _ => Ok(()),
    }
}

fn raise_generation(object: &mut Value) {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
    object["metadata"]["generation"] = json!(generation + 1);
}

fn take(object: &mut Value, field: &str) -> Option<Value> {
    object["metadata"].as_object_mut()?.remove(field)
}
