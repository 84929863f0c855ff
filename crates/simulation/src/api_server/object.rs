//! The key of an object, and the parts of its metadata about deletion and owners. Used everywhere; pure.

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    InferenceService,
    Deployment,
    Service,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::InferenceService, Kind::Deployment, Kind::Service];
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

/// The deletion propagation: what happens to an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

pub fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

pub fn controller_uid(object: &Value) -> Option<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == json!(true))?["uid"].as_str()
}

pub fn controllers(object: &Value) -> usize {
    let owners = object["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    owners.iter().filter(|owner| owner["controller"] == json!(true)).count()
}
