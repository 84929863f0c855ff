//! What people apply: taken by the API server as it is, admitted under restricted pod security, and with no
//! right that is not needed.

use std::time::Duration;

use inference_operator::api::Phase;
use serde_json::{Value, json};

use crate::support::fixture::{ready, spec};
use crate::support::{Fixture, Operator, Temporary, eventually, kubectl, kubectl_fails};

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests");
const SINGLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-single-namespace");

#[tokio::test]
async fn the_api_server_takes_all_manifests_without_a_warning() {
    let fixture = Fixture::new("manifests").await;
    kubectl(&["create", "namespace", "models"]);
    for arguments in [["-k", MANIFESTS], ["-f", MANIFESTS], ["-k", SINGLE], ["-f", &format!("{MANIFESTS}/samples")]] {
        let mut command = vec!["apply", "--dry-run=server", "--server-side", "--force-conflicts", "--validate=strict"];
        command.extend(arguments);
        let told = kubectl(&command);
        assert!(told.contains("serverside-applied (server dry run)"), "{told}");
    }
    kubectl(&["delete", "namespace", "models", "--wait=false"]);
    fixture.clean_up().await;
}

/// The namespace enforces it; the API server says so when the pod is made, not when its Deployment is.
#[tokio::test]
async fn restricted_pod_security_admits_the_operator_s_pod() {
    let fixture = Fixture::new("security").await;
    let text = kubectl(&["apply", "-f", &format!("{MANIFESTS}/operator.yaml"), "--dry-run=server", "-o", "json"]);
    let deployment: Value = serde_json::from_str(&text).expect("JSON");
    let mut pod = deployment["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("inference-operator");
    pod["metadata"]["namespace"] = json!("inference-operator");
    let file = Temporary::new(&pod.to_string());
    kubectl(&["create", "--dry-run=server", "-f", file.path()]);

    // And it would refuse another.
    pod["spec"]["hostNetwork"] = json!(true);
    let file = Temporary::new(&pod.to_string());
    let refusal = kubectl_fails(&["create", "--dry-run=server", "-f", file.path()]);
    assert!(refusal.contains("violates PodSecurity \"restricted"), "{refusal}");
    fixture.clean_up().await;
}

/// One right is taken away at a time; who reads the log or the status then learns which one it is. `list` and `get`
/// of InferenceServices are not here: they are for API servers without streaming lists and for a long queue.
#[tokio::test]
async fn every_right_is_needed_and_one_that_is_missing_is_named() {
    let fixture = Fixture::new("rights").await;
    for (group, resource, verb) in [
        ("ai.example.com", "inferenceservices", "watch"),
        ("ai.example.com", "inferenceservices/status", "patch"),
        ("apps", "deployments", "watch"),
        ("apps", "deployments", "get"),
        ("apps", "deployments", "create"),
        ("apps", "deployments", "patch"),
        ("", "services", "watch"),
        ("", "services", "get"),
        ("", "services", "create"),
        ("", "services", "patch"),
        ("events.k8s.io", "events", "create"),
    ] {
        let name = format!("{verb}-{}", resource.replace('/', "-"));
        take_away(group, resource, verb);
        let operator = Operator::spawn("rights", &[]);
        use_every_right(&fixture, &name).await;
        let named = format!("cannot {verb} resource \"{resource}\"");
        eventually(&format!("it is told that it {named}"), || async {
            let status = fixture.inference_services.get(&name).await.map_err(|error| error.to_string())?;
            let message = status.status.as_ref().map(|_| ready(&status).2).unwrap_or_default();
            let log = operator.log();
            if log.contains(&named) || message.contains(&named) { Ok(()) } else { Err(format!("{message}\n{log}")) }
        })
        .await;
        operator.stop();
        give_back();

        // Given back, it heals by itself.
        let operator = Operator::start("rights", &[]).await;
        fixture.until(&name, Phase::Ready).await;
        operator.stop();
    }
    fixture.clean_up().await;
}

/// What makes the operator use all of its rights: a new one, a Service that somebody edits, a spec that is refused.
async fn use_every_right(fixture: &Fixture, name: &str) {
    fixture.create(name, 1).await;
    fixture.create_from(&format!("{name}-refused"), spec("demo/model", 1, "T4")).await;
    // Where there will be one.
    for _ in 0..20 {
        if fixture.services.get_opt(name).await.expect("an answer").is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if fixture.services.get_opt(name).await.expect("an answer").is_some() {
        kubectl(&["-n", &fixture.namespace, "label", "service", name, "app.kubernetes.io/component-"]);
    }
}

fn take_away(group: &str, resource: &str, verb: &str) {
    let role: Value =
        serde_json::from_str(&kubectl(&["get", "clusterrole", "inference-operator", "-o", "json"])).expect("JSON");
    let mut rules = role["rules"].clone();
    let mut found = false;
    for rule in rules.as_array_mut().expect("rules") {
        if rule["apiGroups"][0] == group && rule["resources"][0] == resource {
            let verbs = rule["verbs"].as_array_mut().expect("verbs");
            let before = verbs.len();
            verbs.retain(|one| one != verb);
            found |= verbs.len() < before;
        }
    }
    assert!(found, "no rule gives {verb} on {resource}");
    // A rule without verbs is no rule.
    rules.as_array_mut().expect("rules").retain(|rule| rule["verbs"] != json!([]));
    kubectl(&[
        "patch",
        "clusterrole",
        "inference-operator",
        "--type=merge",
        "-p",
        &json!({"rules": rules}).to_string(),
    ]);
}

fn give_back() {
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &format!("{MANIFESTS}/rbac.yaml")]);
}
