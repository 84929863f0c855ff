//! The custom resource InferenceService, `ai.example.com/v1`: the types that the CRD is generated from.
//! Used by everything that reads or writes one; must never know how a Deployment looks.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::{Timestamp, Utc};

pub const GROUP: &str = "ai.example.com";
pub const VERSION: &str = "v1";
pub const API_VERSION: &str = "ai.example.com/v1";
pub const KIND: &str = "InferenceService";
pub const PLURAL: &str = "inferenceservices";

/// What the user asks for: a model, served on one kind of GPU by a number of replicas.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ai.example.com",
    version = "v1",
    kind = "InferenceService",
    plural = "inferenceservices",
    shortname = "isvc",
    namespaced,
    status = "InferenceServiceStatus",
    derive = "PartialEq",
    doc = "A model served over HTTP: the operator keeps one Deployment and one Service of the same name for it.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.readyReplicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "GPU", type_ = "string", json_path = ".spec.gpuType"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63").message("metadata.name must be a name that a Service can have too: at most 63 lower-case letters, digits and '-', starting with a letter and not ending with '-'"),
    // The kubelet tells pods the address of a Service of this name as KUBERNETES_SERVICE_HOST.
    validation = Rule::new("self.metadata.name != 'kubernetes'").message("metadata.name must not be kubernetes: that is the API server's name")
)]
#[serde(rename_all = "camelCase")]
pub struct InferenceServiceSpec {
    /// The model to serve, as the model server understands it: a name on a model hub
    /// (Qwen/Qwen2.5-7B-Instruct) or a path inside the server's image. Handed to the
    /// container literally, whatever characters it has.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('[^ \\t\\n\\r]')").message("must not be blank"))]
    #[x_kube(validation = Rule::new("!self.contains('\\u0000')").message("must not contain a NUL character"))]
    pub model: String,

    /// How many replicas (pods with one GPU each) serve the model. 0 keeps the Deployment and the
    /// Service but runs nothing.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0))]
    pub replicas: i32,

    /// The type of GPU that the replicas run on: A100, H100, L40S, or what the administrator of
    /// the operator has added with --gpu-type.
    #[schemars(length(min = 1, max = 63))]
    pub gpu_type: String,

    /// The largest number of requests that one replica works on at the same time. Left out, the
    /// model server decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // OpenAPI has no unsigned formats; the bounds say it.
    #[schemars(range(min = 1, max = 4_294_967_295_u32), extend("format" = "int64"))]
    pub max_batch_size: Option<u32>,

    /// When the node pulls the image of the model server: Always, IfNotPresent, or Never, for a
    /// node that has the image already and no registry. Left out, Kubernetes decides by the
    /// image's tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
}

/// As a container has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl InferenceServiceSpec {
    /// What must be said, and the defaults of all else.
    pub fn new(model: &str, gpu_type: &str) -> Self {
        InferenceServiceSpec {
            model: model.to_owned(),
            replicas: default_replicas(),
            gpu_type: gpu_type.to_owned(),
            max_batch_size: None,
            image_pull_policy: None,
        }
    }
}

fn default_replicas() -> i32 {
    1
}

/// What the operator has seen and done.
// The default tells kstatus that there is something to wait for, before the operator has said anything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct InferenceServiceStatus {
    /// A summary of the conditions: Pending (nothing runs yet), Progressing (replicas are on their
    /// way), Ready, Degraded (fewer replicas than asked for, or no progress), Failed (the user must
    /// mend something; the condition Ready says what).
    pub phase: Phase,

    /// How many replicas answer requests.
    pub ready_replicas: i32,

    /// The URL of the Service inside the cluster.
    pub endpoint: Option<String>,

    /// The label selector of the pods, for the scale subresource.
    pub selector: Option<String>,

    /// The metadata.generation that this status speaks of.
    pub observed_generation: i64,

    /// Ready is always there. Reconciling and Stalled are there while they are true, as kstatus
    /// reads them, which Flux and Helm 4 wait with; kubectl wait takes Ready.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,

    /// What this status was computed from. It lets the operator see after a restart, from lists
    /// alone, that nothing has changed.
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
    pub deployment_resource_version: Option<String>,

    /// Which Deployment it was, and which generation of it, when the operator last wrote or accepted it: its
    /// generation, mixed with its uid.
    pub deployment_revision: Option<i64>,

    /// Which fields of the Deployment the operator had applied, and when: a hash over its entry in
    /// metadata.managedFields. It tells what somebody else has added from what somebody else has changed.
    pub deployment_fields: Option<i64>,

    /// The resourceVersion of the Service.
    pub service_resource_version: Option<String>,

    /// A hash over the rest of this status and the configuration of the operator that wrote it. A
    /// status that does not match its checksum is computed again.
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
}

impl Phase {
    pub const ALL: [Phase; 5] = [Phase::Pending, Phase::Progressing, Phase::Ready, Phase::Degraded, Phase::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Progressing => "Progressing",
            Phase::Ready => "Ready",
            Phase::Degraded => "Degraded",
            Phase::Failed => "Failed",
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
