//! What the API server fills in where a new object says nothing. Used by the store; pure.

use std::sync::LazyLock;

use inference_operator::api;
use kube::CustomResourceExt;
use serde_json::Value;

use super::Kind;

/// The status that the CRD's defaults give a new object.
static DEFAULT_STATUS: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(api::InferenceService::crd()).unwrap_or_default();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    let mut status = schema["default"].clone();
    // An object gets its own default, then those of its fields.
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if let (Some(status), Some(default)) = (status.as_object_mut(), field.get("default")) {
            status.entry(name.clone()).or_insert_with(|| default.clone());
        }
    }
    status
});

/// The default of a Deployment's progressDeadlineSeconds, which the operator reads.
const DEFAULT_DEADLINE: u32 = 600;

pub fn fill(kind: Kind, object: &mut Value) {
    if kind == Kind::InferenceService && !DEFAULT_STATUS.is_null() {
        object["status"] = DEFAULT_STATUS.clone();
    }
    if kind == Kind::Deployment && object["spec"]["progressDeadlineSeconds"].is_null() {
        object["spec"]["progressDeadlineSeconds"] = DEFAULT_DEADLINE.into();
    }
}
