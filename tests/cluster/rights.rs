//! The operator's permissions: each of them is needed, a missing one is named, and those for a single namespace are
//! enough for it. tests/rights.rs checks the cluster-wide ones, over the audit logs of all lanes.

use std::collections::BTreeSet;
use std::time::Duration;

use inference_operator::api::Phase;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::fixture::{ready, spec};
use crate::support::{Catalog, Fixture, Operator, audit, eventually, kubectl};

const EVERYWHERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/rbac.yaml");
const IN_ONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-single-namespace/rbac.yaml");

/// One verb on one resource, with its API group, and the kind of role that gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    role: &'static str,
    group: String,
    resource: String,
    verb: String,
}

/// The permissions in a manifest.
fn given(file: &str, kind: &'static str) -> Vec<Right> {
    let text = std::fs::read_to_string(file).expect("the manifest");
    let objects = text.split("\n---\n").map(|document| serde_saphyr::from_str::<Value>(document).expect("YAML"));
    let role = objects.into_iter().find(|object| object["kind"] == kind).expect("a role");
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().expect("rules") {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                rights.extend(strings(&rule["verbs"]).into_iter().map(|verb| Right {
                    role: kind,
                    group: group.clone(),
                    resource: resource.clone(),
                    verb,
                }));
            }
        }
    }
    rights
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().expect("a list").iter().filter_map(|entry| Some(entry.as_str()?.to_owned())).collect()
}

/// Lists are for API servers without streaming lists: scripts/test.sh has a lane with one.
fn streams_lists() -> bool {
    let metrics = kubectl(&["get", "--raw", "/metrics"]);
    let feature = metrics.lines().find(|line| line.starts_with("kubernetes_feature_enabled{name=\"WatchList\""));
    feature.expect("the feature").ends_with(" 1")
}

/// Removes one permission at a time; the log or the status must name it.
#[tokio::test]
async fn every_right_is_needed_and_one_that_is_missing_is_named() {
    let fixture = Fixture::new("rights").await;
    let streams_lists = streams_lists();
    let catalog = Catalog::of(&fixture);
    let given = ["ClusterRole", "Role"].into_iter().flat_map(|kind| given(EVERYWHERE, kind));
    // Without these the status says less, and no more than that: tests/node/causes.rs.
    let given = given.filter(|right| !["pods", "nodes"].contains(&right.resource.as_str()));
    // The others are the same on both kinds of API server.
    for right in given.filter(|right| (right.verb == "list") != streams_lists) {
        let name = format!("{}-{}", right.verb, right.resource.replace('/', "-"));
        take_away(&right);
        // Of a refused catalogue it is read whether another one was accepted, and its status is written.
        catalog.apply(json!({"engines": [{"name": "mine"}]})).await;
        let operator = Operator::spawn("rights", &[]);
        use_every_right(&fixture, &name).await;
        let named = format!("cannot {} resource \"{}\"", right.verb, right.resource);
        eventually(&format!("it is told that it {named}"), || async {
            let status = fixture.inference_services.get(&name).await.map_err(|error| error.to_string())?;
            let is_told = status.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
            let message = if is_told { ready(&status).2 } else { String::new() };
            let log = operator.log();
            if log.contains(&named) || message.contains(&named) { Ok(()) } else { Err(format!("{message}\n{log}")) }
        })
        .await;
        // Without `get` it is not known what was accepted last, and all wait for that (docs/catalog.md).
        if right.resource.starts_with("inferencecatalogs") && right.verb != "get" {
            fixture.until(&name, Phase::Ready).await;
            assert_eq!(operator.lines_with(&named), 1, "{}", operator.log());
        }
        operator.stop();
        give_back();
        catalog.delete().await;

        // Once it is restored, the operator recovers by itself.
        let operator = Operator::start("rights", &[]).await;
        fixture.until(&name, Phase::Ready).await;
        operator.stop();
    }
    drop(catalog);
    fixture.clean_up().await;
}

