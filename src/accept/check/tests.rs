use serde_json::json;

use super::*;
use crate::accept::{decode, lay_over};
use crate::model::view::RawSpec;
use crate::settings::MaxUnavailable;

fn accept(spec: &Value) -> Result<Settings, Refusal> {
    lay_over(&Settings::default(), &decode(&RawSpec::from(spec))?)
}

fn engine_with(field: &str, value: Value) -> Value {
    let mut engine = json!({"name": "mine", "image": "example.com/mine"});
    engine[field] = value;
    json!({"engines": [engine]})
}

#[test]
fn a_refusal_says_where_what_is_wrong_and_what_is_expected() {
    let fragment = |template: Value| engine_with("template", template);
    let cases = [
        (json!({"engines": [{"name": "mine"}]}), "spec.engines[mine].image: it is missing"),
        (json!({"engines": [{"name": "mine", "image": " "}]}), "spec.engines[mine].image: it is missing"),
        (
            engine_with("args", json!(["--model", "{modle}"])),
            "spec.engines[mine].args[1]: there is no placeholder {modle} (expected: {model}, {modelFile}",
        ),
        (
            engine_with("cacheEnvironment", json!({"HF_HOME": "../etc"})),
            "spec.engines[mine].cacheEnvironment[HF_HOME]: \"../etc\" is not a folder below /cache",
        ),
        (
            engine_with("cacheEnvironment", json!({"HF_HOME": "/etc"})),
            "spec.engines[mine].cacheEnvironment[HF_HOME]: \"/etc\" is not a folder below /cache",
        ),
        (
            engine_with("cacheEnvironment", json!({"A=B": "a"})),
            "spec.engines[mine].cacheEnvironment: \"A=B\" is not the name of a variable",
        ),
        (
            fragment(json!({"containers": []})),
            "spec.engines[mine].template: it is not a part of a pod template: it has containers",
        ),
        (fragment(json!("pod")), "spec.engines[mine].template: it is not a part of a pod template"),
        (fragment(json!({"spec": []})), "spec.engines[mine].template.spec: it is not an object"),
        (
            fragment(json!({"spec": {"containers": [{"image": "x"}]}})),
            "spec.engines[mine].template.spec.containers: expected a list of objects with a name",
        ),
        (
            fragment(json!({"spec": {"hostNetwork": true}})),
            "spec.engines[mine].template: the pod is not allowed by the operator's pod policy baseline: spec.hostNetwork",
        ),
        (
            json!({"defaults": {"template": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}}}),
            "spec.defaults.template: invalid spec: template: metadata.labels: app.kubernetes.io/managed-by is",
        ),
        (
            json!({"gpuTypes": [{"name": "T4", "nodeLabels": [{"key": "a b", "values": ["c"]}]}]}),
            "spec.gpuTypes[T4].nodeLabels: \"a b\" is not the key of a label",
        ),
        (
            json!({"gpuTypes": [{"name": "T4", "nodeLabels": [{"key": "a/b", "values": ["c", "-"]}]}]}),
            "spec.gpuTypes[T4].nodeLabels[a/b].values: \"-\" is not the value of a label",
        ),
        (
            json!({"gpuTypes": [{"name": "T4", "resourceName": "gpu"}]}),
            "spec.gpuTypes[T4].resourceName: \"gpu\" is not the name of a device (expected: with a domain",
        ),
        (
            json!({"defaults": {"engine": "tgi"}}),
            "spec.defaults.engine: there is no engine tgi (expected: vllm, sglang, llamacpp)",
        ),
        (json!({"defaults": {"resourceName": "gpu"}}), "spec.defaults.resourceName: \"gpu\""),
        (
            json!({"defaults": {"resourceName": "kubernetes.io/gpu"}}),
            "spec.defaults.resourceName: \"kubernetes.io/gpu\"",
        ),
        (
            json!({"defaults": {"resourceName": "requests.nvidia.com/gpu"}}),
            "spec.defaults.resourceName: \"requests.nvidia.com/gpu\"",
        ),
        (json!({"rollout": {"maxUnavailable": 0}}), "spec.rollout.maxUnavailable: expected a number from 1"),
        (json!({"engines": [{}]}), "spec: missing field `name`"),
        (json!(20_000), "the spec has 20000 bytes (expected: at most 16384)"),
    ];
    for (spec, expected) in cases {
        let refusal = accept(&spec).expect_err("refused");
        assert!(refusal.message.starts_with(expected), "{spec}: {}", refusal.message);
    }
}

