//! Second step of reconcile: builds the desired Deployment. Pure, and cannot fail: validate has rejected every spec
//! that could.

use serde_json::{Value, json};

use super::validate::Valid;
use crate::api;
use crate::model::labels::labels;
use crate::model::uid::Uid;
use crate::settings::ModelServer;

pub use crate::model::labels::{MANAGED_BY, SELECTOR_LABEL};

/// The usual taint of GPU nodes; without the toleration no pod would be scheduled there.
const GPU_RESOURCE: &str = "nvidia.com/gpu";

/// Seconds between two probes.
const PROBE_PERIOD: u64 = 10;

/// Seconds added to the model's load time for scheduling and pulling the image.
const PULL_SECONDS: u64 = 600;

/// The Deployment for server-side apply: only the fields that this operator manages.
pub fn build(valid: &Valid, server: &ModelServer) -> Value {
    let name = valid.name;
    let load_seconds = server.load_time.as_secs();
    let mut deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": valid.spec.replicas,
            // A surge pod would wait forever on a node with one GPU.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "progressDeadlineSeconds": load_seconds + PULL_SECONDS,
            "selector": {"matchLabels": {SELECTOR_LABEL: name}},
            "template": {"metadata": {}, "spec": {
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{
                    "matchExpressions": [{"key": "nvidia.com/gpu.product", "operator": "In", "values": products(valid)}]
                }]}}},
                "tolerations": [{"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}],
                "containers": [{
                    "name": "server",
                    "image": server.image,
                    "args": arguments(valid, server),
                    "ports": [{"name": "http", "containerPort": server.port, "protocol": "TCP"}],
                    "resources": {"limits": {GPU_RESOURCE: "1"}},
                    "startupProbe": {
                        "httpGet": {"path": "/health", "port": "http"},
                        "periodSeconds": PROBE_PERIOD,
                        "failureThreshold": load_seconds.div_ceil(PROBE_PERIOD)
                    },
                    "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": PROBE_PERIOD},
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
                }]
            }}
        }
    });
    // Set afterwards, because the `json!` literal copies each value that is part of it.
    deployment["metadata"] = metadata(valid.namespace, name, valid.uid);
    let template = &mut deployment["spec"]["template"];
    template["metadata"]["labels"] = labels(name);
    let pod = &mut template["spec"];
    if let Some(runtime_class) = &server.runtime_class {
        pod["runtimeClassName"] = json!(runtime_class);
    }
    if let Some(policy) = valid.spec.image_pull_policy {
        pod["containers"][0]["imagePullPolicy"] = json!(policy);
    }
    if !server.command.is_empty() {
        pod["containers"][0]["command"] = server.command.iter().map(|part| literal(part)).collect();
    }
    deployment
}

/// The metadata of both children: name, labels, and the InferenceService as controller.
pub fn metadata(namespace: &str, name: &str, uid: Uid) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": namespace,
        // No blockOwnerDeletion: clusters that enforce it would require one more permission.
        "ownerReferences": [{
            "apiVersion": api::API_VERSION, "kind": api::KIND,
            "name": name, "uid": uid.to_string(), "controller": true
        }]
    });
    metadata["labels"] = labels(name);
    metadata
}

pub fn selector(name: &str) -> String {
    format!("{SELECTOR_LABEL}={name}")
}

/// GPU time-slicing appends "-SHARED" to the product name.
fn products(valid: &Valid) -> Vec<String> {
    let products = &valid.gpu.products;
    products.iter().cloned().chain(products.iter().map(|product| format!("{product}-SHARED"))).collect()
}

fn arguments(valid: &Valid, server: &ModelServer) -> Vec<String> {
    server.arguments.iter().filter_map(|template| argument(template, valid, server)).collect()
}

