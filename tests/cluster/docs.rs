//! The commands in the pages of docs/ do what the pages say: a shell runs each marked block unchanged, on the
//! InferenceService that the pages use.

use std::collections::BTreeSet;
use std::process::Command;

use inference_operator::api::Phase;
use serde_json::{Value, json};

use crate::support::fixture::spec;
use crate::support::reader::blocks;
use crate::support::shell::{apply, variable};
use crate::support::{Fixture, Operator, Reader, eventually, kubectl};

/// `phi-4` in `models`, Ready.
async fn models() -> (Fixture, Operator, Reader) {
    let fixture = Fixture::named("models").await;
    let reader = Reader::new("models");
    let operator = Operator::start("docs", &[]).await;
    fixture.create_from("phi-4", spec("microsoft/phi-4", 1, "A100")).await;
    fixture.until("phi-4", Phase::Ready).await;
    (fixture, operator, reader)
}

/// Other tests use a namespace of that name too.
async fn close(fixture: &Fixture) {
    fixture.clean_up().await;
    kubectl(&["wait", "--for=delete", "namespace/models", "--timeout=60s"]);
}

async fn generations(fixture: &Fixture) -> (Option<i64>, Option<i64>) {
    let object = fixture.inference_services.get("phi-4").await.expect("there");
    (object.metadata.generation, object.status.map(|status| status.observed_generation))
}

#[test]
fn every_block_that_is_marked_is_run_by_one_of_these_tests() {
    let sources = [include_str!("docs.rs"), include_str!("chart_release.rs"), include_str!("../kind/docs.rs")];
    let source = sources.concat();
    let blocks = blocks();
    assert!(blocks.len() > 10, "{blocks:?}");
    let names: BTreeSet<&String> = blocks.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), blocks.len(), "of two blocks with one name only the first is run: {blocks:?}");
    for name in names {
        assert!(source.contains(&format!(".types(\"{name}\")")), "{name}");
    }
}

#[tokio::test]
async fn a_change_is_waited_for_and_a_number_of_replicas_set() {
    let (fixture, _operator, reader) = models().await;
    reader.types("wait").await;
    assert_eq!(generations(&fixture).await, (Some(2), Some(2)));
    fixture.change("phi-4", json!({"maxBatchSize": 33})).await;
    reader.types("generation").await;
    assert_eq!(generations(&fixture).await, (Some(3), Some(3)));
    reader.types("scale").await;
    let status = fixture.inference_services.get("phi-4").await.expect("there").status.expect("a status");
    assert_eq!((status.phase, status.ready_replicas), (Phase::Ready, 2));
    let told = reader.types("reasons").await;
    let row = told.lines().find(|line| line.contains("phi-4")).unwrap_or_default();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["models", "phi-4", "Ready", "ReplicasReady"]);
    assert!(told.ends_with("\n2 of 2 replicas ready\n"), "{told}");
    close(&fixture).await;
}

/// Without a metrics adapter only minReplicas can show that the autoscaler scales.
#[tokio::test]
async fn an_autoscaler_scales_the_inference_service() {
    let (fixture, _operator, reader) = models().await;
    reader.types("autoscaler").await;
    eventually("three replicas are asked for, and there", || async {
        let object = fixture.inference_services.get("phi-4").await.map_err(|error| error.to_string())?;
        let ready = object.status.map_or(0, |status| status.ready_replicas);
        if (object.spec.replicas, ready) == (3, 3) { Ok(()) } else { Err(format!("{} {ready}", object.spec.replicas)) }
    })
    .await;
    kubectl(&["-n", "models", "delete", "hpa/phi-4"]);
    close(&fixture).await;
}

#[tokio::test]
async fn what_was_backed_up_is_restored() {
    let (fixture, _operator, reader) = models().await;
    reader.types("backup").await;
    kubectl(&["-n", "models", "delete", "isvc", "--all"]);
    reader.types("restore").await;
    let object = fixture.until("phi-4", Phase::Ready).await;
    assert_eq!((object.spec.model.as_str(), object.spec.replicas), ("microsoft/phi-4", 1));
    close(&fixture).await;
}

