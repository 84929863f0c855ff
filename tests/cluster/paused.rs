//! spec.paused, from its user's point of view.

use inference_operator::api::{InferenceService, Phase};
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use simulation::oracle::kstatus::{Verdict, verdict};

use crate::support::fixture::{ready, spec};
use crate::support::{Fixture, Operator, Request, eventually, kubectl};

fn conditions(object: &InferenceService) -> Vec<(String, String)> {
    let conditions = object.status.clone().expect("a status").conditions;
    conditions.into_iter().map(|condition| (condition.type_, condition.status)).collect()
}

fn kstatus(object: &InferenceService) -> Verdict {
    verdict(&serde_json::to_value(object).expect("JSON"))
}

fn pair(type_: &str) -> (String, String) {
    (type_.to_owned(), "True".to_owned())
}

#[tokio::test]
async fn what_is_paused_is_left_alone_until_it_goes_on() {
    let fixture = Fixture::new("paused").await;
    let operator = Operator::start("paused", &[]).await;
    let namespace = fixture.namespace.as_str();
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;

    fixture.change("demo", json!({"paused": true, "model": "other/model", "gpuType": "T4"})).await;
    let object = fixture.until("demo", Phase::Paused).await;
    assert_eq!(conditions(&object), [pair("Ready"), pair("Paused")]);
    assert_eq!(kstatus(&object), Verdict::Current);
    kubectl(&["-n", namespace, "wait", "--for=condition=Paused", "isvc/demo", "--timeout=10s"]);

    // Whatever a person does to the children stays, and is told.
    kubectl(&["-n", namespace, "scale", "deployment/demo", "--replicas=2"]);
    fixture.services.delete("demo", &DeleteParams::default()).await.expect("deleted");
    let object = eventually("both replicas are counted", || async {
        let object = fixture.inference_services.get("demo").await.map_err(|error| error.to_string())?;
        let status = object.status.clone().expect("a status");
        let is_told = status.ready_replicas == 2 && status.endpoint.is_none();
        if is_told { Ok(object) } else { Err(format!("{status:?}")) }
    })
    .await;
    assert!(ready(&object).2.contains("2 of 2 replicas ready"), "{object:?}");

    drop(operator);
    let (_operator, requests) = Operator::start_and_settle("paused", &[]).await;
    assert!(!requests.iter().any(Request::is_of_one), "{requests:?}");
    assert!(fixture.services.get_opt("demo").await.expect("asked").is_none());

    fixture.change("demo", json!({"paused": false, "gpuType": "A100"})).await;
    let object = fixture.until("demo", Phase::Ready).await;
    assert_eq!(conditions(&object), [pair("Ready")]);
    let deployment = fixture.deployments.get("demo").await.expect("a Deployment");
    let deployment: Value = serde_json::to_value(deployment).expect("JSON");
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["args"][0], "other/model");
    assert!(fixture.services.get_opt("demo").await.expect("asked").is_some());
    fixture.clean_up().await;
}

#[tokio::test]
async fn one_that_is_created_paused_has_no_children_and_nobody_waits_for_it() {
    let fixture = Fixture::new("pausednew").await;
    let _operator = Operator::start("pausednew", &[]).await;
    let spec = inference_operator::api::InferenceServiceSpec { paused: true, ..spec("m", 1, "A100") };
    let object = InferenceService::new("demo", spec);
    fixture.inference_services.create(&PostParams::default(), &object).await.expect("created");
    let object = fixture.until("demo", Phase::Paused).await;
    assert_eq!((conditions(&object), kstatus(&object)), (vec![pair("Paused")], Verdict::Current));
    assert!(fixture.deployments.get_opt("demo").await.expect("asked").is_none());
    assert!(fixture.services.get_opt("demo").await.expect("asked").is_none());
    let table = kubectl(&["-n", &fixture.namespace, "get", "isvc"]);
    assert!(table.contains("Paused"), "{table}");
    let described = kubectl(&["-n", &fixture.namespace, "describe", "isvc/demo"]);
    println!("{described}");
    assert!(described.contains("spec.paused is true: nothing is created"), "{described}");
    fixture.change("demo", json!({"paused": null})).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}
