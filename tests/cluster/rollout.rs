//! A change by the administrator reaches a fleet one InferenceService after the other, and halts where it does not run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use inference_operator::api::{InferenceServiceSpec, Phase};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::fixture::spec;
use crate::support::obstacle::{Objects, this_namespace};
use crate::support::{Fixture, Operator, eventually};

const OF_VLLM: usize = 8;

/// The image of each Deployment, by name.
async fn images(fixture: &Fixture) -> Vec<(String, String)> {
    let list = fixture.deployments.list(&ListParams::default()).await.expect("a list");
    let image = |deployment: &Deployment| {
        let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        pod.and_then(|pod| pod.containers[0].image.clone()).expect("an image")
    };
    list.iter().map(|deployment| (deployment.metadata.name.clone().expect("a name"), image(deployment))).collect()
}

async fn with_image(fixture: &Fixture, image: &str) -> BTreeSet<String> {
    images(fixture).await.into_iter().filter(|(_, found)| found == image).map(|(name, _)| name).collect()
}

/// Looks ten times a second how many models are down: the most at a time.
struct Witness(Arc<AtomicUsize>, JoinHandle<()>);

impl Witness {
    fn of(fixture: &Fixture) -> Witness {
        let most = Arc::<AtomicUsize>::default();
        let deployments = fixture.deployments.clone();
        let watch = tokio::spawn(look(deployments, most.clone()));
        Witness(most, watch)
    }

    fn most(self) -> usize {
        self.1.abort();
        self.0.load(Relaxed)
    }
}

async fn look(deployments: Api<Deployment>, most: Arc<AtomicUsize>) {
    loop {
        if let Ok(list) = deployments.list(&ListParams::default()).await {
            let is_down = |deployment: &&Deployment| {
                let status = deployment.status.clone().unwrap_or_default();
                let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
                let is_seen = status.observed_generation >= deployment.metadata.generation;
                let there = status.available_replicas.min(status.updated_replicas).unwrap_or(0);
                wanted > 0 && (there < wanted || !is_seen)
            };
            most.fetch_max(list.iter().filter(is_down).count(), Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// `OF_VLLM` of vllm, three of sglang, one without replicas; all are Ready.
async fn fleet(name: &str) -> Fixture {
    let fixture = Fixture::new(name).await;
    let operator = Operator::start(name, &[]).await;
    for number in 0..OF_VLLM {
        fixture.create(&format!("vllm-{number}"), 1).await;
    }
    for number in 0..3 {
        let engine = Some("sglang".to_owned());
        fixture.create_from(&format!("sglang-{number}"), InferenceServiceSpec { engine, ..spec("m", 1, "A100") }).await;
    }
    fixture.create("asleep", 0).await;
    fixture.until_all(OF_VLLM + 4, Phase::Ready).await;
    operator.settled().await;
    fixture
}

fn of_vllm() -> BTreeSet<String> {
    (0..OF_VLLM).map(|number| format!("vllm-{number}")).chain(["asleep".to_owned()]).collect()
}

async fn until_rolled_out(fixture: &Fixture, image: &str) {
    eventually("all have the image", || async {
        let found = with_image(fixture, image).await;
        if found == of_vllm() { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    fixture.until_all(OF_VLLM + 4, Phase::Ready).await;
}

#[tokio::test]
async fn another_image_reaches_those_of_its_engine_and_never_more_than_allowed_at_once() {
    let fixture = fleet("rollout").await;
    for (image, flags, allowed) in [
        ("example.com/vllm:2", &["--server-image", "example.com/vllm:2"][..], 1),
        ("example.com/vllm:3", &["--server-image", "example.com/vllm:3", "--rollout-max-unavailable", "25%"], 3),
    ] {
        let witness = Witness::of(&fixture);
        let operator = Operator::start("rollout", flags).await;
        until_rolled_out(&fixture, image).await;
        let most = witness.most();
        println!("{image}: {most} at most were down at a time");
        assert!((1..=allowed).contains(&most), "{image}: {most} were down at a time");
        operator.rolled_out().await;
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_operator_that_is_killed_in_the_middle_releases_no_second_one() {
    let fixture = fleet("rolloutkills").await;
    let witness = Witness::of(&fixture);
    let image = "example.com/vllm:2";
    for _ in 0..6 {
        let operator = Operator::start("rolloutkills", &["--server-image", image]).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        operator.kill();
    }
    let _operator = Operator::start("rolloutkills", &["--server-image", image]).await;
    until_rolled_out(&fixture, image).await;
    let most = witness.most();
    assert_eq!(most, 1, "{most} were down at a time");
    fixture.clean_up().await;
}

/// Refuses pods with this image.
fn refuse(fixture: &Fixture, image: &str) -> Objects {
    let (api_version, name) = ("admissionregistration.k8s.io/v1", format!("{}-image", fixture.namespace));
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
    let policy = json!({
        "failurePolicy": "Fail",
        "matchConstraints": {"namespaceSelector": this_namespace(fixture), "resourceRules": rules},
        "validations": [{"expression": format!("object.spec.containers[0].image != '{image}'"), "message": "this image does not run"}]
    });
    Objects::new(&[
        json!({"apiVersion": api_version, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": policy}),
        json!({"apiVersion": api_version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
               "spec": {"policyName": name, "validationActions": ["Deny"]}}),
    ])
}

#[tokio::test]
async fn a_change_that_does_not_run_is_halted_at_the_first_and_the_others_go_on_serving() {
    let fixture = fleet("halted").await;
    let bad = "example.com/bad";
    let policy = refuse(&fixture, bad);
    // It takes a moment until it is in force.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for attempt in ["at once", "after a restart"] {
        let operator = Operator::start("halted", &["--server-image", bad]).await;
        eventually("the rollout is halted", || async {
            let halted = operator.metric("inference_operator_rollout_halted").await;
            if halted > 0.0 { Ok(()) } else { Err(operator.log()) }
        })
        .await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let changed = with_image(&fixture, bad).await;
        let expected = BTreeSet::from(["asleep".to_owned(), "vllm-0".to_owned()]);
        assert_eq!(changed, expected, "{attempt}");
        fixture.until_said("vllm-0", Phase::Degraded, "FailedCreate", "this image does not run").await;
        assert_eq!(operator.lines_with("rollout: halted"), 1, "{attempt}: {}", operator.log());
    }

    let good = "example.com/good";
    let operator = Operator::start("halted", &["--server-image", good]).await;
    until_rolled_out(&fixture, good).await;
    assert_eq!(operator.lines_with("rollout: halted"), 0);
    drop(policy);
    fixture.clean_up().await;
}
