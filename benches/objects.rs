//! Objects as the API server sends them, for the micro-benches and for the budgets of memory: as
//! long as real ones are, with all that the operator throws away.

use bytes::Bytes;
use inference_operator::kubernetes::prune::Pruner;
use inference_operator::kubernetes::resource::Watched;
use inference_operator::kubernetes::watch::line::{self, Line};
use serde_json::{Value, json};
use std::num::{NonZeroU32, NonZeroU64};

pub fn uid(number: usize) -> String {
    format!("11111111-2222-4333-8444-{number:012x}")
}

/// Of the Deployment, as `Meta::revision` has it.
fn revision(number: usize, generation: u32) -> u32 {
    uid(number).parse::<inference_operator::model::uid::Uid>().expect("a uid").folded() ^ generation
}

/// A Ready InferenceService as a watch event, with the status that this operator writes.
pub fn inference_service_event(number: usize) -> Bytes {
    use inference_operator::api::Phase;
    use inference_operator::model::{Abnormal, Hashes, ObservedVersions};
    use inference_operator::reconcile::status::{Assessment, Replicas, Subject, compose};
    use inference_operator::time::Timestamp;
    let name = format!("inference-{number:05}");
    let endpoint = "http://demo";
    let hashes = Some(Hashes { inputs: 7, children: 7, by_rollout: false });
    let (generation, service_port, last_load) = (1, None, None);
    let (namespace, instance) = ("models", None);
    let subject = Subject { namespace, name: &name, endpoint, generation, service_port, last_load, hashes, instance };
    let message = "1 of 1 replicas ready".into();
    let assessment = Assessment::new(Phase::Ready, Abnormal::None, "ReplicasReady", message);
    let deployment_revision = revision(number, 1);
    let versions = ObservedVersions {
        deployment: NonZeroU64::new(1000),
        deployment_revision: NonZeroU32::new(deployment_revision),
        deployment_fields: NonZeroU32::new(7),
        service: NonZeroU64::new(1001),
    };
    let (status, _) = compose(assessment, Replicas { all: 1, ready: 1 }, versions, &subject, None, Timestamp(1000));
    let object = json!({
        "apiVersion": "ai.example.com/v1", "kind": "InferenceService",
        "metadata": metadata(&name, number, 100, "kubectl-client-side-apply"),
        "spec": {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpuType": "A100", "replicas": 1},
        "status": status
    });
    event("ADDED", &object)
}

/// The same InferenceService's Deployment as its metadata-only watch event.
pub fn deployment_event(number: usize, resource_version: u64) -> Bytes {
    let name = format!("inference-{number:05}");
    let mut metadata = metadata(&name, number, resource_version, "inference-operator");
    metadata["ownerReferences"] = json!([{
        "apiVersion": "ai.example.com/v1", "kind": "InferenceService", "name": name, "uid": uid(number), "controller": true
    }]);
    event("MODIFIED", &json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata}))
}

/// The type comes first, as the API server writes it: k8s.io/apimachinery, meta/v1/watch.go.
fn event(kind: &str, object: &serde_json::Value) -> Bytes {
    format!(r#"{{"type":"{kind}","object":{object}}}"#).into()
}

/// As the watch does it: pruned first, then decoded.
pub fn read<K: Watched>(pruner: &mut Pruner, mut event: Bytes) -> Line<K> {
    pruner.advance(&mut event).expect("JSON").expect("a line");
    line::read(pruner.kept()).expect("an event")
}

fn metadata(name: &str, number: usize, resource_version: u64, manager: &str) -> serde_json::Value {
    json!({
        "name": name, "namespace": "models", "uid": uid(number), "generation": 1,
        "resourceVersion": resource_version.to_string(), "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app.kubernetes.io/managed-by": "inference-operator", "app.kubernetes.io/instance": name},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(400)},
        "managedFields": [{
            "manager": manager, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}, "f:c": {}}}, "f:spec": {"f:model": {}, "f:replicas": {}}}
        }]
    })
}

/// The fields that every InferenceService had once.
pub fn plain_spec() -> Value {
    json!({"model": "org/model", "gpuType": "L40S", "replicas": 1, "maxBatchSize": 8})
}

/// Nearly all fields.
pub fn full_spec() -> Value {
    json!({
        "model": "/models/a.gguf", "engine": "llamacpp", "gpuType": "A100", "gpuCount": 2, "maxBatchSize": 8,
        "image": "example.com/llama:1", "args": ["--flash-attn", "on"], "env": [{"name": "A", "value": "1"}],
        "resources": {"limits": {"memory": "16Gi"}}, "huggingFaceTokenSecret": {"name": "hub"},
        "cache": {"persistentVolumeClaim": {"claimName": "cache"}},
        "modelVolume": {"image": {"reference": "example.com/models:1"}, "subPath": "a"},
        "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "edge", "operator": "Exists"}],
        "runtimeClassName": "nvidia", "priorityClassName": "high", "nodeLossSeconds": 60,
        "template": {
            "metadata": {"annotations": {"team": "edge"}},
            "spec": {"containers": [{"name": "server", "livenessProbe": null}, {"name": "proxy", "image": "proxy:1"}]}
        }
    })
}
