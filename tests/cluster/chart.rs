//! The Helm chart installs what the manifests install, and refuses what it does not know. How it is installed, upgraded and
//! removed: chart_release.rs.

use std::ffi::OsString;

use inference_operator::settings;
use serde_json::{Value, json};

use crate::support::helm::{self, CHART, Key, Objects, helm, helm_fails, kustomized, only, rendered};
use crate::support::shell::{built, dry_run, until_established};
use crate::support::{Fixture, MANIFESTS, SINGLE_NAMESPACE, STANDBY, Temporary, kubectl};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/samples/helm/helmchart.yaml");

/// What Helm's own conventions add. The chart's README lists the same.
const HELM_LABELS: [&str; 4] =
    ["app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"];
const KEPT: &str = "helm.sh/resource-policy";

/// Without what Helm's conventions add, which must be there.
fn without_conventions(mut objects: Objects) -> Objects {
    for ((kind, _, name), object) in &mut objects {
        let is_crd = kind == "CustomResourceDefinition";
        let labels = if is_crd { &[][..] } else { &HELM_LABELS[..] };
        let annotations = if is_crd || kind == "Namespace" { &[KEPT][..] } else { &[][..] };
        for (field, added) in [("labels", labels), ("annotations", annotations)] {
            let metadata = object["metadata"].as_object_mut().expect("metadata");
            let Some(fields) = metadata.get_mut(field).and_then(Value::as_object_mut) else { continue };
            for key in added {
                assert!(fields.remove(*key).is_some(), "{kind} {name} has no {key}");
            }
            if fields.is_empty() {
                metadata.remove(field);
            }
        }
    }
    objects
}

fn assert_same(chart: Objects, manifests: &Objects) {
    let chart = without_conventions(chart);
    let keys = |objects: &Objects| objects.keys().cloned().collect::<Vec<Key>>();
    assert_eq!(keys(&chart), keys(manifests));
    for (key, object) in manifests {
        assert_eq!(&chart[key], object, "{key:?}: by the chart, and by the manifests");
    }
}

#[tokio::test]
async fn the_chart_installs_the_objects_of_the_manifests_and_no_other() {
    let manifests = kustomized(MANIFESTS);
    assert_same(rendered(&["--set", "createNamespace=true"]), &manifests);
    // Helm creates it itself.
    let mut without = manifests;
    without.retain(|(kind, _, _), _| kind != "Namespace");
    assert_same(rendered(&[]), &without);
    assert_same(rendered(&["--set", "createNamespace=true,settings.namespace=models"]), &kustomized(SINGLE_NAMESPACE));
    assert_same(rendered(&["--set", "createNamespace=true,standby=true"]), &kustomized(STANDBY));
}

#[tokio::test]
async fn the_packaged_chart_is_the_folder() {
    let folder = std::env::temp_dir().join(format!("inference-operator-package-{}", std::process::id()));
    helm(&["package", CHART, "--destination", folder.to_str().expect("UTF-8")]);
    let archive = folder.join(format!("inference-operator-{}.tgz", env!("CARGO_PKG_VERSION")));
    let archive = archive.to_str().expect("UTF-8");
    let command = ["template", "inference-operator", archive, "--namespace", "inference-operator"];
    assert_eq!(helm::objects(&helm(&command)), rendered(&[]));
    std::fs::remove_dir_all(folder).expect("removed");
}

#[tokio::test]
async fn a_mistyped_value_is_refused_by_its_name() {
    let long = format!("image.digest=sha256:{}", "a".repeat(63));
    for (value, words) in [
        ("imag.tag=1", "additional properties 'imag' not allowed"),
        ("image.tga=1", "additional properties 'tga' not allowed"),
        ("settings.runtime-clas=nvidia", "additional properties 'runtime-clas' not allowed"),
        ("settings.pod-policy=open", "at '/settings/pod-policy'"),
        ("settings.concurrency=65", "at '/settings/concurrency'"),
        ("settings.allow-host-path[0]=models", "at '/settings/allow-host-path/0'"),
        ("settings.rollout-max-unavailable=101%", "at '/settings/rollout-max-unavailable'"),
        ("crds.instal=false", "additional properties 'instal' not allowed"),
        ("crds.install=no", "at '/crds/install'"),
        ("resources.request.cpu=1", "additional properties 'request' not allowed"),
        ("tolerations[0].kee=x", "additional properties 'kee' not allowed"),
        ("networkPolicy.apiServerPorts[0]=70000", "at '/networkPolicy/apiServerPorts/0'"),
        (&long, "at '/image/digest'"),
    ] {
        let told = helm_fails(&["template", "inference-operator", CHART, "--set", value]);
        assert!(told.contains(words), "{value}: {told}");
    }
}

