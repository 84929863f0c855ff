//! An engine: the program that serves a model, and how it is told what to serve.

use std::time::Duration;

use serde_json::Value;

/// A container image with an OpenAI-compatible server, and its command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    pub name: String,
    pub image: String,
    /// In place of it where a replica has no GPU.
    pub cpu_image: Option<String>,
    /// Empty: the image's own.
    pub command: Vec<String>,
    /// With placeholders, see `reconcile::arguments`.
    pub arguments: Vec<String>,
    pub port: u16,
    /// Path that answers 200 once the model is loaded.
    pub health_path: String,
    /// How long a replica may load its model; None: as long as any.
    pub load_time: Option<Duration>,
    /// Environment variables for folders below the cache, and the name of each folder.
    pub cache_variables: Vec<(String, String)>,
    /// A fragment of a pod template.
    pub template: Option<Value>,
}

struct BuiltIn {
    name: &'static str,
    image: &'static str,
    cpu_image: Option<&'static str>,
    command: &'static [&'static str],
    arguments: &'static [&'static str],
    cache_variables: &'static [(&'static str, &'static str)],
}

/// Where an engine listens, and answers once its model is loaded, unless it says otherwise.
pub const PORT: u16 = 8000;
pub const HEALTH_PATH: &str = "/health";

/// Sources: vLLM 0.33.0 (launchers/launcher.py, config/vllm.py), SGLang 0.5.23 (entrypoints/http_server.py,
/// arg_groups/fields/serving.py), llama.cpp b11434 (common/arg.cpp, tools/server). tests/engines has their options.
const BUILT_IN: &[BuiltIn] = &[
    // The model has to be first. Without --host it listens on IPv4 only, and with :: on both. Without a timeout for its
    // shutdown it aborts the requests in flight.
    BuiltIn {
        name: "vllm",
        image: "vllm/vllm-openai:v0.33.0",
        cpu_image: Some("vllm/vllm-openai-cpu:v0.33.0"),
        command: &["vllm", "serve"],
        arguments: &[
            "{model}",
            "--host=::",
            "--port={port}",
            "--max-num-seqs={maxBatchSize}",
            "--tensor-parallel-size={gpuCount}",
            "--shutdown-timeout=100",
            "--served-model-name",
            "{model}",
            "{name}",
        ],
        cache_variables: &[("HF_HOME", "huggingface"), ("VLLM_CACHE_ROOT", "vllm")],
    },
    // On :: it would refuse IPv4. It knows its model by one name alone.
    BuiltIn {
        name: "sglang",
        image: "lmsysorg/sglang:v0.5.23",
        cpu_image: None,
        command: &["python3", "-m", "sglang.launch_server"],
        arguments: &[
            "--model-path={model}",
            "--host=0.0.0.0",
            "--port={port}",
            "--max-running-requests={maxBatchSize}",
            "--tp-size={gpuCount}",
            "--served-model-name={name}",
        ],
        cache_variables: &[("HF_HOME", "huggingface"), ("SGLANG_CACHE_DIR", "sglang")],
    },
    // It takes no --option=value. With --parallel, each request would get a fraction of the context; unified, they
    // share it.
    BuiltIn {
        name: "llamacpp",
        image: "ghcr.io/ggml-org/llama.cpp:server-cuda-b11434",
        cpu_image: Some("ghcr.io/ggml-org/llama.cpp:server-b11434"),
        command: &["/app/llama-server"],
        arguments: &[
            "--model",
            "{modelFile}",
            "--hf-repo",
            "{modelName}",
            "--alias",
            "{name}",
            "--host",
            "::",
            "--port",
            "{port}",
            "--parallel",
            "{maxBatchSize}",
            "--kv-unified",
        ],
        cache_variables: &[("HF_HOME", "huggingface")],
    },
];

pub fn built_in() -> Vec<Engine> {
    let strings = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let engine = |engine: &BuiltIn| Engine {
        name: engine.name.to_owned(),
        image: engine.image.to_owned(),
        cpu_image: engine.cpu_image.map(str::to_owned),
        command: strings(engine.command),
        arguments: strings(engine.arguments),
        port: PORT,
        health_path: HEALTH_PATH.to_owned(),
        load_time: None,
        cache_variables: engine.cache_variables.iter().map(|&(name, folder)| (name.into(), folder.into())).collect(),
        template: None,
    };
    BUILT_IN.iter().map(engine).collect()
}
