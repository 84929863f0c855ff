//! A CRD that is deleted under the operator, and comes back.

use inference_operator::api::Phase;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::installed;
use crate::nodes::spec;
use crate::support::shell::until_established;
use crate::support::{Fixture, eventually, kubectl};

const CRD: &str = "inferenceservices.ai.example.com";

#[tokio::test]
async fn a_deleted_crd_takes_its_models_along_and_when_it_is_back_the_operator_serves_again() {
    installed::install();
    let fixture = Fixture::new("crd").await;
    fixture.create_from("model", spec(json!({}))).await;
    fixture.until("model", Phase::Ready).await;
    let operator = installed::pod();

    kubectl(&["delete", "crd", CRD, "--timeout=120s"]);
    let left = nothing_is_left(&fixture).await;
    println!("{left:?}");
    kubectl(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/crd.yaml")]);
    until_established(CRD);
    eventually("nothing of it is left", || nothing_is_left(&fixture)).await;

    fixture.create_from("again", spec(json!({}))).await;
    fixture.until("again", Phase::Ready).await;
    let now = installed::pod();
    assert_eq!(now["metadata"]["uid"], operator["metadata"]["uid"]);
    assert_eq!(installed::restarts(&now), installed::restarts(&operator));
    fixture.clean_up().await;
}

async fn nothing_is_left(fixture: &Fixture) -> Result<(), String> {
    let all = ListParams::default();
    let pods = Api::<Pod>::namespaced(fixture.client.clone(), &fixture.namespace);
    let lists = futures::try_join!(
        fixture.deployments.list_metadata(&all),
        fixture.services.list_metadata(&all),
        pods.list_metadata(&all)
    );
    let (deployments, services, pods) = lists.map_err(|error| error.to_string())?;
    let left = [deployments.items.len(), services.items.len(), pods.items.len()];
    if left == [0; 3] { Ok(()) } else { Err(format!("{left:?} Deployments, Services, pods")) }
}
