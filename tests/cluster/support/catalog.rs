//! The InferenceCatalog of a test. There is one for all tests, so it is deleted when dropped.

use std::process::Command;

use inference_operator::api::{Condition, InferenceCatalog};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::fixture::Fixture;
use super::shell::variable;
use super::wait::eventually;

pub struct Catalog {
    pub api: Api<InferenceCatalog>,
}

impl Catalog {
    /// There is none before the first `apply`.
    pub fn of(fixture: &Fixture) -> Catalog {
        remove();
        Catalog { api: Api::namespaced(fixture.client.clone(), "inference-operator") }
    }

    pub async fn apply(&self, spec: Value) {
        self.apply_as("the-test", spec).await.expect("applied");
    }

    /// As another field manager, that owns what it applies and forces nothing.
    pub async fn apply_as(&self, manager: &str, spec: Value) -> kube::Result<InferenceCatalog> {
        self.api.patch("default", &PatchParams::apply(manager), &Patch::Apply(object(&spec))).await
    }

    pub async fn delete(&self) {
        self.api.delete("default", &DeleteParams::default()).await.expect("deleted");
    }

    pub async fn until_accepted(&self) -> InferenceCatalog {
        self.until("Accepted", "Accepted", "it is in force").await
    }

    pub async fn until_complete(&self) -> InferenceCatalog {
        self.until("Rollout", "Complete", "").await
    }

    /// Waits until the status is about the latest spec, and this condition has this reason, and a message that contains
    /// `words`.
    pub async fn until(&self, type_: &str, reason: &str, words: &str) -> InferenceCatalog {
        eventually(&format!("{type_} is {reason} and says: {words}"), || async {
            let object = self.api.get("default").await.map_err(|error| error.to_string())?;
            let condition = condition(&object, type_).ok_or("no condition")?;
            let is_of_this_spec = condition.observed_generation == object.metadata.generation;
            if is_of_this_spec && condition.reason == reason && condition.message.contains(words) {
                return Ok(object);
            }
            Err(format!("{condition:?}"))
        })
        .await
    }
}

/// Other tests must not find it.
impl Drop for Catalog {
    fn drop(&mut self) {
        remove();
    }
}

fn remove() {
    // Where the CRD is not there, nor is an object of it.
    let arguments =
        ["-n", "inference-operator", "delete", "inferencecatalogs.ai.example.com", "--all", "--timeout=30s"];
    let _ = Command::new(variable("KUBECTL")).args(arguments).output();
}

pub fn object(spec: &Value) -> Value {
    let metadata = json!({"name": "default", "namespace": "inference-operator"});
    json!({"apiVersion": "ai.example.com/v1", "kind": "InferenceCatalog", "metadata": metadata, "spec": spec})
}

/// The built-in engine vllm with another image, and the entries of a rollout.
pub fn with_image(image: &str, max_unavailable: impl Into<Value>) -> Value {
    let vllm = json!({"name": "vllm", "image": image, "args": ["{model}", "--port={port}"]});
    json!({"engines": [vllm], "rollout": {"maxUnavailable": max_unavailable.into()}})
}

pub fn condition(object: &InferenceCatalog, type_: &str) -> Option<Condition> {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().find(|condition| condition.type_ == type_).cloned()
}
