//! The Helm chart as people use it: a shell runs the commands of its README unchanged, with Helm 4. The operator's pod is
//! simulated, as all pods of this cluster; the operator is a process with the permissions that Helm has installed.

use inference_operator::api::Phase;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use crate::support::helm::{helm, helm_fails};
use crate::support::{Fixture, MANIFESTS, Operator, Reader, Request, eventually, kubectl};

const NAMESPACE: &str = "inference-operator";

/// A field that the CRD of an older release does not have.
const NEW_FIELD: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/paused";

/// Makes the reader's copy of the chart that of an older release.
fn becomes_older(reader: &Reader) {
    let chart = reader.folder().join("charts/inference-operator");
    let text = std::fs::read_to_string(chart.join("Chart.yaml")).expect("read");
    let version = format!("version: {}", env!("CARGO_PKG_VERSION"));
    std::fs::write(chart.join("Chart.yaml"), text.replace(&version, "version: 0.0.9")).expect("written");
    let crds = std::fs::read_to_string(chart.join("files/crd.yaml")).expect("read");
    let (parent, field) = NEW_FIELD.rsplit_once('/').expect("a parent");
    let older = crds.split("\n---\n").map(|text| {
        let mut crd: Value = serde_saphyr::from_str(text).expect("YAML");
        if crd["metadata"]["name"] == "inferenceservices.ai.example.com" {
            let properties = crd.pointer_mut(parent).and_then(Value::as_object_mut).expect("properties");
            assert!(properties.remove(field).is_some(), "the CRD has {field}");
        }
        serde_saphyr::to_string(&crd).expect("YAML").trim_end().to_owned()
    });
    std::fs::write(chart.join("files/crd.yaml"), older.collect::<Vec<_>>().join("\n---\n")).expect("written");
}

fn crd_is_new() -> bool {
    let crd = kubectl(&["get", "crd/inferenceservices.ai.example.com", "-o", "json"]);
    serde_json::from_str::<Value>(&crd).expect("JSON").pointer(NEW_FIELD).is_some()
}

/// The chart of the deployed release and its revision.
fn release() -> (String, u64) {
    let list: Value = serde_json::from_str(&helm(&["list", "-n", NAMESPACE, "-o", "json"])).expect("JSON");
    assert_eq!(list[0]["status"], "deployed", "{list}");
    let revision = list[0]["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision");
    (list[0]["chart"].as_str().expect("a chart").to_owned(), revision)
}

/// The operator's Deployment has this setting, and its pod is ready: Helm has waited.
fn assert_installed(variable: &str, value: &str) {
    let text = kubectl(&["-n", NAMESPACE, "get", "deployment/inference-operator", "-o", "json"]);
    let deployment: Value = serde_json::from_str(&text).expect("JSON");
    let variables = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
    assert!(variables.as_array().expect("a list").contains(&json!({"name": variable, "value": value})), "{variables}");
    let status = &deployment["status"];
    let generations = (&status["observedGeneration"], &status["updatedReplicas"], &status["readyReplicas"]);
    assert_eq!(generations, (&deployment["metadata"]["generation"], &json!(1), &json!(1)), "{status}");
}

async fn model(fixture: &Fixture) -> (Option<String>, Option<i64>) {
    let deployment: Deployment = fixture.deployments.get("demo").await.expect("the model's Deployment");
    (deployment.metadata.uid, deployment.metadata.generation)
}

#[tokio::test]
async fn models_run_on_while_the_chart_is_installed_upgraded_rolled_back_and_removed() {
    let fixture = Fixture::new("chart").await;
    kubectl(&["delete", "-k", MANIFESTS, "--ignore-not-found"]);
    let reader = Reader::with_chart(NAMESPACE);
    becomes_older(&reader);
    reader.types("helm-install").await;
    assert!(!crd_is_new());
    assert_eq!(release(), ("inference-operator-0.0.9".to_owned(), 1));
    let namespace = kubectl(&["get", "namespace", NAMESPACE, "--show-labels"]);
    assert!(namespace.contains("pod-security.kubernetes.io/enforce=restricted"), "{namespace}");

    let mut operator = Operator::start("chart", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let before = model(&fixture).await;
    reader.copies_chart();
    for (block, is_new, revision) in [("upgrade", true, 2), ("rollback", false, 3), ("upgrade", true, 4)] {
        match block {
            "upgrade" => reader.types("helm-upgrade").await,
            _ => reader.types("helm-rollback").await,
        };
        assert_eq!(crd_is_new(), is_new, "{block}");
        let version = if is_new { env!("CARGO_PKG_VERSION") } else { "0.0.9" };
        assert_eq!(release(), (format!("inference-operator-{version}"), revision), "{block}");
        assert_installed("INFERENCE_OPERATOR_RUNTIME_CLASS", "nvidia");
        assert_eq!(model(&fixture).await, before, "{block}");
    }
    fixture.change("demo", json!({"replicas": 2})).await;
    fixture.until("demo", Phase::Ready).await;
    let before = model(&fixture).await;

    operator.kill();
    reader.types("helm-uninstall").await;
    assert_eq!(
        kubectl(&["-n", NAMESPACE, "get", "deployments,serviceaccounts,roles", "-o", "name"]),
        "serviceaccount/default\n"
    );
    assert!(crd_is_new());
    assert_eq!(model(&fixture).await, before);

    reader.types("helm-install").await;
    let requests;
    (operator, requests) = Operator::start_and_settle("chart", &[]).await;
    assert!(!requests.iter().any(Request::is_write), "{requests:?}");
    assert_eq!(model(&fixture).await, before);

    operator.kill();
    reader.types("helm-remove-all").await;
    for gone in
        ["crd/inferenceservices.ai.example.com", "namespace/inference-operator", "clusterrole/inference-operator"]
    {
        assert_eq!(kubectl(&["get", gone, "--ignore-not-found"]), "");
    }
    eventually("the model is collected", || async {
        let left = kubectl(&["-n", &fixture.namespace, "get", "deployments,services", "-o", "name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    kubectl(&["delete", "namespace", &fixture.namespace, "--wait=false"]);
}

#[tokio::test]
async fn helm_takes_over_what_kubectl_has_applied_and_no_pod_restarts() {
    let fixture = Fixture::new("takeover").await;
    kubectl(&["apply", "-k", MANIFESTS]);
    let roll_out =
        || kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/inference-operator", "--timeout=60s"]);
    roll_out();
    let pods = || kubectl(&["-n", NAMESPACE, "get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"]);
    let before = pods();
    let reader = Reader::with_chart(NAMESPACE);
    reader.types("helm-take-over").await;
    assert_eq!(pods(), before);

    // kubectl still owns what it has applied.
    let chart = reader.folder().join("charts/inference-operator");
    let chart = chart.to_str().expect("UTF-8");
    let upgrade =
        ["upgrade", "inference-operator", chart, "-n", NAMESPACE, "--set", "resources.limits.memory=64Mi", "--wait"];
    let told = helm_fails(&upgrade);
    assert!(told.contains("conflict with \"kubectl-client-side-apply\""), "{told}");
    helm(&[&upgrade[..], &["--force-conflicts"]].concat());
    roll_out();
    assert_ne!(pods(), before);
    reader.types("helm-uninstall").await;
    fixture.clean_up().await;
}
