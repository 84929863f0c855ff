//! Decodes the lean types from JSON. Used by serde alone; must never fail because of a spec or a status that cannot be
//! decoded. Always reads from a `str`: a second kind of reader would add 20 kB of code.

use std::borrow::Cow;
use std::hash::Hasher;
use std::num::NonZeroU32;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    DeploymentStatus, DeploymentView, InferenceServiceView, Managers, Meta, Owner, PartialDeployment, PartialService,
    RawSpec, ServiceView,
};
use crate::api;
use crate::kubernetes::resource::resource_version;
use crate::model::labels::{MANAGED_BY, WireLabels};
use crate::model::uid::Uid;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireMetadata<'a> {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: Uid,
    #[serde(deserialize_with = "resource_version")]
    resource_version: u64,
    #[serde(default, deserialize_with = "generation")]
    generation: u32,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default, borrow)]
    labels: WireLabels<'a>,
    #[serde(default, borrow)]
    annotations: Option<WireAnnotations<'a>>,
    /// null if there were too many to keep: then the object has no owner.
    #[serde(borrow)]
    owner_references: Option<Vec<WireOwner<'a>>>,
    /// null if there were too many to keep: then nothing is known of them.
    #[serde(default, borrow)]
    managed_fields: Option<Vec<WireManager<'a>>>,
}

#[derive(Deserialize)]
struct WireAnnotations<'a> {
    #[serde(rename = "ai.example.com/hashes", default, borrow)]
    hashes: Option<Cow<'a, str>>,
    #[serde(rename = "ai.example.com/instance", default, borrow)]
    instance: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireOwner<'a> {
    #[serde(default, borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    name: String,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(default)]
    controller: bool,
}

/// An entry of `metadata.managedFields`. The operation of an apply PATCH is Apply, that of any other write Update.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireManager<'a> {
    #[serde(default, borrow)]
    manager: Cow<'a, str>,
    #[serde(default, borrow)]
    operation: Cow<'a, str>,
    #[serde(default, borrow)]
    subresource: Cow<'a, str>,
    /// RFC 3339 in UTC: sorting as text gives the order of time.
    #[serde(default, borrow)]
    time: Cow<'a, str>,
    /// The length that `Keep::Length` leaves.
    fields_v1: Option<u64>,
}

/// One of this operator's own kinds: spec and status are decoded when they are needed.
#[derive(Deserialize)]
pub(super) struct WireCustomResource<'a> {
    #[serde(borrow)]
    pub metadata: WireMetadata<'a>,
    pub spec: Option<Box<RawValue>>,
    pub status: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub(super) struct WireAccepted {
    pub status: Option<WireAcceptedStatus>,
}

#[derive(Deserialize)]
pub(super) struct WireAcceptedStatus {
    pub accepted: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct WireDeployment<'a> {
    #[serde(borrow)]
    metadata: WireMetadata<'a>,
    #[serde(default)]
    spec: WireDeploymentSpec,
    #[serde(default)]
    status: DeploymentStatus,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireDeploymentSpec {
    replicas: i32,
    paused: bool,
    #[serde(deserialize_with = "generation")]
    progress_deadline_seconds: u32,
}

#[derive(Deserialize)]
struct WireService<'a> {
    #[serde(borrow)]
    metadata: WireMetadata<'a>,
    #[serde(default)]
    spec: Value,
}

#[derive(Deserialize)]
struct WireMetadataOnly<'a> {
    #[serde(borrow)]
    metadata: WireMetadata<'a>,
}

/// null replaces a value that was too long to keep.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Kubernetes uses an int64.
pub(super) fn generation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    i64::deserialize(deserializer).map(api::generation)
}

