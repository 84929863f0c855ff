//! How the lean types are decoded from JSON. Used by serde alone; must never fail because of a spec or
//! a status that cannot be understood.

use std::borrow::Cow;

use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::{Deployment, DeploymentMetadata, DeploymentStatus, Identity, InferenceService, Owner, Service};
use crate::api;
use crate::uid::Uid;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMetadata<'a> {
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
    #[serde(default)]
    labels: WireLabels,
    /// null where they were too many to be kept: then it is nobody's.
    #[serde(borrow)]
    owner_references: Option<Vec<WireOwner<'a>>>,
}

#[derive(Default, Deserialize)]
struct WireLabels {
    #[serde(rename = "app.kubernetes.io/managed-by")]
    managed_by: Option<String>,
}

#[derive(Deserialize)]
struct WireOwner<'a> {
    kind: String,
    name: String,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(default)]
    controller: bool,
}

#[derive(Deserialize)]
struct WireInferenceService<'a> {
    #[serde(borrow)]
    metadata: WireMetadata<'a>,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
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
#[serde(default)]
struct WireDeploymentSpec {
    replicas: i32,
}

#[derive(Deserialize)]
struct WireMetadataOnly<'a> {
    #[serde(borrow)]
    metadata: WireMetadata<'a>,
}

/// Since Kubernetes 1.35 resourceVersions are promised to be numbers that can be compared
/// (KEP-5504); etcd and kine have never handed out anything else.
pub(crate) fn resource_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom(format!("resourceVersion {text:?} is not a number")))
}

/// Kubernetes has an int64.
pub(super) fn generation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    i64::deserialize(deserializer).map(api::generation)
}

impl From<WireMetadata<'_>> for Identity {
    fn from(wire: WireMetadata<'_>) -> Self {
        let controller = wire.owner_references.into_iter().flatten().find(|owner| owner.controller);
        Identity {
            namespace: wire.namespace,
            name: wire.name,
            uid: wire.uid,
            resource_version: wire.resource_version,
            generation: wire.generation,
            deleting: wire.deletion_timestamp.is_some(),
            managed_by: wire.labels.managed_by,
            controller: controller.map(|owner| Owner {
                uid: owner.uid.parse().ok(),
                kind: owner.kind,
                name: owner.name,
            }),
        }
    }
}

impl<'de> Deserialize<'de> for InferenceService {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireInferenceService::deserialize(deserializer)?;
        let spec = match wire.spec {
            Some(raw) => serde_json::from_str(raw.get()).map_err(|error| error.to_string()),
            None => Err("spec is missing".to_owned()),
        };
        let status = wire.status.and_then(|raw| serde_json::from_str(raw.get()).ok());
        Ok(InferenceService { identity: wire.metadata.into(), spec, status })
    }
}

impl<'de> Deserialize<'de> for DeploymentMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(DeploymentMetadata { identity: WireMetadataOnly::deserialize(deserializer)?.metadata.into() })
    }
}

impl<'de> Deserialize<'de> for Deployment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireDeployment::deserialize(deserializer)?;
        Ok(Deployment { identity: wire.metadata.into(), spec_replicas: wire.spec.replicas, status: wire.status })
    }
}

impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Service { identity: WireMetadataOnly::deserialize(deserializer)?.metadata.into() })
    }
}
