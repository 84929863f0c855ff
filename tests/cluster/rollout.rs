//! A change by the administrator reaches a fleet one InferenceService after the other, and halts where it does not run.

use std::collections::BTreeSet;
use std::time::Duration;

use inference_operator::api::Phase;

use crate::support::obstacle::refuse_image;
use crate::support::{Fleet, Operator, Witness, eventually};

const OF_VLLM: usize = 9;
const OF_SGLANG: usize = 3;

#[tokio::test]
async fn another_image_reaches_those_of_its_engine_and_never_more_than_allowed_at_once() {
    let fleet = Fleet::new("rollout", OF_VLLM, OF_SGLANG).await;
    for (image, flags, allowed) in [
        ("example.com/vllm:2", &["--server-image", "example.com/vllm:2"][..], 1),
        ("example.com/vllm:3", &["--server-image", "example.com/vllm:3", "--rollout-max-unavailable", "25%"], 3),
    ] {
        let witness = Witness::of(&fleet.fixture).await;
        let operator = Operator::start("rollout", flags).await;
        fleet.until_rolled_out(image).await;
        let most = witness.most();
        println!("{image}: {most} at most were down at a time");
        assert!((1..=allowed).contains(&most), "{image}: {most} were down at a time");
        operator.rolled_out().await;
    }
    fleet.fixture.clean_up().await;
}

#[tokio::test]
async fn an_operator_that_is_killed_in_the_middle_releases_no_second_one() {
    let fleet = Fleet::new("rolloutkills", OF_VLLM, OF_SGLANG).await;
    let witness = Witness::of(&fleet.fixture).await;
    let image = "example.com/vllm:2";
    for _ in 0..6 {
        let operator = Operator::start("rolloutkills", &["--server-image", image]).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        operator.kill();
    }
    let _operator = Operator::start("rolloutkills", &["--server-image", image]).await;
    fleet.until_rolled_out(image).await;
    let most = witness.most();
    assert_eq!(most, 1, "{most} were down at a time");
    fleet.fixture.clean_up().await;
}

#[tokio::test]
async fn a_change_that_does_not_run_is_halted_at_the_first_and_the_others_go_on_serving() {
    let fleet = Fleet::new("halted", OF_VLLM, OF_SGLANG).await;
    let bad = "example.com/bad";
    let policy = refuse_image(&fleet.fixture, bad).await;
    for attempt in ["at once", "after a restart"] {
        let operator = Operator::start("halted", &["--server-image", bad]).await;
        eventually("the rollout is halted", || async {
            let halted = operator.metric("inference_operator_rollout_halted").await;
            if halted > 0.0 { Ok(()) } else { Err(operator.log()) }
        })
        .await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let changed = fleet.with_image(bad).await;
        let expected = BTreeSet::from(["asleep".to_owned(), "vllm-1".to_owned()]);
        assert_eq!(changed, expected, "{attempt}");
        fleet.fixture.until_said("vllm-1", Phase::Degraded, "FailedCreate", "this image does not run").await;
        assert_eq!(operator.lines_with("rollout: halted"), 1, "{attempt}: {}", operator.log());
    }

    let good = "example.com/good";
    let operator = Operator::start("halted", &["--server-image", good]).await;
    fleet.until_rolled_out(good).await;
    assert_eq!(operator.lines_with("rollout: halted"), 0);
    drop(policy);
    fleet.fixture.clean_up().await;
}