/// By the environment, as the pod has it, and on a command line: the same settings.
#[tokio::test]
async fn every_setting_reaches_the_operator() {
    let values = json!({"settings": {
        "namespace": "models", "gpu-type": ["T4=Tesla-T4,NVIDIA-T4", "L4=NVIDIA-L4"], "server-image": "example.com/vllm:1",
        "server-port": 9000, "server-command": ["serve", "<\"&\">"], "server-arguments": ["{model}", "--port={port}"],
        "model-load-seconds": 86400, "runtime-class": "nvidia", "pod-policy": "closed",
        "allow-host-path": ["/var/lib/models", "/srv"], "cluster-domain": "example.org", "rollout-max-unavailable": "10%",
        "resync-seconds": 60, "concurrency": 4, "telemetry-address": "0.0.0.0:9090", "log-level": "debug",
        "log-format": "json"
    }});
    let file = Temporary::new(&values.to_string());
    let objects = rendered(&["-f", file.path()]);
    let deployment = only(&objects, "Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let environment = |name: &str| {
        let variable = container["env"].as_array().expect("a list").iter().find(|entry| entry["name"] == name)?;
        Some(variable["value"].as_str().unwrap_or("inference-operator").to_owned())
    };
    let flags = [
        "--namespace=models",
        "--catalog-namespace=inference-operator",
        "--gpu-type=T4=Tesla-T4,NVIDIA-T4",
        "--gpu-type=L4=NVIDIA-L4",
        "--server-image=example.com/vllm:1",
        "--server-port=9000",
        r#"--server-command=["serve","<\"&\">"]"#,
        r#"--server-arguments=["{model}","--port={port}"]"#,
        "--model-load-seconds=86400",
        "--runtime-class=nvidia",
        "--pod-policy=closed",
        "--allow-host-path=/var/lib/models",
        "--allow-host-path=/srv",
        "--cluster-domain=example.org",
        "--rollout-max-unavailable=10%",
        "--resync-seconds=60",
        "--concurrency=4",
        "--telemetry-address=0.0.0.0:9090",
        "--log-level=debug",
        "--log-format=json",
    ];
    let by_flags = settings::parse(flags.map(OsString::from), |_| None);
    assert!(by_flags.is_ok(), "{by_flags:?}");
    assert_eq!(settings::parse([], environment), by_flags);

    // None of them is left out above.
    let set = values["settings"].as_object().expect("settings").len();
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{CHART}/values.schema.json")).expect("read"))
            .expect("JSON");
    assert_eq!(schema["properties"]["settings"]["properties"].as_object().expect("settings").len(), set);
    // The port is where the probes, the scraper and the NetworkPolicy look for it.
    assert_eq!(container["ports"][0]["containerPort"], 9090);
    assert_eq!(deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"], "9090");
}

#[tokio::test]
async fn without_telemetry_nothing_asks_for_it() {
    let objects = rendered(&["--set", "settings.telemetry-address=off"]);
    let pod = &only(&objects, "Deployment")["spec"]["template"];
    assert!(pod["metadata"]["annotations"].is_null(), "{pod}");
    for field in ["ports", "livenessProbe", "readinessProbe"] {
        assert!(pod["spec"]["containers"][0][field].is_null(), "{field}: {pod}");
    }
    let policy = only(&objects, "NetworkPolicy");
    assert!(
        policy["spec"]["ingress"].is_null() && policy["spec"]["policyTypes"] == json!(["Ingress", "Egress"]),
        "{policy}"
    );
}

/// Each value that no other test sets, in a way that the API server takes.
#[tokio::test]
async fn the_api_server_takes_what_all_values_render() {
    let fixture = Fixture::new("chartvalues").await;
    let digest = format!("sha256:{}", "a".repeat(64));
    let values = json!({
        "image": {"repository": "example.com/inference-operator", "digest": digest, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "crds": {"keep": false},
        "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}, "limits": null},
        "nodeSelector": {"edge": "true"},
        "tolerations": [{"key": "edge", "operator": "Equal", "value": "true", "effect": "NoExecute", "tolerationSeconds": 60}],
        "affinity": {"nodeAffinity": null, "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "priorityClassName": "system-cluster-critical",
        "podAnnotations": {"example.com/a": "b"},
        "podLabels": {"example.com/c": "d"},
        "metrics": {"scrapeAnnotations": false},
        "networkPolicy": {"apiServerPorts": [16443]},
    });
    let file = Temporary::new(&values.to_string());
    let objects = rendered(&["-f", file.path()]);
    let pod = &only(&objects, "Deployment")["spec"]["template"];
    assert_eq!(pod["metadata"]["annotations"], json!({"example.com/a": "b"}));
    assert_eq!(
        pod["metadata"]["labels"],
        json!({"app.kubernetes.io/name": "inference-operator", "example.com/c": "d"})
    );
    let (container, spec) = (&pod["spec"]["containers"][0], &pod["spec"]);
    assert_eq!(container["image"], format!("example.com/inference-operator@{digest}"));
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["resources"], json!({"requests": {"cpu": "10m", "memory": "8Mi"}}));
    assert_eq!(spec["nodeSelector"], json!({"edge": "true"}));
    assert_eq!(spec["tolerations"], values["tolerations"]);
    assert!(spec["affinity"]["nodeAffinity"].is_null() && spec["affinity"]["podAntiAffinity"].is_object(), "{spec}");
    assert_eq!(
        (&spec["priorityClassName"], &spec["imagePullSecrets"]),
        (&values["priorityClassName"], &values["imagePullSecrets"])
    );
    let policy = only(&objects, "NetworkPolicy");
    assert_eq!(policy["spec"]["egress"][0]["ports"], json!([{"protocol": "TCP", "port": 16443}]));
    let crds = objects.iter().filter(|((kind, _, _), _)| kind == "CustomResourceDefinition");
    assert!(crds.clone().count() == 2 && crds.into_iter().all(|(_, crd)| crd["metadata"]["annotations"].is_null()));

    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects.values().collect::<Vec<_>>()});
    let all = Temporary::new(&list.to_string());
    dry_run(["-f", all.path()]);

    let without = rendered(&["--set", "crds.install=false,networkPolicy.install=false"]);
    let is_gone = |key: &Key| ["CustomResourceDefinition", "NetworkPolicy"].contains(&key.0.as_str());
    assert!(objects.keys().any(is_gone) && !without.keys().any(is_gone), "{:?}", without.keys());
    fixture.clean_up().await;
}

