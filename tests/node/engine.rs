//! A real engine, llama.cpp's server, with a model of random weights: scripts/engine/build.sh makes both, and
//! scripts/test.sh --lane engine imports the one and has the other's path in ENGINE_MODEL.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::installed;
use crate::support::Fixture;
use crate::support::shell::{apply, variable};

mod client;
mod health;
mod reboot;
mod rollout;
mod volumes;
mod witness;

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

/// Installs the operator, with leave to use this folder, and a model `chat` from it; `more`: fields of its spec.
async fn install_with_chat(models: &Models, name: &str, more: &Value) -> Fixture {
    installed::install();
    installed::configure(&[&format!("INFERENCE_OPERATOR_ALLOW_HOST_PATH={}", models.path())]);
    let fixture = Fixture::new(name).await;
    create(&fixture, "chat", &json!({"hostPath": {"path": models.path()}}), more);
    fixture
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
