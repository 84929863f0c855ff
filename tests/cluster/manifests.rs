//! The released manifests: accepted unchanged by the API server, admitted under restricted pod security, and without
//! any unneeded permission.

use serde_json::{Value, json};

use crate::support::shell::dry_run;
use crate::support::{Fixture, MANIFESTS, SINGLE_NAMESPACE, Temporary, kubectl, kubectl_fails};

#[tokio::test]
async fn the_api_server_takes_all_manifests_without_a_warning() {
    let fixture = Fixture::new("manifests").await;
    kubectl(&["create", "namespace", "models"]);
    for arguments in
        [["-k", MANIFESTS], ["-f", MANIFESTS], ["-k", SINGLE_NAMESPACE], ["-f", &format!("{MANIFESTS}/samples")]]
    {
        let told = dry_run(arguments);
        assert!(told.contains("serverside-applied (server dry run)"), "{told}");
    }
    kubectl(&["delete", "namespace", "models", "--wait=false"]);
    fixture.clean_up().await;
}

/// The namespace enforces it; the API server checks it when the pod is created, not its Deployment.
#[tokio::test]
async fn restricted_pod_security_admits_the_operator_s_pod() {
    let fixture = Fixture::new("security").await;
    let text = kubectl(&["apply", "-f", &format!("{MANIFESTS}/operator.yaml"), "--dry-run=server", "-o", "json"]);
    let deployment: Value = serde_json::from_str(&text).expect("JSON");
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("inference-operator");
    pod["metadata"]["namespace"] = json!("inference-operator");
    let file = Temporary::new(&pod.to_string());
    kubectl(&["create", "--dry-run=server", "-f", file.path()]);

    // Another pod would be rejected.
    pod["spec"]["hostNetwork"] = json!(true);
    let file = Temporary::new(&pod.to_string());
    let refusal = kubectl_fails(&["create", "--dry-run=server", "-f", file.path()]);
    assert!(refusal.contains("violates PodSecurity \"restricted"), "{refusal}");
    fixture.clean_up().await;
}
