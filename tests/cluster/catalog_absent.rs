//! The kind InferenceCatalog itself may be absent, come and go: a cluster whose CRDs are of an older release is served
//! with what is built in. This mostly waits.

use std::time::Duration;

use inference_operator::api::Phase;

use crate::support::catalog::with_image;
use crate::support::fixture::image;
use crate::support::shell::until_established;
use crate::support::wait::within;
use crate::support::{Catalog, Fixture, Operator, Witness, kubectl};

const CRD: &str = "crd/inferencecatalogs.ai.example.com";
const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/crd.yaml");

const IMAGE: &str = "example.com/vllm:2";
const COUNT: usize = 6;

async fn until_image(fixture: &Fixture, is_it: bool) {
    for number in 0..COUNT {
        let what = if is_it { "that of the catalogue" } else { "the one that is built in" };
        fixture
            .until_deployment(&format!("demo-{number}"), what, |deployment| {
                let image = image(deployment);
                if (image == Some(IMAGE)) == is_it { Ok(()) } else { Err(format!("{image:?}")) }
            })
            .await;
    }
    fixture.until_all(COUNT, Phase::Ready).await;
}

/// The kind is asked for once a minute at most, so this takes up to a minute.
#[tokio::test]
async fn the_kind_may_come_and_go_and_what_is_built_in_holds_without_it_at_a_pace() {
    let fixture = Fixture::new("comesandgoes").await;
    let catalog = Catalog::of(&fixture);
    kubectl(&["delete", CRD, "--timeout=60s"]);
    let operator = Operator::start("comesandgoes", &[]).await;
    for number in 0..COUNT {
        fixture.create(&format!("demo-{number}"), 1).await;
    }
    fixture.until_all(COUNT, Phase::Ready).await;
    operator.settled().await;
    assert_eq!(operator.lines_with("inferencecatalogs"), 0, "{}", operator.log());
    // InferenceServices may have been waited for, where their CRD was applied a moment ago.
    let warnings = operator.lines_with("WARN");

    kubectl(&["apply", "--server-side", "-f", CRDS]);
    until_established("inferencecatalogs.ai.example.com");
    catalog.apply(with_image(IMAGE, 2)).await;
    within(Duration::from_secs(90), "it is taken up", || async {
        if operator.lines_with("the catalogue is accepted") == 1 { Ok(()) } else { Err(operator.log()) }
    })
    .await;
    until_image(&fixture, true).await;
    catalog.until_complete().await;

    // The catalogue goes, then the kind with another one.
    let witness = Witness::of(&fixture).await;
    catalog.delete().await;
    until_image(&fixture, false).await;
    assert_eq!(witness.most(), 1, "at the pace that is built in");
    operator.rolled_out().await;
    catalog.apply(with_image(IMAGE, 2)).await;
    until_image(&fixture, true).await;
    catalog.until_complete().await;
    let witness = Witness::of(&fixture).await;
    kubectl(&["delete", CRD, "--timeout=60s"]);
    until_image(&fixture, false).await;
    assert_eq!(witness.most(), 1);
    operator.rolled_out().await;
    assert_eq!(operator.lines_with("WARN"), warnings, "{}", operator.log());
    kubectl(&["apply", "--server-side", "-f", CRDS]);
    until_established("inferencecatalogs.ai.example.com");
    fixture.clean_up().await;
}
