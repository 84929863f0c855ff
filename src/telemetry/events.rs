//! Kubernetes Events: for what a person should look at, and never for what goes well, because each
//! is a write to the datastore. Called by reconcile right after a status write, so that it is said
//! once; the name is made of what is said, so that saying it again after a crash changes nothing.

use std::hash::Hasher;
use std::time::Duration;

use serde_json::{Value, json};

use crate::answer;
use crate::api;
use crate::error::is_of_a_namespace_that_goes;
use crate::reconcile::deployment::MANAGED_BY;
use crate::reconcile::status::Assessment;
use crate::reconcile::{Context, Task};
use crate::utc::Utc;

/// Kubernetes' own limit of an Event's note.
const NOTE_LIMIT: usize = 1024;

/// Posts a Warning. That it could not be posted is no reason to stop.
pub async fn warn(context: &Context, task: &Task, assessment: &Assessment) {
    let event = build(task, assessment, (context.now)());
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", task.namespace);
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(event.to_string().into_bytes());
    let Ok(request) = request else { return };
    match answer::send(&context.client, request, &[]).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 || is_of_a_namespace_that_goes(&status) => {}
        Err(error) => tracing::warn!(
            namespace = task.namespace,
            name = task.name,
            "cannot post an Event: {}",
            crate::error::describe(&error)
        ),
    }
}

fn build(task: &Task, assessment: &Assessment, now: u32) -> Value {
    let mut hasher = fnv::FnvHasher::default();
    for part in [&task.uid.to_string(), &task.generation.to_string(), &assessment.reason, &assessment.message] {
        hasher.write(part.as_bytes());
    }
    let time = Utc(Duration::from_secs(u64::from(now)));
    let note: String = assessment.message.chars().take(NOTE_LIMIT / 4).collect();
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": task.namespace, "name": format!("{}.{:016x}", task.name, hasher.finish())},
        "type": "Warning",
        "eventTime": format!("{time:.6}"),
        "action": "Reconcile",
        "reason": assessment.reason,
        "note": note,
        "reportingController": format!("{}/{MANAGED_BY}", api::GROUP),
        "reportingInstance": MANAGED_BY,
        "regarding": {
            "apiVersion": api::API_VERSION, "kind": api::KIND,
            "namespace": task.namespace, "name": task.name, "uid": task.uid.to_string()
        }
    })
}
