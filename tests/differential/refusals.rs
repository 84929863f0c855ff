//! The rejections of a terminating namespace, with the cause by which the operator recognizes them: the real API
//! server's response and the simulated one's.

use http::Request;
use kube::Client;
use serde_json::{Value, json};
use simulation::api_server::faults::Faults;
use simulation::api_server::server;
use simulation::chance::Chance;
use simulation::cluster::Cluster;

/// Code, reason and causes of the rejection of each creation.
async fn refusals(client: &Client, namespace: &str) -> Vec<(u16, String, Vec<String>)> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"},
        "spec": {"selector": {"app": "x"}, "ports": [{"name": "http", "port": 80}]}
    });
    let labels = json!({"app": "x"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "x"}]}
        }}
    });
    let post = Request::post(format!("/api/v1/namespaces/{namespace}/services?fieldManager=inference-operator"))
        .header("content-type", "application/json")
        .body(service.to_string().into_bytes());
    let path =
        format!("/apis/apps/v1/namespaces/{namespace}/deployments/one?fieldManager=inference-operator&force=true");
    let apply = Request::patch(path)
        .header("content-type", "application/apply-patch+yaml")
        .body(deployment.to_string().into_bytes());
    let mut refusals = Vec::new();
    for request in [post, apply] {
        match client.request::<Value>(request.expect("a request")).await {
            Err(kube::Error::Api(status)) => {
                let causes = status.details.map(|details| details.causes).unwrap_or_default();
                let causes = causes.into_iter().map(|cause| cause.reason).collect();
                refusals.push((status.code, status.reason, causes));
            }
            other => panic!("not refused: {other:?}"),
        }
    }
    refusals
}

#[tokio::test]
async fn a_namespace_that_goes_away_refuses_with_the_same_cause() {
    let namespace = format!("differential-{}-leaving", std::process::id());
    let real = Client::try_default().await.expect("KUBECONFIG");
    let object = json!({"metadata": {"name": namespace}}).to_string().into_bytes();
    let made = Request::post("/api/v1/namespaces").header("content-type", "application/json").body(object);
    real.request::<Value>(made.expect("a request")).await.expect("created");
    // The namespace controller is stopped, so the namespace keeps terminating.
    let deleted = Request::delete(format!("/api/v1/namespaces/{namespace}")).body(Vec::new());
    real.request::<Value>(deleted.expect("a request")).await.expect("deleted");

    let cluster = Cluster::new(Faults::none(Chance::new(0)));
    cluster.lock().store.terminating.insert(namespace.clone());
    let (simulated, _) = server::client(cluster.clone(), None);
    assert_eq!(refusals(&real, &namespace).await, refusals(&simulated, &namespace).await);
}
