//! Bad input is rejected with a helpful message, and other InferenceServices are reconciled.

use inference_operator::api::Phase;
use serde_json::json;

use crate::support::fixture::ready;
use crate::support::{Fixture, Operator, audit, eventually, kubectl, kubectl_fails};

fn file(fixture: &Fixture, name: &str, spec: &serde_json::Value) -> std::path::PathBuf {
    let object = json!({
        "apiVersion": "ai.example.com/v1", "kind": "InferenceService",
        "metadata": {"name": name, "namespace": fixture.namespace}, "spec": spec
    });
    let path = std::env::temp_dir().join(format!("{}.json", fixture.namespace));
    std::fs::write(&path, object.to_string()).expect("written");
    path
}

#[tokio::test]
async fn the_api_server_refuses_what_the_schema_can_check() {
    let fixture = Fixture::new("schema").await;
    let good = json!({"model": "m", "gpuType": "A100"});
    for (name, change, expected) in [
        ("demo", json!({"model": ""}), "spec.model in body should be at least 1 chars long"),
        ("demo", json!({"model": " \t"}), "must not be blank"),
        ("demo", json!({"model": null}), "spec.model: Required value"),
        ("demo", json!({"model": 7}), "spec.model in body must be of type string"),
        ("demo", json!({"model": "--port=1"}), "must not start with '-'"),
        ("demo", json!({"gpuCount": 0}), "gpuType needs a gpuCount of at least 1"),
        ("demo", json!({"cache": {}}), "expected exactly one of emptyDir, hostPath, persistentVolumeClaim"),
        (
            "demo",
            json!({"cache": {"emptyDir": {}, "hostPath": {"path": "/a"}}}),
            "expected exactly one of emptyDir, hostPath, persistentVolumeClaim",
        ),
        ("demo", json!({"cache": {"hostPath": {"path": "/a/../b"}}}), "expected an absolute path without '..'"),
        (
            "demo",
            json!({"modelVolume": {"image": {"reference": "a"}, "subPath": "../b"}}),
            "expected a relative path without '..'",
        ),
        ("demo", json!({"sharedMemory": "1 Gi"}), "spec.sharedMemory in body should match"),
        ("demo", json!({"env": [{"name": "A"}, {"name": "A"}]}), "spec.env[1]: Duplicate value"),
        ("demo", json!({"resources": {"limits": {"cpu": "many"}}}), "spec.resources.limits.cpu in body should match"),
        ("demo", json!({"replicas": -1}), "spec.replicas in body should be greater than or equal to 0"),
        ("demo", json!({"replicas": "two"}), "spec.replicas in body must be of type integer"),
        ("demo", json!({"maxBatchSize": 0}), "spec.maxBatchSize in body should be greater than or equal to 1"),
        (
            "demo",
            json!({"maxBatchSize": 4_294_967_296_u64}),
            "spec.maxBatchSize in body should be less than or equal to",
        ),
        ("demo", json!({"imagePullPolicy": "never"}), "spec.imagePullPolicy: Unsupported value: \"never\""),
        ("1demo", json!({}), "metadata.name must also be valid as the name of a Service"),
        ("demo.dotted", json!({}), "metadata.name must also be valid as the name of a Service"),
        (&"a".repeat(64), json!({}), "metadata.name must also be valid as the name of a Service"),
    ] {
        let mut spec = good.clone();
        for (key, value) in change.as_object().expect("an object") {
            match value {
                serde_json::Value::Null => drop(spec.as_object_mut().expect("an object").remove(key)),
                value => spec[key] = value.clone(),
            }
        }
        let path = file(&fixture, name, &spec);
        let message = kubectl_fails(&["apply", "--validate=false", "-f", path.to_str().expect("UTF-8")]);
        assert!(message.contains(expected), "{name} {change}: {message}");
    }
    fixture.clean_up().await;
}

