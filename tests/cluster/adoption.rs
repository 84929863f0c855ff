//! Orphaned children of the operator are adopted, with any of its labels; objects that only look similar are left
//! alone.

use inference_operator::api::Phase;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::support::fixture::{ready, spec};
use crate::support::obstacle::Hold;
use crate::support::recorder;
use crate::support::{Fixture, Operator, Recorder, Temporary, audit, eventually, kubectl};

/// An object as in a backup or a saved manifest: without the fields that only this cluster sets.
fn saved(fixture: &Fixture, object: &str) -> Value {
    let text = kubectl(&["-n", &fixture.namespace, "get", object, "-o", "json"]);
    let mut object: Value = serde_json::from_str(&text).expect("JSON");
    let top = object.as_object_mut().expect("an object");
    top.remove("status");
    let metadata = top["metadata"].as_object_mut().expect("metadata");
    metadata.retain(|field, _| matches!(field.as_str(), "name" | "namespace" | "labels" | "annotations"));
    let spec = top["spec"].as_object_mut().expect("a spec");
    spec.retain(|field, _| !field.starts_with("clusterIP"));
    object
}

fn create(object: &Value) {
    let file = Temporary::new(&object.to_string());
    kubectl(&["create", "-f", file.path()]);
}

/// Both children, and the pods by name, and the generation: they show whether a model would be loaded again.
async fn children(fixture: &Fixture, name: &str) -> Value {
    let deployment = fixture.deployments.get(name).await.expect("there");
    let service = fixture.services.get(name).await.expect("there");
    let selector = format!("ai.example.com/inferenceservice={name}");
    let pods = kubectl(&["-n", &fixture.namespace, "get", "pods", "-l", &selector, "-o", "name"]);
    json!([deployment.uid(), deployment.metadata.generation, service.uid(), pods])
}

async fn owners(fixture: &Fixture, name: &str) -> Vec<(String, Option<bool>)> {
    let deployment = fixture.deployments.get(name).await.expect("there");
    let service = fixture.services.get(name).await.expect("there");
    let of = |owners: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]| {
        owners.iter().map(|owner| (owner.uid.clone(), owner.controller)).collect::<Vec<_>>()
    };
    [of(deployment.owner_references()), of(service.owner_references())].concat()
}

