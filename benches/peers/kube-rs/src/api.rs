//! The custom resource InferenceService, as the CRD in k3s-manifests/crd.yaml has it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "ai.example.com", version = "v1", kind = "InferenceService", namespaced)]
#[kube(status = "InferenceServiceStatus", shortname = "isvc")]
#[serde(rename_all = "camelCase")]
pub struct InferenceServiceSpec {
    pub model: String,
    #[serde(default = "default_replicas")]
    pub replicas: i32,
    pub gpu_type: String,
    pub max_batch_size: Option<u32>,
}

fn default_replicas() -> i32 {
    1
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InferenceServiceStatus {
    pub phase: Phase,
    pub ready_replicas: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    pub observed_generation: i64,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    #[default]
    Pending,
    Progressing,
    Ready,
    Degraded,
    Failed,
}
