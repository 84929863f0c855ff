//! The committed CRDs are those that the Rust types say.

#![allow(clippy::expect_used)]

mod committed;

use inference_operator::api::{InferenceCatalog, InferenceService};
use kube::CustomResourceExt;

/// Helm takes no file from outside of its chart.
const COMMITTED: [&str; 2] = ["k3s-manifests/crd.yaml", "charts/inference-operator/files/crd.yaml"];
const HEAD: &str = "# Generated from src/api/ by: UPDATE_CRD=1 cargo test --test crd\n";

#[test]
fn the_committed_crds_are_those_of_the_types() {
    let crds = [InferenceService::crd(), InferenceCatalog::crd()];
    let yaml = crds.map(|crd| serde_saphyr::to_string(&crd).expect("YAML").trim_end().to_owned()).join("\n---\n");
    let generated = format!("{HEAD}{yaml}\n");
    for file in COMMITTED {
        committed::check("crd", file, &generated);
    }
}
