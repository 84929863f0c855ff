//! Any spec that passes validation builds children that the API server accepts: a few hundred specs, sent with
//! dry-run and strict field validation.

use inference_operator::api::InferenceServiceSpec;
use inference_operator::model::view::{DeploymentView, PartialService};
use inference_operator::reconcile::apply::apply_request;
use inference_operator::reconcile::validate::validate;
use inference_operator::reconcile::{deployment, service};
use inference_operator::settings::Settings;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::support::Fixture;

const SPECS: usize = 300;

fn specs() -> impl Strategy<Value = InferenceServiceSpec> {
    let models = prop_oneof!["\\PC{1,60}", ".{1,60}", "[$(){}\\\\\"'-]{1,20}", "[a-z/-]{1000,1024}"];
    let gpu_types = prop_oneof![Just("A100"), Just("H100"), Just("L40S"), Just("T4")];
    let batch = prop_oneof![Just(None), Just(Some(1)), Just(Some(u32::MAX)), any::<Option<u32>>()];
    (models, 0..=i32::MAX, gpu_types, batch).prop_map(|(model, replicas, gpu_type, max_batch_size)| {
        InferenceServiceSpec { replicas, max_batch_size, ..InferenceServiceSpec::new(&model, gpu_type) }
    })
}

#[tokio::test]
async fn any_valid_spec_builds_children_that_the_api_server_accepts() {
    let fixture = Fixture::new("dryrun").await;
    let mut settings = Settings::default();
    settings.catalog.add_gpu_type("T4=Tesla-T4").expect("added");
    settings.pods.runtime_class = Some("nvidia".into());
    let uid = "11111111-2222-4333-8444-555555555555".parse().expect("a UUID");
    let strict = "&dryRun=All&fieldValidation=Strict";
    let mut runner = TestRunner::deterministic();
    let mut sent = 0;
    while sent < SPECS {
        let spec = specs().new_tree(&mut runner).expect("a spec").current();
        let name = format!("a{}", "b".repeat(sent % 63));
        let Ok(valid) = validate(&fixture.namespace, &name, uid, &spec, &settings.catalog) else { continue };
        let built = deployment::build(&valid, &settings.pods).expect("built");
        let request = apply_request::<DeploymentView>(&fixture.namespace, &name, &built, strict).expect("a request");
        let answer =
            fixture.client.request::<Value>(request).await.unwrap_or_else(|error| panic!("{spec:?}: {error:?}"));
        let arguments = "/spec/template/spec/containers/0/args";
        assert_eq!(answer.pointer(arguments), built.pointer(arguments), "literally");
        let built = service::build(&valid);
        let request = apply_request::<PartialService>(&fixture.namespace, &name, &built, strict).expect("a request");
        fixture.client.request::<Value>(request).await.unwrap_or_else(|error| panic!("{spec:?}: {error:?}"));
        sent += 1;
    }
    fixture.clean_up().await;
}
