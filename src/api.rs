//! The custom resources InferenceService and InferenceCatalog, `ai.example.com/v1`: the types that the CRDs are generated
//! from. Used by everything that reads or writes one; must never know how a Deployment looks.

use std::borrow::Cow;
use std::num::NonZeroU16;

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::{Timestamp, Utc};

pub mod catalog;
pub mod schema;
pub mod spec;

pub use catalog::{InferenceCatalog, InferenceCatalogSpec, InferenceCatalogStatus};
pub use spec::{InferenceService, InferenceServiceSpec, ServiceSettings};

pub const GROUP: &str = "ai.example.com";
pub const VERSION: &str = "v1";
pub const API_VERSION: &str = "ai.example.com/v1";
pub const KIND: &str = "InferenceService";
pub const PLURAL: &str = "inferenceservices";

/// Observed state of the InferenceService.
// The default tells kstatus that there is something to wait for, before the operator has said anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct InferenceServiceStatus {
    /// A summary of the conditions: Pending (nothing runs yet), Progressing (replicas are
    /// starting), Ready, Degraded (fewer ready replicas than requested, or no progress), Failed (the
    /// user must fix something; the condition Ready says what), Paused (by spec.paused).
    pub phase: Phase,

    /// Number of pods, ready or not, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Number of ready replicas.
    pub ready_replicas: i32,

    /// Seconds that the newest replica took from its start until it was ready, the last time that this
    /// took 20 seconds or longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("format" = "int32"))]
    pub last_load_seconds: Option<NonZeroU16>,

    /// URL of the Service inside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,

    /// Label selector of the pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// The metadata.generation that this status describes.
    pub observed_generation: i64,

    /// Ready is always present, except while Paused if not all replicas are ready. Reconciling, Stalled
    /// and Paused are present only while true, as expected by kstatus (Flux, Helm 4). For kubectl wait,
    /// use Ready.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,

    /// The versions that this status was computed from. After a restart, the operator compares them
    /// with its lists to see that nothing has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
}

/// A `metav1.Condition`. Kubernetes' own type would link a library of time zones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Not known where it is none that this operator writes.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub last_transition_time: Timestamp,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's shape
fn write_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Utc::from(*time))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    Ok(Utc::parse(&text).map(Timestamp::from).unwrap_or_default())
}

/// The versions of a status: see `InferenceServiceStatus::observed`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// The resourceVersion of the Deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_resource_version: Option<String>,

    /// A hash over the Deployment's uid and generation when the operator last wrote or accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_revision: Option<i64>,

    /// A hash over the operator's entry in the Deployment's metadata.managedFields. It tells fields
    /// that another client added from fields that it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_fields: Option<i64>,

    /// The resourceVersion of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_resource_version: Option<String>,

    /// The port of the Service, if spec.service was set when it was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535), extend("format" = "int32"))]
    pub service_port: Option<NonZeroU16>,

    /// Two hashes: over what the children were built from (spec, settings and release), and over the
    /// children. They tell whether another release or other settings would build other children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hashes: Option<String>,

    /// The instance of the operator that last changed the children: when it started, and its release.
    /// Of two operators at once, the older one yields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,

    /// A hash over the rest of this status. A status that does not match its checksum is recomputed.
    pub checksum: String,
}

/// One word for a person; programs read the conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    #[default]
    Pending,
    Progressing,
    Ready,
    Degraded,
    Failed,
    Paused,
}

impl Phase {
    pub const ALL: [Phase; 6] =
        [Phase::Pending, Phase::Progressing, Phase::Ready, Phase::Degraded, Phase::Failed, Phase::Paused];

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Progressing => "Progressing",
            Phase::Ready => "Ready",
            Phase::Degraded => "Degraded",
            Phase::Failed => "Failed",
            Phase::Paused => "Paused",
        }
    }
}

/// A generation as this operator keeps it.
pub fn generation(wire: i64) -> u32 {
    u32::try_from(wire).unwrap_or(0)
}

/// Conditions are a map by type for server-side apply, as in Kubernetes' own types.
fn conditions_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = generator.subschema_for::<Vec<v1::Condition>>();
    schema.insert("x-kubernetes-list-type".into(), "map".into());
    schema.insert("x-kubernetes-list-map-keys".into(), serde_json::json!(["type"]));
    schema
}
