use super::*;
use crate::api::InferenceServiceSpec;
use crate::catalog::Catalog;
use crate::model::uid::Uid;
use crate::reconcile::validate::validate;

/// The template for a spec of these fields beside the model.
fn try_built(fields: Value) -> Result<Value, Error> {
    let mut spec = json!({"model": "org/model"});
    merge(&mut spec, fields);
    let spec: InferenceServiceSpec = serde_json::from_value(spec).expect("a spec");
    let catalog = Catalog::default();
    template(&validate("ns", "demo", Uid::default(), &spec, &catalog)?, &Pods::default())
}

fn built(fields: Value) -> Value {
    try_built(fields).expect("built")
}

fn server_of(fields: Value) -> Value {
    server(&built(fields)).expect("a server").clone()
}

fn refusal(fields: Value) -> String {
    try_built(fields).expect_err("refused").to_string()
}

#[test]
fn what_is_built_is_a_pod_template() {
    let value = built(
        json!({"gpuType": "L40S", "maxBatchSize": 7, "cache": {"emptyDir": {}}, "env": [{"name": "A", "value": "1"}]}),
    );
    let typed: k8s_openapi::api::core::v1::PodTemplateSpec =
        serde_json::from_value(value.clone()).expect("a pod template");
    // A field that the typed template does not know would be lost in the round trip.
    assert_eq!(serde_json::to_value(typed).expect("JSON"), value);
}

#[test]
fn without_a_gpu_type_any_node_with_the_gpus_will_do_and_without_gpus_any_node() {
    let any = built(json!({"gpuCount": 2}));
    assert_eq!(any.pointer("/spec/affinity"), None);
    assert_eq!(server(&any).expect("a server")["resources"]["limits"], json!({"nvidia.com/gpu": "2"}));
    let cpu = built(json!({"gpuCount": 0}));
    assert_eq!((cpu.pointer("/spec/tolerations"), cpu.pointer("/spec/affinity")), (None, None));
    assert_eq!(server(&cpu).expect("a server")["resources"].get("limits"), None);
    assert_eq!(server(&cpu).expect("a server")["image"], "vllm/vllm-openai-cpu:v0.33.0");
}

#[test]
fn a_device_under_another_name_is_a_device() {
    let shared = built(json!({"gpuCount": 0, "resources": {"limits": {"nvidia.com/gpu.shared": 1}}}));
    let server = server(&shared).expect("a server");
    assert_eq!(server["image"], "vllm/vllm-openai:v0.33.0");
    assert_eq!(server["resources"]["limits"], json!({"nvidia.com/gpu.shared": 1}));
    assert_eq!(shared["spec"]["tolerations"][0]["key"], "nvidia.com/gpu");
    let refusal = refusal(json!({"resources": {"limits": {"nvidia.com/gpu": 1}}}));
    assert_eq!(refusal, "invalid spec: resources.limits has nvidia.com/gpu (expected: gpuCount)");
}