/// Makes the operator use all of its permissions: a new InferenceService, an edited Service, a deleted Deployment, a
/// rejected spec.
async fn use_every_right(fixture: &Fixture, name: &str) {
    fixture.create(name, 1).await;
    fixture.create_from(&format!("{name}-refused"), spec("demo/model", 1, "T4")).await;
    // Waits for the Deployment, if there will be one.
    for _ in 0..20 {
        if fixture.deployments.get_opt(name).await.expect("an answer").is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if fixture.services.get_opt(name).await.expect("an answer").is_some() {
        kubectl(&["-n", &fixture.namespace, "label", "service", name, "app.kubernetes.io/component-"]);
    }
    if fixture.deployments.get_opt(name).await.expect("an answer").is_some() {
        // By now the spec is no longer in memory, so it is read again.
        tokio::time::sleep(Duration::from_millis(700)).await;
        fixture.deployments.delete(name, &DeleteParams::default()).await.expect("deleted");
    }
}

fn take_away(right: &Right) {
    let role = if right.role == "Role" { "role/inference-operator-catalog" } else { "clusterrole/inference-operator" };
    let namespace = ["-n", "inference-operator"];
    let text = kubectl(&[&namespace[..], &["get", role, "-o", "json"]].concat());
    let object: Value = serde_json::from_str(&text).expect("JSON");
    let mut rules = object["rules"].clone();
    let mut found = false;
    for rule in rules.as_array_mut().expect("rules") {
        if rule["apiGroups"][0] == right.group && rule["resources"][0] == right.resource {
            let verbs = rule["verbs"].as_array_mut().expect("verbs");
            let before = verbs.len();
            verbs.retain(|one| *one != right.verb);
            found |= verbs.len() < before;
        }
    }
    assert!(found, "the cluster has no {right:?}");
    // A rule without verbs is invalid.
    rules.as_array_mut().expect("rules").retain(|rule| rule["verbs"] != json!([]));
    let patch = json!({"rules": rules}).to_string();
    kubectl(&[&namespace[..], &["patch", role, "--type=merge", "-p", &patch]].concat());
}

fn give_back() {
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", EVERYWHERE]);
}

#[tokio::test]
async fn in_a_single_namespace_its_role_is_enough_and_all_of_it_is_used() {
    // The operator's ServiceAccount has permissions in `models` and nowhere else.
    let fixture = Fixture::named("models").await;
    kubectl(&["delete", "clusterrolebinding/inference-operator", "clusterrole/inference-operator"]);
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", IN_ONE]);
    let elsewhere = kubectl(&["auth", "can-i", "--list", "-n", "default", AS_OPERATOR]);
    assert!(!elsewhere.contains("inferenceservices") && !elsewhere.contains("deployments"), "{elsewhere}");
    eventually("the Role is in force", || async {
        let rules = kubectl(&["auth", "can-i", "--list", "-n", "models", AS_OPERATOR]);
        if rules.contains("inferenceservices.ai.example.com") { Ok(()) } else { Err(rules) }
    })
    .await;

    let mark = audit::mark();
    let operator = Operator::start("single", &["--namespace", "models", "--gpu-type", "T5=Tesla-T5"]).await;
    fixture.create_from("nowhere", spec("demo/model", 1, "T5")).await;
    use_every_right(&fixture, "demo").await;
    fixture.until("demo-refused", Phase::Failed).await;
    fixture.until("demo", Phase::Ready).await;
    // Two operators side by side, or an edit, make it apply an existing Service.
    eventually("the Service is repaired", || async {
        let labels = fixture.services.get("demo").await.map_err(|error| error.to_string())?.metadata.labels;
        let labels = labels.unwrap_or_default();
        if labels.contains_key("app.kubernetes.io/component") { Ok(()) } else { Err(format!("{labels:?}")) }
    })
    .await;
    fixture.change("demo", json!({"replicas": 2})).await;
    fixture.until("demo", Phase::Ready).await;
    // Its pods say why. Whether there is a node for it is not in the namespace to be seen.
    fixture.until_said("nowhere", Phase::Progressing, "Unschedulable", "no node: 0/").await;
    operator.stop();

    let requests = audit::since(mark);
    for request in requests.iter().filter(|request| request.resource != "nodes") {
        let is_of_catalog = request.resource == "inferencecatalogs" && request.namespace == "inference-operator";
        assert!(request.namespace == "models" || is_of_catalog, "{request:?}");
        assert!(!matches!(request.code, 401 | 403), "{request:?}");
    }
    let used = |right: &&Right| {
        requests.iter().any(|request| {
            // An apply that creates the object needs both.
            let also_creates = right.verb == "create" && request.is("patch", &right.resource) && request.code == 201;
            request.is(&right.verb, &right.resource) || also_creates
        })
    };
    let is_asked_for = |right: &&Right| right.verb != "list" || right.resource == "pods" || !streams_lists();
    let given = given(IN_ONE, "Role");
    let idle: BTreeSet<&Right> = given.iter().filter(is_asked_for).filter(|right| !used(right)).collect();
    assert!(idle.is_empty(), "given and not used: {idle:?}");
    kubectl(&["-n", "models", "delete", "role,rolebinding", "inference-operator"]);
    fixture.clean_up().await;
    give_back();
}

const AS_OPERATOR: &str = "--as=system:serviceaccount:inference-operator:inference-operator";
