//! What the schema of an InferenceCatalog cannot check. Pure.

use serde_json::Value;

use super::Refusal;
use crate::api::catalog::{EngineEntry, GpuTypeEntry};
use crate::api::{InferenceCatalogSpec, InferenceServiceSpec};
use crate::catalog::gpu_type::is_label_value;
use crate::error::Error;
use crate::model::uid::Uid;
use crate::reconcile::arguments::{PLACEHOLDERS, unknown_placeholder};
use crate::reconcile::deployment;
use crate::reconcile::validate::validate;
use crate::settings::Settings;

/// The name of the Deployments that are built for a check and never created.
const SAMPLE: &str = "inference-catalog";

/// Checks each entry by itself.
pub fn entries(spec: &InferenceCatalogSpec) -> Result<(), Refusal> {
    if let Some(name) = &spec.defaults.resource_name {
        resource("defaults.resourceName", name)?;
    }
    fragment("defaults.template", spec.defaults.template.as_ref())?;
    for gpu in &spec.gpu_types {
        gpu_type(&path_of_gpu_type(gpu), gpu)?;
    }
    for entry in &spec.engines {
        engine(&path_of_engine(entry), entry)?;
    }
    Ok(())
}

fn path_of_gpu_type(gpu: &GpuTypeEntry) -> String {
    format!("gpuTypes[{}]", gpu.name)
}

fn path_of_engine(engine: &EngineEntry) -> String {
    format!("engines[{}]", engine.name)
}

fn gpu_type(path: &str, gpu: &GpuTypeEntry) -> Result<(), Refusal> {
    for label in &gpu.node_labels {
        let key = &label.key;
        require(is_label_key(key), &format!("{path}.nodeLabels"), || {
            format!("{key:?} is not the key of a label (expected: such as nvidia.com/gpu.product)")
        })?;
        let wrong = label.values.iter().find(|value| !value.is_empty() && !is_label_value(value));
        require(wrong.is_none(), &format!("{path}.nodeLabels[{key}].values"), || {
            let value = wrong.map(String::as_str).unwrap_or_default();
            format!("{value:?} is not the value of a label (expected: letters, digits, '-', '_' and '.', at most 63)")
        })?;
    }
    if let Some(name) = &gpu.resource_name {
        resource(&format!("{path}.resourceName"), name)?;
    }
    fragment(&format!("{path}.template"), gpu.template.as_ref())
}

fn engine(path: &str, engine: &EngineEntry) -> Result<(), Refusal> {
    require(!engine.image.trim().is_empty(), &format!("{path}.image"), || "it is missing".to_owned())?;
    for (place, argument) in engine.args.iter().enumerate() {
        let unknown = unknown_placeholder(argument);
        require(unknown.is_none(), &format!("{path}.args[{place}]"), || {
            let unknown = unknown.unwrap_or_default();
            format!("there is no placeholder {unknown} (expected: {})", PLACEHOLDERS.join(", "))
        })?;
    }
    for (name, folder) in &engine.cache_environment {
        let path = format!("{path}.cacheEnvironment");
        let is_name = !name.is_empty() && !name.contains(['=', '\0']);
        require(is_name, &path, || format!("{name:?} is not the name of a variable"))?;
        let is_below = !folder.starts_with('/') && !folder.split('/').any(|part| part == "..");
        require(is_below, &format!("{path}[{name}]"), || {
            format!("{folder:?} is not a folder below /cache (expected: a relative path without '..')")
        })?;
    }
    fragment(&format!("{path}.template"), engine.template.as_ref())
}

/// Is this a part of a PodTemplateSpec, as far as merging it needs to know?
fn fragment(path: &str, template: Option<&Value>) -> Result<(), Refusal> {
    let Some(template) = template else { return Ok(()) };
    let part =
        template.as_object().and_then(|parts| parts.keys().find(|part| !matches!(&***part, "metadata" | "spec")));
    require(template.is_object() && part.is_none(), path, || {
        let part = part.map(|part| format!(": it has {part}")).unwrap_or_default();
        format!("it is not a part of a pod template{part} (expected: metadata and spec)")
    })?;
    for part in ["metadata", "spec"] {
        let is_object = template.get(part).is_none_or(Value::is_object);
        require(is_object, &format!("{path}.{part}"), || "it is not an object".to_owned())?;
    }
    for list in ["containers", "initContainers", "volumes"] {
        let items = template.pointer(&format!("/spec/{list}"));
        let has_name = |item: &Value| item.get("name").is_some_and(Value::is_string);
        let is_list = items.is_none_or(|items| items.as_array().is_some_and(|items| items.iter().all(has_name)));
        require(is_list, &format!("{path}.spec.{list}"), || "expected a list of objects with a name".to_owned())?;
    }
    Ok(())
}

fn resource(path: &str, name: &str) -> Result<(), Refusal> {
    require(is_extended_resource(name), path, || {
        format!("{name:?} is not the name of a device (expected: with a domain, such as nvidia.com/gpu)")
    })
}

fn require(is_fine: bool, path: &str, problem: impl FnOnce() -> String) -> Result<(), Refusal> {
    if is_fine { Ok(()) } else { Err(Refusal::of_spec(path, problem())) }
}

/// Source: `IsExtendedResourceName` of Kubernetes, pkg/apis/core/v1/helper.
fn is_extended_resource(name: &str) -> bool {
    is_label_key(name) && name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// A qualified name: `IsQualifiedName` of k8s.io/apimachinery, util/validation.
fn is_label_key(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    let is_domain = |domain: &str| {
        let is_part = |part: &str| {
            let bytes = part.as_bytes();
            let is_edge =
                |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            let is_inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
            is_edge(bytes.first()) && is_edge(bytes.last()) && bytes.iter().all(is_inner)
        };
        domain.len() <= 253 && domain.split('.').all(is_part)
    };
    domain.is_none_or(is_domain) && is_label_value(name)
}

/// A Deployment for each fragment of a pod template, with the path of the fragment.
pub fn samples(
    settings: &Settings,
    spec: &InferenceCatalogSpec,
    namespace: &str,
) -> Vec<(String, Result<Value, Error>)> {
    let plain = InferenceServiceSpec::of("model");
    let mut samples = Vec::new();
    let mut add = |path: String, asked: &InferenceServiceSpec| {
        let valid = validate(namespace, SAMPLE, Uid::default(), asked, &settings.catalog);
        samples.push((path, valid.and_then(|valid| deployment::build(&valid, &settings.pods))));
    };
    if spec.defaults.template.is_some() {
        add("defaults.template".to_owned(), &plain);
    }
    for entry in spec.engines.iter().filter(|entry| entry.template.is_some()) {
        let asked = InferenceServiceSpec { engine: Some(entry.name.clone()), ..plain.clone() };
        add(format!("{}.template", path_of_engine(entry)), &asked);
    }
    for gpu in spec.gpu_types.iter().filter(|gpu| gpu.template.is_some()) {
        let asked = InferenceServiceSpec { gpu_type: Some(gpu.name.clone()), ..plain.clone() };
        add(format!("{}.template", path_of_gpu_type(gpu)), &asked);
    }
    samples
}

#[cfg(test)]
mod tests;
