//! A rollout that is halted stays so, whatever comes next, until what it has taken down is Ready.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::support::catalog::{condition, with_image};
use crate::support::obstacle::refuse_image;
use crate::support::{Catalog, Fleet, Operator, kubectl};

const BAD: &str = "example.com/bad";

/// Changed in a row, without a pause.
const CHANGES: usize = 30;

/// Those with an image that does not run.
async fn taken_down(fleet: &Fleet) -> BTreeSet<String> {
    tokio::time::sleep(Duration::from_secs(5)).await;
    let deployments = fleet.deployments().await.into_iter();
    deployments.filter(|(_, (_, image))| image.starts_with(BAD)).map(|(name, _)| name).collect()
}

#[tokio::test]
async fn neither_a_restart_nor_another_change_takes_down_a_second_one() {
    let fleet = Fleet::new("cataloghalted", 8, 2).await;
    let catalog = Catalog::of(&fleet.fixture);
    let policy = refuse_image(&fleet.fixture, BAD).await;
    let first = BTreeSet::from(["asleep".to_owned(), "vllm-1".to_owned()]);
    let mut operator = Operator::start("cataloghalted", &[]).await;
    catalog.apply(with_image(BAD, 1)).await;
    catalog.until("Rollout", "Halted", "vllm-1").await;

    for (number, what) in ["another image", "one more", "a GPU type", "nothing"].into_iter().enumerate() {
        operator.kill();
        let mut spec = with_image(&format!("{BAD}:{}", number.min(1)), 1);
        if number >= 2 {
            spec["gpuTypes"] = json!([{"name": "T4", "resourceName": "example.com/t4"}]);
        }
        catalog.apply(spec).await;
        operator = Operator::start("cataloghalted", &[]).await;
        catalog.until("Rollout", "Halted", "vllm-1").await;
        assert_eq!(taken_down(&fleet).await, first, "{what}, and a restart");
    }

    for number in 0..CHANGES {
        catalog.apply(with_image(&format!("{BAD}:{number}"), 1)).await;
    }
    catalog.until("Rollout", "Halted", "vllm-1").await;
    assert_eq!(taken_down(&fleet).await, first, "{CHANGES} changes");

    drop(policy);
    let image = "example.com/vllm:2";
    catalog.apply(with_image(image, 1)).await;
    fleet.until_rolled_out(image).await;
    catalog.until_complete().await;
    drop(catalog);
    fleet.fixture.clean_up().await;
}

/// As an administrator does who edits a file, and applies it the hard way.
#[tokio::test]
async fn a_catalogue_that_is_replaced_by_itself_changes_no_child_and_is_complete_only_when_it_is() {
    let fleet = Fleet::new("catalogreplaced", 5, 1).await;
    let catalog = Catalog::of(&fleet.fixture);
    let operator = Operator::start("catalogreplaced", &[]).await;
    let image = "example.com/vllm:2";
    // Of two changes in a row the second one is complete when all have it.
    for number in 0..10 {
        catalog.apply(with_image("example.com/vllm:3", 9)).await;
        let image = format!("example.com/vllm:4-{number}");
        catalog.apply(with_image(&image, 9)).await;
        catalog.until_complete().await;
        let mut found = fleet.with_image(&image).await;
        // It has no replicas, so nobody waits for it.
        found.insert("asleep".to_owned());
        assert_eq!(found, fleet.of_vllm, "{}", operator.log());
    }
    catalog.apply(with_image(image, 1)).await;
    fleet.until_rolled_out(image).await;
    catalog.until_complete().await;
    let before = fleet.deployments().await;
    let object = kubectl(&["-n", "inference-operator", "get", "icat", "default", "-o", "json"]);
    let file = crate::support::Temporary::new(&object);
    for _ in 0..3 {
        kubectl(&["replace", "--force", "-f", file.path()]);
        let object = catalog.until_complete().await;
        assert!(condition(&object, "Accepted").is_some_and(|accepted| accepted.status == "True"));
        assert_eq!(fleet.deployments().await, before);
    }
    drop(catalog);
    fleet.fixture.clean_up().await;
}
