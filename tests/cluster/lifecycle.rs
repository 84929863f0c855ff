//! An InferenceService from creation to deletion, from its user's point of view.

use inference_operator::api::Phase;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::fixture::{ready, spec};
use crate::support::{Fixture, Operator, eventually, kubectl};

fn arguments(deployment: &Deployment) -> Vec<String> {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).expect("a pod");
    pod.containers[0].args.clone().unwrap_or_default()
}

fn has_argument(place: usize, expected: &str) -> impl Fn(&Deployment) -> Result<(), String> {
    move |deployment| {
        let found = arguments(deployment);
        if found[place] == expected { Ok(()) } else { Err(format!("{found:?}")) }
    }
}

fn pulls(policy: &'static str) -> impl Fn(&Deployment) -> Result<(), String> {
    move |deployment| {
        let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let found = pod.and_then(|pod| pod.containers.first()?.image_pull_policy.clone());
        if found.as_deref() == Some(policy) { Ok(()) } else { Err(format!("{found:?}")) }
    }
}

#[tokio::test]
async fn an_inference_service_becomes_ready_and_its_status_is_true() {
    let fixture = Fixture::new("ready").await;
    let operator = Operator::start("ready", &[]).await;
    let namespace = fixture.namespace.as_str();
    let created = fixture.create("demo", 2).await;
    kubectl(&["-n", namespace, "wait", "--for=condition=Ready", "isvc/demo", "--timeout=60s"]);

    let object = fixture.until("demo", Phase::Ready).await;
    let status = object.status.clone().expect("a status");
    assert_eq!(status.ready_replicas, 2);
    assert_eq!(status.endpoint, Some(format!("http://demo.{namespace}.svc.cluster.local")));
    assert_eq!(ready(&object), ("True".into(), "ReplicasReady".into(), "2 of 2 replicas ready".into()));
    assert_eq!(status.conditions.len(), 1, "kstatus wants Reconciling and Stalled gone: {status:?}");

    let deployment = fixture.deployments.get("demo").await.expect("a Deployment");
    let service = fixture.services.get("demo").await.expect("a Service");
    for metadata in [&deployment.metadata, &service.metadata] {
        let owners = metadata.owner_references.clone().expect("an owner");
        assert_eq!(owners.len(), 1);
        assert_eq!(
            (owners[0].uid.as_str(), owners[0].controller),
            (created.metadata.uid.as_deref().expect("a uid"), Some(true))
        );
        assert_eq!(metadata.finalizers, None);
    }
    assert_eq!(deployment.metadata.resource_version, status.observed.expect("stamps").deployment_resource_version);

    let table = kubectl(&["-n", namespace, "get", "isvc"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "MODEL", "GPU", "DESIRED", "READY", "PHASE", "AGE"]);
    assert_eq!(rows[1][..6], ["demo", "demo/model", "L40S", "2", "2", "Ready"]);
    assert!(kubectl(&["-n", namespace, "get", "all"]).lines().all(|line| !line.contains("inferenceservice.")));
    assert!(kubectl(&["explain", "isvc.spec.gpuType"]).contains("type of GPU"));
    fixture.clean_up().await;
    drop(operator);
}

