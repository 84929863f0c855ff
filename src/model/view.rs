//! Lean types for the objects that the API server sends, and for each type the fields that prune.rs lets through.
//! Used by the watches and by reconcile; must never contain a field that is not read.

pub mod catalog;
pub mod lease;
pub mod pod;
mod wire;

use std::num::{NonZeroU32, NonZeroU64};

use serde::Deserialize;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::{self, InferenceServiceStatus};
use crate::kubernetes::prune::{Fields, Keep};
use crate::kubernetes::resource::{CODE, JSON_METADATA, JSON_METADATA_LIST, MESSAGE, REASON, Resource, Watched};
use crate::model::hashes::{self, Hashes};
use crate::model::instance::{self, Instance};
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

/// Metadata of an object from a list or a watch.
const METADATA: Keep = Keep::Fields(&[
    NAMESPACE,
    NAME,
    UID,
    RESOURCE_VERSION,
    GENERATION,
    DELETION_TIMESTAMP,
    LABELS,
    ("annotations", Keep::Fields(&[(INITIAL_EVENTS_END, Keep::Whole), (instance::ANNOTATION, Keep::Whole)])),
    OWNER_REFERENCES,
]);

/// Metadata of a child that is read or written: with its field managers.
const OWNED_METADATA: Keep = Keep::Fields(&[
    NAMESPACE,
    NAME,
    UID,
    RESOURCE_VERSION,
    GENERATION,
    DELETION_TIMESTAMP,
    LABELS,
    ("annotations", Keep::Fields(&[(hashes::ANNOTATION, Keep::Whole), (instance::ANNOTATION, Keep::Whole)])),
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

/// One InferenceService from a list, a watch event or a response.
#[derive(Clone, Debug)]
pub struct InferenceServiceView {
    pub meta: Meta,
    pub spec: RawSpec,
    /// As received, not decoded: most are echoes of what this operator has just written.
    status: Option<Box<RawValue>>,
}

/// A spec as received. reconcile/validate.rs decodes it when its turn comes.
#[derive(Clone, Debug, Default)]
pub struct RawSpec(Option<Box<RawValue>>);

impl RawSpec {
    /// Its JSON, or its length in bytes if it was too long to keep; None: the object has no spec.
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
    /// A status that cannot be decoded counts as none: it is written again.
    pub fn status(&self) -> Option<InferenceServiceStatus> {
        let status = serde_json::from_str(self.status.as_deref()?.get()).ok();
        status.filter(says_something)
    }

    /// Who has brought the children, as the status says it.
    pub fn instance(&self) -> Option<Instance> {
        let status: ObservedOnly = serde_json::from_str(self.status.as_deref()?.get()).ok()?;
        status.observed.instance?.parse().ok()
    }
}

#[derive(Deserialize)]
struct ObservedOnly {
    #[serde(default)]
    observed: api::Observed,
}

/// False for the API server's own default, before the operator has written a status.
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
                ("replicas", Keep::Whole),
                ("readyReplicas", Keep::Whole),
                ("lastLoadSeconds", Keep::Whole),
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

/// A Deployment from its metadata-only watch.
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

/// A Deployment from the response to a GET or an apply: a status is computed from it.
#[derive(Clone, Debug, Default)]
pub struct DeploymentView {
    pub meta: Meta,
    pub managers: Managers,
    /// None: not those of an apply.
    pub hashes: Option<Hashes>,
    pub spec_replicas: i32,
    /// `kubectl rollout pause`.
    pub paused: bool,
    /// Seconds; 0: none.
    pub progress_deadline: u32,
    pub status: DeploymentStatus,
}

impl Resource for DeploymentView {
    const GROUP: &'static str = "apps";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "deployments";
    const FIELDS: Fields = &[
        ("metadata", OWNED_METADATA),
        (
            "spec",
            Keep::Fields(&[
                ("replicas", Keep::Whole),
                ("paused", Keep::Whole),
                ("progressDeadlineSeconds", Keep::Whole),
            ]),
        ),
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

/// A Service from its metadata-only watch, or from the response to a write.
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

/// A Service from the response to a GET: the fields that another client may have changed.
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

/// Identity, version and owner of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub resource_version: u64,
    /// 0 for kinds without one, such as Service. 4 bytes are enough for a change every second for a century.
    pub generation: u32,
    pub deleting: bool,
    pub labels: Labels,
    pub controller: Option<Owner>,
    /// Of a Deployment: who has brought these children. None: an operator of a release that did not say so, which is
    /// older than any.
    pub instance: Option<Instance>,
}

/// The owner reference with controller=true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// None: our own InferenceService. Otherwise as a person reads it: "InferenceService.serving.kserve.io".
    pub foreign_kind: Option<String>,
    pub name: String,
    /// None: not a UUID, and so not an owner that this operator knows.
    pub uid: Option<Uid>,
}

/// The field managers of a child, from `metadata.managedFields`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers {
    /// A hash over the length in bytes of the field list of this operator's last apply, and over the time when a value
    /// in it last changed. While it stays the same, every field has the applied value: another manager that changes a
    /// field takes it out of the list, which gets shorter. None: not known.
    pub applied: Option<NonZeroU32>,
    /// Another manager has written since, or at the same time. If not, any change was made under this operator's field
    /// manager name.
    pub touched: bool,
    /// The last other manager to write, and its subresource: "kube-controller-manager (scale)".
    pub other: Option<String>,
}

impl Watched for InferenceServiceView {
    fn resource_version(&self) -> u64 {
        self.meta.resource_version
    }
}

/// Nothing else is kept of a child.
impl Watched for Meta {
    fn resource_version(&self) -> u64 {
        self.resource_version
    }
}

impl Meta {
    pub fn is_controlled_by(&self, uid: Uid) -> bool {
        self.controller.as_ref().is_some_and(|owner| owner.uid == Some(uid))
    }

    /// Object and generation in 4 bytes; a generation alone occurs again when the object is recreated.
    pub fn revision(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.uid.folded() ^ self.generation)
    }

    /// The resourceVersion in the form that is kept in memory.
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
    /// Empty if they were too long to keep.
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
