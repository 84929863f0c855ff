//! The committed CRD is the one that the Rust types say.

#![allow(clippy::expect_used)]

use inference_operator::api::InferenceService;
use kube::CustomResourceExt;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/crd.yaml");
const HEAD: &str = "# Generated from src/api/spec.rs by: UPDATE_CRD=1 cargo test --test crd\n";

#[test]
fn the_committed_crd_is_the_one_of_the_types() {
    let yaml = serde_saphyr::to_string(&InferenceService::crd()).expect("YAML");
    let generated = format!("{HEAD}{}\n", yaml.trim_end());
    if std::env::var_os("UPDATE_CRD").is_some() {
        std::fs::write(COMMITTED, &generated).expect("written");
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        committed == generated,
        "k3s-manifests/crd.yaml differs from src/api/spec.rs; regenerate it with: UPDATE_CRD=1 cargo test --test crd"
    );
}
