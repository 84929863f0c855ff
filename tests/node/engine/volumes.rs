//! Where a model comes from: a folder of the node, a claim.

use inference_operator::api::Phase;
use serde_json::{Value, json};

use super::{Models, completion, create};
use crate::installed;
use crate::support::shell::apply;
use crate::support::{Fixture, kubectl};

#[tokio::test]
async fn a_model_in_a_folder_of_the_node_is_served_on_the_cpu_and_answers_by_its_name() {
    installed::install();
    let models = Models::new("folder");
    let fixture = Fixture::new("folder").await;
    let volume = json!({"hostPath": {"path": models.path(), "type": "Directory"}});
    create(&fixture, "chat", &volume, &json!({}));
    fixture.until_refused("chat", "spec.volumes[models].hostPath").await;
    // Allowed by the administrator, it heals by itself.
    installed::configure(&[&format!("INFERENCE_OPERATOR_ALLOW_HOST_PATH={}", models.path())]);
    fixture.until("chat", Phase::Ready).await;
    let answer: Value = serde_json::from_str(&completion(&fixture, "chat", "once", false).await).expect("JSON");
    assert_eq!((&answer["model"], &answer["usage"]["completion_tokens"]), (&json!("chat"), &json!(8)), "{answer}");
    let answer = completion(&fixture, "chat", "streamed", true).await;
    assert!(answer.matches("data: {").count() >= 8 && answer.trim_end().ends_with("data: [DONE]"), "{answer}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_model_in_a_claim_is_served_and_served_again_by_a_new_pod() {
    installed::install();
    let models = Models::new("claim");
    let fixture = Fixture::new("claim").await;
    let (namespace, volume) = (fixture.namespace.as_str(), format!("models-{}", fixture.namespace));
    let node = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["edge"]});
    apply(&[
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "local": {"path": models.path()},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}}
        }}),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
               "metadata": {"name": "models", "namespace": namespace}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}}
        }}),
    ]);
    create(&fixture, "chat", &json!({"persistentVolumeClaim": {"claimName": "models"}}), &json!({}));
    fixture.until("chat", Phase::Ready).await;
    let before = installed::pods_of(namespace);
    kubectl(&["-n", namespace, "delete", "pods", "-l", "ai.example.com/inferenceservice=chat", "--wait"]);
    fixture.until("chat", Phase::Ready).await;
    assert_ne!(installed::pods_of(namespace), before);
    let answer = completion(&fixture, "chat", "once", false).await;
    assert!(answer.contains("\"model\":\"chat\""), "{answer}");
    fixture.clean_up().await;
    kubectl(&["delete", "persistentvolume", &volume, "--wait=false"]);
}
