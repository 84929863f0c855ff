//! An operator that starts with other settings, or as another release: it touches those whose children differ, and no
//! others.

use std::collections::BTreeSet;

use inference_operator::api::{InferenceServiceSpec, Phase};
use serde_json::{Value, json};

use crate::support::fixture::spec;
use crate::support::{Fixture, Operator, Request};

const OF_VLLM: [&str; 3] = ["vllm-1", "vllm-2", "vllm-3"];

fn names(requests: &[Request], is_it: impl Fn(&Request) -> bool) -> BTreeSet<String> {
    let requests = requests.iter().filter(|request| request.resource != "events" && is_it(request));
    requests.map(|request| request.name.clone()).collect()
}

/// The operator's requests with these flags, from its start until it has nothing more to do.
async fn started(flags: &[&str]) -> Vec<Request> {
    let (operator, requests) = Operator::start_and_settle("settings", flags).await;
    let (status, _) = operator.stop();
    assert!(status.success());
    requests
}

#[tokio::test]
async fn other_settings_touch_those_whose_children_differ_and_no_others() {
    let fixture = Fixture::new("settings").await;
    let operator = Operator::start("settings", &[]).await;
    for name in OF_VLLM {
        fixture.create(name, 1).await;
    }
    for name in ["sglang-1", "sglang-2"] {
        let engine = Some("sglang".to_owned());
        fixture.create_from(name, InferenceServiceSpec { engine, ..spec("m", 1, "A100") }).await;
    }
    fixture.create_from("refused", spec("m", 1, "T4")).await;
    fixture.create_from("paused", InferenceServiceSpec { paused: true, ..spec("m", 1, "A100") }).await;
    for name in OF_VLLM.into_iter().chain(["sglang-1", "sglang-2"]) {
        fixture.until(name, Phase::Ready).await;
    }
    fixture.until("refused", Phase::Failed).await;
    fixture.until("paused", Phase::Paused).await;
    operator.settled().await;
    drop(operator);

    let nobody = BTreeSet::new();
    assert_eq!(names(&started(&[]).await, Request::is_of_one), nobody, "the same settings");
    // Its refusal names the GPU types, and nobody else's children do.
    let requests = started(&["--gpu-type", "GB10=NVIDIA-GB10"]).await;
    assert_eq!(
        names(&requests, Request::is_of_one),
        BTreeSet::from(["refused".to_owned()]),
        "a GPU type that nobody uses"
    );

    let image = ["--gpu-type", "GB10=NVIDIA-GB10", "--server-image", "example.com/vllm:2"];
    let requests = started(&image).await;
    let of_vllm: BTreeSet<String> = OF_VLLM.map(str::to_owned).into();
    assert_eq!(names(&requests, Request::is_of_one), of_vllm, "another image of vLLM");
    assert_eq!(names(&requests, |request| request.is("patch", "deployments")), of_vllm);
    assert_eq!(names(&requests, |request| request.is("patch", "services")), nobody);
    assert_eq!(names(&started(&image).await, Request::is_of_one), nobody, "and once");

    // A node has it, so that the model becomes Ready, and nothing is left to be looked at.
    let requests = started(&["--gpu-type", "T4=NVIDIA-L40S", "--server-image", "example.com/vllm:2"]).await;
    assert_eq!(names(&requests, Request::is_of_one), BTreeSet::from(["refused".to_owned()]));
    let deployment = fixture.deployments.get("refused").await.expect("a Deployment");
    let deployment: Value = serde_json::to_value(deployment).expect("JSON");
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], json!("example.com/vllm:2"));
    fixture.clean_up().await;
}
