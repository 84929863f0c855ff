//! Models that do not start: the status says why, in the words of the scheduler, the kubelet and the container itself.

use inference_operator::api::{InferenceService, InferenceServiceSpec};
use serde_json::{Value, json};

use crate::installed;
use crate::support::{Fixture, eventually, kubectl};

/// What is put into the spec, the reason, and a part of the message.
type Case = (&'static str, Value, &'static str, &'static str);

fn cases() -> Vec<Case> {
    let init = json!({"initContainers": [
        {"name": "download", "image": "model-server:1", "command": ["/model-server", "get", "http://127.0.0.1:1/"]}]});
    let volume = json!({
        "volumes": [{"name": "keys", "secret": {"secretName": "no-such-keys"}}],
        "containers": [{"name": "server", "volumeMounts": [{"name": "keys", "mountPath": "/keys"}]}]
    });
    vec![
        (
            "no-image",
            json!({"image": "registry.invalid/none:1"}),
            "ImagePullBackOff",
            "image \"registry.invalid/none:1\": ",
        ),
        (
            "never-pulled",
            json!({"image": "registry.invalid/none:1", "imagePullPolicy": "Never"}),
            "ErrImageNeverPull",
            "container \"server\": Container image \"registry.invalid/none:1\" is not present",
        ),
        (
            "no-such-option",
            json!({"args": ["--no-such-option"]}),
            "CrashLoopBackOff",
            "container \"server\" ends with exit code 2: flag provided but not defined: -no-such-option;",
        ),
        (
            "too-large",
            json!({"args": ["--fill-mebibytes=300"], "resources": {"limits": {"memory": "64Mi"}}}),
            "OOMKilled",
            "container \"server\" is killed for memory; its limit is 64Mi",
        ),
        (
            "no-token",
            json!({"huggingFaceTokenSecret": {"name": "no-such-token", "key": "token"}}),
            "CreateContainerConfigError",
            "\"no-such-token\" not found",
        ),
        ("no-keys", json!({"template": {"spec": volume}}), "ContainerCreating", "it mounts Secret no-such-keys"),
        (
            "no-download",
            json!({"template": {"spec": init}}),
            "CrashLoopBackOff",
            "init container \"download\" ends with exit code 1;",
        ),
        (
            "too-many-gpus",
            json!({"gpuCount": 64}),
            "Unschedulable",
            "no node: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu",
        ),
        (
            "no-such-gpu",
            json!({"gpuType": "H100"}),
            "Unschedulable",
            "no node has the labels that it needs: kubectl get nodes -l 'nvidia.com/gpu.product in (NVIDIA-H100,",
        ),
    ]
}

/// Reason and message of the condition Ready, if there is one yet.
fn said_of(object: &InferenceService) -> (String, String) {
    let mut conditions = object.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.find(|condition| condition.type_ == "Ready" && condition.status == "False");
    ready.map(|ready| (ready.reason.clone(), ready.message.clone())).unwrap_or_default()
}

#[tokio::test]
async fn a_model_that_does_not_start_says_why() {
    installed::install();
    let fixture = Fixture::new("causes").await;
    for (name, fields, ..) in cases() {
        let mut spec = json!({"model": "demo/model", "gpuType": "L40S", "replicas": 1});
        spec.as_object_mut().expect("a map").extend(fields.as_object().expect("a map").clone());
        let spec: InferenceServiceSpec = serde_json::from_value(spec).expect("a spec");
        fixture.create_from(name, spec).await;
    }
    for (name, _, expected, part) in cases() {
        let said = eventually(&format!("{name} says {expected}"), || async {
            let object = fixture.inference_services.get(name).await.map_err(|error| error.to_string())?;
            let (reason, message) = said_of(&object);
            let is_said = reason == expected && message.contains(part);
            if is_said { Ok(message) } else { Err(format!("{reason}: {message}")) }
        })
        .await;
        println!("{name}: {expected}: {said}");
    }
    println!("{}", kubectl(&["-n", &fixture.namespace, "get", "isvc"]));
    fixture.clean_up().await;
}

/// The right is optional.
#[tokio::test]
async fn without_the_right_to_list_pods_it_says_which_right_would_tell_more() {
    installed::install();
    let fixture = Fixture::new("no-right").await;
    let take =
        r#"[{"op": "test", "path": "/rules/5/resources", "value": ["pods"]}, {"op": "remove", "path": "/rules/5"}]"#;
    kubectl(&["patch", "clusterrole", "inference-operator", "--type=json", "-p", take]);
    let spec = json!({"model": "demo/model", "gpuType": "L40S", "replicas": 1, "image": "registry.invalid/none:1"});
    fixture.create_from("model", serde_json::from_value(spec).expect("a spec")).await;
    eventually("it says what it may not", || async {
        let object = fixture.inference_services.get("model").await.map_err(|error| error.to_string())?;
        let (reason, message) = said_of(&object);
        let is_said = reason == "RollingOut" && message.contains("if it were allowed to list pods");
        if is_said { Ok(()) } else { Err(format!("{reason}: {message}")) }
    })
    .await;
    installed::install();
    fixture.clean_up().await;
}
