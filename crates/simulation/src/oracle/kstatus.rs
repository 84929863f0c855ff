//! The verdict of kstatus, the library that Flux and Helm wait with, on an InferenceService: its generic rules
//! (sigs.k8s.io/cli-utils, pkg/kstatus/status: checkGenericProperties, checkReadyCondition), compared with the
//! library itself by scripts/kstatus.sh. Called by the invariants.

use std::sync::LazyLock;

use serde_json::Value;

/// Record the objects that kstatus is asked about? See scripts/kstatus.sh.
pub static RECORDS: LazyLock<bool> = LazyLock::new(|| std::env::var_os("KSTATUS_RECORD").is_some());

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    InProgress,
    Failed,
    Current,
    Terminating,
}

pub fn verdict(object: &Value) -> Verdict {
    let (metadata, status) = (&object["metadata"], &object["status"]);
    if metadata["deletionTimestamp"].as_str().is_some_and(|time| !time.is_empty()) {
        return Verdict::Terminating;
    }
    if let (Some(generation), Some(observed)) = (metadata["generation"].as_i64(), status["observedGeneration"].as_i64())
        && generation != observed
    {
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
    let ready = conditions.iter().filter(|condition| condition["type"] == "Ready");
    match ready.filter_map(|condition| condition["status"].as_str()).find(|truth| is_known(truth)) {
        Some("False" | "Unknown") => Verdict::InProgress,
        _ => Verdict::Current,
    }
}

fn is_known(truth: &str) -> bool {
    matches!(truth, "True" | "False" | "Unknown")
}