#[tokio::test]
async fn what_a_backup_restores_without_owners_is_adopted_as_it_is() {
    let fixture = Fixture::new("restored").await;
    let _operator = Operator::start("restored", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let [inference_service, deployment, service] =
        ["isvc/demo", "deployment/demo", "service/demo"].map(|object| saved(&fixture, object));
    kubectl(&["-n", &fixture.namespace, "delete", "isvc/demo"]);
    eventually("the children are gone", || async {
        let left = kubectl(&["-n", &fixture.namespace, "get", "deployments,services,pods", "-o", "name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    create(&deployment);
    create(&service);
    kubectl(&["-n", &fixture.namespace, "rollout", "status", "deployment/demo", "--timeout=30s"]);
    let before = children(&fixture, "demo").await;
    create(&inference_service);
    let recorder = Recorder::of(&fixture, "demo").await;
    let last = fixture.until("demo", Phase::Ready).await;
    assert_eq!(children(&fixture, "demo").await, before, "the model is not loaded again");
    let uid = last.uid().expect("a uid");
    assert_eq!(owners(&fixture, "demo").await, [(uid.clone(), Some(true)), (uid, Some(true))]);
    recorder::all(&recorder.up_to(&last).await, "never Failed", |seen| seen.phase() != "Failed");
    assert_eq!(recorder.warnings().await, []);
    fixture.clean_up().await;
}

#[tokio::test]
async fn what_a_predecessor_left_behind_is_adopted_and_brought_to_the_spec() {
    let fixture = Fixture::new("orphan").await;
    let operator = Operator::start("orphan", &[]).await;
    for name in ["same", "other"] {
        fixture.create(name, 1).await;
        fixture.until(name, Phase::Ready).await;
        kubectl(&["-n", &fixture.namespace, "delete", &format!("isvc/{name}"), "--cascade=orphan"]);
    }
    let before = children(&fixture, "same").await;
    let same = fixture.create("same", 1).await;
    // A new operator process adopts them too.
    operator.kill();
    let other = fixture.create_from("other", spec("another/model", 1, "L40S")).await;
    let _operator = Operator::start("orphan", &[]).await;
    for (name, object) in [("same", same), ("other", other)] {
        fixture.until(name, Phase::Ready).await;
        let uid = object.uid().expect("a uid");
        assert_eq!(owners(&fixture, name).await, [(uid.clone(), Some(true)), (uid, Some(true))], "{name}");
    }
    assert_eq!(children(&fixture, "same").await, before, "the model is not loaded again");
    let deployment = json!(fixture.deployments.get("other").await.expect("there").spec).to_string();
    assert!(deployment.contains("another/model"), "{deployment}");

    // Orphaned again while the InferenceService exists: adopted again, as by Kubernetes' own controllers.
    let patch = r#"{"metadata":{"ownerReferences":null}}"#;
    for child in ["deployment/same", "service/same"] {
        kubectl(&["-n", &fixture.namespace, "patch", child, "--type=merge", "-p", patch]);
    }
    eventually("both are taken back", || async {
        let owners = owners(&fixture, "same").await;
        if owners.len() == 2 { Ok(()) } else { Err(format!("{owners:?}")) }
    })
    .await;
    fixture.until("same", Phase::Ready).await;
    fixture.clean_up().await;
}

/// An InferenceService that is being deleted needs no children: orphans are left alone.
#[tokio::test]
async fn one_that_is_being_deleted_adopts_nothing() {
    let fixture = Fixture::new("leaving").await;
    let operator = Operator::start("leaving", &[]).await;
    fixture.create("demo", 0).await;
    fixture.until("demo", Phase::Ready).await;
    let hold = Hold::on(&fixture, "isvc/demo");
    kubectl(&["-n", &fixture.namespace, "delete", "isvc/demo", "--cascade=orphan", "--wait=false"]);
    eventually("the children are orphans", || async {
        let owners = owners(&fixture, "demo").await;
        if owners.is_empty() { Ok(()) } else { Err(format!("{owners:?}")) }
    })
    .await;
    audit::is_quiet().await;
    operator.kill();
    let _operator = Operator::start("leaving", &[]).await;
    audit::is_quiet().await;
    assert_eq!(owners(&fixture, "demo").await, []);
    drop(hold);
    for child in ["deployment/demo", "service/demo"] {
        kubectl(&["-n", &fixture.namespace, "delete", child]);
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_child_that_lacks_one_of_the_two_labels_or_has_another_name_in_it_is_never_adopted() {
    let fixture = Fixture::new("half-labelled").await;
    let (ours, of) = (("app.kubernetes.io/managed-by", "inference-operator"), "ai.example.com/inferenceservice");
    let labels = [
        ("managed-by", json!({ours.0: ours.1})),
        ("selector", json!({of: "selector"})),
        ("another", json!({ours.0: ours.1, of: "somebody"})),
        ("managed-elsewhere", json!({ours.0: "helm", of: "managed-elsewhere"})),
    ];
    let mut theirs = Vec::new();
    for (name, labels) in &labels {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": labels}, "spec": {"ports": [{"port": 81}], "selector": {of: name}}
        }))
        .expect("a Service");
        theirs.push(fixture.services.create(&PostParams::default(), &service).await.expect("created"));
    }
    let _operator = Operator::start("half-labelled", &[]).await;
    for (name, _) in &labels {
        fixture.create(name, 0).await;
    }
    for ((name, _), theirs) in labels.iter().zip(theirs) {
        fixture.until_said(name, Phase::Failed, "NameTaken", "exists and has no controller").await;
        let now = fixture.services.get(name).await.expect("there");
        assert_eq!(now.resource_version(), theirs.resource_version(), "{name}");
        assert!(fixture.deployments.get_opt(name).await.expect("an answer").is_none(), "no half of a pair");
    }
    fixture.services.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("deleted");
    fixture.until_all(labels.len(), Phase::Ready).await;
    fixture.clean_up().await;
}

/// KServe has a kind of this name too. Its CRD is not installed here, so the garbage collector leaves its objects
/// alone.
fn theirs(name: &str) -> Value {
    json!({
        "name": name, "labels": {"app.kubernetes.io/managed-by": "inference-operator", "ai.example.com/inferenceservice": name},
        "ownerReferences": [{"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": name,
                             "uid": "7b2c1f0e-5d3a-4c1b-9a8e-2f6d4e8c0a11", "controller": true}]
    })
}

#[tokio::test]
async fn a_child_of_another_groups_inference_service_of_that_name_is_never_touched() {
    let fixture = Fixture::new("kserve").await;
    let labels = json!({"app": "theirs"});
    let service: Service = serde_json::from_value(json!({
        "metadata": theirs("service"), "spec": {"ports": [{"port": 81}], "selector": labels}
    }))
    .expect("a Service");
    let service = fixture.services.create(&PostParams::default(), &service).await.expect("created");
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": theirs("deployment"),
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "example.com/theirs"}]}}}
    }))
    .expect("a Deployment");
    let deployment = fixture.deployments.create(&PostParams::default(), &deployment).await.expect("created");
    let _operator = Operator::start("kserve", &[]).await;
    for (name, kind) in [("service", "Service"), ("deployment", "Deployment")] {
        fixture.create(name, 0).await;
        let words = format!("{kind} {}/{name} exists and is controlled by InferenceService", fixture.namespace);
        let object = fixture.until_said(name, Phase::Failed, "NameTaken", &words).await;
        assert!(ready(&object).2.contains("serving.kserve.io"), "which of the two kinds: {}", ready(&object).2);
    }
    let now = fixture.services.get("service").await.expect("there");
    assert_eq!(now.resource_version(), service.resource_version());
    let now = fixture.deployments.get("deployment").await.expect("there");
    assert_eq!((now.uid(), now.labels(), &now.spec), (deployment.uid(), deployment.labels(), &deployment.spec));
    fixture.services.delete("service", &DeleteParams::default()).await.expect("deleted");
    fixture.deployments.delete("deployment", &DeleteParams::default()).await.expect("deleted");
    fixture.until_all(2, Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn each_label_that_is_taken_away_or_changed_comes_back() {
    let fixture = Fixture::new("labels").await;
    let operator = Operator::start("labels", &[]).await;
    fixture.create("demo", 0).await;
    fixture.until("demo", Phase::Ready).await;
    let intended = fixture.deployments.get("demo").await.expect("there").labels().clone();
    assert_eq!(intended.len(), 5, "{intended:?}");
    // One InferenceService per label, so that none is repaired often.
    let spoilt: Vec<(String, &str)> =
        intended.keys().enumerate().map(|(number, label)| (format!("demo-{number}"), label.as_str())).collect();
    for (name, _) in &spoilt {
        fixture.create(name, 0).await;
    }
    fixture.until_all(6, Phase::Ready).await;
    audit::is_quiet().await;
    let labels_of = async |child: &str, name: &str| match child {
        "deployment" => fixture.deployments.get(name).await.expect("there").labels().clone(),
        _ => fixture.services.get(name).await.expect("there").labels().clone(),
    };
    // One child at a time: a reconcile that reads both because of one would repair the other by chance.
    let spoil_and_wait = async |child: &str, as_what: &str, operator: Option<Operator>| {
        let is_away = operator.is_none();
        for (name, label) in &spoilt {
            let object = format!("{child}/{name}");
            kubectl(&["-n", &fixture.namespace, "label", &object, "--overwrite", &format!("{label}{as_what}")]);
        }
        let operator = match operator {
            Some(operator) => operator,
            None => Operator::start("labels", &[]).await,
        };
        for (name, label) in &spoilt {
            eventually(&format!("{label}{as_what} of a {child} is repaired, away: {is_away}"), || async {
                let found = labels_of(child, name).await;
                let wanted = if intended[*label] == "demo" { name } else { &intended[*label] };
                if found.get(*label) == Some(wanted) { Ok(()) } else { Err(format!("{found:?}")) }
            })
            .await;
        }
        fixture.until_all(6, Phase::Ready).await;
        operator
    };
    let mut operator = operator;
    for child in ["deployment", "service"] {
        operator = spoil_and_wait(child, "-", Some(operator)).await;
        operator.kill();
        operator = spoil_and_wait(child, "=other", None).await;
    }
    fixture.clean_up().await;
}