/// Only the API server knows all of a pod; to an apply it answers a mistyped field with 500.
#[tokio::test]
async fn a_mistake_in_what_is_passed_on_to_the_pod_is_failed_with_its_path_and_the_others_are_served() {
    let fixture = Fixture::new("mistakes").await;
    let operator = Operator::start("mistakes", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    for (change, expected) in [
        (json!({"template": {"spec": {"conatiners": []}}}), r#"unknown field "spec.template.spec.conatiners""#),
        (
            json!({"template": {"spec": {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]}}}),
            r#"spec.template.spec.volumes[1].name: Duplicate value: "a""#,
        ),
        (json!({"template": {"spec": {"containers": 1}}}), "server must keep its port"),
        (json!({"tolerations": [{"key": "a", "operator": "Exist"}]}), "spec.template.spec.tolerations[1].operator"),
        (
            json!({"env": [{"name": "A=B", "value": "1"}]}),
            "spec.template.spec.containers[0].env[0].name: Invalid value",
        ),
        (json!({"resources": {"limits": {"cpu": "-1"}}}), "spec.template.spec.containers[0].resources.limits[cpu]"),
        (json!({"engine": "vlm"}), "invalid engine: vlm (expected: vllm, sglang, llamacpp)"),
    ] {
        fixture.change("demo", change.clone()).await;
        let began = std::time::Instant::now();
        fixture.until_refused("demo", expected).await;
        println!("{:.1} s: {change}", began.elapsed().as_secs_f64());
        let mut back = change;
        back.as_object_mut().expect("an object").values_mut().for_each(|value| *value = json!(null));
        fixture.create("other", 1).await;
        fixture.until("other", Phase::Ready).await;
        kubectl(&["-n", &fixture.namespace, "delete", "isvc/other"]);
        fixture.change("demo", back).await;
        fixture.until("demo", Phase::Ready).await;
    }
    assert!(operator.lines_with("unknown field") >= 1);
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_unknown_gpu_type_is_said_in_log_condition_and_one_event_and_the_others_are_served() {
    const WORDS: &str = "invalid GPU type: T4 (expected: A100, H100, L40S)";
    let fixture = Fixture::new("gpu").await;
    let operator = Operator::start("gpu", &[]).await;
    let mark = audit::mark();
    fixture.create_from("bad", crate::support::fixture::spec("m", 1, "T4")).await;
    fixture.create("good", 1).await;
    let object = fixture.until("bad", Phase::Failed).await;
    assert_eq!(ready(&object), ("False".into(), "InvalidGpuType".into(), WORDS.into()));
    let conditions = object.status.expect("a status").conditions;
    assert!(conditions.iter().any(|condition| condition.type_ == "Stalled" && condition.status == "True"));
    fixture.until("good", Phase::Ready).await;
    assert_eq!(operator.lines_with(WORDS), 1);

    // A restart does not report it again.
    operator.kill();
    let operator = Operator::start("gpu", &[]).await;
    let events = audit::since(mark).iter().filter(|request| request.is("create", "events")).count();
    assert_eq!(events, 1);
    assert_eq!(operator.lines_with(WORDS), 0);
    let events = eventually("the Event is there", || async {
        let events = kubectl(&["-n", &fixture.namespace, "events", "--for=inferenceservice/bad"]);
        if events.contains("InvalidGpuType") { Ok(events) } else { Err(events) }
    })
    .await;
    assert!(events.contains(WORDS), "{events}");

    // Once corrected, it is reconciled; once invalid again, its replicas keep running.
    fixture.change("bad", json!({"gpuType": "H100"})).await;
    let object = fixture.until("bad", Phase::Ready).await;
    assert!(object.status.expect("a status").endpoint.is_some(), "it has its Service too");
    fixture.change("bad", json!({"gpuType": "T4"})).await;
    let object = fixture.until("bad", Phase::Failed).await;
    assert_eq!(object.status.expect("a status").ready_replicas, 1);

    // An edit made while the spec is rejected is repaired once the spec is corrected.
    kubectl(&[
        "-n",
        &fixture.namespace,
        "patch",
        "service/bad",
        "--type=merge",
        "-p",
        r#"{"spec":{"type":"NodePort"}}"#,
    ]);
    fixture.change("bad", json!({"gpuType": "L40S"})).await;
    fixture.until("bad", Phase::Ready).await;
    let service = fixture.services.get("bad").await.expect("a Service");
    assert_eq!(service.spec.and_then(|spec| spec.type_).as_deref(), Some("ClusterIP"));
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_gpu_type_that_the_administrator_added_is_served() {
    let fixture = Fixture::new("added").await;
    let _operator = Operator::start("added", &["--gpu-type", "T4=NVIDIA-L40S"]).await;
    fixture.create_from("demo", crate::support::fixture::spec("m", 1, "T4")).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}

/// An object stored under an older, laxer schema: the operator must handle what it lists.
#[tokio::test]
async fn what_an_older_schema_let_in_is_refused_and_the_others_are_served() {
    let fixture = Fixture::new("older").await;
    let crd = kubectl(&["get", "crd/inferenceservices.ai.example.com", "-o", "json"]);
    let mut lax: serde_json::Value = serde_json::from_str(&crd).expect("JSON");
    lax["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let path = std::env::temp_dir().join(format!("{}-crd.json", fixture.namespace));
    std::fs::write(&path, lax.to_string()).expect("written");
    kubectl(&["replace", "-f", path.to_str().expect("UTF-8")]);
    for (name, spec) in [
        ("no-spec", json!(null)),
        ("no-model", json!({"gpuType": "A100"})),
        ("wrong-types", json!({"model": {}, "gpuType": 5})),
        ("9-name", json!({"model": "m", "gpuType": "A100"})),
        ("too-large", json!({"model": "m".repeat(20_000), "gpuType": "A100"})),
        ("good", json!({"model": "m", "gpuType": "A100", "replicas": 0})),
    ] {
        let path = file(&fixture, name, &spec);
        eventually("the lax schema is in force", || async {
            let output = std::process::Command::new(crate::support::shell::variable("KUBECTL"))
                .args(["apply", "--validate=false", "-f", path.to_str().expect("UTF-8")])
                .output()
                .expect("kubectl runs");
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        })
        .await;
    }
    let _operator = Operator::start("older", &[]).await;
    for (name, expected) in [
        ("no-spec", "invalid spec: spec is missing"),
        ("no-model", "spec.model is missing"),
        ("wrong-types", "invalid spec: invalid type: "),
        ("9-name", "invalid name: 9-name (expected: "),
        ("too-large", "the spec has 20029 bytes (expected: at most 16384)"),
    ] {
        eventually(&format!("{name} is refused"), || async {
            let path = "jsonpath={.status.phase} {.status.conditions[0].message}";
            let said = kubectl(&["-n", &fixture.namespace, "get", &format!("isvc/{name}"), "-o", path]);
            if said.starts_with(&format!("Failed {expected}")) { Ok(()) } else { Err(said) }
        })
        .await;
    }
    fixture.until("good", Phase::Ready).await;
    kubectl(&["-n", &fixture.namespace, "delete", "isvc", "--all"]);
    fixture.clean_up().await;
}
