//! What holds for every spec: building is deterministic, and says what the spec says.

#![allow(clippy::expect_used)]

use inference_operator::api::InferenceServiceSpec;
use inference_operator::reconcile::validate::validate;
use inference_operator::reconcile::{deployment, service};
use inference_operator::settings::Settings;
use proptest::prelude::*;

fn specs() -> impl Strategy<Value = InferenceServiceSpec> {
    let gpu_types = prop_oneof![Just("A100"), Just("H100"), Just("L40S"), Just("T4"), Just("")];
    (any::<String>(), any::<i32>(), gpu_types, any::<Option<u32>>()).prop_map(
        |(model, replicas, gpu_type, max_batch_size)| InferenceServiceSpec {
            replicas,
            max_batch_size,
            ..InferenceServiceSpec::new(&model, gpu_type)
        },
    )
}

/// What Kubernetes makes of $-signs in an argument: third_party/forked/golang/expansion/expand.go.
fn expanded(argument: &str) -> String {
    let mut text = String::new();
    let mut characters = argument.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '$' && characters.peek() == Some(&'$') {
            characters.next();
        } else if character == '$' && characters.peek() == Some(&'(') {
            panic!("a reference to a variable in {argument:?}");
        }
        text.push(character);
    }
    text
}

proptest! {
    #[test]
    fn a_spec_that_passes_validation_is_built_the_same_each_time_and_literally(spec in specs()) {
        let settings = Settings::default();
        let uid = "11111111-2222-4333-8444-555555555555".parse().expect("a UUID");
        let Ok(valid) = validate("default", "demo", uid, &spec, &settings.catalog) else { return Ok(()) };
        let built = deployment::build(&valid, &settings.pods).expect("built");
        prop_assert_eq!(&built, &deployment::build(&valid, &settings.pods).expect("built"));
        prop_assert_eq!(service::build(&valid), service::build(&valid));
        let arguments = &built["spec"]["template"]["spec"]["containers"][0]["args"];
        let model = arguments[0].as_str().expect("text");
        prop_assert_eq!(expanded(model), &*spec.model);
        prop_assert_eq!(built["spec"]["replicas"].as_i64(), Some(i64::from(spec.replicas)));
        prop_assert_eq!(arguments.as_array().map(Vec::len), Some(8 + usize::from(spec.max_batch_size.is_some())));
    }

    #[test]
    fn no_text_makes_validation_panic(name in any::<String>(), spec in specs()) {
        let settings = Settings::default();
        let _ = validate("default", &name, inference_operator::model::uid::Uid::default(), &spec, &settings.catalog);
    }
}
