//! How a kind of object is requested: its path at the API server, and the fields to keep. Used by request.rs and by the
//! watches; the kinds themselves are in model/view.rs.

use std::borrow::Cow;

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, de};

use crate::kubernetes::prune::{Fields, Keep};

/// A lean type, and the API server's path to its objects.
pub trait Resource: DeserializeOwned + Send + 'static {
    /// Empty for the core group.
    const GROUP: &'static str;
    const VERSION: &'static str;
    const PLURAL: &'static str;
    /// The Accept headers that request no more than needed of one object, and of a list.
    const ACCEPT: &'static str = JSON;
    const ACCEPT_LIST: &'static str = JSON;
    /// The fields to keep of one object.
    const FIELDS: Fields;
    const EVENT: Fields = &[("type", Keep::Whole), ("object", Keep::Fields(Self::FIELDS))];
    const LIST: Fields = &[("metadata", LIST_METADATA), ("items", Keep::Each(Self::FIELDS))];

    /// The path of all objects in the namespace, or in the cluster.
    fn path(namespace: Option<&str>) -> String {
        let root = if Self::GROUP.is_empty() { "/api" } else { "/apis/" };
        let (space, namespace) = namespace.map_or(("", ""), |namespace| ("/namespaces/", namespace));
        format!("{root}{}/{}{space}{namespace}/{}", Self::GROUP, Self::VERSION, Self::PLURAL)
    }

    /// The name for people: "deployments.apps".
    fn resource() -> String {
        let dot = if Self::GROUP.is_empty() { "" } else { "." };
        format!("{}{dot}{}", Self::PLURAL, Self::GROUP)
    }
}

/// The type that a watch decodes objects into.
pub trait Watched: DeserializeOwned + Send + 'static {
    fn resource_version(&self) -> u64;
}

/// A kind as a value: kinds that keep the same fields share the code of one watch.
#[derive(Clone, Copy)]
pub struct Kind {
    pub path: fn(Option<&str>) -> String,
    /// See `Resource::resource`.
    pub resource: fn() -> String,
    pub accept: &'static str,
    pub accept_list: &'static str,
    pub event: Fields,
    pub list: Fields,
}

impl Kind {
    pub const fn of<K: Resource>() -> Kind {
        Kind {
            path: K::path,
            resource: K::resource,
            accept: K::ACCEPT,
            accept_list: K::ACCEPT_LIST,
            event: K::EVENT,
            list: K::LIST,
        }
    }
}

const JSON: &str = "application/json";
pub const JSON_METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
pub const JSON_METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

const LIST_METADATA: Keep = Keep::Fields(&[("continue", Keep::Whole), ("resourceVersion", Keep::Whole)]);

/// Fields of the Status in a watch's ERROR event.
pub const CODE: (&str, Keep) = ("code", Keep::Whole);
pub const MESSAGE: (&str, Keep) = ("message", Keep::Whole);
pub const REASON: (&str, Keep) = ("reason", Keep::Whole);

/// Decodes JSON from the API server. Checks UTF-8 once, not for each string.
pub fn decode<'a, T: Deserialize<'a>>(json: &'a [u8]) -> serde_json::Result<T> {
    serde_json::from_str(std::str::from_utf8(json).map_err(de::Error::custom)?)
}

/// Since Kubernetes 1.35 resourceVersions are guaranteed to be comparable numbers (KEP-5504); etcd and kine have never
/// produced anything else.
pub fn resource_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom(format!("resourceVersion {text:?} is not a number")))
}
