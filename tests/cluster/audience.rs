//! The API server accepts the token that the operator's manifest requests, whatever its audience is. In the lane
//! `pages` the audience differs from that of k3s.

use inference_operator::api::Phase;
use serde_json::Value;

use crate::support::{Fixture, Operator, kubectl};

/// There is no kubelet here: the token is requested as a kubelet would, according to the manifest.
#[tokio::test]
async fn the_token_of_the_manifest_is_taken_as_it_is() {
    let fixture = Fixture::new("audience").await;
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/operator.yaml");
    let text = kubectl(&["apply", "-f", manifest, "--dry-run=server", "-o", "json"]);
    let deployment: Value = serde_json::from_str(&text).expect("JSON");
    let token = &deployment["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"];
    let duration = format!("--duration={}s", token["expirationSeconds"].as_u64().expect("a time"));
    let audience = token["audience"].as_str().map(|audience| format!("--audience={audience}"));
    let mut create = vec!["create", "token", "-n", "inference-operator", "inference-operator", &duration];
    create.extend(audience.as_deref());
    let token = kubectl(&create);
    let operator = Operator::spawn_with_token("audience", &token, &[]);
    operator.ready().await;
    fixture.create("demo", 0).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}