impl From<WireMetadata<'_>> for Meta {
    fn from(wire: WireMetadata<'_>) -> Self {
        let controller = wire.owner_references.into_iter().flatten().find(|owner| owner.controller);
        Meta {
            namespace: wire.namespace,
            labels: wire.labels.of(&wire.name),
            name: wire.name,
            uid: wire.uid,
            resource_version: wire.resource_version,
            generation: wire.generation,
            deleting: wire.deletion_timestamp.is_some(),
            controller: controller.map(Owner::from),
            instance: wire.annotations.and_then(|annotations| annotations.instance?.parse().ok()),
        }
    }
}

impl From<WireOwner<'_>> for Owner {
    fn from(wire: WireOwner<'_>) -> Self {
        // The core group's apiVersion has no group part.
        let group = wire.api_version.split_once('/').map_or("", |(group, _)| group);
        let is_ours = group == api::GROUP && wire.kind == api::KIND;
        let dot = if group.is_empty() { "" } else { "." };
        let foreign_kind = (!is_ours).then(|| format!("{}{dot}{group}", wire.kind));
        Owner { foreign_kind, uid: wire.uid.parse().ok(), name: wire.name }
    }
}

impl WireMetadata<'_> {
    /// The hash includes the child's uid, because a recreated child has fields of its own.
    fn managers(&self) -> Managers {
        let mut managers = Managers::default();
        let (mut own, mut latest) = ("", "");
        for entry in self.managed_fields.iter().flatten() {
            if entry.manager == MANAGED_BY {
                // Its own entry with the operation Update comes from a POST.
                if entry.operation == "Apply" {
                    own = &entry.time;
                    managers.applied = entry.hash(self.uid);
                }
            } else if entry.subresource != "status" && *entry.time >= *latest {
                latest = &entry.time;
                let subresource = &entry.subresource;
                let through = if subresource.is_empty() { String::new() } else { format!(" ({subresource})") };
                managers.other = Some(format!("{}{through}", entry.manager));
            }
        }
        managers.touched = managers.other.is_some() && latest >= own;
        managers
    }
}

impl WireManager<'_> {
    /// The length of the field list is enough: a manager that takes a field makes the list shorter, and only this
    /// operator makes it longer.
    fn hash(&self, uid: Uid) -> Option<NonZeroU32> {
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(&uid.folded().to_le_bytes());
        hasher.write(self.time.as_bytes());
        hasher.write(&self.fields_v1.unwrap_or_default().to_le_bytes());
        let hash = hasher.finish();
        #[allow(clippy::cast_possible_truncation)] // both halves are folded in
        let folded = (hash ^ hash >> 32) as u32;
        NonZeroU32::new(folded)
    }
}

impl<'de> Deserialize<'de> for InferenceServiceView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireCustomResource::deserialize(deserializer)?;
        Ok(InferenceServiceView { meta: wire.metadata.into(), spec: RawSpec(wire.spec), status: wire.status })
    }
}

/// Reads the metadata of an object and skips the rest.
impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(WireMetadataOnly::deserialize(deserializer)?.metadata.into())
    }
}

impl<'de> Deserialize<'de> for PartialDeployment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(PartialDeployment { meta: Meta::deserialize(deserializer)? })
    }
}

impl<'de> Deserialize<'de> for DeploymentView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireDeployment::deserialize(deserializer)?;
        let WireDeploymentSpec { replicas, paused, progress_deadline_seconds } = wire.spec;
        let managers = wire.metadata.managers();
        let annotations = wire.metadata.annotations.as_ref();
        let hashes = annotations.and_then(|annotations| annotations.hashes.as_deref()?.parse().ok());
        Ok(DeploymentView {
            hashes,
            meta: wire.metadata.into(),
            managers,
            spec_replicas: replicas,
            paused,
            progress_deadline: progress_deadline_seconds,
            status: wire.status,
        })
    }
}

impl<'de> Deserialize<'de> for PartialService {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(PartialService { meta: Meta::deserialize(deserializer)? })
    }
}

impl<'de> Deserialize<'de> for ServiceView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireService::deserialize(deserializer)?;
        let managers = wire.metadata.managers();
        Ok(ServiceView { meta: wire.metadata.into(), managers, spec: wire.spec })
    }
}
