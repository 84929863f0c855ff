//! The operator as its manifests install it, and pods of the tests' own. Used by every test here.

use serde_json::{Value, json};

use crate::support::shell::until_established;
use crate::support::{Fixture, MANIFESTS, Temporary, eventually, kubectl};

pub const NAMESPACE: &str = "inference-operator";
const DEPLOYMENT: &str = "deployment/inference-operator";

/// As scripts/image.sh names it.
const IMAGE: &str = concat!("inference-operator:", env!("CARGO_PKG_VERSION"));

/// Applies the manifests, with an engine that is on this node from the start: an operator without it would build other
/// children of the InferenceServices that are there. And with the memory limit of this lane.
pub fn install() {
    install_image(IMAGE);
}

/// The same with another image, as an upgrade does it.
pub fn install_image(image: &str) {
    for file in ["namespace", "crd", "rbac", "networkpolicy"] {
        kubectl(&["apply", "-f", &format!("{MANIFESTS}/{file}.yaml")]);
    }
    until_established("inferenceservices.ai.example.com");
    let mut deployment = shipped();
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    container["image"] = json!(image);
    container["resources"]["limits"]["memory"] = json!(crate::LIMIT);
    container["env"].as_array_mut().expect("a list").extend([
        json!({"name": "INFERENCE_OPERATOR_SERVER_IMAGE", "value": "model-server:1"}),
        json!({"name": "INFERENCE_OPERATOR_SERVER_COMMAND", "value": "[]"}),
    ]);
    kubectl(&["apply", "-f", Temporary::new(&deployment.to_string()).path()]);
    roll_out();
}

/// The operator's Deployment as the manifests have it.
pub fn shipped() -> Value {
    let text = std::fs::read_to_string(format!("{MANIFESTS}/operator.yaml")).expect("a manifest");
    serde_saphyr::from_str(&text).expect("YAML")
}

/// Applies them as they are.
pub fn install_as_it_is() {
    kubectl(&["apply", "-k", MANIFESTS]);
    roll_out();
}

/// For the namespace `models` alone.
pub fn install_for_one_namespace() {
    kubectl(&["apply", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-single-namespace")]);
    roll_out();
}

pub fn configure(variables: &[&str]) {
    let mut arguments = vec!["-n", NAMESPACE, "set", "env", DEPLOYMENT];
    arguments.extend(variables);
    kubectl(&arguments);
    roll_out();
}

pub fn set_memory_limit(limit: &str) {
    kubectl(&["-n", NAMESPACE, "set", "resources", DEPLOYMENT, &format!("--limits=memory={limit}")]);
}

/// Its readiness probe says that it is in sync.
pub fn roll_out() {
    kubectl(&["-n", NAMESPACE, "rollout", "status", DEPLOYMENT, "--timeout=120s"]);
}

pub fn delete() {
    kubectl(&["-n", NAMESPACE, "delete", DEPLOYMENT, "--cascade=foreground", "--wait"]);
}

/// The one pod of the operator; Null where there is none.
pub fn pod() -> Value {
    let list = kubectl(&["-n", NAMESPACE, "get", "pods", "-o", "json"]);
    let pods: Value = serde_json::from_str(&list).expect("JSON");
    let alive = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    pods["items"].as_array().and_then(|pods| pods.iter().find(alive).cloned()).unwrap_or_default()
}

/// Where it runs.
pub fn node(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().expect("a pod on a node")
}

pub fn restarts(pod: &Value) -> u64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0)
}

/// What the kubelet says of the operator's container: working set and resident set in bytes.
pub async fn memory() -> (u64, u64) {
    eventually("the kubelet has measured the operator", || async {
        let name = pod()["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let text = kubectl(&["get", "--raw", "/api/v1/nodes/edge/proxy/stats/summary"]);
        let summary: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let pods = summary["pods"].as_array().cloned().unwrap_or_default();
        let found = pods.iter().find(|entry| entry["podRef"]["name"] == name.as_str());
        let memory = &found.ok_or("not yet")?["containers"][0]["memory"];
        memory["workingSetBytes"].as_u64().zip(memory["rssBytes"].as_u64()).ok_or_else(|| "no figures yet".into())
    })
    .await
}

/// Asks from a pod of its own, as a client in the cluster would; what the answer says.
pub async fn ask_from_a_pod(fixture: &Fixture, name: &str, url: &str) -> String {
    from_a_pod(fixture, name, &["get", url]).await
}

/// The same with a POST of this JSON.
pub async fn post_from_a_pod(fixture: &Fixture, name: &str, url: &str, body: &Value) -> String {
    from_a_pod(fixture, name, &["post", url, &body.to_string()]).await
}

async fn from_a_pod(fixture: &Fixture, name: &str, arguments: &[&str]) -> String {
    let namespace = fixture.namespace.as_str();
    let object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "client", "image": "model-server:1", "args": arguments}]
        }
    });
    let pods = kube::Api::<k8s_openapi::api::core::v1::Pod>::namespaced(fixture.client.clone(), namespace);
    let object = serde_json::from_value(object).expect("a pod");
    pods.create(&kube::api::PostParams::default(), &object).await.expect("created");
    eventually(&format!("{arguments:?} succeeds"), || async {
        let phase = kubectl(&["-n", namespace, "get", "pod", name, "-o", "jsonpath={.status.phase}"]);
        match phase.as_str() {
            "Succeeded" => Ok(()),
            "Failed" => Err(kubectl(&["-n", namespace, "logs", name])),
            _ => Err(phase),
        }
    })
    .await;
    let answer = kubectl(&["-n", namespace, "logs", name]);
    kubectl(&["-n", namespace, "delete", "pod", name, "--wait=false"]);
    answer
}

/// uid and restarts of each pod of a namespace: the same as long as none was replaced or restarted.
pub fn pods_of(namespace: &str) -> String {
    let path = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    kubectl(&["-n", namespace, "get", "pods", "-o", path])
}
