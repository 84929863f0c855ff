//! What the operator keeps of the objects that the API server sends: lean types that decode only
//! what a decision needs. Used by the watches and by reconcile; must never grow a field that is
//! not read, because lists hold a page of these at a time.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::api::{self, InferenceServiceSpec, InferenceServiceStatus};
use crate::uid::Uid;

/// One InferenceService as a list, a watch event or an answer brings it.
#[derive(Clone, Debug)]
pub struct InferenceService {
    pub identity: Identity,
    /// The spec, or why it cannot be understood (an object stored under an older schema).
    pub spec: Result<InferenceServiceSpec, String>,
    /// A status that cannot be understood counts as none: it is written anew.
    pub status: Option<InferenceServiceStatus>,
    meta: ObjectMeta,
}

/// A Deployment's or Service's metadata, as the metadata-only watches bring it.
#[derive(Clone, Debug)]
pub struct Child<K> {
    pub identity: Identity,
    meta: ObjectMeta,
    kind: std::marker::PhantomData<fn() -> K>,
}

/// A Deployment as a GET or an apply answers it: what a status is computed from.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    pub identity: Identity,
    pub spec_replicas: i32,
    pub status: DeploymentStatus,
    meta: ObjectMeta,
}

/// A Service as a GET or an apply answers it.
#[derive(Clone, Debug, Default)]
pub struct Service {
    pub identity: Identity,
    meta: ObjectMeta,
}

/// Who an object is, which version of it this is, and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub resource_version: u64,
    /// 0 for kinds that have none, such as Service.
    pub generation: i64,
    pub deleting: bool,
    pub managed_by: Option<String>,
    pub controller: Option<Owner>,
}

/// The owner reference with controller=true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub kind: String,
    pub name: String,
    /// None where it is no UUID: then it is nobody this operator knows.
    pub uid: Option<Uid>,
}

impl Identity {
    pub fn is_controlled_by(&self, uid: Uid) -> bool {
        self.controller.as_ref().is_some_and(|owner| owner.uid == Some(uid))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    pub observed_generation: i64,
    pub replicas: i32,
    pub updated_replicas: i32,
    pub ready_replicas: i32,
    pub available_replicas: i32,
    pub conditions: Vec<DeploymentCondition>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DeploymentCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

// === what is on the wire ===

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMetadata {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: Uid,
    #[serde(deserialize_with = "resource_version")]
    resource_version: u64,
    #[serde(default)]
    generation: i64,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    labels: WireLabels,
    #[serde(default)]
    owner_references: Vec<WireOwner>,
}

#[derive(Default, Deserialize)]
struct WireLabels {
    #[serde(rename = "app.kubernetes.io/managed-by")]
    managed_by: Option<String>,
}

#[derive(Deserialize)]
struct WireOwner {
    kind: String,
    name: String,
    uid: String,
    #[serde(default)]
    controller: bool,
}

#[derive(Deserialize)]
struct WireInferenceService {
    metadata: WireMetadata,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct WireDeployment {
    metadata: WireMetadata,
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
struct WireMetadataOnly {
    metadata: WireMetadata,
}

/// Since Kubernetes 1.35 resourceVersions are promised to be numbers that can be compared
/// (KEP-5504); etcd and kine have never handed out anything else.
fn resource_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom(format!("resourceVersion {text:?} is not a number")))
}

impl From<WireMetadata> for Identity {
    fn from(wire: WireMetadata) -> Self {
        let controller = wire.owner_references.into_iter().find(|owner| owner.controller);
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

/// kube's watcher takes the resourceVersion to resume from out of an `ObjectMeta`; nothing else
/// of it is ever filled.
fn meta(identity: &Identity) -> ObjectMeta {
    ObjectMeta { resource_version: Some(identity.resource_version.to_string()), ..ObjectMeta::default() }
}

impl<'de> Deserialize<'de> for InferenceService {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireInferenceService::deserialize(deserializer)?;
        let identity = Identity::from(wire.metadata);
        let spec = match wire.spec {
            Some(raw) => serde_json::from_str(raw.get()).map_err(|error| error.to_string()),
            None => Err("spec is missing".to_owned()),
        };
        let status = wire.status.and_then(|raw| serde_json::from_str(raw.get()).ok());
        Ok(InferenceService { meta: meta(&identity), identity, spec, status })
    }
}

impl<'de, K> Deserialize<'de> for Child<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let identity = Identity::from(WireMetadataOnly::deserialize(deserializer)?.metadata);
        Ok(Child { meta: meta(&identity), identity, kind: std::marker::PhantomData })
    }
}

impl<'de> Deserialize<'de> for Deployment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireDeployment::deserialize(deserializer)?;
        let identity = Identity::from(wire.metadata);
        Ok(Deployment { meta: meta(&identity), identity, spec_replicas: wire.spec.replicas, status: wire.status })
    }
}

impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let identity = Identity::from(WireMetadataOnly::deserialize(deserializer)?.metadata);
        Ok(Service { meta: meta(&identity), identity })
    }
}

// === where kube finds them ===

macro_rules! resource {
    ($type:ty $(, $generic:ident)? => $group:expr, $version:expr, $kind:expr, $plural:expr, metadata_only: $metadata_only:expr) => {
        impl $(<$generic: 'static>)? Resource for $type {
            type DynamicType = ();
            type Scope = k8s_openapi::NamespaceResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.meta
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.meta
            }
            fn metadata_api() -> bool {
                $metadata_only
            }
        }
    };
}

resource!(InferenceService => api::GROUP, api::VERSION, api::KIND, api::PLURAL, metadata_only: false);
resource!(Deployment => "apps", "v1", "Deployment", "deployments", metadata_only: false);
resource!(Service => "", "v1", "Service", "services", metadata_only: false);
resource!(Child<Deployment> => "apps", "v1", "Deployment", "deployments", metadata_only: true);
resource!(Child<Service> => "", "v1", "Service", "services", metadata_only: true);

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#""metadata": {"name": "a", "namespace": "b", "uid": "0b1a2f3c-ffee-4abc-8def-0123456789ab",
        "resourceVersion": "7", "generation": 2, "managedFields": [{"manager": "x"}], "annotations": {"k": "v"},
        "labels": {"app.kubernetes.io/managed-by": "inference-operator", "other": "1"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "no-uuid"},
            {"apiVersion": "ai.example.com/v1", "kind": "InferenceService", "name": "a", "controller": true,
             "uid": "11111111-2222-4333-8444-555555555555"}]}"#;

    fn decode<T: for<'de> Deserialize<'de>>(rest: &str) -> T {
        serde_json::from_str(&format!("{{{METADATA}{rest}}}")).expect("decodes")
    }

    #[test]
    fn an_identity_says_who_and_whose() {
        let child: Child<Deployment> = decode("");
        let identity = child.identity;
        assert_eq!((identity.name.as_str(), identity.namespace.as_str()), ("a", "b"));
        assert_eq!((identity.resource_version, identity.generation, identity.deleting), (7, 2, false));
        assert_eq!(identity.managed_by.as_deref(), Some("inference-operator"));
        let owner = "11111111-2222-4333-8444-555555555555".parse().expect("a uid");
        assert!(identity.is_controlled_by(owner));
        assert!(!identity.is_controlled_by(identity.uid));
        assert_eq!(child.meta.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn a_spec_of_the_wrong_type_is_kept_as_an_error_and_loses_nothing_else() {
        let object: InferenceService =
            decode(r#", "spec": {"model": "m", "gpuType": 5}, "status": {"phase": "Ready"}"#);
        assert!(object.spec.expect_err("wrong type").contains("invalid type: integer `5`"));
        assert_eq!(object.status.expect("status").phase, api::Phase::Ready);
    }

    #[test]
    fn a_status_that_cannot_be_understood_counts_as_none() {
        let object: InferenceService = decode(r#", "spec": {"model": "m", "gpuType": "A100"}, "status": {"phase": 3}"#);
        assert!(object.status.is_none());
        assert_eq!(object.spec.expect("spec").replicas, 1);
    }

    #[test]
    fn an_object_without_optional_fields_decodes() {
        let deployment: Deployment = serde_json::from_str(
            r#"{"metadata": {"name": "a", "resourceVersion": "1", "uid": "0b1a2f3c-ffee-4abc-8def-0123456789ab"}}"#,
        )
        .expect("decodes");
        assert_eq!(deployment.status, DeploymentStatus::default());
        assert!(deployment.identity.controller.is_none());
    }
}