#[test]
fn an_entry_replaces_the_built_in_one_of_its_name_and_others_stay() {
    let settings = accept(&json!({
        "gpuTypes": [
            {"name": "L40S", "nodeLabels": [{"key": "gpu", "values": ["l40s", ""]}], "resourceName": "nvidia.com/gpu.shared"},
            {"name": "MI300", "resourceName": "amd.com/gpu"}
        ],
        "engines": [{"name": "llamacpp", "image": "mine", "port": 8080}, {"name": "tgi", "image": "tgi", "loadSeconds": 60}],
        "defaults": {"engine": "tgi", "loadSeconds": 90, "resourceName": "example.com/gpu"},
        "rollout": {"maxUnavailable": "25%"}
    }))
    .expect("accepted");
    let catalog = &settings.catalog;
    assert_eq!(catalog.gpu_type_names(), "A100, H100, L40S, MI300");
    assert_eq!(catalog.engine_names(), "tgi, vllm, sglang, llamacpp");
    let l40s = catalog.gpu_type("L40S").expect("there");
    assert_eq!((&*l40s.labels[0].key, l40s.resource.as_deref()), ("gpu", Some("nvidia.com/gpu.shared")));
    let llamacpp = catalog.engine(Some("llamacpp")).expect("there");
    assert_eq!((&*llamacpp.image, llamacpp.port, &*llamacpp.health_path), ("mine", 8080, "/health"));
    assert!(llamacpp.arguments.is_empty() && llamacpp.cpu_image.is_none(), "as a whole");
    assert_eq!(settings.max_unavailable, MaxUnavailable::Percent(25));
    assert_eq!((settings.pods.load_time.as_secs(), &*catalog.resource), (90, "example.com/gpu"));
    assert_eq!(accept(&json!({})).expect("accepted"), Settings::default(), "an empty one changes nothing");
    accept(&engine_with("cacheEnvironment", json!({"HF_HOME": "hub/v1.0"}))).expect("accepted");
}

#[test]
fn only_a_word_in_braces_is_taken_for_a_placeholder() {
    for fine in ["", "{", "{}", "{\"a\": 1}", "{{model}}", "a{port}b{name}", "{a b}", "{gpuCount}", "}{"] {
        assert_eq!(unknown_placeholder(fine), None, "{fine}");
    }
    for (wrong, word) in [("{Model}", "{Model}"), ("x{{y}}", "{y}"), ("{port}{ports}", "{ports}")] {
        assert_eq!(unknown_placeholder(wrong), Some(word));
    }
}

#[test]
fn the_key_of_a_label_is_a_name_with_or_without_a_domain() {
    for key in ["a", "nvidia.com/gpu.product", "a-b.c/D_e", "A.b-c"] {
        assert!(is_label_key(key), "{key}");
    }
    for key in ["", "/", "a/", "/a", "a/b/c", "A/b", "a..b/c", "-a/b", "a-/b", "a_b/c", "-a", "a b", &"a".repeat(64)] {
        assert!(!is_label_key(key), "{key}");
    }
}

/// What each of the layers says wins over those below it.
#[test]
fn the_layers_of_a_pod_are_laid_over_each_other_in_their_order() {
    let priority = |name: &str| json!({"spec": {"priorityClassName": name, "nodeSelector": {name: "yes"}}});
    let mut catalog = json!({
        "engines": [{"name": "mine", "image": "mine", "template": priority("engine")}],
        "gpuTypes": [{"name": "T4", "template": priority("gpu")}],
        "defaults": {"template": priority("defaults")}
    });
    let built = |catalog: &Value, spec: Value| {
        let settings = accept(catalog).expect("accepted");
        let spec: InferenceServiceSpec = serde_json::from_value(spec).expect("a spec");
        let valid = validate("ns", "demo", Uid::default(), &spec, &settings.catalog).expect("valid");
        deployment::build(&valid, &settings.pods).expect("built")["spec"]["template"]["spec"].clone()
    };
    let spec = |extra: Value| {
        let mut spec = json!({"model": "m", "engine": "mine", "gpuType": "T4"});
        spec.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        spec
    };
    let all = built(&catalog, spec(json!({"template": priority("template"), "priorityClassName": "field"})));
    let labels = ["engine", "gpu", "defaults", "template"];
    assert!(labels.iter().all(|label| all["nodeSelector"][label] == "yes"), "{all}");
    assert_eq!(all["priorityClassName"], "template");
    assert_eq!(built(&catalog, spec(json!({"priorityClassName": "field"})))["priorityClassName"], "field");
    assert_eq!(built(&catalog, spec(json!({})))["priorityClassName"], "defaults");
    catalog["defaults"] = json!({});
    assert_eq!(built(&catalog, spec(json!({})))["priorityClassName"], "gpu");
    catalog["gpuTypes"][0]["template"] = json!({});
    assert_eq!(built(&catalog, spec(json!({})))["priorityClassName"], "engine");
}

