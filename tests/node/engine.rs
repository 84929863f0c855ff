//! A real engine, llama.cpp's server, with a model of random weights: scripts/engine/build.sh makes both, and
//! scripts/test.sh --lane engine imports the one and has the other's path in ENGINE_MODEL.

use std::path::PathBuf;

use inference_operator::api::Phase;
use serde_json::{Value, json};

use crate::installed;
use crate::support::shell::{apply, signal, variable};
use crate::support::{Fixture, eventually, kubectl};

/// A folder of the node with the model, removed when dropped.
struct Models(PathBuf);

impl Models {
    fn new(name: &str) -> Models {
        let folder = std::env::temp_dir().join(format!("inference-operator-models-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::copy(variable("ENGINE_MODEL"), folder.join("model.gguf")).expect("copied");
        Models(folder)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Models {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn create(fixture: &Fixture, name: &str, volume: &Value, more: &Value) {
    let mut spec = json!({
        "model": "/models/model.gguf", "engine": "llamacpp", "image": "llama-server:1", "gpuCount": 0,
        "maxBatchSize": 2, "modelVolume": volume, "env": [{"name": "LLAMA_ARG_THREADS", "value": "1"}]
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let metadata = json!({"name": name, "namespace": fixture.namespace});
    apply(&[json!({
        "apiVersion": "ai.example.com/v1", "kind": "InferenceService", "metadata": metadata, "spec": spec
    })]);
}

/// Asks for a completion by the InferenceService's name as the model's, at the Service's DNS name.
async fn completion(fixture: &Fixture, name: &str, pod: &str, stream: bool) -> String {
    let url = format!("http://{name}.{}.svc.cluster.local/v1/chat/completions", fixture.namespace);
    let body = json!({
        "model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "stream": stream
    });
    installed::post_from_a_pod(fixture, pod, &url, &body).await
}

#[tokio::test]
async fn a_model_in_a_folder_of_the_node_is_served_on_the_cpu_and_answers_by_its_name() {
    installed::install();
    let models = Models::new("folder");
    let fixture = Fixture::new("folder").await;
    let volume = json!({"hostPath": {"path": models.path(), "type": "Directory"}});
    create(&fixture, "chat", &volume, &json!({}));
    fixture.until_refused("chat", "spec.volumes[models].hostPath").await;
    // Allowed by the administrator, it heals by itself.
    installed::configure(&[&format!("INFERENCE_OPERATOR_ALLOW_HOST_PATH={}", models.path())]);
    fixture.until("chat", Phase::Ready).await;
    let answer: Value = serde_json::from_str(&completion(&fixture, "chat", "once", false).await).expect("JSON");
    assert_eq!((&answer["model"], &answer["usage"]["completion_tokens"]), (&json!("chat"), &json!(8)), "{answer}");
    let answer = completion(&fixture, "chat", "streamed", true).await;
    assert!(answer.matches("data: {").count() >= 8 && answer.trim_end().ends_with("data: [DONE]"), "{answer}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_model_in_a_claim_is_served_and_served_again_by_a_new_pod() {
    installed::install();
    let models = Models::new("claim");
    let fixture = Fixture::new("claim").await;
    let (namespace, volume) = (fixture.namespace.as_str(), format!("models-{}", fixture.namespace));
    let node = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["edge"]});
    apply(&[
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "local": {"path": models.path()},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}}
        }}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
               "metadata": {"name": "models", "namespace": namespace}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}}
        }}),
    ]);
    create(&fixture, "chat", &json!({"persistentVolumeClaim": {"claimName": "models"}}), &json!({}));
    fixture.until("chat", Phase::Ready).await;
    let before = installed::pods_of(namespace);
    kubectl(&["-n", namespace, "delete", "pods", "-l", "ai.example.com/inferenceservice=chat", "--wait"]);
    fixture.until("chat", Phase::Ready).await;
    assert_ne!(installed::pods_of(namespace), before);
    let answer = completion(&fixture, "chat", "once", false).await;
    assert!(answer.contains("\"model\":\"chat\""), "{answer}");
    fixture.clean_up().await;
    kubectl(&["delete", "persistentvolume", &volume, "--wait=false"]);
}

/// With probes that are less patient than the operator's, which gives an engine five minutes.
#[tokio::test]
async fn an_engine_that_hangs_is_started_again_and_the_status_says_so() {
    installed::install();
    let models = Models::new("hangs");
    installed::configure(&[&format!("INFERENCE_OPERATOR_ALLOW_HOST_PATH={}", models.path())]);
    let fixture = Fixture::new("hangs").await;
    let volume = json!({"hostPath": {"path": models.path()}});
    let probe = json!({"periodSeconds": 2, "timeoutSeconds": 1, "failureThreshold": 3});
    let mut liveness = probe.clone();
    liveness["failureThreshold"] = json!(8);
    liveness["terminationGracePeriodSeconds"] = json!(1);
    let server = json!({"name": "server", "readinessProbe": probe, "livenessProbe": liveness, "lifecycle": null});
    create(&fixture, "chat", &volume, &json!({"template": {"spec": {"containers": [server]}}}));
    fixture.until("chat", Phase::Ready).await;
    signal("STOP", engine());
    let status = eventually("the status says so", || async {
        let object = fixture.inference_services.get("chat").await.map_err(|error| error.to_string())?;
        let status = object.status.unwrap_or_default();
        if status.phase == Phase::Ready { Err("Ready".into()) } else { Ok(status) }
    })
    .await;
    println!("{}", json!(status));
    assert_eq!(status.ready_replicas, 0);
    eventually("the kubelet has started it again", || async {
        let restarts = installed::pods_of(&fixture.namespace);
        if restarts.trim_end().ends_with(" 1") { Ok(()) } else { Err(restarts) }
    })
    .await;
    fixture.until("chat", Phase::Ready).await;
    fixture.clean_up().await;
}

/// The process of the engine that started last: one of another test may be ending.
fn engine() -> u32 {
    let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let is_engine = |process: &std::fs::DirEntry| {
        std::fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name.trim_end() == "llama-server")
    };
    let numbers = processes.filter(is_engine).filter_map(|process| process.file_name().to_str()?.parse().ok());
    numbers.max().expect("an engine runs")
}
