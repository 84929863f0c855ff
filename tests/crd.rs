//! The committed CRDs are those that the Rust types say.

#![allow(clippy::expect_used)]

use inference_operator::api::{InferenceCatalog, InferenceService};
use kube::CustomResourceExt;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/crd.yaml");
const HEAD: &str = "# Generated from src/api/ by: UPDATE_CRD=1 cargo test --test crd\n";

#[test]
fn the_committed_crds_are_those_of_the_types() {
    let crds = [InferenceService::crd(), InferenceCatalog::crd()];
    let yaml = crds.map(|crd| serde_saphyr::to_string(&crd).expect("YAML").trim_end().to_owned()).join("\n---\n");
    let generated = format!("{HEAD}{yaml}\n");
    if std::env::var_os("UPDATE_CRD").is_some() {
        std::fs::write(COMMITTED, &generated).expect("written");
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        committed == generated,
        "k3s-manifests/crd.yaml differs from src/api/; regenerate it with: UPDATE_CRD=1 cargo test --test crd"
    );
}
