//! First step of reconcile: can this spec be built? Everything that could fail later is rejected here, so that
//! building cannot fail. Pure.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::api::InferenceServiceSpec;
use crate::api::schema::SERVICE_TYPES;
use crate::catalog::{Catalog, Engine, GpuType};
use crate::error::Error;
use crate::kubernetes::prune::LONGEST_VALUE;
use crate::model::uid::Uid;
use crate::model::view::RawSpec;
use crate::settings::Pods;

/// As in the CRD's schema.
const LOAD_SECONDS: RangeInclusive<u32> = 10..=86_400;

/// An InferenceService that passed validation.
#[derive(Clone, Debug)]
pub struct Valid<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: Uid,
    pub spec: &'a InferenceServiceSpec,
    pub engine: &'a Engine,
    /// None: any node with enough GPUs.
    pub gpu_type: Option<&'a GpuType>,
    /// GPUs of each replica; 0: it runs on the CPU.
    pub gpu_count: u32,
    /// The resource that they are.
    pub resource: &'a str,
}

impl Valid<'_> {
    /// How long a replica may load its model.
    pub fn load_time(&self, pods: &Pods) -> Duration {
        let own = self.spec.load_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        own.or(self.engine.load_time).unwrap_or(pods.load_time)
    }

    /// Does a replica use a device of its node? One that is asked for as another resource, such as a shared GPU, has a
    /// domain in its name.
    pub fn has_device(&self) -> bool {
        self.gpu_count > 0 || limited(self.spec).any(|name| name.contains('/'))
    }
}

/// The names of the resources that the spec limits.
fn limited(spec: &InferenceServiceSpec) -> impl Iterator<Item = &String> {
    let limits = spec.resources.as_ref().and_then(|resources| resources.get("limits")?.as_object());
    limits.into_iter().flat_map(|limits| limits.keys())
}

/// The CRD's schema has checked this already, but objects may be stored under another schema.
pub fn decode(raw: &RawSpec) -> Result<InferenceServiceSpec, Error> {
    let text = raw.text().ok_or_else(|| Error::InvalidSpec("spec is missing".into()))?;
    if let Ok(size) = text.parse() {
        return Err(Error::SpecTooLarge { size, limit: LONGEST_VALUE });
    }
    serde_json::from_str(text).map_err(|problem| match serde_json::from_str(text) {
        Ok(Required { model: None }) => Error::MissingField("model"),
        _ => Error::InvalidSpec(problem.to_string().chars().take(256).collect()),
    })
}

/// The required fields of a spec.
#[derive(Deserialize)]
struct Required {
    model: Option<IgnoredAny>,
}

/// The CRD's schema has checked most of this already; it is checked again for objects that were stored under another
/// schema.
pub fn validate<'a>(
    namespace: &'a str,
    name: &'a str,
    uid: Uid,
    spec: &'a InferenceServiceSpec,
    catalog: &'a Catalog,
) -> Result<Valid<'a>, Error> {
    if !is_service_name(name) {
        return Err(Error::InvalidName(name.chars().take(253).collect()));
    }
    if spec.model.trim().is_empty() {
        return Err(Error::MissingField("model"));
    }
    if spec.model.contains('\0') {
        return Err(Error::InvalidSpec("model contains a NUL character".into()));
    }
    if spec.model.starts_with('-') {
        return Err(Error::InvalidSpec("model starts with '-', which the engine would read as an option".into()));
    }
    if spec.replicas < 0 {
        return Err(Error::InvalidSpec(format!("replicas is {} (expected: 0 or more)", spec.replicas)));
    }
    if spec.max_batch_size == Some(0) {
        return Err(Error::InvalidSpec("maxBatchSize is 0 (expected: 1 or more)".into()));
    }
    if let Some(seconds) = spec.load_seconds.filter(|seconds| !LOAD_SECONDS.contains(seconds)) {
        let (least, most) = (LOAD_SECONDS.start(), LOAD_SECONDS.end());
        return Err(Error::InvalidSpec(format!("loadSeconds is {seconds} (expected: {least} to {most})")));
    }
    let type_ = spec.service.as_ref().and_then(|service| service.type_.as_deref());
    if let Some(type_) = type_.filter(|type_| !SERVICE_TYPES.contains(type_)) {
        let (found, expected) = (cut(type_), SERVICE_TYPES.join(", "));
        return Err(Error::InvalidSpec(format!("service.type is {found} (expected: {expected})")));
    }
    let gpu_count = spec.gpu_count.unwrap_or(1);
    if gpu_count == 0 && spec.gpu_type.is_some() {
        return Err(Error::InvalidSpec("gpuType is set and gpuCount is 0 (expected: 1 or more)".into()));
    }
    let gpu_type = spec.gpu_type.as_deref().map(|name| {
        let refused = || Error::InvalidGpuType { found: cut(name), expected: catalog.gpu_type_names() };
        catalog.gpu_type(name).ok_or_else(refused)
    });
    let gpu_type = gpu_type.transpose()?;
    let resource = gpu_type.and_then(|gpu| gpu.resource.as_deref()).unwrap_or(&catalog.resource);
    if limited(spec).any(|name| name == resource) {
        return Err(Error::InvalidSpec(format!("resources.limits has {resource} (expected: gpuCount)")));
    }
    let engine = catalog.engine(spec.engine.as_deref()).ok_or_else(|| Error::InvalidEngine {
        found: cut(spec.engine.as_deref().unwrap_or_default()),
        expected: catalog.engine_names(),
    })?;
    Ok(Valid { namespace, name, uid, spec, engine, gpu_type, gpu_count, resource })
}

