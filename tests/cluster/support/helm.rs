//! Helm, and what it renders. Must never use the caches and repositories of whoever runs the tests.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use serde_json::Value;

use super::shell::{built, kubectl};

pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/inference-operator");

pub fn program() -> String {
    format!("{}/helm", built("helm"))
}

/// Where it keeps its own files.
pub fn folders() -> Vec<(&'static str, String)> {
    let folder = std::env::temp_dir().join("inference-operator-helm");
    let names = ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"];
    names.iter().map(|&name| (name, folder.join(name).display().to_string())).collect()
}

fn output(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).envs(folders()).output().expect("helm runs")
}

/// Runs helm as cluster administrator; returns its standard output.
pub fn helm(arguments: &[&str]) -> String {
    let output = output(arguments);
    assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs helm, which must fail; returns its standard error.
pub fn helm_fails(arguments: &[&str]) -> String {
    let output = output(arguments);
    assert!(!output.status.success(), "helm {arguments:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Kind, namespace and name.
pub type Key = (String, String, String);
pub type Objects = BTreeMap<Key, Value>;

/// What the chart renders, with these further arguments of helm.
pub fn rendered(arguments: &[&str]) -> Objects {
    let mut command = vec!["template", "inference-operator", CHART, "--namespace", "inference-operator"];
    command.extend(arguments);
    objects(&helm(&command))
}

/// What `kubectl apply -k` would apply.
pub fn kustomized(folder: &str) -> Objects {
    objects(&kubectl(&["kustomize", folder]))
}

/// The only object of this kind.
pub fn only<'a>(objects: &'a Objects, kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|(key, _)| key.0 == kind).map(|(_, object)| object);
    let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    object
}

pub fn objects(yaml: &str) -> Objects {
    let documents = yaml.split("\n---\n").map(|text| text.trim_start_matches("---\n"));
    let objects =
        documents.map(|text| serde_saphyr::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}")));
    let text =
        |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let key =
        |object: &Value| (text(object, "/kind"), text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    let mut found = Objects::new();
    for object in objects.filter(|object| !object.is_null()) {
        let twice = found.insert(key(&object), object);
        assert!(twice.is_none(), "twice: {twice:?}");
    }
    found
}
