//! A CRD of an older release with this operator, as after a `helm upgrade`, which does not update CRDs: a written
//! field that the API server drops is no reason to write it again.

use std::time::Duration;

use inference_operator::api::Phase;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{Fixture, Operator, Temporary, audit, eventually, kubectl};

const CRD: &str = "crd/inferenceservices.ai.example.com";

/// Removes these fields from the schema of the status, and waits until the API server drops them. The next fixture
/// restores them.
async fn without(fixture: &Fixture, fields: &[&str]) {
    let mut crd: Value = serde_json::from_str(&kubectl(&["get", CRD, "-o", "json"])).expect("JSON");
    for field in fields {
        let (parent, field) = field.rsplit_once('/').expect("a parent");
        let parent = format!("/spec/versions/0/schema/openAPIV3Schema/properties/status/{parent}");
        let properties = crd.pointer_mut(&parent).and_then(Value::as_object_mut).expect("properties");
        assert!(properties.remove(field).is_some(), "the schema has {field}");
    }
    let file = Temporary::new(&crd.to_string());
    kubectl(&["replace", "-f", file.path()]);
    fixture.create("probe", 0).await;
    eventually("the older schema is in force", || async {
        let observed = json!({"checksum": "x", "deploymentRevision": 1, "deploymentResourceVersion": "1"});
        let patch = Patch::Merge(json!({"status": {"selector": "x", "observed": observed}}));
        let object = fixture.inference_services.patch_status("probe", &PatchParams::default(), &patch).await;
        let status = object.map_err(|error| error.to_string())?.status.unwrap_or_default();
        let observed = status.observed.unwrap_or_default();
        let kept = [
            ("properties/observed", observed.deployment_resource_version.is_some()),
            ("properties/observed/properties/deploymentRevision", observed.deployment_revision.is_some()),
            ("properties/selector", status.selector.is_some()),
        ];
        let still = kept.iter().find(|(field, kept)| *kept && fields.contains(field));
        if still.is_none() { Ok(()) } else { Err(format!("{still:?}")) }
    })
    .await;
    kubectl(&["-n", &fixture.namespace, "delete", "isvc/probe"]);
}

async fn comes_to_rest(fields: &[&str], seconds: u64) {
    let fixture = Fixture::new("older-crd").await;
    without(&fixture, fields).await;
    let operator = Operator::start("older-crd", &[]).await;
    for number in 0..3 {
        fixture.create(&format!("demo-{number}"), number).await;
    }
    fixture.until_all(3, Phase::Ready).await;
    audit::is_quiet().await;
    let mark = audit::mark();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    // Namespaces of other tests may still be terminating.
    let mut requests = audit::since(mark);
    requests.retain(|request| request.verb != "watch" && request.namespace == fixture.namespace);
    assert!(requests.is_empty(), "{fields:?}: {requests:?}");
    assert_eq!(operator.lines_with("CRD"), 1, "{fields:?}: {}", operator.log());
    assert_eq!(operator.lines_with("keeps changing"), 0, "{fields:?}: {}", operator.log());
    // It keeps working.
    fixture.change("demo-0", json!({"replicas": 2})).await;
    fixture.until("demo-0", Phase::Ready).await;
    audit::is_quiet().await;
    assert_eq!(operator.lines_with("CRD"), 1, "{fields:?}: {}", operator.log());
    operator.kill();
    let operator = Operator::start("older-crd", &[]).await;
    operator.settled().await;
    audit::is_quiet().await;
    fixture.until_all(3, Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_operator_whose_crd_is_older_comes_to_rest_and_says_so_once() {
    comes_to_rest(&["properties/observed"], 10).await;
}

#[tokio::test]
async fn a_crd_that_keeps_a_part_of_what_is_written_is_older_too() {
    comes_to_rest(&["properties/selector", "properties/observed/properties/deploymentRevision"], 5).await;
}
