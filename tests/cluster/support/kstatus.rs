//! What kstatus, with which Flux and Helm 4 wait, makes of a custom resource: the generic rules of its Go library
//! (sigs.k8s.io/cli-utils, pkg/kstatus/status: checkGenericProperties, then Compute's last look at Ready).

use kube::api::DynamicObject;
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Terminating,
    InProgress,
    Failed,
    Current,
}

pub fn verdict(object: &DynamicObject) -> Verdict {
    if object.metadata.deletion_timestamp.is_some() {
        return Verdict::Terminating;
    }
    let status = object.data.get("status").unwrap_or(&Value::Null);
    // One that has no such field is not asked for it.
    if status["observedGeneration"].as_i64().is_some_and(|observed| Some(observed) != object.metadata.generation) {
        return Verdict::InProgress;
    }
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for condition in conditions.iter().filter(|condition| condition["status"] == "True") {
        match condition["type"].as_str() {
            Some("Reconciling") => return Verdict::InProgress,
            Some("Stalled") => return Verdict::Failed,
            _ => {}
        }
    }
    match conditions.iter().find(|condition| condition["type"] == "Ready") {
        Some(ready) if ready["status"] != "True" => Verdict::InProgress,
        // Ready, or nothing that speaks against it.
        _ => Verdict::Current,
    }
}
