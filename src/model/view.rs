//! What the operator keeps of the objects that the API server sends: lean types, and for each of them
//! the fields that are let through by prune.rs. Used by the watches and by reconcile; must never
//! grow a field that is not read.

mod wire;

use std::num::{NonZeroU32, NonZeroU64};

use serde::Deserialize;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::{self, InferenceServiceStatus};
use crate::kubernetes::prune::{Fields, Keep};
use crate::kubernetes::resource::{CODE, JSON_METADATA, JSON_METADATA_LIST, MESSAGE, REASON, Resource, Watched};
use crate::model::labels::{self, Labels};
use crate::model::uid::Uid;

/// The annotation of the bookmark that ends a streaming list; watch/line.rs reads it.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

const NAMESPACE: (&str, Keep) = ("namespace", Keep::Whole);
const NAME: (&str, Keep) = ("name", Keep::Whole);
const UID: (&str, Keep) = ("uid", Keep::Whole);
const RESOURCE_VERSION: (&str, Keep) = ("resourceVersion", Keep::Whole);
const GENERATION: (&str, Keep) = ("generation", Keep::Whole);
const DELETION_TIMESTAMP: (&str, Keep) = ("deletionTimestamp", Keep::Whole);
const LABELS: (&str, Keep) = ("labels", Keep::Fields(labels::FIELDS));
const OWNER_REFERENCES: (&str, Keep) = (
    "ownerReferences",
    Keep::Fields(&[
        ("apiVersion", Keep::Whole),
        ("kind", Keep::Whole),
        ("name", Keep::Whole),
        ("uid", Keep::Whole),
        ("controller", Keep::Whole),
    ]),
);

/// Of what a list or a watch brings.
const METADATA: Keep = Keep::Fields(&[
    NAMESPACE,
    NAME,
    UID,
    RESOURCE_VERSION,
    GENERATION,
    DELETION_TIMESTAMP,
    LABELS,
    ("annotations", Keep::Fields(&[(INITIAL_EVENTS_END, Keep::Whole)])),
    OWNER_REFERENCES,
]);

/// Of a child that is read or written: whose its fields are, too.
const OWNED_METADATA: Keep = Keep::Fields(&[
    NAMESPACE,
    NAME,
    UID,
    RESOURCE_VERSION,
    GENERATION,
    DELETION_TIMESTAMP,
    LABELS,
    OWNER_REFERENCES,
    (
        "managedFields",
        Keep::Fields(&[
            ("manager", Keep::Whole),
            ("operation", Keep::Whole),
            ("subresource", Keep::Whole),
            ("time", Keep::Whole),
            ("fieldsV1", Keep::Length),
        ]),
    ),
]);

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
pub struct InferenceServiceView {
    pub meta: Meta,
    pub spec: RawSpec,
    /// As it came: most are echoes of what this operator has just written.
    status: Option<Box<RawValue>>,
}

/// A spec as it came. It is decoded when its turn comes, by reconcile/validate.rs.
#[derive(Clone, Debug, Default)]
pub struct RawSpec(Option<Box<RawValue>>);

impl RawSpec {
    /// Its JSON, or how many bytes it has where that is too many to be kept; None: the object has none.
    pub fn text(&self) -> Option<&str> {
        self.0.as_deref().map(RawValue::get)
    }
}

impl From<&Value> for RawSpec {
    fn from(spec: &Value) -> Self {
        RawSpec(serde_json::value::to_raw_value(spec).ok())
    }
}

impl InferenceServiceView {
    /// A status that cannot be understood counts as none: it is written anew.
    pub fn status(&self) -> Option<InferenceServiceStatus> {
        let status = serde_json::from_str(self.status.as_deref()?.get()).ok();
        status.filter(says_something)
    }
}

/// The API server's own default, before the operator has written any.
fn says_something(status: &InferenceServiceStatus) -> bool {
    status.observed_generation >= 0 || !status.conditions.is_empty()
}