/// Replaces the placeholders of one argument in a single pass, so that a model named "{port}" stays unchanged. None
/// if a placeholder has no value.
fn argument(template: &str, valid: &Valid, server: &ModelServer) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(after) = rest.strip_prefix("{model}") {
            text.push_str(&valid.spec.model);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{port}") {
            text.push_str(&server.port.to_string());
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{maxBatchSize}") {
            text.push_str(&valid.spec.max_batch_size?.to_string());
            rest = after;
        } else {
            text.push('{');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    Some(literal(&text))
}

/// Escapes $: Kubernetes expands $(NAME) in commands and arguments, and turns $$ into $.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ImagePullPolicy, InferenceServiceSpec};
    use crate::catalog::Catalog;
    use crate::settings::Settings;

    fn built(model: &str, max_batch_size: Option<u32>, server: &ModelServer) -> Value {
        let catalog = Catalog::default();
        let gpu = catalog.get("L40S").expect("built in");
        let spec = InferenceServiceSpec { replicas: 2, max_batch_size, ..InferenceServiceSpec::new(model, "L40S") };
        let uid = crate::model::uid::Uid::default();
        let valid = Valid { namespace: "ns", name: "demo", uid, spec: &spec, gpu };
        build(&valid, server)
    }

    fn arguments_of(deployment: &Value) -> Vec<&str> {
        let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("args");
        arguments.iter().map(|argument| argument.as_str().expect("text")).collect()
    }

    #[test]
    fn a_model_reaches_the_container_literally() {
        let server = Settings::default().server;
        for (model, expected) in [
            ("a/b", "--model=a/b"),
            ("-x --port=1", "--model=-x --port=1"),
            ("$(HOME) $$ $", "--model=$$(HOME) $$$$ $$"),
            ("{port}{maxBatchSize}{{model}", "--model={port}{maxBatchSize}{{model}"),
            ("Zoë \"' \\ \n", "--model=Zoë \"' \\ \n"),
        ] {
            assert_eq!(arguments_of(&built(model, None, &server))[0], expected);
        }
    }

    #[test]
    fn an_argument_without_a_value_is_left_out() {
        let server = Settings::default().server;
        assert_eq!(arguments_of(&built("m", None, &server)), ["--model=m", "--port=8000"]);
        assert_eq!(arguments_of(&built("m", Some(7), &server)), ["--model=m", "--max-num-seqs=7", "--port=8000"]);
    }

    #[test]
    fn a_pull_policy_is_the_containers_and_without_one_kubernetes_decides() {
        let build = |policy: Option<ImagePullPolicy>| {
            let spec = InferenceServiceSpec { image_pull_policy: policy, ..InferenceServiceSpec::new("m", "L40S") };
            let catalog = Catalog::default();
            let gpu = catalog.get("L40S").expect("built in");
            let valid = Valid { namespace: "ns", name: "demo", uid: Uid::default(), spec: &spec, gpu };
            build(&valid, &Settings::default().server)["spec"]["template"]["spec"]["containers"][0]
                .get("imagePullPolicy")
                .cloned()
        };
        assert_eq!(build(None), None);
        assert_eq!(build(Some(ImagePullPolicy::Never)), Some(json!("Never")));
        assert_eq!(build(Some(ImagePullPolicy::IfNotPresent)), Some(json!("IfNotPresent")));
    }

    #[test]
    fn an_empty_command_keeps_the_one_of_the_image() {
        let server = ModelServer { command: vec![], ..Settings::default().server };
        assert!(built("m", None, &server)["spec"]["template"]["spec"]["containers"][0].get("command").is_none());
    }

    #[test]
    fn what_is_built_is_a_deployment() {
        let server = ModelServer { runtime_class: Some("nvidia".into()), ..Settings::default().server };
        let value = built("m", Some(7), &server);
        let typed: k8s_openapi::api::apps::v1::Deployment =
            serde_json::from_value(value.clone()).expect("a Deployment");
        // A field that the typed Deployment does not know would be lost in the round trip.
        assert_eq!(serde_json::to_value(typed).expect("JSON"), value);
    }
}
