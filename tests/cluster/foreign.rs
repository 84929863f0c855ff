//! The operator does not change objects that it does not own.

use inference_operator::api::Phase;
use inference_operator::model::view;
use inference_operator::model::{Dirty, ObservedVersions, Task};
use inference_operator::reconcile::apply::Precondition;
use inference_operator::reconcile::validate::validate;
use inference_operator::reconcile::{apply, deployment, service};
use inference_operator::settings::Settings;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::support::fixture::{ready, spec};
use crate::support::{Fixture, Operator, audit, eventually, kubectl};

/// As similar to ours as possible: our labels and container name, but without an owner.
fn foreign_deployment(selector: &str) -> Deployment {
    let labels = json!({"app.kubernetes.io/managed-by": "inference-operator", selector: "demo"});
    serde_json::from_value(json!({
        "metadata": {"name": "demo", "labels": labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {selector: "demo"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "server", "image": "example.com/theirs"}]}
            }
        }
    }))
    .expect("a Deployment")
}

fn foreign_service() -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": "demo", "labels": {"app.kubernetes.io/managed-by": "inference-operator"}},
        "spec": {"ports": [{"port": 81}], "selector": {"app": "theirs"}}
    }))
    .expect("a Service")
}

/// Waits until the operator has read its child a few times more.
async fn until_looked_at(resource: &str, namespace: &str, times: usize) {
    let mark = audit::mark();
    eventually("the operator looked again", || async {
        let looks = audit::since(mark);
        let looks =
            looks.iter().filter(|request| request.namespace == namespace && request.is("get", resource)).count();
        if looks >= times { Ok(()) } else { Err(format!("{looks} looks")) }
    })
    .await;
}

#[tokio::test]
async fn a_foreign_deployment_is_never_touched_and_healed_when_it_goes() {
    let fixture = Fixture::new("foreign").await;
    let theirs = foreign_deployment("app");
    let theirs = fixture.deployments.create(&PostParams::default(), &theirs).await.expect("created");
    let operator = Operator::start("foreign", &[]).await;
    fixture.create("demo", 1).await;
    let object = fixture.until("demo", Phase::Failed).await;
    let (status, reason, message) = ready(&object);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NameTaken"));
    let who = format!("Deployment {}/demo exists and has no controller", fixture.namespace);
    assert!(message.starts_with(&who), "{message}");
    until_looked_at("deployments", &fixture.namespace, 3).await;
    let now = fixture.deployments.get("demo").await.expect("there");
    // The Deployment controller writes its status; no other client may have written anything.
    assert_eq!(
        (now.metadata.uid, &now.metadata.labels, &now.spec),
        (theirs.metadata.uid, &theirs.metadata.labels, &theirs.spec)
    );
    let managers = now.metadata.managed_fields.unwrap_or_default();
    assert!(managers.iter().all(|entry| entry.manager.as_deref() != Some("inference-operator")));
    assert_eq!(kubectl(&["-n", &fixture.namespace, "get", "services", "-o", "name"]), "", "no half of a pair");

    // The same after a restart, and recovery once the name is free.
    operator.kill();
    let _operator = Operator::start("foreign", &[]).await;
    until_looked_at("deployments", &fixture.namespace, 1).await;
    fixture.deployments.delete("demo", &DeleteParams::default()).await.expect("deleted");
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_foreign_service_is_never_touched_and_healed_when_it_goes() {
    let fixture = Fixture::new("foreign").await;
    let theirs = fixture.services.create(&PostParams::default(), &foreign_service()).await.expect("created");
    let _operator = Operator::start("foreign", &[]).await;
    fixture.create("demo", 1).await;
    let object = fixture.until("demo", Phase::Failed).await;
    assert!(ready(&object).2.starts_with(&format!("Service {}/demo exists", fixture.namespace)));
    until_looked_at("services", &fixture.namespace, 3).await;
    let now = fixture.services.get("demo").await.expect("there");
    assert_eq!(now.metadata.resource_version, theirs.metadata.resource_version);
    fixture.services.delete("demo", &DeleteParams::default()).await.expect("deleted");
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}

/// The moment between the operator's read and its write cannot be hit from outside, so the test sends the operator's
/// own write with the precondition that the name is free.
#[tokio::test]
async fn an_object_that_appears_between_look_and_write_is_never_touched() {
    let fixture = Fixture::new("between").await;
    let object = fixture.create("demo", 1).await;
    let deployment = foreign_deployment("app");
    let deployment = fixture.deployments.create(&PostParams::default(), &deployment).await.expect("created");
    let service = fixture.services.create(&PostParams::default(), &foreign_service()).await.expect("created");

    let settings = Settings::default();
    let uid = object.metadata.uid.expect("a uid").parse().expect("a UUID");
    let spec = spec("demo/model", 1, "L40S");
    let valid = validate(&fixture.namespace, "demo", uid, &spec, &settings.catalog).expect("valid");
    let task = Task {
        namespace: fixture.namespace.clone(),
        name: "demo".into(),
        uid,
        generation: 1,
        dirty: Dirty::SPEC_AND_CHILDREN,
        failures: 0,
        repairs: 0,
        versions: ObservedVersions::default(),
        service_port: None,
        last_load: None,
        released: false,
        summary: None,
        spec: None,
    };
    let refused = |result: Result<(), kube::Error>| match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?}"),
    };
    let desired: Value = deployment::build(&valid, &settings.pods).expect("built");
    let answer =
        apply::apply::<view::DeploymentView>(&fixture.client, &task, desired, Precondition::Absent).await.map(|_| ());
    assert_eq!(refused(answer), 409);
    let desired = service::build(&valid);
    let answer =
        apply::apply::<view::PartialService>(&fixture.client, &task, desired, Precondition::Absent).await.map(|_| ());
    assert_eq!(refused(answer), 409);

    let now = fixture.deployments.get("demo").await.expect("there");
    assert_eq!((&now.spec, &now.metadata.owner_references), (&deployment.spec, &None));
    let now = fixture.services.get("demo").await.expect("there");
    assert_eq!(now.metadata.resource_version, service.metadata.resource_version);
    fixture.deployments.delete("demo", &DeleteParams::default()).await.expect("deleted");
    fixture.services.delete("demo", &DeleteParams::default()).await.expect("deleted");
    fixture.clean_up().await;
}