#[test]
fn a_gpu_type_asks_for_its_resource_and_its_nodes() {
    let catalog = json!({"gpuTypes": [{
        "name": "MI300", "resourceName": "amd.com/gpu",
        "nodeLabels": [{"key": "amd.com/gpu.family", "values": ["AI"]}, {"key": "zone", "values": ["a", "b"]}]
    }]});
    let settings = accept(&catalog).expect("accepted");
    let spec = InferenceServiceSpec { gpu_count: Some(2), ..InferenceServiceSpec::new("m", "MI300") };
    let valid = validate("ns", "demo", Uid::default(), &spec, &settings.catalog).expect("valid");
    let pod = deployment::build(&valid, &settings.pods).expect("built")["spec"]["template"]["spec"].clone();
    assert_eq!(pod["containers"][0]["resources"]["limits"], json!({"amd.com/gpu": "2"}));
    let tolerated: Vec<_> = pod["tolerations"].as_array().expect("a list").iter().map(|it| &it["key"]).collect();
    assert_eq!(tolerated, ["nvidia.com/gpu", "amd.com/gpu"]);
    let terms = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let expected = json!([
        {"key": "amd.com/gpu.family", "operator": "In", "values": ["AI"]},
        {"key": "zone", "operator": "In", "values": ["a", "b"]}
    ]);
    assert_eq!(terms[0]["matchExpressions"], expected);
    let limits = Some(json!({"limits": {"amd.com/gpu": 1}}));
    let twice = InferenceServiceSpec { resources: limits, ..spec };
    let refused = validate("ns", "demo", Uid::default(), &twice, &settings.catalog).expect_err("refused");
    assert_eq!(refused.to_string(), "invalid spec: resources.limits has amd.com/gpu (expected: gpuCount)");
}

#[test]
fn how_long_a_model_may_load_says_the_service_then_its_engine_then_the_defaults() {
    let catalog = json!({
        "engines": [{"name": "mine", "image": "mine", "loadSeconds": 60}], "defaults": {"loadSeconds": 90}
    });
    let settings = accept(&catalog).expect("accepted");
    for (engine, own, expected) in [("mine", Some(30), 30), ("mine", None, 60), ("vllm", None, 90)] {
        let spec =
            InferenceServiceSpec { engine: Some(engine.into()), load_seconds: own, ..InferenceServiceSpec::of("m") };
        let valid = validate("ns", "demo", Uid::default(), &spec, &settings.catalog).expect("valid");
        assert_eq!(valid.load_time(&settings.pods).as_secs(), expected);
    }
}

/// Or else the API server would be asked about another pod than the one that gets the fragment.
#[test]
fn each_fragment_is_in_the_deployment_that_the_api_server_is_asked_about() {
    let fragment = |name: &str| json!({"spec": {"runtimeClassName": name}});
    let spec = json!({
        "gpuTypes": [{"name": "T4", "template": fragment("gpu")}],
        "engines": [{"name": "mine", "image": "mine", "template": fragment("engine")}],
    });
    let settings = accept(&spec).expect("accepted");
    let asked = samples(&settings, &decode(&RawSpec::from(&spec)).expect("a spec"), "ns");
    let class = |sample: &Result<Value, Error>| {
        let deployment = sample.as_ref().expect("built");
        deployment.pointer("/spec/template/spec/runtimeClassName").cloned()
    };
    let classes: Vec<_> = asked.iter().map(|(path, sample)| (&**path, class(sample))).collect();
    assert_eq!(
        classes,
        [("engines[mine].template", Some(json!("engine"))), ("gpuTypes[T4].template", Some(json!("gpu")))]
    );
}
