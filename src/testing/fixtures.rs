//! Objects as the API server sends them, for the unit tests of the controller and its index: one InferenceService,
//! ns/demo, and its children.

#![allow(clippy::needless_pass_by_value)]

use serde_json::{Value, json};
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

use crate::api::{InferenceServiceStatus, Phase};
use crate::model::hashes::Standing;
use crate::model::view::{InferenceServiceView, Meta, PartialDeployment};
use crate::model::{Abnormal, Action, Hashes, ObservedVersions, Outcome, Summary};
use crate::reconcile::status::{self, Assessment, Replicas, Subject};
use crate::time::Timestamp;

/// The resourceVersions of the children when they were last read.
pub const DEPLOYMENT_VERSION: u64 = 50;
pub const SERVICE_VERSION: u64 = 60;

pub const CONFIG_HASH: u64 = 7;

/// As the operator judges a status in tests: its children are of this configuration, or outdated.
pub fn judge(_: &InferenceServiceView, status: &InferenceServiceStatus) -> Standing {
    let hashes = status.observed.as_ref().and_then(|observed| observed.hashes.as_deref()?.parse().ok());
    if hashes == Some(hashes_of(CONFIG_HASH)) { Standing::UpToDate } else { Standing::Outdated { replicas: 1 } }
}

fn hashes_of(config_hash: u64) -> Hashes {
    Hashes { inputs: config_hash, children: config_hash, by_rollout: false }
}
pub const UID: &str = "11111111-2222-4333-8444-555555555555";
pub const OTHER_UID: &str = "99999999-2222-4333-8444-555555555555";
/// A UID for which a Deployment's revision equals its generation.
const CHILD_UID: &str = "00000000-0000-0000-0000-000000000000";
pub const STAMPS: ObservedVersions = ObservedVersions {
    deployment: NonZeroU64::new(DEPLOYMENT_VERSION),
    deployment_revision: NonZeroU32::new(1),
    deployment_fields: None,
    service: NonZeroU64::new(SERVICE_VERSION),
};

/// An InferenceService as the API server sends it; `status`: see `status_of`.
pub fn object(uid: &str, resource_version: u64, generation: u32, status: Value) -> InferenceServiceView {
    let object = json!({
        "metadata": {"namespace": "ns", "name": "demo", "uid": uid,
                     "resourceVersion": resource_version.to_string(), "generation": generation},
        "spec": {"model": "m", "gpuType": "A100"},
        "status": status
    });
    serde_json::from_value(object).expect("an InferenceService")
}

/// The status that an operator with this configuration writes when the spec of `generation` is in this phase.
pub fn status_of(generation: u32, config_hash: u64, phase: Phase, reason: &str) -> Value {
    status_of_port(generation, config_hash, phase, reason, 0)
}

/// The same where the spec gives the Service this port; 0: it does not.
pub fn status_of_port(generation: u32, config_hash: u64, phase: Phase, reason: &str, port: u16) -> Value {
    let (endpoint, hashes) = ("http://demo", Some(hashes_of(config_hash)));
    let service_port = NonZeroU16::new(port);
    let (namespace, name, last_load, instance) = ("ns", "demo", None, None);
    let subject = Subject { namespace, name, endpoint, generation, service_port, last_load, hashes, instance };
    let assessment = Assessment::new(phase, Abnormal::None, reason, "said".into());
    let (status, _) =
        status::compose(assessment, Replicas { all: 1, ready: 1 }, STAMPS, &subject, None, Timestamp(1000));
    serde_json::to_value(status).expect("JSON")
}

pub fn ready(resource_version: u64, generation: u32) -> InferenceServiceView {
    object(UID, resource_version, generation, status_of(generation, CONFIG_HASH, Phase::Ready, "ReplicasReady"))
}

pub fn child(resource_version: u64, generation: u32, owner: &str) -> Meta {
    child_of_uid(CHILD_UID, resource_version, generation, owner)
}

pub fn child_of_uid(uid: &str, resource_version: u64, generation: u32, owner: &str) -> Meta {
    let child: PartialDeployment = serde_json::from_value(json!({"metadata": {
        "namespace": "ns", "name": "demo", "uid": uid,
        "resourceVersion": resource_version.to_string(), "generation": generation,
        "labels": crate::model::labels::labels("demo"),
        "ownerReferences": [{"apiVersion": "ai.example.com/v1", "kind": "InferenceService", "name": "demo", "uid": owner, "controller": true}]
    }}))
    .expect("a child");
    child.meta
}

pub fn outcome(generation: u32, versions: ObservedVersions, written: Option<InferenceServiceView>) -> Outcome {
    let summary = written
        .as_ref()
        .and_then(InferenceServiceView::status)
        .map(|status| Summary { is_current: true, ..status::parse(&status).summary });
    Outcome {
        generation,
        versions,
        service_port: None,
        last_load: None,
        summary,
        written: written.map(Box::new),
        repaired: false,
        action: Action::AwaitChange,
    }
}
