//! What a test puts in the operator's way, gone with whoever holds it.

use std::process::Command;

use serde_json::{Value, json};

use super::fixture::Fixture;
use super::shell::{apply, cluster, kubectl, variable};
use super::wait::eventually;

/// Nothing starts on the node meanwhile: pods for its kind of GPU wait.
pub struct Cordon(&'static str);

impl Cordon {
    pub fn of(node: &'static str) -> Cordon {
        kubectl(&["cordon", node]);
        Cordon(node)
    }
}

impl Drop for Cordon {
    fn drop(&mut self) {
        attempt(&["uncordon", self.0]);
    }
}

/// A part of the control plane that is away.
pub struct Stopped(&'static str);

impl Stopped {
    pub fn part(part: &'static str) -> Stopped {
        cluster(&["stop", part]);
        Stopped(part)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        cluster(&["start", self.0]);
    }
}

/// A finalizer of somebody's on an object, which keeps it while it is being deleted.
pub struct Hold {
    namespace: String,
    object: String,
}

impl Hold {
    /// `object`: as kubectl has it, `deployment/demo`.
    pub fn on(fixture: &Fixture, object: &str) -> Hold {
        let patch = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
        kubectl(&["-n", &fixture.namespace, "patch", object, "--type=merge", "-p", patch]);
        Hold { namespace: fixture.namespace.clone(), object: object.to_owned() }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let patch = r#"{"metadata":{"finalizers":null}}"#;
        attempt(&["-n", &self.namespace, "patch", &self.object, "--type=merge", "-p", patch]);
    }
}

/// Objects of the cluster, such as a webhook's configuration, each as kubectl has it: kind and name.
pub struct Objects(Vec<[String; 2]>);

impl Objects {
    pub fn new(objects: &[Value]) -> Objects {
        let text =
            |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).expect("a text").to_owned();
        let names = objects.iter().map(|object| [text(object, "/kind"), text(object, "/metadata/name")]).collect();
        apply(objects);
        Objects(names)
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        for [kind, name] in &self.0 {
            attempt(&["delete", kind, name]);
        }
    }
}

/// An admission policy for the Deployments of the test's namespace. `kind`: Validating or Mutating. `condition`: for
/// which Deployments; CEL.
pub fn policy(fixture: &Fixture, kind: &'static str, condition: &str, effect: &Value) -> Objects {
    let kind = if kind == "Validating" { "ValidatingAdmissionPolicy" } else { "MutatingAdmissionPolicy" };
    let name = format!("{}-{:08x}", fixture.namespace, condition.len() * 7919 + effect.to_string().len());
    let api_version = "admissionregistration.k8s.io/v1";
    let mut policy = json!({
        "failurePolicy": "Fail",
        "matchConstraints": {
            "namespaceSelector": this_namespace(fixture),
            "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                               "resources": ["deployments"]}]
        },
        "matchConditions": [{"name": "these", "expression": condition}]
    });
    policy.as_object_mut().expect("an object").extend(effect.as_object().expect("an object").clone());
    let mut binding = json!({"policyName": name});
    if kind == "ValidatingAdmissionPolicy" {
        binding["validationActions"] = json!(["Deny"]);
    }
    let object = |kind: &str, spec: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec});
    Objects::new(&[object(kind, policy), object(&format!("{kind}Binding"), binding)])
}

/// What a mutating policy does.
pub fn json_patch(expression: &str) -> Value {
    json!({"reinvocationPolicy": "Never",
           "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]})
}

pub fn this_namespace(fixture: &Fixture) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": fixture.namespace}})
}

/// Tries a Deployment of this name without making it, until the answer, be it a Deployment or an error, holds these
/// words.
pub async fn until_in_force(fixture: &Fixture, name: &str, words: &str) {
    let image = "--image=example.com/probe";
    eventually(&format!("it is in force: {words}"), || async {
        let output = Command::new(variable("KUBECTL"))
            .args(["-n", &fixture.namespace, "create", "deployment", name, image, "--dry-run=server", "-o", "json"])
            .output()
            .expect("kubectl runs");
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        if told.contains(words) { Ok(()) } else { Err(told) }
    })
    .await;
}

/// As far as it goes: the test may have failed because the API server is away.
fn attempt(arguments: &[&str]) {
    let _ = Command::new(variable("KUBECTL")).args(arguments).output();
}