#[test]
fn several_gpus_share_memory_and_one_does_not() {
    assert_eq!(built(json!({"gpuCount": 1})).pointer("/spec/volumes"), None);
    let shared = json!([{"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]);
    assert_eq!(built(json!({"gpuCount": 2}))["spec"]["volumes"], shared);
    assert_eq!(
        built(json!({"gpuCount": 0, "sharedMemory": "2Gi"}))["spec"]["volumes"][0]["emptyDir"]["sizeLimit"],
        "2Gi"
    );
}

#[test]
fn the_cache_and_the_models_are_mounted_where_the_engine_looks() {
    let fields = json!({
        "cache": {"persistentVolumeClaim": {"claimName": "cache"}},
        "modelVolume": {"image": {"reference": "example.com/models:1"}, "subPath": "a"},
        "huggingFaceTokenSecret": {"name": "hub"}
    });
    let template = built(fields);
    assert_eq!(
        template["spec"]["volumes"],
        json!([
            {"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}},
            {"name": "models", "image": {"reference": "example.com/models:1"}}
        ])
    );
    let server = server(&template).expect("a server");
    assert_eq!(
        server["volumeMounts"],
        json!([
            {"name": "cache", "mountPath": "/cache"},
            {"name": "models", "mountPath": "/models", "readOnly": true, "subPath": "a"}
        ])
    );
    assert_eq!(
        server["env"],
        json!([
            {"name": "HF_HOME", "value": "/cache/huggingface"},
            {"name": "VLLM_CACHE_ROOT", "value": "/cache/vllm"},
            {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
        ])
    );
}

#[test]
fn what_the_user_says_wins_over_what_the_operator_would() {
    let server = server_of(json!({
        "cache": {"emptyDir": {}}, "image": "example.com/vllm:1", "args": ["--max-model-len=$(LENGTH)"],
        "env": [{"name": "HF_HOME", "value": "/cache/mine"}, {"name": "LENGTH", "value": "4096"}],
        "resources": {"limits": {"memory": "8Gi"}, "requests": {"cpu": 2}}
    }));
    assert_eq!(server["image"], "example.com/vllm:1");
    assert_eq!(server["args"].as_array().and_then(|args| args.last()), Some(&json!("--max-model-len=$(LENGTH)")));
    assert_eq!(server["env"][0]["value"], "/cache/mine");
    // Kubernetes makes the limit the request.
    let expected = json!({"limits": {"memory": "8Gi", "nvidia.com/gpu": "1"}, "requests": {"cpu": 2}});
    assert_eq!(server["resources"], expected);
    assert_eq!(server_of(json!({}))["resources"]["requests"], json!({"cpu": "100m", "memory": "256Mi"}));
}

#[test]
fn fields_of_the_pod_are_passed_on_and_tolerations_added() {
    let pod = built(json!({
        "nodeSelector": {"disk": "ssd"}, "runtimeClassName": "nvidia", "priorityClassName": "high",
        "serviceAccountName": "models", "imagePullSecrets": [{"name": "registry"}], "nodeLossSeconds": 60,
        "tolerations": [{"key": "edge", "operator": "Exists"}]
    }))["spec"]
        .clone();
    assert_eq!(pod["nodeSelector"], json!({"disk": "ssd"}));
    assert_eq!(pod["serviceAccount"], pod["serviceAccountName"], "goes with it");
    assert_eq!((&pod["runtimeClassName"], &pod["priorityClassName"]), (&json!("nvidia"), &json!("high")));
    assert_eq!(
        (&pod["serviceAccountName"], &pod["imagePullSecrets"]),
        (&json!("models"), &json!([{"name": "registry"}]))
    );
    let keys: Vec<&str> = pod["tolerations"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|toleration| toleration["key"].as_str())
        .collect();
    assert_eq!(keys, ["nvidia.com/gpu", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "edge"]);
}

#[test]
fn the_template_reaches_everything_else() {
    let template = built(json!({"template": {
        "metadata": {"annotations": {"a": "b"}, "labels": {"team": "edge"}},
        "spec": {
            "containers": [{"name": "server", "livenessProbe": null}, {"name": "proxy", "image": "example.com/proxy"}],
            "topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}]
        }
    }}));
    assert_eq!(
        (&template["metadata"]["labels"]["team"], &template["metadata"]["annotations"]["a"]),
        (&json!("edge"), &json!("b"))
    );
    assert_eq!(template["spec"]["containers"].as_array().map(Vec::len), Some(2));
    assert_eq!(server(&template).expect("a server").get("livenessProbe"), None);
    assert_eq!(template["spec"]["topologySpreadConstraints"][0]["topologyKey"], "zone");
}

#[test]
fn what_the_operator_needs_cannot_be_overlaid() {
    for (overlay, expected) in [
        (
            json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}}),
            "template: metadata.labels: app.kubernetes.io/managed-by is the operator's own",
        ),
        (json!({"metadata": {"labels": null}}), "template: metadata.labels: ai.example.com/inferenceservice is"),
        (json!({"metadata": 1}), "template: metadata.labels: "),
        (json!({"spec": null}), "template: spec.containers: server must keep its port 8000 with the name http"),
        (json!({"spec": {"containers": "none"}}), "template: spec.containers: server must keep"),
        (
            json!({"spec": {"containers": [{"name": "server", "ports": [{"containerPort": 8000, "name": "web"}]}]}}),
            "template: spec.containers: server must",
        ),
        (
            json!({"spec": {"containers": [{"name": "server", "ports": [{"containerPort": 8000, "protocol": "UDP"}]}]}}),
            "template: spec.containers: server must",
        ),
        (json!("none"), "template: metadata.labels: "),
    ] {
        let refusal = refusal(json!({"template": overlay}));
        assert!(refusal.starts_with(&format!("invalid spec: {expected}")), "{overlay}: {refusal}");
    }
}

/// Whatever nodes a user asks for beside it.
#[test]
fn a_gpu_type_holds_in_each_term_for_nodes() {
    let zones = |zone: &str| json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]});
    let terms = json!({"nodeSelectorTerms": [zones("a"), zones("b"), {"matchFields": []}]});
    let affinity =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}, "podAffinity": {}});
    let template = built(json!({"gpuType": "L40S", "template": {"spec": {"affinity": affinity}}}));
    let path = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms = template.pointer(path).and_then(Value::as_array).expect("terms");
    let keys = |term: &Value| {
        term["matchExpressions"].as_array().into_iter().flatten().map(|said| said["key"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        terms.iter().map(keys).collect::<Vec<_>>(),
        [
            vec![json!("nvidia.com/gpu.product"), json!("zone")],
            vec![json!("nvidia.com/gpu.product"), json!("zone")],
            vec![json!("nvidia.com/gpu.product")],
        ]
    );
    assert_eq!(template.pointer("/spec/affinity/podAffinity"), Some(&json!({})));
    for broken in [
        json!(1),
        json!({"nodeAffinity": 1}),
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}),
    ] {
        let refusal = refusal(json!({"gpuType": "L40S", "template": {"spec": {"affinity": broken}}}));
        assert_eq!(refusal, "invalid spec: template: spec.affinity.nodeAffinity is not one");
    }
}

#[test]
fn an_empty_command_keeps_the_one_of_the_image() {
    let mut catalog = Catalog::default();
    catalog.change_default_engine(|engine| engine.command.clear());
    let spec = InferenceServiceSpec::of("m");
    let valid = validate("ns", "demo", Uid::default(), &spec, &catalog).expect("valid");
    let template = template(&valid, &Pods::default()).expect("built");
    assert_eq!(server(&template).expect("a server").get("command"), None);
}