impl Resource for InferenceServiceView {
    const GROUP: &'static str = api::GROUP;
    const VERSION: &'static str = api::VERSION;
    const PLURAL: &'static str = api::PLURAL;
    const FIELDS: Fields = &[
        ("metadata", METADATA),
        ("spec", Keep::WholeOrLength),
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
}

/// A Deployment as its metadata-only watch brings it.
#[derive(Clone, Debug)]
pub struct PartialDeployment {
    pub meta: Meta,
}

impl Resource for PartialDeployment {
    const GROUP: &'static str = DeploymentView::GROUP;
    const VERSION: &'static str = DeploymentView::VERSION;
    const PLURAL: &'static str = DeploymentView::PLURAL;
    const ACCEPT: &'static str = JSON_METADATA;
    const ACCEPT_LIST: &'static str = JSON_METADATA_LIST;
    const FIELDS: Fields = &[("metadata", METADATA), CODE, MESSAGE, REASON];
}

/// A Deployment as a GET or an apply answers it: what a status is computed from.
#[derive(Clone, Debug, Default)]
pub struct DeploymentView {
    pub meta: Meta,
    pub managers: Managers,
    pub spec_replicas: i32,
    /// `kubectl rollout pause`.
    pub paused: bool,
    pub status: DeploymentStatus,
}

impl Resource for DeploymentView {
    const GROUP: &'static str = "apps";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "deployments";
    const FIELDS: Fields = &[
        ("metadata", OWNED_METADATA),
        ("spec", Keep::Fields(&[("replicas", Keep::Whole), ("paused", Keep::Whole)])),
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
}

/// A Service as its metadata-only watch brings it, and as a write answers it.
#[derive(Clone, Debug, Default)]
pub struct PartialService {
    pub meta: Meta,
}

impl Resource for PartialService {
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "services";
    const ACCEPT: &'static str = JSON_METADATA;
    const ACCEPT_LIST: &'static str = JSON_METADATA_LIST;
    const FIELDS: Fields = PartialDeployment::FIELDS;
}

/// A Service as a GET answers it: what somebody else may have changed.
#[derive(Clone, Debug, Default)]
pub struct ServiceView {
    pub meta: Meta,
    pub managers: Managers,
    pub spec: Value,
}

impl Resource for ServiceView {
    const GROUP: &'static str = PartialService::GROUP;
    const VERSION: &'static str = PartialService::VERSION;
    const PLURAL: &'static str = PartialService::PLURAL;
    const FIELDS: Fields = &[
        ("metadata", OWNED_METADATA),
        ("spec", Keep::Fields(&[("type", Keep::Whole), ("selector", Keep::Whole), ("ports", Keep::Whole)])),
    ];
}

/// Who an object is, which version of it this is, and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub resource_version: u64,
    /// 0 for kinds that have none, such as Service. 4 bytes are enough for a change every second for a
    /// century.
    pub generation: u32,
    pub deleting: bool,
    pub labels: Labels,
    pub controller: Option<Owner>,
}

/// The owner reference with controller=true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// None: our own InferenceService. Else as a person reads it: "InferenceService.serving.kserve.io".
    pub foreign_kind: Option<String>,
    pub name: String,
    /// None where it is no UUID: then it is nobody this operator knows.
    pub uid: Option<Uid>,
}

/// Whose the fields of a child are, as `metadata.managedFields` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers {
    /// A hash over how many bytes the names of the fields take that this operator's last apply has, and over when it
    /// was that any of their values changed. While it stays the same, every field has the value that was applied: whoever else changes one takes
    /// it out of the list, which makes that shorter. None: not known.
    pub applied: Option<NonZeroU32>,
    /// Somebody else has written since, or at the same time: without, whatever has changed was changed in this
    /// operator's name.
    pub touched: bool,
    /// Who else wrote last, and through which subresource: "kube-controller-manager (scale)".
    pub other: Option<String>,
}

impl Watched for InferenceServiceView {
    fn resource_version(&self) -> u64 {
        self.meta.resource_version
    }
}

/// Of a child nothing else is kept.
impl Watched for Meta {
    fn resource_version(&self) -> u64 {
        self.resource_version
    }
}

impl Meta {
    pub fn is_controlled_by(&self, uid: Uid) -> bool {
        self.controller.as_ref().is_some_and(|owner| owner.uid == Some(uid))
    }

    /// Which object, and which spec of it: both in 4 bytes, because a generation alone comes again in an object
    /// that is created again.
    pub fn revision(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.uid.folded() ^ self.generation)
    }

    /// Its resourceVersion, as it is remembered.
    pub fn version(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.resource_version)
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
    /// Empty where they were too long to be kept.
    #[serde(deserialize_with = "wire::or_default")]
    pub conditions: Vec<DeploymentCondition>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct DeploymentCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: String,
    #[serde(deserialize_with = "wire::or_default")]
    pub message: String,
}

#[cfg(test)]
mod tests;
