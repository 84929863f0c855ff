//! Memory under a real limit, as the kubelet counts it: 5,000 InferenceServices, of which a handful serve.

use std::time::{Duration, Instant};

use inference_operator::api::{InferenceService, Phase};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::LIMIT;
use crate::installed;
use crate::support::fixture::spec;
use crate::support::kubectl;

const COUNT: usize = 5_000;
const PER_NAMESPACE: usize = 1_000;
const WITH_PODS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(900);

#[tokio::test]
async fn five_thousand_fit_into_eight_mebibytes_and_what_four_do_is_recorded() {
    installed::install();
    let client = Client::try_default().await.expect("KUBECONFIG");
    create_all(&client).await;
    until_all_are_ready(&client).await;
    let pod = installed::pod();
    let (working_set, resident) = installed::memory().await;
    let limit = &pod["spec"]["containers"][0]["resources"]["limits"]["memory"];
    assert_eq!(limit, LIMIT);
    println!("{COUNT} under a limit of {limit}: working set {working_set}, resident {resident} bytes");
    assert_eq!(installed::restarts(&pod), 0, "{pod}");

    // Started again, with all of them there.
    kubectl(&["-n", installed::NAMESPACE, "rollout", "restart", "deployment/inference-operator"]);
    installed::roll_out();
    let pod = installed::pod();
    let (working_set, resident) = installed::memory().await;
    println!("started again: working set {working_set}, resident {resident} bytes");
    assert_eq!(installed::restarts(&pod), 0, "{pod}");

    installed::set_memory_limit("4Mi");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let pod = installed::pod();
    println!("under a limit of 4Mi, after a minute: {}", pod["status"]["containerStatuses"][0]);
    installed::set_memory_limit(LIMIT);
    installed::roll_out();
}

async fn create_all(client: &Client) {
    for number in 0..COUNT / PER_NAMESPACE {
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace(number)}})).expect("one");
        Api::all(client.clone()).create(&PostParams::default(), &object).await.expect("created");
    }
    let create = |index: usize| async move {
        let api = Api::<InferenceService>::namespaced(client.clone(), &namespace(index / PER_NAMESPACE));
        let replicas = i32::from(index.is_multiple_of(COUNT / WITH_PODS));
        let object = InferenceService::new(&format!("model-{index:04}"), spec("demo/model", replicas, "L40S"));
        api.create(&PostParams::default(), &object).await.expect("created");
    };
    for start in (0..COUNT).step_by(8) {
        futures::future::join_all((start..(start + 8).min(COUNT)).map(create)).await;
    }
}

fn namespace(number: usize) -> String {
    format!("limits-{number}")
}

async fn until_all_are_ready(client: &Client) {
    let began = Instant::now();
    loop {
        let list = Api::<InferenceService>::all(client.clone()).list(&ListParams::default()).await.expect("a list");
        let is_ready =
            |object: &&InferenceService| object.status.as_ref().is_some_and(|status| status.phase == Phase::Ready);
        let ready = list.items.iter().filter(is_ready).count();
        if ready >= COUNT {
            println!("all {COUNT} are Ready after {} s", began.elapsed().as_secs());
            return;
        }
        assert!(began.elapsed() < PATIENCE, "after {} s {ready} of {COUNT} are Ready", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}
