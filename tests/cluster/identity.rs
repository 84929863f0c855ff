//! A write is for one object, and not for another one that has taken its name meanwhile.

use inference_operator::api::{InferenceServiceSpec, InferenceServiceStatus, Phase};
use inference_operator::error::{Error, Remedy};
use inference_operator::model::uid::Uid;
use inference_operator::model::view;
use inference_operator::model::{Dirty, ObservedVersions, Task};
use inference_operator::reconcile::apply::{self, Precondition};
use inference_operator::reconcile::validate::validate;
use inference_operator::reconcile::{deployment, service};
use inference_operator::settings::Settings;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::support::Fixture;

/// A task for an InferenceService that no longer exists.
fn past(fixture: &Fixture, name: &str) -> Task {
    Task {
        namespace: fixture.namespace.clone(),
        name: name.into(),
        uid: "00000000-0000-4000-8000-0123456789ab".parse().expect("a uid"),
        generation: 1,
        dirty: Dirty::default(),
        failures: 0,
        repairs: 0,
        versions: ObservedVersions::default(),
        service_port: None,
        last_load: None,
        released: false,
        summary: None,
        spec: None,
    }
}

fn built(task: &Task, replicas: i32, settings: &Settings) -> (Value, Value) {
    let spec = InferenceServiceSpec { replicas, ..InferenceServiceSpec::new("demo/model", "L40S") };
    let valid = validate(&task.namespace, &task.name, task.uid, &spec, &settings.catalog).expect("valid");
    (deployment::build(&valid, &settings.pods).expect("built"), service::build(&valid))
}

#[tokio::test]
async fn a_status_is_not_written_to_one_that_was_made_anew_under_the_same_name() {
    let fixture = Fixture::new("identity").await;
    fixture.create("demo", 1).await;
    let task = past(&fixture, "demo");
    let status = InferenceServiceStatus { phase: Phase::Ready, ..InferenceServiceStatus::default() };
    let written = apply::write_status(&fixture.client, &task, &status).await;
    let error = written.expect_err("refused");
    assert!(error.is_unprocessable(), "{error}");
    let object = fixture.inference_services.get("demo").await.expect("there");
    // The default status of a new object does not matter here.
    assert_ne!(object.status.unwrap_or_default().phase, Phase::Ready);
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_child_that_took_the_place_of_another_is_a_race_that_time_mends() {
    let fixture = Fixture::new("identity").await;
    let settings = Settings::default();
    // The owner exists; otherwise the garbage collector would delete the child.
    let object = fixture.create("demo", 0).await;
    let uid = object.metadata.uid.expect("a uid").parse().expect("a uid");
    let task = Task { uid, ..past(&fixture, "demo") };
    let desired = |replicas| built(&task, replicas, &settings).0;
    let client = &fixture.client;
    let made =
        apply::apply::<view::DeploymentView>(client, &task, desired(0), Precondition::Absent).await.expect("made");
    let refused =
        apply::apply::<view::DeploymentView>(client, &task, desired(3), Precondition::ResourceVersion(1)).await;
    let error = Error::from(refused.expect_err("refused"));
    assert_eq!(error.remedy(), Remedy::Time, "{error}");
    let found = fixture.deployments.get("demo").await.expect("there");
    // The resourceVersion may have changed: the Deployment controller has observed it.
    assert_eq!(found.metadata.generation, Some(made.meta.generation.into()));
    assert_eq!(found.spec.and_then(|spec| spec.replicas), Some(0));
    fixture.clean_up().await;
}

/// Both applies have the same field manager, so the API server sees no conflict between them.
#[tokio::test]
async fn a_child_that_is_there_is_not_taken_over_by_whoever_believes_it_absent() {
    let fixture = Fixture::new("identity").await;
    let settings = Settings::default();
    let object = fixture.create("demo", 0).await;
    let uid: Uid = object.metadata.uid.expect("a uid").parse().expect("a uid");
    let (present, late) = (Task { uid, ..past(&fixture, "demo") }, past(&fixture, "demo"));
    let deployment = async |task: &Task, replicas| {
        let desired = built(task, replicas, &settings).0;
        apply::apply::<view::DeploymentView>(&fixture.client, task, desired, Precondition::Absent).await.map(|_| ())
    };
    let service = async |task: &Task| {
        let desired = built(task, 0, &settings).1;
        apply::apply::<view::PartialService>(&fixture.client, task, desired, Precondition::Absent).await.map(|_| ())
    };
    deployment(&present, 0).await.expect("made");
    service(&present).await.expect("made");
    for refused in [deployment(&late, 3).await, service(&late).await, deployment(&present, 3).await] {
        let error = Error::from(refused.expect_err("refused"));
        assert_eq!(error.remedy(), Remedy::Time, "{error}");
    }
    let found = fixture.deployments.get("demo").await.expect("there");
    assert_eq!(found.spec.and_then(|spec| spec.replicas), Some(0));
    let owners = |metadata: ObjectMeta| metadata.owner_references.unwrap_or_default().remove(0).uid;
    assert_eq!(owners(found.metadata), uid.to_string());
    assert_eq!(owners(fixture.services.get("demo").await.expect("there").metadata), uid.to_string());
    fixture.clean_up().await;
}