/// A field of the spec, a value for it, a path in the Deployment, and what is there then.
const FIELDS: &[(&str, &str, &str, &str)] = &[
    ("maxBatchSize", "32", "/spec/template/spec/containers/0/args/3", r#""--max-num-seqs=32""#),
    ("gpuCount", "2", "/spec/template/spec/containers/0/resources/limits", r#"{"nvidia.com/gpu": "2"}"#),
    ("engine", r#""sglang""#, "/spec/template/spec/containers/0/image", r#""lmsysorg/sglang:v0.5.23""#),
    ("image", r#""example.com/vllm:1""#, "/spec/template/spec/containers/0/image", r#""example.com/vllm:1""#),
    ("args", r#"["--seed=1"]"#, "/spec/template/spec/containers/0/args/8", r#""--seed=1""#),
    (
        "env",
        r#"[{"name": "A", "value": "$(B)"}]"#,
        "/spec/template/spec/containers/0/env",
        r#"[{"name": "A", "value": "$(B)"}]"#,
    ),
    (
        "resources",
        r#"{"limits": {"memory": "1Gi"}}"#,
        "/spec/template/spec/containers/0/resources/limits/memory",
        r#""1Gi""#,
    ),
    (
        "huggingFaceTokenSecret",
        r#"{"name": "hub"}"#,
        "/spec/template/spec/containers/0/env/0/valueFrom/secretKeyRef",
        r#"{"name": "hub", "key": "token"}"#,
    ),
    (
        "cache",
        r#"{"persistentVolumeClaim": {"claimName": "c"}}"#,
        "/spec/template/spec/volumes/0",
        r#"{"name": "cache", "persistentVolumeClaim": {"claimName": "c"}}"#,
    ),
    (
        "modelVolume",
        r#"{"persistentVolumeClaim": {"claimName": "c"}, "subPath": "a"}"#,
        "/spec/template/spec/containers/0/volumeMounts/0",
        r#"{"name": "models", "mountPath": "/models", "readOnly": true, "subPath": "a"}"#,
    ),
    (
        "sharedMemory",
        r#""2Gi""#,
        "/spec/template/spec/volumes/0/emptyDir",
        r#"{"medium": "Memory", "sizeLimit": "2Gi"}"#,
    ),
    ("nodeSelector", r#"{"disk": "ssd"}"#, "/spec/template/spec/nodeSelector", r#"{"disk": "ssd"}"#),
    (
        "tolerations",
        r#"[{"key": "edge", "operator": "Exists"}]"#,
        "/spec/template/spec/tolerations/1",
        r#"{"key": "edge", "operator": "Exists"}"#,
    ),
    ("runtimeClassName", r#""nvidia""#, "/spec/template/spec/runtimeClassName", r#""nvidia""#),
    ("serviceAccountName", r#""models""#, "/spec/template/spec/serviceAccountName", r#""models""#),
    ("priorityClassName", r#""high""#, "/spec/template/spec/priorityClassName", r#""high""#),
    ("imagePullSecrets", r#"[{"name": "r"}]"#, "/spec/template/spec/imagePullSecrets", r#"[{"name": "r"}]"#),
    ("loadSeconds", "60", "/spec/progressDeadlineSeconds", "660"),
    ("loadSeconds", "65", "/spec/template/spec/containers/0/startupProbe/failureThreshold", "7"),
    ("nodeLossSeconds", "60", "/spec/template/spec/tolerations/1/tolerationSeconds", "60"),
    (
        "template",
        r#"{"spec": {"initContainers": [{"name": "a", "image": "example.com/a"}]}}"#,
        "/spec/template/spec/initContainers/0/image",
        r#""example.com/a""#,
    ),
];

/// What the Deployment has at this path.
async fn part(fixture: &Fixture, path: &str) -> Option<Value> {
    let deployment = fixture.deployments.get("demo").await.expect("a Deployment");
    serde_json::to_value(deployment).expect("JSON").pointer(path).cloned()
}

#[tokio::test]
async fn each_field_of_the_spec_reaches_the_deployment_and_goes_when_it_is_unset() {
    let fixture = Fixture::new("fields").await;
    let _operator = Operator::start("fields", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;

    fixture.change("demo", json!({"model": "other/model"})).await;
    fixture.until_deployment("demo", "other model", has_argument(0, "other/model")).await;

    for (field, value, path, expected) in FIELDS {
        let value: Value = serde_json::from_str(value).expect("JSON");
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        let before = part(&fixture, path).await;
        fixture.change("demo", json!({*field: value})).await;
        let is_set = |deployment: &Deployment| match serde_json::to_value(deployment).expect("JSON").pointer(path) {
            Some(found) if *found == expected => Ok(()),
            found => Err(format!("{found:?}")),
        };
        fixture.until_deployment("demo", field, is_set).await;
        fixture.change("demo", json!({*field: null})).await;
        let is_gone = |deployment: &Deployment| match serde_json::to_value(deployment).expect("JSON").pointer(path) {
            found if found == before.as_ref() => Ok(()),
            found => Err(format!("{found:?} is not {before:?}")),
        };
        fixture.until_deployment("demo", &format!("no {field}"), is_gone).await;
    }

    // Without a value the API server itself defaults to IfNotPresent for an image with a tag.
    for (asked, expected) in [(json!("Never"), "Never"), (json!(null), "IfNotPresent")] {
        fixture.change("demo", json!({"imagePullPolicy": asked})).await;
        fixture.until_deployment("demo", expected, pulls(expected)).await;
    }

    fixture.change("demo", json!({"gpuType": "H100"})).await;
    let affinity = |deployment: &Deployment| {
        let text = serde_json::to_string(deployment).expect("JSON");
        if text.contains("NVIDIA-H100-80GB-HBM3") && !text.contains("NVIDIA-L40S") { Ok(()) } else { Err(text) }
    };
    fixture.until_deployment("demo", "on an H100", affinity).await;

    fixture.change("demo", json!({"replicas": 3})).await;
    let object = fixture.until("demo", Phase::Ready).await;
    assert_eq!(object.status.expect("a status").ready_replicas, 3);
    fixture.clean_up().await;
}

#[tokio::test]
async fn kubectl_scales_and_zero_is_ready_too() {
    let fixture = Fixture::new("scale").await;
    let _operator = Operator::start("scale", &[]).await;
    let namespace = fixture.namespace.as_str();
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;

    kubectl(&["-n", namespace, "scale", "isvc/demo", "--replicas=3", "--timeout=60s"]);
    let scale = kubectl(&["-n", namespace, "get", "isvc/demo", "--subresource=scale", "-o", "json"]);
    let scale: serde_json::Value = serde_json::from_str(&scale).expect("JSON");
    assert_eq!(scale["status"], json!({"replicas": 3, "selector": "ai.example.com/inferenceservice=demo"}));

    kubectl(&["-n", namespace, "scale", "isvc/demo", "--replicas=0"]);
    let object = fixture.until("demo", Phase::Ready).await;
    assert_eq!(ready(&object).1, "ScaledToZero");
    let pods = kubectl(&["-n", namespace, "get", "pods", "-l", "ai.example.com/inferenceservice=demo", "-o", "name"]);
    assert_eq!(pods, "");
    fixture.clean_up().await;
}

#[tokio::test]
async fn deletion_takes_the_children_along() {
    let fixture = Fixture::new("delete").await;
    let _operator = Operator::start("delete", &[]).await;
    let namespace = fixture.namespace.as_str();
    for cascade in ["background", "foreground"] {
        fixture.create("demo", 1).await;
        fixture.until("demo", Phase::Ready).await;
        kubectl(&["-n", namespace, "delete", "isvc/demo", &format!("--cascade={cascade}"), "--timeout=60s"]);
        eventually("the children are gone", || async {
            let left = kubectl(&["-n", namespace, "get", "deployments,services", "-o", "name"]);
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn one_made_anew_under_the_same_name_gets_children_of_its_own() {
    let fixture = Fixture::new("anew").await;
    let _operator = Operator::start("anew", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    kubectl(&["-n", &fixture.namespace, "delete", "isvc/demo", "--wait=false"]);
    let created = eventually("the name is free", || async {
        let object = inference_operator::api::InferenceService::new("demo", spec("second/model", 1, "A100"));
        fixture.inference_services.create(&PostParams::default(), &object).await.map_err(|error| error.to_string())
    })
    .await;
    fixture.until("demo", Phase::Ready).await;
    let deployment = fixture.deployments.get("demo").await.expect("a Deployment");
    let owners = deployment.metadata.owner_references.clone().expect("an owner");
    assert_eq!(Some(&owners[0].uid), created.metadata.uid.as_ref());
    assert_eq!(arguments(&deployment)[0], "second/model");
    fixture.clean_up().await;
}

#[tokio::test]
async fn pods_that_a_quota_refuses_show_in_kubernetes_own_words() {
    let fixture = Fixture::new("quota").await;
    let _operator = Operator::start("quota", &[]).await;
    let quota: ResourceQuota =
        serde_json::from_value(json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}))
            .expect("a quota");
    let quotas = Api::<ResourceQuota>::namespaced(fixture.client.clone(), &fixture.namespace);
    quotas.create(&PostParams::default(), &quota).await.expect("created");
    eventually("the quota counts", || async {
        let quota = quotas.get("none").await.expect("there");
        quota.status.and_then(|status| status.hard).map(|_| ()).ok_or("not yet".to_owned())
    })
    .await;

    fixture.create("demo", 1).await;
    let object = fixture.until("demo", Phase::Degraded).await;
    let (status, reason, message) = ready(&object);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "FailedCreate"));
    assert!(message.contains("exceeded quota: none"), "{message}");
    assert!(message.contains(&format!("see: kubectl -n {} describe replicaset -l", fixture.namespace)), "{message}");

    quotas.delete("none", &kube::api::DeleteParams::default()).await.expect("deleted");
    // The ReplicaSet controller retries after its own backoff: a change of scale makes it sync now.
    fixture.change("demo", json!({"replicas": 2})).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}