#[tokio::test]
async fn k3s_own_resource_for_charts_takes_the_sample_and_its_values_are_the_chart_s() {
    let fixture = Fixture::new("helmchart").await;
    let crd = format!("{}/helmcharts.yaml", built("helm-controller"));
    kubectl(&["apply", "--server-side", "-f", &crd]);
    until_established("helmcharts.helm.cattle.io");
    dry_run(["-f", SAMPLE]);
    kubectl(&["delete", "-f", &crd]);

    let objects = helm::objects(&std::fs::read_to_string(SAMPLE).expect("the sample"));
    let chart = only(&objects, "HelmChart");
    assert_eq!(chart["metadata"], json!({"name": "inference-operator", "namespace": "kube-system"}));
    let file = format!("inference-operator-{}.tgz", env!("CARGO_PKG_VERSION"));
    assert!(chart["spec"]["chart"].as_str().expect("a chart").ends_with(&format!("/{file}")), "{chart}");
    let values = Temporary::new(chart["spec"]["valuesContent"].as_str().expect("values"));
    let namespace = chart["spec"]["targetNamespace"].as_str().expect("a namespace");
    assert_eq!(namespace, "inference-operator");
    let rendered = rendered(&["-f", values.path(), "--namespace", namespace]);
    let variables = &only(&rendered, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"];
    let variables = variables.as_array().expect("a list");
    assert!(
        variables.contains(&json!({"name": "INFERENCE_OPERATOR_RUNTIME_CLASS", "value": "nvidia"})),
        "{variables:?}"
    );

    // The namespace is the one of the manifests.
    let enforced = |objects: &Objects| {
        let metadata = &only(objects, "Namespace")["metadata"];
        (metadata["name"].clone(), metadata["labels"]["pod-security.kubernetes.io/enforce"].clone())
    };
    assert_eq!(enforced(&objects), enforced(&kustomized(MANIFESTS)));
    fixture.clean_up().await;
}
