//! Models that really run: probes, names, scaling, an image that is not there, a node that goes away.

use inference_operator::api::Phase;
use serde_json::json;

use crate::support::fixture::ready;
use crate::support::{Fixture, Temporary, eventually, kubectl};
use crate::{installed, node};

#[tokio::test]
async fn a_model_becomes_ready_by_its_probes_answers_by_name_and_scales_to_zero_and_back() {
    installed::install();
    let fixture = Fixture::new("serving").await;
    fixture.create("model", 1).await;
    let object = fixture.until("model", Phase::Ready).await;
    let endpoint = object.status.and_then(|status| status.endpoint).expect("an endpoint");
    let answer = installed::ask_from_a_pod(&fixture, "first", &format!("{endpoint}/v1/models")).await;
    assert!(answer.contains("\"id\":\"demo/model\""), "{answer}");

    kubectl(&["-n", &fixture.namespace, "scale", "isvc/model", "--replicas=0"]);
    let object = fixture.until("model", Phase::Ready).await;
    assert_eq!(object.status.map(|status| status.ready_replicas), Some(0));
    eventually("the pod is gone", || async {
        let pods = installed::pods_of(&fixture.namespace);
        // The client's has completed and may be there still.
        if pods.lines().count() <= 1 { Ok(()) } else { Err(pods) }
    })
    .await;

    kubectl(&["-n", &fixture.namespace, "scale", "isvc/model", "--replicas=1"]);
    eventually("it serves again", || async {
        let status = fixture.inference_services.get("model").await.map_err(|error| error.to_string())?.status;
        let status = status.unwrap_or_default();
        if status.phase == Phase::Ready && status.ready_replicas == 1 { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    let answer = installed::ask_from_a_pod(&fixture, "second", &format!("{endpoint}/v1/models")).await;
    assert!(answer.contains("\"id\":\"demo/model\""), "{answer}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_no_progress_and_the_status_says_where_to_look() {
    installed::install();
    installed::configure(&["INFERENCE_OPERATOR_SERVER_IMAGE=registry.invalid/none:1"]);
    let fixture = Fixture::new("no-image").await;
    let impatience = be_impatient(&fixture.namespace);
    fixture.create("model", 1).await;
    let object = fixture.until("model", Phase::Degraded).await;
    let (status, reason, message) = ready(&object);
    println!("{reason}: {message}");
    assert_eq!(status, "False");
    let (_, command) = message.split_once("see: kubectl ").expect("a command to type");
    let told = kubectl(&command.split_whitespace().collect::<Vec<_>>());
    assert!(told.contains("ImagePull"), "{told}");

    // Mended by the administrator, it heals by itself.
    installed::configure(&["INFERENCE_OPERATOR_SERVER_IMAGE=model-server:1"]);
    fixture.until("model", Phase::Ready).await;
    kubectl(&["delete", "-f", impatience.path()]);
    fixture.clean_up().await;
}

/// The time that a Deployment has for its progress is that of a model to load and an image to be pulled: 10 minutes
/// at least. An admission policy makes it 15 s in this namespace. The file that it is in.
fn be_impatient(namespace: &str) -> Temporary {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": "impatient"},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]
            },
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": "Object{spec: Object.spec{progressDeadlineSeconds: 15}}"}}]
        }
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "impatient"},
        "spec": {"policyName": "impatient"}
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]});
    let file = Temporary::new(&list.to_string());
    kubectl(&["apply", "-f", file.path()]);
    // It takes the API server a moment to know it.
    std::thread::sleep(std::time::Duration::from_secs(2));
    file
}

#[tokio::test]
async fn a_node_that_goes_away_and_comes_back_shows_in_the_status() {
    installed::install();
    let fixture = Fixture::new("node").await;
    fixture.create("model", 1).await;
    fixture.until("model", Phase::Ready).await;

    node::stop("kubelet");
    let wait = |condition: &str| {
        let namespace = fixture.namespace.as_str();
        kubectl(&[
            "-n",
            namespace,
            "wait",
            "isvc/model",
            &format!("--for=condition=Ready={condition}"),
            "--timeout=180s",
        ])
    };
    wait("False");
    let object = fixture.inference_services.get("model").await.expect("there");
    println!("{}", json!(object.status));
    node::start("kubelet");
    wait("True");
    fixture.clean_up().await;
}
