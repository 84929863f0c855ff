//! Installed, upgraded, taken away and installed again: the models run on, and no child is written.

use inference_operator::api::{InferenceService, Phase};

use crate::installed;
use crate::support::fixture::spec;
use crate::support::helm::{CHART, helm};
use crate::support::{Fixture, MANIFESTS, Temporary, audit, kubectl};

#[tokio::test]
async fn the_manifests_install_it_as_it_is_meant_to_run() {
    installed::install_as_it_is();
    let pod = installed::pod();
    assert_eq!(pod["status"]["qosClass"], "Burstable", "{pod}");
    assert_eq!(installed::restarts(&pod), 0, "{pod}");
    let namespace = kubectl(&["get", "namespace", installed::NAMESPACE, "--show-labels"]);
    assert!(namespace.contains("pod-security.kubernetes.io/enforce=restricted"), "{namespace}");
    let log = kubectl(&["-n", installed::NAMESPACE, "logs", "deployment/inference-operator"]);
    println!("{log}");
    // Right after the CRD it may have to wait for the API server a moment, and warns.
    assert!(log.contains("in sync") && !log.contains("ERROR"), "{log}");
}

/// Unlike the simulated pods of the cluster tests, this one is ready only when it is in sync.
#[tokio::test]
async fn helm_returns_when_the_operator_is_in_sync() {
    kubectl(&["delete", "-k", MANIFESTS, "--ignore-not-found"]);
    let release = |arguments: &[&str]| helm(&[arguments, &["-n", installed::NAMESPACE, "--wait"]].concat());
    let assert_in_sync = |image: &str| {
        let pod = installed::pod();
        assert_eq!(pod["spec"]["containers"][0]["image"], image, "{pod}");
        assert_eq!(pod["status"]["containerStatuses"][0]["ready"], true, "{pod}");
        let log = kubectl(&["-n", installed::NAMESPACE, "logs", "deployment/inference-operator"]);
        assert!(log.contains("in sync") && !log.contains("ERROR"), "{log}");
    };
    release(&["install", "inference-operator", CHART, "--create-namespace", "--set", "createNamespace=true"]);
    assert_in_sync("inference-operator:0.1.0");
    release(&["upgrade", "inference-operator", CHART, "--reset-then-reuse-values", "--set", "image.tag=next"]);
    assert_in_sync("inference-operator:next");
    release(&["rollback", "inference-operator"]);
    assert_in_sync("inference-operator:0.1.0");
    release(&["uninstall", "inference-operator"]);
    assert!(installed::pod().is_null(), "{}", installed::pod());
}

#[tokio::test]
async fn an_upgrade_restarts_no_model_and_writes_no_child() {
    installed::install();
    let fixture = Fixture::new("upgrade").await;
    fixture.create("with-a-pod", 1).await;
    fixture.create("without", 0).await;
    fixture.until_all(2, Phase::Ready).await;
    let before = installed::pods_of(&fixture.namespace);

    let mark = audit::mark();
    installed::install_image("inference-operator:next");
    assert_no_writes(mark);
    assert_eq!(installed::pods_of(&fixture.namespace), before);

    installed::install();
    assert_no_writes(mark);
    assert_eq!(installed::pods_of(&fixture.namespace), before);
    fixture.clean_up().await;
}

#[tokio::test]
async fn without_the_operator_models_go_on_and_when_it_is_back_nothing_is_written() {
    installed::install();
    let fixture = Fixture::new("absence").await;
    let object = fixture.create("model", 1).await;
    let object = fixture.until(object.metadata.name.as_deref().unwrap_or_default(), Phase::Ready).await;
    let endpoint = object.status.and_then(|status| status.endpoint).expect("an endpoint");
    let before = installed::pods_of(&fixture.namespace);

    installed::delete();
    let answer = installed::ask_from_a_pod(&fixture, "client", &format!("{endpoint}/v1/models")).await;
    assert!(answer.contains("demo/model"), "{answer}");

    let mark = audit::mark();
    installed::install();
    assert_no_writes(mark);
    assert!(installed::pods_of(&fixture.namespace).contains(&before));
    fixture.clean_up().await;
}

#[tokio::test]
async fn for_one_namespace_alone_it_serves_that_one_and_leaves_the_others() {
    installed::delete();
    kubectl(&["delete", "clusterrolebinding/inference-operator", "clusterrole/inference-operator"]);
    kubectl(&["create", "namespace", "models"]);
    installed::install_for_one_namespace();
    for namespace in ["default", "models"] {
        let object = InferenceService::new("alone", spec("demo/model", 0, "L40S"));
        let object = serde_json::to_string(&object).expect("JSON");
        kubectl(&["-n", namespace, "apply", "-f", Temporary::new(&object).path()]);
    }
    kubectl(&["-n", "models", "wait", "isvc/alone", "--for=condition=Ready", "--timeout=60s"]);
    // It has the API server's own default, and nothing of an operator.
    assert_eq!(kubectl(&["-n", "default", "get", "isvc/alone", "-o", "jsonpath={.status.conditions}"]), "[]");
    let log = kubectl(&["-n", installed::NAMESPACE, "logs", "deployment/inference-operator"]);
    assert!(log.contains("in sync") && !log.contains("not permitted to list or watch"), "{log}");

    kubectl(&["-n", "default", "delete", "isvc/alone"]);
    kubectl(&["delete", "namespace", "models", "--wait=false"]);
    installed::delete();
}

fn assert_no_writes(mark: audit::Mark) {
    let requests = audit::since(mark);
    assert!(requests.iter().any(|request| request.verb == "watch"), "it was not there: {requests:?}");
    assert!(requests.iter().all(|request| !request.is_write()), "{requests:?}");
}
