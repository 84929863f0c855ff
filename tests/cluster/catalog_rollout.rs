//! A change of the catalogue reaches 200 InferenceServices: those whose children differ, never more than allowed at
//! once, not past the first that does not run, and all of them in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use inference_operator::api::Phase;

use crate::support::catalog::{condition, with_image};
use crate::support::obstacle::refuse_image;
use crate::support::{Catalog, Fleet, Operator, Recorder, Witness, audit, eventually};

const OF_VLLM: usize = 60;
const OF_SGLANG: usize = 140;

/// 5% of them.
const ALLOWED: usize = 10;

#[tokio::test]
async fn an_image_that_does_not_run_takes_down_one_and_put_right_it_reaches_those_of_its_engine_at_a_pace() {
    let fleet = Fleet::new("catalogrollout", OF_VLLM, OF_SGLANG).await;
    let catalog = Catalog::of(&fleet.fixture);
    let operator = Operator::start("catalogrollout", &[]).await;
    let before = fleet.deployments().await;
    let is_untouched = |(name, now): &(String, (i64, String))| *now == before[name];
    halts_at_the_first(&fleet, &catalog, &operator).await;
    let others = fleet.deployments().await.into_iter().filter(is_untouched).count();
    assert_eq!(others, OF_VLLM + OF_SGLANG - 2, "all but the first, and the one without replicas");
    goes_on(&fleet, &catalog, &operator).await;
    let others = fleet.deployments().await.into_iter().filter(is_untouched).count();
    assert_eq!(others, OF_SGLANG, "those of the other engine");
    drop(catalog);
    fleet.fixture.clean_up().await;
}

/// One at a time, because as many as are allowed are on their way before the first is known not to run.
async fn halts_at_the_first(fleet: &Fleet, catalog: &Catalog, operator: &Operator) {
    let bad = "example.com/bad";
    let policy = refuse_image(&fleet.fixture, bad).await;
    let recorder = Recorder::of(&fleet.fixture, "vllm-1").await;
    catalog.apply(with_image(bad, 1)).await;
    let first = format!("{}/vllm-1 has not become Ready again", fleet.fixture.namespace);
    let object = catalog.until("Rollout", "Halted", &first).await;
    let message = condition(&object, "Rollout").expect("there").message;
    assert!(message.contains("FailedCreate") && message.contains("this image does not run"), "{message}");
    println!("{message}");
    assert!(operator.metric("inference_operator_rollout_halted").await > 0.0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let changed = fleet.with_image(bad).await;
    assert_eq!(changed, BTreeSet::from(["asleep".to_owned(), "vllm-1".to_owned()]));
    fleet.fixture.until_said("vllm-1", Phase::Degraded, "FailedCreate", "this image does not run").await;
    eventually("an Event says so", || async {
        let warnings = recorder.warnings().await;
        let is_said = warnings.iter().any(|(reason, note)| reason == "RolloutHalted" && note.contains("FailedCreate"));
        if is_said { Ok(()) } else { Err(format!("{warnings:?}")) }
    })
    .await;
    assert_eq!(operator.lines_with("rollout: halted"), 1, "{}", operator.log());
    drop(policy);
}

async fn goes_on(fleet: &Fleet, catalog: &Catalog, operator: &Operator) {
    let mark = audit::mark();
    let witness = Witness::of(&fleet.fixture).await;
    let image = "example.com/vllm:2";
    catalog.apply(with_image(image, "5%")).await;
    fleet.until_rolled_out(image).await;
    catalog.until_complete().await;
    let most = witness.most();
    println!("{most} at most were down at a time");
    assert!((2..=ALLOWED).contains(&most), "{most} were down at a time");
    let requests = audit::since(mark);
    let asked = requests.iter().filter(|request| request.is_of_one() && request.resource == "deployments");
    let asked: BTreeSet<String> = asked.map(|request| request.name.clone()).collect();
    assert_eq!(asked, fleet.of_vllm, "only those were asked about");
    assert!(operator.metric("inference_operator_rollout_halted").await < 1.0);
    assert_eq!(operator.lines_with("rollout: halted"), 1, "{}", operator.log());
}

/// Nothing is lost: neither the catalogue, nor who waits, nor who is on its way.
#[tokio::test]
async fn an_operator_that_is_killed_every_few_seconds_brings_a_change_of_the_catalogue_to_all() {
    let fleet = Fleet::new("catalogkills", 20, 5).await;
    let catalog = Catalog::of(&fleet.fixture);
    let witness = Witness::of(&fleet.fixture).await;
    let image = "example.com/vllm:2";
    let mut operator = Operator::start("catalogkills", &[]).await;
    catalog.apply(with_image(image, 2)).await;
    let mut kills = 0;
    while fleet.with_image(image).await != fleet.of_vllm {
        assert!(kills < 30, "{:?} have it", fleet.with_image(image).await);
        tokio::time::sleep(Duration::from_secs(2)).await;
        operator.kill();
        kills += 1;
        operator = Operator::start("catalogkills", &[]).await;
    }
    fleet.until_rolled_out(image).await;
    catalog.until_complete().await;
    let most = witness.most();
    println!("{kills} kills, {most} at most were down at a time");
    assert!(kills >= 2 && (1..=2).contains(&most), "{kills} kills, {most} were down at a time");
    drop(catalog);
    fleet.fixture.clean_up().await;
}
