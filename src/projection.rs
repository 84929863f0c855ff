//! What the operator keeps of the objects that the API server sends: lean types, and for each of them
//! the fields that are let through by pruning.rs. Used by the watches and by reconcile; must never
//! grow a field that is not read.

mod wire;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::{self, InferenceServiceSpec, InferenceServiceStatus};
use crate::pruning::{Fields, Keep};
use crate::uid::Uid;
pub(crate) use wire::resource_version;

/// A lean type, and where the API server has its objects.
pub trait Kind: DeserializeOwned + Send + 'static {
    /// Empty for the core group.
    const GROUP: &'static str;
    const VERSION: &'static str;
    const PLURAL: &'static str;
    /// The header Accept that asks for no more than is needed of one object, and of a list.
    const ACCEPT: &'static str = JSON;
    const ACCEPT_LIST: &'static str = JSON;
    /// What is kept of one object.
    const FIELDS: Fields;
    const EVENT: Fields = &[("type", Keep::Whole), ("object", Keep::Fields(Self::FIELDS))];
    const LIST: Fields = &[("metadata", LIST_METADATA), ("items", Keep::Each(Self::FIELDS))];

    fn identity(&self) -> &Identity;

    /// The path of all objects in the namespace, or in the cluster.
    fn path(namespace: Option<&str>) -> String {
        let root = if Self::GROUP.is_empty() { "/api" } else { "/apis/" };
        let (space, namespace) = namespace.map_or(("", ""), |namespace| ("/namespaces/", namespace));
        format!("{root}{}/{}{space}{namespace}/{}", Self::GROUP, Self::VERSION, Self::PLURAL)
    }

    /// As a person reads it: "deployments.apps".
    fn resource() -> String {
        let dot = if Self::GROUP.is_empty() { "" } else { "." };
        format!("{}{dot}{}", Self::PLURAL, Self::GROUP)
    }
}

const JSON: &str = "application/json";
const JSON_METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const JSON_METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

const LIST_METADATA: Keep = Keep::Fields(&[("continue", Keep::Whole), ("resourceVersion", Keep::Whole)]);

/// The annotation of the bookmark that ends a streaming list; watch/line.rs reads it.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

const METADATA: Keep = Keep::Fields(&[
    ("namespace", Keep::Whole),
    ("name", Keep::Whole),
    ("uid", Keep::Whole),
    ("resourceVersion", Keep::Whole),
    ("generation", Keep::Whole),
    ("deletionTimestamp", Keep::Whole),
    ("labels", Keep::Fields(&[("app.kubernetes.io/managed-by", Keep::Whole)])),
    ("annotations", Keep::Fields(&[(INITIAL_EVENTS_END, Keep::Whole)])),
    (
        "ownerReferences",
        Keep::Fields(&[
            ("kind", Keep::Whole),
            ("name", Keep::Whole),
            ("uid", Keep::Whole),
            ("controller", Keep::Whole),
        ]),
    ),
]);

/// Of the Status that an ERROR event of a watch carries.
const CODE: (&str, Keep) = ("code", Keep::Whole);
const MESSAGE: (&str, Keep) = ("message", Keep::Whole);
const REASON: (&str, Keep) = ("reason", Keep::Whole);

const CONDITIONS: Keep = Keep::Fields(&[
    ("type", Keep::Whole),
    ("status", Keep::Whole),
    ("reason", Keep::Whole),
    ("message", Keep::Whole),
    ("observedGeneration", Keep::Whole),
    ("lastTransitionTime", Keep::Whole),
]);

/// One InferenceService as a list, a watch event or an answer brings it.
#[derive(Clone, Debug)]
pub struct InferenceService {
    pub identity: Identity,
    /// The spec, or why it cannot be understood (an object stored under an older schema).
    pub spec: Result<InferenceServiceSpec, String>,
    /// A status that cannot be understood counts as none: it is written anew.
    pub status: Option<InferenceServiceStatus>,
}

impl Kind for InferenceService {
    const GROUP: &'static str = api::GROUP;
    const VERSION: &'static str = api::VERSION;
    const PLURAL: &'static str = api::PLURAL;
    const FIELDS: Fields = &[
        ("metadata", METADATA),
        (
            "spec",
            Keep::Fields(&[
                ("model", Keep::Whole),
                ("replicas", Keep::Whole),
                ("gpuType", Keep::Whole),
                ("maxBatchSize", Keep::Whole),
            ]),
        ),
        (
            "status",
            Keep::Fields(&[
                ("phase", Keep::Whole),
                ("readyReplicas", Keep::Whole),
                ("endpoint", Keep::Whole),
                ("selector", Keep::Whole),
                ("observedGeneration", Keep::Whole),
                ("conditions", CONDITIONS),
                ("observed", Keep::Whole),
            ]),
        ),
        CODE,
        MESSAGE,
        REASON,
    ];

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// A Deployment as its metadata-only watch brings it.
#[derive(Clone, Debug)]
pub struct DeploymentMetadata {
    pub identity: Identity,
}

impl Kind for DeploymentMetadata {
    const GROUP: &'static str = Deployment::GROUP;
    const VERSION: &'static str = Deployment::VERSION;
    const PLURAL: &'static str = Deployment::PLURAL;
    const ACCEPT: &'static str = JSON_METADATA;
    const ACCEPT_LIST: &'static str = JSON_METADATA_LIST;
    const FIELDS: Fields = &[("metadata", METADATA), CODE, MESSAGE, REASON];

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// A Deployment as a GET or an apply answers it: what a status is computed from.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    pub identity: Identity,
    pub spec_replicas: i32,
    pub status: DeploymentStatus,
}

impl Kind for Deployment {
    const GROUP: &'static str = "apps";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "deployments";
    const FIELDS: Fields = &[
        ("metadata", METADATA),
        ("spec", Keep::Fields(&[("replicas", Keep::Whole)])),
        (
            "status",
            Keep::Fields(&[
                ("observedGeneration", Keep::Whole),
                ("replicas", Keep::Whole),
                ("updatedReplicas", Keep::Whole),
                ("readyReplicas", Keep::Whole),
                ("availableReplicas", Keep::Whole),
                ("conditions", CONDITIONS),
            ]),
        ),
    ];

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// A Service, of which nothing but its metadata is ever needed.
#[derive(Clone, Debug, Default)]
pub struct Service {
    pub identity: Identity,
}

impl Kind for Service {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "services";
    const ACCEPT: &'static str = JSON_METADATA;
    const ACCEPT_LIST: &'static str = JSON_METADATA_LIST;
    const FIELDS: Fields = DeploymentMetadata::FIELDS;

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Who an object is, which version of it this is, and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub resource_version: u64,
    /// 0 for kinds that have none, such as Service. 4 bytes are enough for a change every second for a
    /// century.
    pub generation: u32,
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

