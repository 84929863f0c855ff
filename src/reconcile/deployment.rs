//! Second step of reconcile: builds the desired Deployment. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use super::pod;
use super::validate::Valid;
use crate::api;
use crate::error::Error;
use crate::model::labels::labels;
use crate::model::uid::Uid;
use crate::model::view::DeploymentView;
use crate::settings::Pods;

pub use crate::model::labels::{MANAGED_BY, SELECTOR_LABEL};

/// Seconds added to the model's load time for scheduling and pulling the image.
const PULL_SECONDS: u64 = 600;

/// The Deployment for server-side apply: only the fields that this operator manages. The error is one that the user
/// resolves.
pub fn build(valid: &Valid, pods: &Pods) -> Result<Value, Error> {
    let mut deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": valid.spec.replicas,
            // A surge pod would wait forever on a node with one GPU.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "progressDeadlineSeconds": valid.load_time(pods).as_secs() + PULL_SECONDS,
            "selector": {"matchLabels": {SELECTOR_LABEL: valid.name}}
        }
    });
    // Set afterwards, because the `json!` literal copies each value that is part of it.
    deployment["metadata"] = metadata(valid.namespace, valid.name, valid.uid);
    deployment["spec"]["template"] = pod::template(valid, pods)?;
    Ok(deployment)
}

/// How long a replica of this Deployment may load its model. A deadline without the time to pull was set by an admission
/// policy or webhook.
pub fn load_time(deployment: &DeploymentView) -> Duration {
    let deadline = u64::from(deployment.progress_deadline);
    Duration::from_secs(deadline.checked_sub(PULL_SECONDS).unwrap_or(deadline))
}

/// The metadata of both children: name, labels, and the InferenceService as controller.
pub fn metadata(namespace: &str, name: &str, uid: Uid) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": namespace,
        // No blockOwnerDeletion: clusters that enforce it would require one more permission.
        "ownerReferences": [{
            "apiVersion": api::API_VERSION, "kind": api::KIND,
            "name": name, "uid": uid.to_string(), "controller": true
        }]
    });
    metadata["labels"] = labels(name);
    metadata
}

pub fn selector(name: &str) -> String {
    format!("{SELECTOR_LABEL}={name}")
}
