//! A Service that `spec.service` shapes, or did.

use std::num::NonZeroU16;

use serde_json::json;

use super::requests::{
    DEPLOYMENT, SERVICES, STATUS, as_it_was, context, found, new, none, object, paths, service, written,
};
use super::*;
use crate::testing::fake_api_server::Reply;

fn with_port(port: u16) -> RawSpec {
    RawSpec::from(&json!({"model": "m", "gpuType": "A100", "service": {"port": port}}))
}

/// A Service with these ports.
fn has(ports: &Value) -> Reply {
    let mut object = deployment_json();
    object["spec"] = json!({"type": "ClusterIP", "selector": {}, "ports": ports});
    Reply::object(&object)
}

#[tokio::test(start_paused = true)]
async fn a_service_that_the_spec_shapes_is_applied_and_the_endpoint_has_its_port() {
    let unseen = found(|it| it["status"] = json!({}));
    let (first, asked) = context([none(), none(), service(), unseen]);
    let outcome = reconcile(&first, Task { spec: Some(with_port(8080)), ..new() }).await.expect("done");
    assert_eq!(outcome.service_port, NonZeroU16::new(8080));
    assert_eq!(
        paths(&asked),
        [
            format!("GET {DEPLOYMENT}"),
            format!("GET {SERVICES}/demo"),
            format!("PATCH {SERVICES}/demo"),
            format!("PATCH {DEPLOYMENT}")
        ]
    );
    let (told, asked) = context([as_it_was(), written()]);
    let task = Task { service_port: outcome.service_port, ..task(Dirty::STATUS) };
    reconcile(&told, task).await.expect("done");
    let lines = asked.take();
    let status = lines.iter().find(|line| line.contains(STATUS)).expect("a status");
    assert!(status.contains("http://demo.ns.svc.cluster.local:8080") && status.contains("\"servicePort\":8080"));
}

/// The port that the POST of a plain Service has set is not the apply's to remove.
#[tokio::test(start_paused = true)]
async fn another_port_takes_the_place_of_the_first_one() {
    let before = has(&json!([{"name": "http", "port": 80}, {"name": "theirs", "port": 81}]));
    let (context, asked) = context([as_it_was(), before, service(), service(), as_it_was(), written()]);
    let task = Task { spec: Some(with_port(8080)), ..task(Dirty::SPEC) };
    let outcome = reconcile(&context, task).await.expect("done");
    assert_eq!(outcome.service_port, NonZeroU16::new(8080));
    let writes: Vec<String> =
        asked.take().into_iter().filter(|line| line.starts_with(&format!("PATCH {SERVICES}"))).collect();
    assert_eq!(writes.len(), 2, "{writes:?}");
    let ports = r#""resourceVersion":"51"},"spec":{"ports":[{"$patch":"delete","port":80},{"name":"http","port":8080,"protocol":"TCP","targetPort":"http"}]}}"#;
    assert!(writes[0].ends_with(ports), "{}", writes[0]);
    assert!(writes[0].contains("\"ownerReferences\""), "it is adopted, and not changed before: {}", writes[0]);
    assert!(writes[1].contains("\"resourceVersion\":\"61\"") && writes[1].contains("force=true"), "{}", writes[1]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_no_longer_shaped_is_applied_once_more() {
    let plain = has(&json!([{"name": "http", "port": 80}]));
    let (context, asked) = context([as_it_was(), plain, service(), as_it_was(), written()]);
    let task = Task { service_port: NonZeroU16::new(80), ..task(Dirty::SPEC) };
    let outcome = reconcile(&context, task).await.expect("done");
    assert_eq!(outcome.service_port, None);
    assert_eq!(asked.take().iter().filter(|line| line.starts_with(&format!("PATCH {SERVICES}/demo"))).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_shape_is_kept_where_only_the_deployment_is_put_right() {
    let drifted = || found(|it| it["metadata"]["generation"] = json!(7));
    let shaped = object(|it| it["spec"]["service"] = json!({"type": "NodePort"}));
    let (context, asked) = context([drifted(), shaped, as_it_was(), written()]);
    let task = Task { service_port: NonZeroU16::new(80), spec: None, ..task(Dirty::EDIT) };
    let outcome = reconcile(&context, task).await.expect("done");
    assert_eq!(outcome.service_port, NonZeroU16::new(80));
    assert!(asked.take().iter().all(|line| !line.contains(SERVICES)));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_refused_is_not_blamed_on_the_shape_of_the_service() {
    let ours = has(&json!([{"name": "http", "port": 8080}]));
    let (context, asked) = context([as_it_was(), ours, service(), Reply::refusal(500, "no")]);
    let task = Task { spec: Some(with_port(8080)), ..task(Dirty::SPEC) };
    assert!(reconcile(&context, task).await.is_err());
    assert!(asked.take().iter().all(|line| !line.contains("dryRun")), "no pod has a part of the user's own");
}
