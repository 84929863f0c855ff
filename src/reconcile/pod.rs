//! The pod template, in layers: the operator's base with engine and GPUs <- the engine's fragment <- the GPU type's <- the
//! administrator's defaults <- the fields of the spec <- `spec.template`. Then what no layer may take away. Pure.

use serde_json::{Value, json};

use super::arguments::{arguments, literal};
use super::merge::{drop_nulls, merge};
use super::validate::Valid;
use super::{fields, pod_security};
use crate::catalog::GPU;
use crate::catalog::gpu_type::NodeLabel;
use crate::error::Error;
use crate::model::labels::labels;
use crate::settings::Pods;

/// The container that serves the model.
pub const SERVER: &str = "server";

/// The name of its port; the Service and the probes know it by that.
pub const PORT: &str = "http";

/// Seconds between two probes.
const PROBE_PERIOD: u64 = 10;

/// A busy engine takes its time: SGLang answers after it has generated a token, for which it gives itself 20 s.
const PROBE_TIMEOUT: u64 = 25;

/// Liveness: an engine that has not answered for five minutes hangs.
const HANG_PERIOD: u64 = 30;
const HANG_FAILURES: u64 = 10;

/// Until kube-proxy has taken a pod that ends out of the Service on all nodes, it gets new requests.
const DRAIN_SECONDS: u64 = 10;

/// Beyond that, the time that answers under way have.
const GRACE_SECONDS: u64 = 120;

/// The same for an engine that hangs: it gives no answer to wait for, and SIGTERM does not end it. `preStop` is counted in.
const HANG_GRACE_SECONDS: u64 = DRAIN_SECONDS + 5;

/// Requests of the engine where nothing else is said: what each needs at the very least. With it the pod is Burstable,
/// so not among the first that a node evicts.
const REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "256Mi")];

/// The template of the Deployment. The error is one that the user resolves.
pub fn template(valid: &Valid, pods: &Pods) -> Result<Value, Error> {
    let mut template = base(valid, pods);
    if let Some(runtime_class) = pods.runtime_class.as_ref().filter(|_| valid.has_device()) {
        template["spec"]["runtimeClassName"] = json!(runtime_class);
    }
    let offered = [&valid.engine.template, &valid.gpu_type.and_then(|gpu| gpu.template.clone()), &pods.template];
    let offered = offered.into_iter().flatten().cloned();
    for layer in offered.chain(fields::layers(valid)).chain(valid.spec.template.clone()) {
        merge(&mut template, layer);
    }
    drop_nulls(&mut template);
    protect(&mut template, valid)?;
    fill_requests(&mut template);
    own_service_account(&mut template);
    pod_security::check(&template, valid.spec, pods)?;
    Ok(template)
}

fn base(valid: &Valid, pods: &Pods) -> Value {
    let engine = valid.engine;
    let probe = |period: u64, timeout: u64, failures: u64| {
        json!({
            "httpGet": {"path": engine.health_path, "port": PORT},
            "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures
        })
    };
    let mut server = json!({
        "name": SERVER,
        "image": image(valid),
        "ports": [{"name": PORT, "containerPort": engine.port, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
    });
    // Set one by one, because the `json!` literal copies each value that is part of it.
    server["startupProbe"] = probe(PROBE_PERIOD, PROBE_PERIOD, valid.load_time(pods).as_secs().div_ceil(PROBE_PERIOD));
    server["readinessProbe"] = probe(PROBE_PERIOD, PROBE_TIMEOUT, 3);
    let mut liveness = probe(HANG_PERIOD, PROBE_TIMEOUT, HANG_FAILURES);
    liveness["terminationGracePeriodSeconds"] = json!(HANG_GRACE_SECONDS);
    server["livenessProbe"] = liveness;
    let mut args: Vec<Value> = arguments(valid).into_iter().map(Value::from).collect();
    args.extend(valid.spec.args.iter().flatten().map(|argument| json!(argument)));
    server["args"] = Value::Array(args);
    if !engine.command.is_empty() {
        server["command"] = engine.command.iter().map(|part| literal(part)).collect();
    }
    let mut pod = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": DRAIN_SECONDS + GRACE_SECONDS
    });
    if valid.gpu_count > 0 {
        server["resources"] = json!({"limits": {valid.resource: valid.gpu_count.to_string()}});
    }
    if valid.has_device() {
        let mut taints = vec![GPU];
        taints.extend(Some(valid.resource).filter(|&resource| resource != GPU));
        let tolerations =
            taints.into_iter().map(|key| json!({"key": key, "operator": "Exists", "effect": "NoSchedule"}));
        pod["tolerations"] = tolerations.collect();
    }
    pod["containers"] = Value::Array(vec![server]);
    let (mut template, mut metadata) = (json!({}), json!({}));
    metadata["labels"] = labels(valid.name);
    template["metadata"] = metadata;
    template["spec"] = pod;
    template
}