/// A name for a message, of the length that the schema allows.
fn cut(name: &str) -> String {
    name.chars().take(63).collect()
}

/// A DNS label as in RFC 1035, which every Kubernetes version accepts as a Service's name. A Service named kubernetes
/// is rejected: the kubelet would announce it to all pods of the namespace as the API server.
fn is_service_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    name.len() <= 63
        && name != "kubernetes"
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(|&last| last != b'-')
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(model: &str, replicas: i32, gpu_type: &str, max_batch_size: Option<u32>) -> InferenceServiceSpec {
        InferenceServiceSpec { replicas, max_batch_size, ..InferenceServiceSpec::new(model, gpu_type) }
    }

    fn refusal(name: &str, spec: &InferenceServiceSpec) -> String {
        let catalog = Catalog::default();
        validate("ns", name, Uid::default(), spec, &catalog)
            .map(|valid| valid.engine.name.clone())
            .map_err(|error| error.to_string())
            .expect_err("refused")
    }

    #[test]
    fn a_good_spec_is_valid_for_every_type_of_the_catalogue() {
        let catalog = Catalog::default();
        for gpu in catalog.gpu_types() {
            let spec = spec("m", 0, &gpu.name, Some(1));
            assert_eq!(validate("ns", "a", Uid::default(), &spec, &catalog).expect("valid").gpu_type, Some(gpu));
        }
    }

    #[test]
    fn a_refusal_says_what_was_wrong_and_what_is_expected() {
        assert_eq!(refusal("a", &spec("m", 1, "T4", None)), "invalid GPU type: T4 (expected: A100, H100, L40S)");
        assert_eq!(refusal("a", &spec("m", 1, "a100", None)), "invalid GPU type: a100 (expected: A100, H100, L40S)");
        assert_eq!(refusal("a", &spec(" ", 1, "A100", None)), "spec.model is missing");
        assert_eq!(refusal("a", &spec("m", 1, "", None)), "invalid GPU type:  (expected: A100, H100, L40S)");
        assert_eq!(
            refusal("a", &InferenceServiceSpec { engine: Some("VLLM".into()), ..InferenceServiceSpec::of("m") }),
            "invalid engine: VLLM (expected: vllm, sglang, llamacpp)"
        );
        assert_eq!(
            refusal("a", &InferenceServiceSpec { gpu_count: Some(0), ..InferenceServiceSpec::new("m", "A100") }),
            "invalid spec: gpuType is set and gpuCount is 0 (expected: 1 or more)"
        );
        assert!(refusal("a", &spec("--model", 1, "A100", None)).contains("option"));
        assert_eq!(refusal("a", &spec("m", -1, "A100", None)), "invalid spec: replicas is -1 (expected: 0 or more)");
        assert_eq!(
            refusal("a", &spec("m", 1, "A100", Some(0))),
            "invalid spec: maxBatchSize is 0 (expected: 1 or more)"
        );
        assert_eq!(
            refusal("a", &InferenceServiceSpec { load_seconds: Some(9), ..InferenceServiceSpec::of("m") }),
            "invalid spec: loadSeconds is 9 (expected: 10 to 86400)"
        );
        assert!(refusal("a", &spec("m\0", 1, "A100", None)).contains("NUL"));
    }

    #[test]
    fn a_spec_that_cannot_be_decoded_says_why() {
        for (spec, expected) in [
            (json!({"gpuType": "A100"}), "spec.model is missing"),
            (json!({"model": null, "gpuType": "A100"}), "spec.model is missing"),
            (
                json!({"gpuType": "A100", "model": 1}),
                "invalid spec: invalid type: integer `1`, expected a string at line 1 column 27",
            ),
            (json!({"gpuType": 1}), "spec.model is missing"),
            (json!([]), "invalid spec: invalid length 0, expected struct InferenceServiceSpec with"),
            (json!(20_000), "the spec has 20000 bytes (expected: at most 16384)"),
        ] {
            let error = decode(&RawSpec::from(&spec)).expect_err("refused");
            assert!(error.to_string().starts_with(expected), "{spec}: {error}");
            assert_eq!(error.remedy(), crate::error::Remedy::User);
        }
        assert_eq!(decode(&RawSpec::default()).expect_err("none").to_string(), "invalid spec: spec is missing");
        assert_eq!(decode(&RawSpec::from(&json!({"model": "m", "gpuType": "g"}))).expect("decoded").replicas, 1);
    }

    #[test]
    fn a_name_that_no_service_can_have_is_refused() {
        for name in ["", "kubernetes", "1a", "a-", "-a", "a.b", "A", "a_b", &"a".repeat(64)] {
            assert!(refusal(name, &spec("m", 1, "A100", None)).starts_with("invalid name: "), "{name}");
        }
        assert!(is_service_name("a") && is_service_name(&"a".repeat(63)) && is_service_name("a-1"));
    }
}
