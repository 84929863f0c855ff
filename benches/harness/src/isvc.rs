//! The InferenceService as the harness needs it: what it writes of the spec and reads of the status.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

pub const API_VERSION: &str = "ai.example.com/v1";

#[derive(CustomResource, Clone, Debug, Serialize, Deserialize)]
#[kube(
    group = "ai.example.com",
    version = "v1",
    kind = "InferenceService",
    namespaced,
    status = "InferenceServiceStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct InferenceServiceSpec {
    pub model: String,
    #[serde(default)]
    pub replicas: i32,
    pub gpu_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch_size: Option<u32>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InferenceServiceStatus {
    pub phase: String,
    pub observed_generation: i64,
}