    /// Which object, and which spec of it: both in 4 bytes, because a generation alone comes again in an object
    /// that is made anew.
    pub fn revision(&self) -> u32 {
        self.uid.folded() ^ self.generation
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    #[serde(deserialize_with = "wire::generation")]
    pub observed_generation: u32,
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
        let child: DeploymentMetadata = decode("");
        let identity = child.identity;
        assert_eq!((identity.name.as_str(), identity.namespace.as_str()), ("a", "b"));
        assert_eq!((identity.resource_version, identity.generation, identity.deleting), (7, 2, false));
        assert_eq!(identity.managed_by.as_deref(), Some("inference-operator"));
        let owner = "11111111-2222-4333-8444-555555555555".parse().expect("a uid");
        assert!(identity.is_controlled_by(owner));
        assert!(!identity.is_controlled_by(identity.uid));
    }

    #[test]
    fn a_kind_is_found_where_the_api_server_has_it() {
        assert_eq!(Service::path(None), "/api/v1/services");
        assert_eq!(Deployment::path(Some("b")), "/apis/apps/v1/namespaces/b/deployments");
        assert_eq!(InferenceService::path(None), "/apis/ai.example.com/v1/inferenceservices");
        assert_eq!((Service::resource(), Deployment::resource()), ("services".into(), "deployments.apps".into()));
    }

    fn both<K: Kind + std::fmt::Debug>(text: &str) -> (String, String) {
        let mut pruner = crate::pruning::Pruner::new(K::FIELDS);
        pruner.advance(&mut bytes::Bytes::copy_from_slice(text.as_bytes())).expect("JSON");
        let kept: K = serde_json::from_slice(pruner.kept()).expect("decodes");
        let whole: K = serde_json::from_str(text).expect("decodes");
        (format!("{kept:?}"), format!("{whole:?}"))
    }

    /// A field that the types decode and the filter does not let through would always be empty.
    #[test]
    fn pruning_lets_through_all_that_is_decoded() {
        let text = format!(
            r#"{{{METADATA}, "spec": {{"model": "m", "gpuType": "A100", "replicas": 3, "maxBatchSize": 4}}, "status": {{
                "phase": "Ready", "readyReplicas": 2, "endpoint": "e", "selector": "s", "observedGeneration": 5,
                "conditions": [{{"type": "Ready", "status": "True", "reason": "R", "message": "M",
                    "observedGeneration": 6, "lastTransitionTime": "2026-01-01T00:00:00Z"}}],
                "observed": {{"checksum": "c", "deploymentResourceVersion": "1", "deploymentRevision": 2,
                    "serviceResourceVersion": "3"}},
                "replicas": 7, "updatedReplicas": 8, "availableReplicas": 9}}}}"#
        );
        for (pruned, whole) in [
            both::<InferenceService>(&text),
            both::<Deployment>(&text),
            both::<DeploymentMetadata>(&text),
            both::<Service>(&text),
        ] {
            assert_eq!(pruned, whole);
        }
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

    /// Such an InferenceService was not served, and one that was deleted with so many was never forgotten.
    #[test]
    fn an_object_with_more_owners_than_are_kept_is_nobody_s_and_loses_nothing_else() {
        let owner = r#"{"kind": "ConfigMap", "name": "NAME", "uid": "u"}"#.replace("NAME", &"x".repeat(250));
        let owners = vec![owner; 200].join(",");
        let text = format!(
            r#"{{"metadata": {{"name": "a", "resourceVersion": "7", "ownerReferences": [{owners}]}}, "spec": {{"model": "m", "gpuType": "A100"}}}}"#
        );
        let mut pruner = crate::pruning::Pruner::new(InferenceService::FIELDS);
        pruner.advance(&mut bytes::Bytes::from(text)).expect("JSON");
        let object: InferenceService = serde_json::from_slice(pruner.kept()).expect("decodes");
        assert_eq!((object.identity.resource_version, object.identity.controller), (7, None));
        assert_eq!(object.spec.expect("spec").model, "m");
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