#[tokio::test]
async fn an_inference_service_is_replaced_under_its_running_model() {
    let (fixture, _operator, reader) = models().await;
    let before = fixture.deployments.get("phi-4").await.expect("there").metadata.uid;
    reader.types("adopt").await;
    let object = fixture.until("phi-4", Phase::Ready).await;
    let deployment = fixture.deployments.get("phi-4").await.expect("there");
    assert_eq!(deployment.metadata.uid, before, "it was made anew");
    let owners = deployment.metadata.owner_references.unwrap_or_default();
    assert_eq!(owners.first().map(|owner| owner.uid.as_str()), object.metadata.uid.as_deref());
    close(&fixture).await;
}

#[tokio::test]
async fn when_it_is_deleted_the_pods_are_waited_for() {
    let (fixture, _operator, reader) = models().await;
    let pods = || kubectl(&["-n", "models", "get", "pods", "-o", "name"]);
    assert!(pods().contains("phi-4"));
    reader.types("delete").await;
    assert_eq!(pods(), "");
    close(&fixture).await;
}

#[tokio::test]
async fn what_a_namespace_does_to_a_model_s_pod_is_shown() {
    let (fixture, _operator, reader) = models().await;
    apply(&[json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small", "namespace": "models"},
        "spec": {"limits": [{"type": "Container", "default": {"memory": "512Mi"}}]}
    })]);
    kubectl(&["-n", "models", "rollout", "restart", "deployment/phi-4"]);
    kubectl(&["-n", "models", "rollout", "status", "deployment/phi-4", "--timeout=60s"]);
    let limits = reader.types("limits").await;
    assert!(limits.contains("memory:512Mi"), "{limits}");
    let links = reader.types("links").await;
    let mut rows = links.lines().skip(1);
    assert!(links.contains("phi-4") && rows.all(|row| row.trim_end().ends_with("false")), "{links}");
    close(&fixture).await;
}

/// These tests' API server listens on 127.0.0.1, and therefore has no endpoint.
#[tokio::test]
async fn a_port_of_the_api_server_is_looked_up_and_let_through() {
    let (fixture, _operator, reader) = models().await;
    apply(&[json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "docs", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"name": "https", "port": 16443, "protocol": "TCP"}]
    })]);
    assert_eq!(reader.types("endpoints").await, "16443\n");
    kubectl(&["-n", "default", "delete", "endpointslice/docs"]);
    reader.types("ports").await;
    let text = std::fs::read_to_string(reader.folder().join("operator.yaml")).expect("written");
    let policy = text.split("\n---\n").find(|text| text.contains("kind: NetworkPolicy")).expect("a policy");
    let policy: Value = serde_saphyr::from_str(policy).expect("YAML");
    let ports = policy["spec"]["egress"][0]["ports"].as_array().expect("ports").iter();
    assert_eq!(ports.map(|port| port["port"].as_u64().unwrap_or(0)).collect::<Vec<_>>(), [443, 6443, 16443]);
    close(&fixture).await;
}

/// The admission plugin is off here, so this only checks for the permission that the plugin requires.
#[tokio::test]
async fn the_right_to_adopt_is_given_and_taken_away() {
    let (fixture, _operator, reader) = models().await;
    let may = |resource: &str| {
        let user = "--as=system:serviceaccount:inference-operator:inference-operator";
        let asked = ["-n", "models", "auth", "can-i", "delete", resource, user];
        let output = Command::new(variable("KUBECTL")).args(asked).output().expect("kubectl runs");
        String::from_utf8_lossy(&output.stdout).trim() == "yes"
    };
    let until = async |right: bool| {
        eventually("the right has changed", || async {
            let all = ["deployments.apps", "services"].map(may);
            if all == [right; 2] { Ok(()) } else { Err(format!("{all:?}")) }
        })
        .await;
    };
    until(false).await;
    reader.types("guarded").await;
    until(true).await;
    reader.types("unguarded").await;
    until(false).await;
    close(&fixture).await;
}
