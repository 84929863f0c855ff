//! The operator waits for missing prerequisites, and survives failures.

use std::fs;
use std::time::Duration;

use inference_operator::api::Phase;

use crate::support::shell::{cluster, until_established};
use crate::support::{Fixture, Operator, eventually, kubectl};

async fn until_logged(operator: &Operator, text: &str) {
    eventually(&format!("the log says {text:?}"), || async {
        if operator.log().contains(text) { Ok(()) } else { Err(operator.log()) }
    })
    .await;
}

#[tokio::test]
async fn an_api_server_that_is_killed_and_comes_back_is_followed_again() {
    let fixture = Fixture::new("killed").await;
    let operator = Operator::start("killed", &[]).await;
    fixture.create("before", 1).await;
    fixture.until("before", Phase::Ready).await;
    cluster(&["stop", "apiserver", "--kill"]);
    until_logged(&operator, "waiting for the API server").await;
    cluster(&["start", "apiserver"]);
    fixture.create("after", 1).await;
    fixture.until("after", Phase::Ready).await;
    fixture.change("before", serde_json::json!({"replicas": 2})).await;
    fixture.until("before", Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_operator_that_is_there_before_the_api_server_waits_and_says_so_once() {
    let fixture = Fixture::new("early").await;
    fixture.create("demo", 1).await;
    let token = kubectl(&["create", "token", "-n", "inference-operator", "inference-operator"]);
    cluster(&["stop", "apiserver"]);
    let operator = Operator::spawn_with_token("early", &token, &[]);
    until_logged(&operator, "waiting for the API server").await;
    assert_eq!(operator.get("/readyz").await.expect("served").0, 503);
    assert_eq!(operator.get("/livez").await.expect("served").0, 200);
    // Long enough for several more attempts.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(operator.lines_with("waiting for the API server"), 1, "{}", operator.log());
    cluster(&["start", "apiserver"]);
    operator.ready().await;
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_crd_that_is_missing_is_waited_for() {
    let fixture = Fixture::new("crd").await;
    kubectl(&["delete", "crd/inferenceservices.ai.example.com", "--timeout=60s"]);
    let operator = Operator::spawn("crd", &[]);
    until_logged(&operator, "waiting for the CRD: the API server does not know inferenceservices.ai.example.com").await;
    kubectl(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/crd.yaml")]);
    until_established("inferenceservices.ai.example.com");
    operator.ready().await;
    assert_eq!(operator.lines_with("waiting for the CRD"), 1, "{}", operator.log());
    fixture.create("demo", 0).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn rights_that_are_missing_are_named_and_waited_for() {
    let fixture = Fixture::new("rights").await;
    kubectl(&["delete", "clusterrolebinding/inference-operator"]);
    let operator = Operator::spawn("rights", &[]);
    until_logged(&operator, "not permitted to list or watch").await;
    let words = "cannot list resource \"inferenceservices\" in API group \"ai.example.com\"";
    assert!(
        operator.log().contains(words) || operator.log().contains(&words.replace("list", "watch")),
        "{}",
        operator.log()
    );
    kubectl(&["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/rbac.yaml")]);
    operator.ready().await;
    assert_eq!(operator.lines_with("not permitted to list or watch"), 1, "{}", operator.log());
    fixture.create("demo", 0).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_said_and_the_next_one_is_used() {
    let fixture = Fixture::new("audience").await;
    let create = ["create", "token", "-n", "inference-operator", "inference-operator"];
    let of_another = kubectl(&[&create[..], &["--audience=somebody-else"]].concat());
    let operator = Operator::spawn_with_token("audience", &of_another, &[]);
    until_logged(&operator, "the API server rejects the token").await;
    assert!(!operator.log().contains("not permitted to list or watch") && !operator.log().contains(&of_another[..20]));
    fs::write(operator.folder.join("token"), kubectl(&create)).expect("written");
    operator.ready().await;
    fixture.create("demo", 0).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_right_that_is_missing_for_a_child_is_said_in_the_condition() {
    let fixture = Fixture::new("right").await;
    let operator = Operator::start("right", &[]).await;
    let rule = r#"[{"op":"replace","path":"/rules/3/verbs","value":["get","list","watch"]}]"#;
    kubectl(&["patch", "clusterrole/inference-operator", "--type=json", "-p", rule]);
    eventually("the right is gone", || async {
        let can = std::process::Command::new(crate::support::shell::variable("KUBECTL"))
            .args([
                "auth",
                "can-i",
                "create",
                "services",
                "--as=system:serviceaccount:inference-operator:inference-operator",
            ])
            .output()
            .expect("kubectl runs");
        if can.status.success() { Err("not yet".into()) } else { Ok(()) }
    })
    .await;
    fixture.create("demo", 0).await;
    let object = fixture.until("demo", Phase::Pending).await;
    let message = crate::support::fixture::ready(&object).2;
    assert!(
        message.contains("cannot patch resource \"services\"")
            || message.contains("cannot create resource \"services\""),
        "{message}"
    );
    kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/rbac.yaml"),
    ]);
    fixture.until("demo", Phase::Ready).await;
    drop(operator);
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_token_that_is_replaced_is_taken_up() {
    let fixture = Fixture::new("token").await;
    let namespace = "inference-operator";
    kubectl(&["-n", namespace, "delete", "secret", "bound-to", "--ignore-not-found"]);
    kubectl(&["-n", namespace, "create", "secret", "generic", "bound-to"]);
    // A token bound to a Secret becomes invalid with it: no need to wait for its expiry.
    let bound =
        ["create", "token", "-n", namespace, namespace, "--bound-object-kind=Secret", "--bound-object-name=bound-to"];
    let operator = Operator::spawn_with_token("token", &kubectl(&bound), &[]);
    operator.ready().await;
    let fresh = kubectl(&["create", "token", "-n", namespace, namespace]);
    fs::write(operator.folder.join("token"), fresh).expect("written");
    kubectl(&["-n", namespace, "delete", "secret", "bound-to"]);
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_operator_that_is_told_to_end_ends_well() {
    let fixture = Fixture::new("end").await;
    let operator = Operator::start("end", &[]).await;
    for number in 0..20 {
        fixture.create(&format!("demo-{number}"), 0).await;
    }
    let (status, took) = operator.stop();
    println!("ended after {} ms", took.as_millis());
    assert_eq!(status.code(), Some(0));
    // The next process completes what this one left undone.
    let _operator = Operator::start("end", &[]).await;
    fixture.until_all(20, Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_operator_that_is_killed_while_it_creates_leaves_nothing_half_done() {
    let fixture = Fixture::new("powercut").await;
    for round in 0..5 {
        let operator = Operator::start("powercut", &[]).await;
        for number in 0..10 {
            fixture.create(&format!("demo-{round}-{number}"), 0).await;
        }
        operator.kill();
    }
    let _operator = Operator::start("powercut", &[]).await;
    fixture.until_all(50, Phase::Ready).await;
    fixture.clean_up().await;
}
