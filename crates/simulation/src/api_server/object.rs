//! The key of an object, and the parts of its metadata about deletion and owners. Used everywhere; pure.

use inference_operator::api::catalog::CATALOG_NAME;
use serde_json::{Value, json};

use crate::operator::SETTINGS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    InferenceService,
    Deployment,
    Service,
    InferenceCatalog,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::InferenceService, Kind::Deployment, Kind::Service, Kind::InferenceCatalog];
    /// An InferenceService and its children.
    pub const FAMILY: [Kind; 3] = [Kind::InferenceService, Kind::Deployment, Kind::Service];
    pub const CHILDREN: [Kind; 2] = [Kind::Deployment, Kind::Service];

    pub fn is_child(self) -> bool {
        Kind::CHILDREN.contains(&self)
    }

    pub fn type_meta(self) -> (&'static str, &'static str) {
        match self {
            Kind::InferenceService => ("ai.example.com/v1", "InferenceService"),
            Kind::Deployment => ("apps/v1", "Deployment"),
            Kind::Service => ("v1", "Service"),
            Kind::InferenceCatalog => ("ai.example.com/v1", "InferenceCatalog"),
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

    /// The only catalogue that the operator reads.
    pub fn catalog() -> Key {
        Key::new(Kind::InferenceCatalog, &SETTINGS.catalog_namespace, CATALOG_NAME)
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