fn image<'a>(valid: &Valid<'a>) -> &'a str {
    let cpu = valid.engine.cpu_image.as_ref().filter(|_| !valid.has_device());
    cpu.unwrap_or(&valid.engine.image)
}

/// What the operator needs to work, and what `gpuType` promises: no layer takes it away.
fn protect(template: &mut Value, valid: &Valid) -> Result<(), Error> {
    let spoiled = |problem: &str| Error::InvalidSpec(format!("template: {problem}"));
    for (label, value) in labels(valid.name).as_object().into_iter().flatten() {
        if template.pointer("/metadata/labels").and_then(|labels| labels.get(label)) != Some(value) {
            return Err(spoiled(&format!("metadata.labels: {label} is the operator's own (expected: other labels)")));
        }
    }
    let port = server(template).and_then(|server| server["ports"].as_array()).and_then(|ports| {
        ports.iter().find(|port| {
            port["name"] == PORT && port["containerPort"] == valid.engine.port && port["protocol"] == "TCP"
        })
    });
    if port.is_none() {
        let port = valid.engine.port;
        return Err(spoiled(&format!("spec.containers: {SERVER} must keep its port {port} with the name {PORT}")));
    }
    if let Some(gpu) = valid.gpu_type.filter(|gpu| !gpu.labels.is_empty()) {
        require_gpu(template, &gpu.labels).ok_or_else(|| spoiled("spec.affinity.nodeAffinity is not one"))?;
    }
    Ok(())
}

/// Adds the GPU's node labels to each term for nodes. None: the affinity cannot be read.
fn require_gpu(template: &mut Value, labels: &[NodeLabel]) -> Option<()> {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let mut affinity = json!({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{}]}}});
    let pod = template.get_mut("spec")?.as_object_mut()?;
    if let Some(said) = pod.remove("affinity") {
        merge(&mut affinity, said);
    }
    let terms = affinity.get_mut("nodeAffinity")?.get_mut(REQUIRED)?.get_mut("nodeSelectorTerms")?;
    for term in terms.as_array_mut()? {
        let expressions = term.as_object_mut()?.entry("matchExpressions").or_insert_with(|| json!([]));
        let required = labels.iter().map(|label| json!({"key": label.key, "operator": "In", "values": label.values}));
        expressions.as_array_mut()?.splice(0..0, required);
    }
    pod.insert("affinity".to_owned(), affinity);
    Some(())
}

/// The API server copies the name into a deprecated field, and back from there when the name is unset, unless that field
/// is ours as well.
fn own_service_account(template: &mut Value) {
    if let Some(pod) = template.get_mut("spec").and_then(Value::as_object_mut)
        && let Some(name) = pod.get("serviceAccountName").cloned()
    {
        pod.insert("serviceAccount".to_owned(), name);
    }
}

/// Requests where neither a request nor a limit is said: Kubernetes takes a limit as the request.
fn fill_requests(template: &mut Value) {
    let Some(server) = server_mut(template) else { return };
    let resources = server.as_object_mut().map(|server| server.entry("resources").or_insert_with(|| json!({})));
    let Some(resources) = resources.and_then(Value::as_object_mut) else { return };
    let is_said = |name: &str| {
        ["limits", "requests"].iter().any(|&kind| resources.get(kind).is_some_and(|said| said.get(name).is_some()))
    };
    let missing: Vec<_> = REQUESTS.into_iter().filter(|(name, _)| !is_said(name)).collect();
    if missing.is_empty() {
        return;
    }
    if let Some(requests) = resources.entry("requests").or_insert_with(|| json!({})).as_object_mut() {
        requests.extend(missing.into_iter().map(|(name, quantity)| (name.to_owned(), json!(quantity))));
    }
}

fn is_server(container: &Value) -> bool {
    container.get("name").is_some_and(|name| name == SERVER)
}

fn server(template: &Value) -> Option<&Value> {
    template.pointer("/spec/containers")?.as_array()?.iter().find(|container| is_server(container))
}

fn server_mut(template: &mut Value) -> Option<&mut Value> {
    template.pointer_mut("/spec/containers")?.as_array_mut()?.iter_mut().find(|container| is_server(container))
}

#[cfg(test)]
mod tests;
