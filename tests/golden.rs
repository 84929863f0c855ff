//! The children that are built, as YAML that people can read and review.

#![allow(clippy::expect_used)]

use inference_operator::api::InferenceServiceSpec;
use inference_operator::reconcile::validate::validate;
use inference_operator::reconcile::{deployment, service};
use inference_operator::settings::Settings;
use serde_json::Value;

fn built(gpu_type: &str, max_batch_size: Option<u32>) -> (Value, Value) {
    let settings = Settings::default();
    let uid = "11111111-2222-4333-8444-555555555555".parse().expect("a UUID");
    let spec = InferenceServiceSpec { replicas: 2, max_batch_size, ..InferenceServiceSpec::new("org/model", gpu_type) };
    let valid = validate("default", "demo", uid, &spec, &settings.catalog).expect("valid");
    (deployment::build(&valid, &settings.pods).expect("built"), service::build(&valid))
}

fn check(name: &str, built: &Value) {
    let path = format!("{}/tests/golden/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let yaml = serde_saphyr::to_string(built).expect("YAML");
    let yaml = format!("{}\n", yaml.trim_end());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &yaml).expect("written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == yaml,
        "{path} differs; look at the difference, then: UPDATE_GOLDEN=1 cargo test --test golden\n{yaml}"
    );
}

#[test]
fn the_children_are_what_they_were() {
    for (gpu_type, max_batch_size) in [("A100", Some(64)), ("H100", None), ("L40S", None)] {
        let (deployment, service) = built(gpu_type, max_batch_size);
        check(&format!("deployment-{}", gpu_type.to_lowercase()), &deployment);
        check("service", &service);
    }
}
