//! The children that are built, as YAML that people can read and review.

#![allow(clippy::expect_used)]

mod committed;

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
    let yaml = serde_saphyr::to_string(built).expect("YAML");
    committed::check("golden", &format!("tests/golden/{name}.yaml"), &format!("{}\n", yaml.trim_end()));
}

#[test]
fn the_children_are_what_they_were() {
    for (gpu_type, max_batch_size) in [("A100", Some(64)), ("H100", None), ("L40S", None)] {
        let (deployment, service) = built(gpu_type, max_batch_size);
        check(&format!("deployment-{}", gpu_type.to_lowercase()), &deployment);
        check("service", &service);
    }
}
