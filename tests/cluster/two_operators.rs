//! Two operators at once with different settings: a rolling upgrade, or a second installation that somebody forgot. The
//! older one yields, and no model restarts twice for it.

use std::collections::BTreeMap;
use std::time::Duration;

use inference_operator::api::Phase;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

use crate::support::fixture::image;
use crate::support::{Fixture, Operator, Request, audit, eventually};

const NEWER_IMAGE: &str = "example.com/newer:1";

/// All at once: a rollout of one after the other would take the length of the test.
const NEWER: [&str; 4] = ["--server-image", NEWER_IMAGE, "--rollout-max-unavailable", "100%"];

const NEWER_INSTANCE: &str = "inference_operator_newer_instance";

const WARNING: &str = "a newer instance of this operator";

/// One in ten has a replica, which has to become ready again.
fn replicas(number: usize) -> i32 {
    i32::from(number.is_multiple_of(10))
}

/// `count` InferenceServices that the operator, which goes on, has brought to Ready.
async fn fleet(name: &str, count: usize) -> (Fixture, Operator) {
    let fixture = Fixture::new(name).await;
    let operator = Operator::start(&format!("{name}-older"), &[]).await;
    for number in 0..count {
        fixture.create(&format!("demo-{number}"), replicas(number)).await;
    }
    fixture.until_all(count, Phase::Ready).await;
    operator.settled().await;
    audit::is_quiet().await;
    (fixture, operator)
}

/// How often each Deployment has got another ReplicaSet, its first one included.
async fn replica_sets(fixture: &Fixture) -> BTreeMap<String, u64> {
    let list = fixture.deployments.list(&ListParams::default()).await.expect("a list");
    let revision = |deployment: &Deployment| {
        let revision = deployment.annotations().get("deployment.kubernetes.io/revision");
        revision.and_then(|revision| revision.parse().ok()).unwrap_or(0)
    };
    list.iter().map(|deployment| (deployment.name_any(), revision(deployment))).collect()
}

fn writes(requests: &[Request], resource: &str) -> usize {
    requests.iter().filter(|request| request.is_write() && request.resource == resource).count()
}

/// What a newer operator with other settings and the older one do beside each other for `time`; returns the newer one.
async fn beside_each_other(fixture: &Fixture, count: usize, time: Duration) -> Operator {
    let mark = audit::mark();
    let newer = Operator::start("newer", &NEWER).await;
    tokio::time::sleep(time).await;
    let (requests, sets) = (audit::since(mark), replica_sets(fixture).await);
    println!(
        "two operators, {count} InferenceServices, {} s: {} writes of Deployments, {} of Services, {} of statuses; \
         {} new ReplicaSets, {} at most of one",
        time.as_secs(),
        writes(&requests, "deployments"),
        writes(&requests, "services"),
        writes(&requests, "inferenceservices/status"),
        sets.values().sum::<u64>() - count as u64,
        sets.values().max().unwrap_or(&0) - 1,
    );
    assert_eq!(sets.values().filter(|sets| **sets != 2).count(), 0, "one more each: {sets:?}");
    assert_eq!(writes(&requests, "deployments"), count, "each is written once");
    assert_eq!(writes(&requests, "services"), 0);
    newer
}

#[tokio::test]
async fn of_two_operators_the_older_one_yields_and_no_model_restarts_twice() {
    const COUNT: usize = 30;
    let (fixture, older) = fleet("yields", COUNT).await;
    let newer = beside_each_other(&fixture, COUNT, Duration::from_secs(25)).await;
    fixture.until_all(COUNT, Phase::Ready).await;
    audit::is_quiet().await;
    assert_eq!((older.metric(NEWER_INSTANCE).await, newer.metric(NEWER_INSTANCE).await), (1.0, 0.0));
    assert_eq!((older.lines_with(WARNING), newer.lines_with(WARNING)), (1, 0), "{}", older.log());

    // What users do while both run is done by the newer one, and once.
    let mark = audit::mark();
    fixture.create("later", 0).await;
    fixture.change("demo-1", json!({"maxBatchSize": 7})).await;
    fixture.until("later", Phase::Ready).await;
    fixture.until("demo-1", Phase::Ready).await;
    older.settled().await;
    audit::is_quiet().await;
    let sets = replica_sets(&fixture).await;
    assert_eq!((sets["later"], sets["demo-1"]), (1, 3), "{:?}", audit::since(mark));
    for deployment in &fixture.deployments.list(&ListParams::default()).await.expect("a list") {
        assert_eq!(image(deployment), Some(NEWER_IMAGE), "{}", deployment.name_any());
    }
    fixture.clean_up().await;
}

/// The one that is left has the settings that count from now on, but nobody has told it so.
#[tokio::test]
async fn what_a_newer_operator_that_has_ended_left_stays_until_the_older_one_is_restarted() {
    const COUNT: usize = 3;
    let (fixture, older) = fleet("leaves", COUNT).await;
    let newer = beside_each_other(&fixture, COUNT, Duration::from_secs(10)).await;
    fixture.until_all(COUNT, Phase::Ready).await;
    newer.kill();
    let mark = audit::mark();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(audit::since(mark).iter().filter(|request| request.is_write()).count(), 0);

    let (status, _) = older.stop();
    assert!(status.success());
    let (restarted, _) = Operator::start_and_settle("restarted", &[]).await;
    fixture.until_all(COUNT, Phase::Ready).await;
    let sets = replica_sets(&fixture).await;
    assert!(sets.values().all(|sets| *sets == 3), "one more each: {sets:?}");
    assert!(restarted.metric(NEWER_INSTANCE).await < 1.0);
    let deployment = fixture.deployments.get("demo-0").await.expect("there");
    assert_ne!(image(&deployment), Some(NEWER_IMAGE));
    fixture.clean_up().await;
}

/// By hand, as docs/operating.md has it.
#[tokio::test]
async fn an_annotation_that_is_taken_away_gives_the_children_to_the_operator_that_is_left() {
    let (fixture, older) = fleet("given", 1).await;
    beside_each_other(&fixture, 1, Duration::from_secs(10)).await.kill();
    let namespace = &fixture.namespace;
    crate::support::kubectl(&["-n", namespace, "annotate", "deployment/demo-0", "ai.example.com/instance-"]);
    eventually("it has the other image", || async {
        let deployment = fixture.deployments.get("demo-0").await.map_err(|error| error.to_string())?;
        if image(&deployment) == Some(NEWER_IMAGE) { Err("not yet".into()) } else { Ok(()) }
    })
    .await;
    fixture.until("demo-0", Phase::Ready).await;
    assert!(older.lines_with(WARNING) <= 1);
    fixture.clean_up().await;
}

/// A measurement: `--ignored two_operators`.
#[tokio::test]
#[ignore = "it takes six minutes"]
async fn five_minutes_of_two_operators_are_one_more_replica_set_each() {
    const COUNT: usize = 200;
    let (fixture, _older) = fleet("long", COUNT).await;
    beside_each_other(&fixture, COUNT, Duration::from_secs(300)).await;
    fixture.until_all(COUNT, Phase::Ready).await;
    fixture.clean_up().await;
}
