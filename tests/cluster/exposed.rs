//! spec.service: how a model is reached, from its user's point of view.

use inference_operator::api::Phase;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use crate::support::{Fixture, Operator, Request, audit, eventually, kubectl};

/// Waits until the Service has this shape: its type, the numbers of its ports, and the annotation `a`.
async fn until_shape(fixture: &Fixture, type_: &str, ports: &[i32], annotation: Option<&str>) -> Service {
    eventually(&format!("the Service is {type_} {ports:?} {annotation:?}"), || async {
        let service = fixture.services.get("demo").await.map_err(|error| error.to_string())?;
        let spec = service.spec.clone().unwrap_or_default();
        let found: Vec<i32> = spec.ports.unwrap_or_default().iter().map(|port| port.port).collect();
        let annotations = service.metadata.annotations.clone().unwrap_or_default();
        let is_right = spec.type_.as_deref() == Some(type_) && found == ports;
        let is_right = is_right && annotations.get("a").map(String::as_str) == annotation;
        if is_right { Ok(service) } else { Err(format!("{:?} {found:?} {annotations:?}", spec.type_)) }
    })
    .await
}

async fn until_endpoint(fixture: &Fixture, end: &str) {
    let expected = format!("http://demo.{}.svc.cluster.local{end}", fixture.namespace);
    eventually(&format!("the endpoint is {expected}"), || async {
        let object = fixture.inference_services.get("demo").await.map_err(|error| error.to_string())?;
        let found = object.status.unwrap_or_default().endpoint;
        if found.as_ref() == Some(&expected) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test]
async fn the_service_is_as_the_spec_has_it_and_as_before_when_that_is_unset() {
    let fixture = Fixture::new("exposed").await;
    let operator = Operator::start("exposed", &[]).await;
    let namespace = fixture.namespace.as_str();
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    kubectl(&["-n", namespace, "annotate", "service/demo", "theirs=stays"]);

    let wide = json!({"type": "NodePort", "port": 8080, "annotations": {"a": "b"}});
    fixture.change("demo", json!({ "service": wide })).await;
    let service = until_shape(&fixture, "NodePort", &[8080], Some("b")).await;
    let ports = service.spec.expect("a spec").ports.expect("ports");
    assert!(ports[0].node_port.is_some_and(|port| port > 0), "{ports:?}");
    until_endpoint(&fixture, ":8080").await;

    // Drift is repaired, and a restart does nothing.
    kubectl(&["-n", namespace, "annotate", "service/demo", "a=other", "--overwrite"]);
    until_shape(&fixture, "NodePort", &[8080], Some("b")).await;
    fixture.until("demo", Phase::Ready).await;
    operator.settled().await;
    drop(operator);
    let (operator, requests) = Operator::start_and_settle("exposed", &[]).await;
    assert!(!requests.iter().any(Request::is_of_one), "{requests:?}");

    fixture.change("demo", json!({"service": {"type": "LoadBalancer", "port": 9090, "annotations": null}})).await;
    until_shape(&fixture, "LoadBalancer", &[9090], None).await;
    until_endpoint(&fixture, ":9090").await;

    let mark = audit::mark();
    fixture.change("demo", json!({"model": "other/model"})).await;
    fixture.until("demo", Phase::Ready).await;
    operator.settled().await;
    let writes = audit::since(mark).into_iter().filter(Request::is_write).count();
    assert!(writes <= 5, "{writes} writes for one changed spec");

    fixture.change("demo", json!({"service": null})).await;
    let service = until_shape(&fixture, "ClusterIP", &[80], None).await;
    assert_eq!(service.metadata.annotations.expect("annotations")["theirs"], "stays");
    until_endpoint(&fixture, "").await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_port_of_the_nodes_that_is_taken_is_said_and_the_model_goes_on() {
    let fixture = Fixture::new("nodeport").await;
    let _operator = Operator::start("nodeport", &[]).await;
    let namespace = fixture.namespace.as_str();
    kubectl(&["-n", namespace, "create", "service", "nodeport", "first", "--tcp=80", "--node-port=30999"]);
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.change("demo", json!({"service": {"type": "NodePort", "nodePort": 30999}})).await;
    fixture.until_said("demo", Phase::Degraded, "ApiServerRefused", "provided port is already allocated").await;
    kubectl(&["-n", namespace, "delete", "service", "first"]);
    fixture.until("demo", Phase::Ready).await;
    let service = serde_json::to_value(fixture.services.get("demo").await.expect("a Service")).expect("JSON");
    assert_eq!(service["spec"]["ports"][0]["nodePort"], 30999);
    fixture.clean_up().await;
}

#[tokio::test]
async fn one_that_is_created_with_a_service_of_its_own_gets_it_at_once() {
    let fixture = Fixture::new("exposednew").await;
    let _operator = Operator::start("exposednew", &[]).await;
    let service: Value = json!({"type": "NodePort", "port": 8080, "annotations": {"a": "b"}});
    let spec = json!({"model": "m", "gpuType": "A100", "service": service});
    fixture.create_from("demo", serde_json::from_value(spec).expect("a spec")).await;
    fixture.until("demo", Phase::Ready).await;
    until_shape(&fixture, "NodePort", &[8080], Some("b")).await;
    until_endpoint(&fixture, ":8080").await;
    fixture.clean_up().await;
}
