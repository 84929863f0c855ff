//! Obstacles that a test puts in the operator's way, removed when dropped.

use std::process::Command;

use serde_json::{Value, json};

use super::fixture::Fixture;
use super::shell::{apply, cluster, kubectl, variable};
use super::wait::eventually;

/// No pod can be scheduled on the node: pods for its kind of GPU stay pending.
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

/// A stopped part of the control plane.
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

/// A foreign finalizer on an object, which keeps it while it is being deleted.
pub struct Hold {
    namespace: String,
    object: String,
}

impl Hold {
    /// `object`: in kubectl's form, `deployment/demo`.
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

/// Cluster-scoped objects, such as a webhook configuration, each in kubectl's form: kind and name.
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

/// An admission policy for Deployments in the test's namespace. `kind`: Validating or Mutating. `condition`: which
/// Deployments it applies to; CEL.
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

/// Refuses pods with this image. It takes a moment until it is in force.
pub async fn refuse_image(fixture: &Fixture, image: &str) -> Objects {
    let (api_version, name) = ("admissionregistration.k8s.io/v1", format!("{}-image", fixture.namespace));
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
    let policy = json!({
        "failurePolicy": "Fail",
        "matchConstraints": {"namespaceSelector": this_namespace(fixture), "resourceRules": rules},
        "validations": [{"expression": format!("!object.spec.containers[0].image.startsWith('{image}')"), "message": "this image does not run"}]
    });
    let objects = Objects::new(&[
        json!({"apiVersion": api_version, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": policy}),
        json!({"apiVersion": api_version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
               "spec": {"policyName": name, "validationActions": ["Deny"]}}),
    ]);
    eventually("pods with the image are refused", || async {
        let pod = ["-n", &fixture.namespace, "run", "probe", &format!("--image={image}"), "--dry-run=server"];
        let output = Command::new(variable("KUBECTL")).args(pod).output().expect("kubectl runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if told.contains("this image does not run") { Ok(()) } else { Err(told) }
    })
    .await;
    objects
}

/// The mutation of a mutating policy.
pub fn json_patch(expression: &str) -> Value {
    json!({"reinvocationPolicy": "Never",
           "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]})
}

pub fn this_namespace(fixture: &Fixture) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": fixture.namespace}})
}

/// Creates a Deployment of this name with dry-run, until the response, be it a Deployment or an error, contains these
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

/// Ignores errors: the test may have failed because the API server is down.
fn attempt(arguments: &[&str]) {
    let _ = Command::new(variable("KUBECTL")).args(arguments).output();
}
