//! The spec of an InferenceService: what the user asks for. A field that is passed on to the pod as it is has the type
//! `Value`: what it may hold says its schema.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{InferenceServiceStatus, schema};

/// Desired state: a model, and how it is to be served. At most 16 kB as JSON.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ai.example.com",
    version = "v1",
    kind = "InferenceService",
    plural = "inferenceservices",
    shortname = "isvc",
    namespaced,
    status = "InferenceServiceStatus",
    derive = "PartialEq",
    doc = "A model served over HTTP by a Deployment and a Service of the same name.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "GPU", type_ = "string", json_path = ".spec.gpuType"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Load", type_ = "integer", json_path = ".status.lastLoadSeconds", priority = 1, description = "Seconds that the newest replica took from its start until it was ready."),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63").message("metadata.name must also be valid as the name of a Service: at most 63 lowercase letters, digits and '-', starting with a letter and not ending with '-'"),
    // The kubelet tells pods the address of a Service of this name as KUBERNETES_SERVICE_HOST.
    validation = Rule::new("self.metadata.name != 'kubernetes'").message("metadata.name must not be kubernetes: the API server's Service has that name")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.gpuType) || !has(self.gpuCount) || self.gpuCount > 0").message("gpuType needs a gpuCount of at least 1"))]
pub struct InferenceServiceSpec {
    /// The model to serve: a name on a model hub (Qwen/Qwen2.5-7B-Instruct), or a path in the
    /// container: below /models with `modelVolume`. Passed to the engine literally.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('[^ \\t\\n\\r]')").message("must not be blank"))]
    #[x_kube(validation = Rule::new("!self.startsWith('-')").message("must not start with '-': the engine would read it as an option"))]
    #[x_kube(validation = Rule::new("!self.contains('\\u0000')").message("must not contain a NUL character"))]
    pub model: String,

    /// Number of replicas (pods). 0 keeps the Deployment and the Service but runs no pods.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0))]
    pub replicas: i32,

    /// The program that serves the model: vllm (the default), sglang, llamacpp, or one of the
    /// InferenceCatalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub engine: Option<String>,

    /// The type of GPU to run on: A100, H100, L40S, or one of the InferenceCatalog or of the operator's
    /// flag --gpu-type. If unset, any node with enough GPUs will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub gpu_type: Option<String>,

    /// Number of GPUs of each replica. Defaults to 1; 0 runs the model on the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 64), extend("format" = "int32"))]
    pub gpu_count: Option<u32>,

    /// How long a replica may take to load its model, from the start of its container; one that takes longer
    /// is restarted. If unset, the administrator decides (30 minutes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86_400), extend("format" = "int32"))]
    pub load_seconds: Option<u32>,

    /// Maximum number of requests that one replica processes at the same time. If unset, the engine
    /// decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // OpenAPI has no unsigned formats; the bounds say it.
    #[schemars(range(min = 1, max = 4_294_967_295_u32), extend("format" = "int64"))]
    pub max_batch_size: Option<u32>,

    /// Image of the engine, in place of the operator's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// When the kubelet pulls the image: Always, IfNotPresent, or Never (for nodes that already have
    /// it and reach no registry). If unset, Kubernetes derives it from the image tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::image_pull_policy")]
    pub image_pull_policy: Option<String>,

    /// Secrets in this namespace with the credentials of the image's registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::image_pull_secrets")]
    pub image_pull_secrets: Option<Value>,

    /// More arguments for the engine, after those that the operator passes. $(NAME) is replaced by the
    /// environment variable NAME, as in any container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), inner(length(max = 4096)))]
    pub args: Option<Vec<String>>,

    /// Environment variables of the engine, as in any container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::env")]
    pub env: Option<Value>,

    /// CPU, memory and other resources of the engine, as in any container. GPUs are set by gpuCount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<Value>,

    /// Where the access token for gated models on Hugging Face is kept: a Secret in this namespace.
    /// The engine gets it as HF_TOKEN; the operator never reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::token_secret")]
    pub hugging_face_token_secret: Option<Value>,

    /// Where downloaded models are kept, so that they are downloaded once and not at each start:
    /// exactly one of persistentVolumeClaim, hostPath and emptyDir. Mounted at /cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cache")]
    pub cache: Option<Map<String, Value>>,

    /// A volume with models, mounted read-only at /models: exactly one of persistentVolumeClaim, image
    /// and hostPath.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::model_volume")]
    pub model_volume: Option<Map<String, Value>>,

    /// Size of /dev/shm, which several GPUs use to exchange data. Defaults to 1Gi if gpuCount is above
    /// 1; otherwise it is the container runtime's (64Mi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    pub shared_memory: Option<Value>,

    /// Labels that a node must have to run a replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: Option<BTreeMap<String, String>>,

    /// Taints that the replicas tolerate, beside those of GPU nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Option<Value>,

    /// RuntimeClass of the pods, such as nvidia on k3s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,

    /// ServiceAccount of the pods. Its token is not mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,

    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// How long a replica stays on a node that is unreachable or not ready, before it is started on
    /// another one. If unset, Kubernetes decides (5 minutes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000), extend("format" = "int32"))]
    pub node_loss_seconds: Option<u32>,

    /// The Service that clients use. If unset, it is of type ClusterIP and listens on port 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::service")]
    pub service: Option<ServiceSettings>,

    /// While true, the Deployment and the Service are left as they are, whatever the spec says. Changes
    /// of the spec take effect when it is false again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,

    /// Anything else that a pod can have: a part of a PodTemplateSpec, laid over what the operator
    /// builds. The engine's container is called server. Lists are merged by the names of their items, as
    /// Kubernetes does it; null removes a field. The operator's own labels and the port http must stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::template")]
    pub template: Option<Value>,
}

/// See `InferenceServiceSpec::service`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSettings {
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<NonZeroU16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl InferenceServiceSpec {
    /// The required field, a GPU type, and defaults for all others.
    pub fn new(model: &str, gpu_type: &str) -> Self {
        InferenceServiceSpec { gpu_type: Some(gpu_type.to_owned()), ..InferenceServiceSpec::of(model) }
    }

    /// The required field, and defaults for all others.
    pub fn of(model: &str) -> Self {
        InferenceServiceSpec { model: model.to_owned(), replicas: default_replicas(), ..Self::default() }
    }
}

impl InferenceServiceSpec {
    /// Does it have fields that only the API server can check, because they are passed on to the pod?
    pub fn passes_on(&self) -> bool {
        let (model, replicas, service, paused) = (String::new(), 0, None, false);
        let (engine, gpu_type, gpu_count, load_seconds, max_batch_size) = (None, None, None, None, None);
        let checked = InferenceServiceSpec {
            model,
            replicas,
            engine,
            gpu_type,
            gpu_count,
            load_seconds,
            max_batch_size,
            service,
            paused,
            ..self.clone()
        };
        checked != InferenceServiceSpec::default()
    }
}

fn default_replicas() -> i32 {
    1
}
