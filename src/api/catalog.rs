//! The custom resource InferenceCatalog, `ai.example.com/v1`: GPU types, engines and defaults as an administrator writes
//! them. The CRD is generated from it; catalog.rs has what it becomes.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Condition, schema};

pub const CATALOG_KIND: &str = "InferenceCatalog";
pub const CATALOG_PLURAL: &str = "inferencecatalogs";

/// The types of its conditions.
pub const ACCEPTED: &str = "Accepted";
pub const ROLLOUT: &str = "Rollout";

/// There is one for each operator, of this name and in the operator's namespace.
pub const CATALOG_NAME: &str = "default";

/// What InferenceServices can choose from, and how a change reaches them. Laid over what is built into
/// the operator: an entry replaces the built-in one of its name. At most 16 kB as JSON.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ai.example.com",
    version = "v1",
    kind = "InferenceCatalog",
    plural = "inferencecatalogs",
    shortname = "icat",
    namespaced,
    status = "InferenceCatalogStatus",
    derive = "PartialEq",
    doc = "What an administrator offers: the GPU types and engines that InferenceServices can choose from. The operator reads the one named default in its own namespace.",
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].status"),
    printcolumn(name = "Engines", type_ = "string", json_path = ".status.engines"),
    printcolumn(name = "GPU types", type_ = "string", json_path = ".status.gpuTypes"),
    printcolumn(name = "Rollout", type_ = "string", json_path = ".status.conditions[?(@.type==\"Rollout\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].message", priority = 1),
    validation = Rule::new("self.metadata.name == 'default'").message("metadata.name must be default: the operator reads no other catalogue")
)]
#[serde(rename_all = "camelCase")]
pub struct InferenceCatalogSpec {
    /// Types of GPU, for gpuType of an InferenceService.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub gpu_types: Vec<GpuTypeEntry>,

    /// Programs that serve a model, for engine of an InferenceService.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub engines: Vec<EngineEntry>,

    /// What holds where an InferenceService says nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub defaults: Defaults,

    /// How a change of this catalogue, of the operator's flags or of its release reaches the
    /// InferenceServices.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rollout: RolloutSettings,
}

/// A GPU type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GpuTypeEntry {
    /// What gpuType of an InferenceService says.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::NAME))]
    pub name: String,

    /// Labels that a node must have, all of them. If empty, any node with the resource will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub node_labels: Vec<NodeLabelEntry>,

    /// The resource that a replica requests gpuCount of, such as nvidia.com/gpu.shared or amd.com/gpu.
    /// Defaults to that of defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_name: Option<String>,

    /// A part of a PodTemplateSpec for the pods that use this GPU type, laid over the engine's. The
    /// engine's container is called server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::template")]
    pub template: Option<Value>,
}

/// A label that a node must have, with one of these values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeLabelEntry {
    /// The key, such as nvidia.com/gpu.product.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,

    /// The values, of which one must match. GPU time-slicing appends -SHARED to the product's name.
    #[schemars(length(min = 1, max = 128), inner(length(max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}

/// An engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EngineEntry {
    /// What engine of an InferenceService says.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::NAME))]
    pub name: String,

    /// Its container image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512), regex(pattern = schema::WITHOUT_BLANKS))]
    pub image: String,

    /// In place of the image where a replica has no GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = schema::WITHOUT_BLANKS))]
    pub cpu_image: Option<String>,

    /// The program and its first arguments. If empty, it is the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,

    /// Its arguments. Replaced are {model}, {modelFile} (a model that is a path), {modelName} (any other),
    /// {maxBatchSize}, {gpuCount}, {port} and {name}. An argument whose placeholder has no value is left out,
    /// and so is the option in front of one that is nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(max = 4096)))]
    pub args: Vec<String>,

    /// The port that it listens on. Defaults to 8000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535), extend("format" = "int32"))]
    pub port: Option<u16>,

    /// The path that answers 200 once the model is loaded. Defaults to /health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = schema::PATH))]
    pub health_path: Option<String>,

    /// How long a replica may take to load its model. Defaults to that of defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400), extend("format" = "int32"))]
    pub load_seconds: Option<u32>,

    /// Environment variables that name the folders it keeps downloads in, and for each the folder below
    /// /cache where an InferenceService has a cache.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub cache_environment: BTreeMap<String, String>,

    /// A part of a PodTemplateSpec for the pods of this engine. Its container is called server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::template")]
    pub template: Option<Value>,
}

/// See `InferenceCatalogSpec::defaults`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Defaults {
    /// The engine of an InferenceService that names none. Defaults to vllm.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub engine: Option<String>,

    /// The resource that a replica requests gpuCount of where its GPU type names none. Defaults to
    /// nvidia.com/gpu.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub resource_name: Option<String>,

    /// How long a replica may take to load its model, if neither InferenceService nor engine says.
    /// Defaults to the operator's flag --model-load-seconds, or 30 minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400), extend("format" = "int32"))]
    pub load_seconds: Option<u32>,

    /// A part of a PodTemplateSpec for all pods, laid over those of engine and GPU type, and below what an
    /// InferenceService says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::template")]
    pub template: Option<Value>,
}

/// See `InferenceCatalogSpec::rollout`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutSettings {
    /// How many InferenceServices a change may take down at a time: a number, or a percentage of all of
    /// them. The next one follows when the one before is Ready again. Defaults to the operator's flag
    /// --rollout-max-unavailable, or 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::max_unavailable")]
    pub max_unavailable: Option<Value>,
}

/// Observed state of the InferenceCatalog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InferenceCatalogStatus {
    /// The metadata.generation that this status describes.
    pub observed_generation: i64,

    /// Accepted: is it in force? If not, the last accepted one still is. Rollout: has the last change
    /// reached all InferenceServices (Complete), not yet (InProgress), or is it held up by one (Halted)?
    #[schemars(schema_with = "super::conditions_schema")]
    pub conditions: Vec<Condition>,

    /// The engines that can be chosen, the default first.
    pub engines: String,

    /// The GPU types that can be chosen.
    pub gpu_types: String,

    /// The last accepted spec, which is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::template")]
    pub accepted: Option<Value>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
