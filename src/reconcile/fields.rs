//! The fields of the spec as fragments of a pod template: those that stand for more than one field of the pod, and those
//! that are the pod's field of that name. Pure.

use serde_json::{Map, Value, json};

use super::pod::SERVER;
use super::validate::Valid;

/// Where the cache is mounted; the engine's cache variables name folders in it.
const CACHE: &str = "/cache";

/// Where the volume with models is mounted.
const MODELS: &str = "/models";

/// /dev/shm where several GPUs exchange data through it.
const SHARED_MEMORY: &str = "1Gi";

/// The layers for the fields that are set, the lowest first.
pub fn layers(valid: &Valid) -> impl Iterator<Item = Value> {
    [shorthands(valid), passed_on(valid)].into_iter().flatten()
}

/// Fields that are the pod's or the container's of that name.
fn passed_on(valid: &Valid) -> Option<Value> {
    let spec = valid.spec;
    let pod = [
        ("imagePullSecrets", json!(spec.image_pull_secrets)),
        ("nodeSelector", json!(spec.node_selector)),
        ("tolerations", json!(spec.tolerations)),
        ("runtimeClassName", json!(spec.runtime_class_name)),
        ("serviceAccountName", json!(spec.service_account_name)),
        ("priorityClassName", json!(spec.priority_class_name)),
    ];
    let server = [
        ("image", json!(spec.image)),
        ("imagePullPolicy", json!(spec.image_pull_policy)),
        ("env", json!(spec.env)),
        ("resources", json!(spec.resources)),
    ];
    fragment(object(pod), object(server))
}

/// Fields that stand for several of the pod's.
fn shorthands(valid: &Valid) -> Option<Value> {
    let spec = valid.spec;
    let mut volumes = Vec::new();
    let mut mounts = Vec::new();
    let mut variables = Vec::new();
    let mut tolerations = Vec::new();
    if let Some(cache) = &spec.cache {
        volumes.push(volume("cache", cache.clone()));
        mounts.push(json!({"name": "cache", "mountPath": CACHE}));
        for (name, folder) in &valid.engine.cache_variables {
            variables.push(json!({"name": name, "value": format!("{CACHE}/{folder}")}));
        }
    }
    if let Some(models) = &spec.model_volume {
        let mut models = models.clone();
        let mut mount = json!({"name": "models", "mountPath": MODELS, "readOnly": true});
        if let Some(path) = models.remove("subPath") {
            mount["subPath"] = path;
        }
        volumes.push(volume("models", models));
        mounts.push(mount);
    }
    let several = (valid.gpu_count > 1).then(|| json!(SHARED_MEMORY));
    if let Some(size) = spec.shared_memory.clone().or(several) {
        volumes.push(json!({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": size}}));
        mounts.push(json!({"name": "shared-memory", "mountPath": "/dev/shm"}));
    }
    if let Some(secret) = &spec.hugging_face_token_secret {
        let key = secret.get("key").cloned().unwrap_or_else(|| json!("token"));
        let reference = json!({"name": secret["name"], "key": key});
        variables.push(json!({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}}));
    }
    if let Some(seconds) = spec.node_loss_seconds {
        for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            tolerations
                .push(json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}));
        }
    }
    let pod = [("volumes", list(volumes)), ("tolerations", list(tolerations))];
    let server = [("volumeMounts", list(mounts)), ("env", list(variables))];
    fragment(object(pod), object(server))
}

fn volume(name: &str, mut source: Map<String, Value>) -> Value {
    source.insert("name".to_owned(), json!(name));
    Value::Object(source)
}

/// Null if there is none.
fn list(items: Vec<Value>) -> Value {
    if items.is_empty() { Value::Null } else { Value::Array(items) }
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    let set = fields.into_iter().filter(|(_, value)| !value.is_null());
    set.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// None: nothing is set.
fn fragment(mut pod: Map<String, Value>, mut server: Map<String, Value>) -> Option<Value> {
    if !server.is_empty() {
        server.insert("name".to_owned(), json!(SERVER));
        pod.insert("containers".to_owned(), Value::Array(vec![Value::Object(server)]));
    }
    (!pod.is_empty()).then(|| json!({"spec": pod}))
}
