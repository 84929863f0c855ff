//! A child that anyone changes is restored to its spec, also if the change was made while the operator was down.

use std::time::Instant;

use inference_operator::api::Phase;
use inference_operator::model::uid::Uid;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::support::{Fixture, Operator, audit, eventually, kubectl};

/// A way to change a child: the kubectl command, after which the children differ.
struct Drift {
    name: &'static str,
    kubectl: &'static [&'static str],
}

const DRIFTS: &[Drift] = &[
    Drift { name: "image", kubectl: &["set", "image", "deployment/demo", "server=example.com/other"] },
    Drift { name: "replicas", kubectl: &["scale", "deployment/demo", "--replicas=5"] },
    Drift {
        name: "affinity",
        kubectl: &[
            "patch",
            "deployment/demo",
            "--type=json",
            "-p",
            r#"[{"op":"remove","path":"/spec/template/spec/affinity"}]"#,
        ],
    },
    Drift { name: "deployment-label", kubectl: &["label", "deployment/demo", "app.kubernetes.io/managed-by-"] },
    Drift { name: "service-label", kubectl: &["label", "service/demo", "app.kubernetes.io/managed-by-"] },
    Drift { name: "deployment-deleted", kubectl: &["delete", "deployment/demo"] },
    Drift { name: "service-deleted", kubectl: &["delete", "service/demo"] },
    Drift {
        name: "service-port",
        kubectl: &[
            "patch",
            "service/demo",
            "--type=json",
            "-p",
            r#"[{"op":"replace","path":"/spec/ports/0/targetPort","value":9}]"#,
        ],
    },
    Drift {
        name: "service-selector",
        kubectl: &[
            "patch",
            "service/demo",
            "--type=merge",
            "-p",
            r#"{"spec":{"selector":{"ai.example.com/inferenceservice":"other"}}}"#,
        ],
    },
    // A selector is one atomic value: adding to it changes it.
    Drift {
        name: "service-selector-narrowed",
        kubectl: &["patch", "service/demo", "--type=merge", "-p", r#"{"spec":{"selector":{"app":"other"}}}"#],
    },
];

/// The fields of both children that the operator manages.
async fn children(fixture: &Fixture) -> Result<Value, String> {
    let deployment = fixture.deployments.get("demo").await.map_err(|error| error.to_string())?;
    let service = fixture.services.get("demo").await.map_err(|error| error.to_string())?;
    let spec = service.spec.unwrap_or_default();
    Ok(json!([
        deployment.metadata.labels,
        deployment.spec,
        service.metadata.labels,
        spec.ports,
        spec.selector,
        spec.type_,
    ]))
}

async fn until_repaired(fixture: &Fixture, drift: &str, intended: &Value) {
    eventually(&format!("{drift} is repaired"), || async {
        let found = children(fixture).await?;
        if found == *intended { Ok(()) } else { Err(format!("{found}\ninstead of\n{intended}")) }
    })
    .await;
    fixture.until("demo", Phase::Ready).await;
}

/// Waits until the Deployment is rolled out, and the status is Ready, tells its replicas and has the children's versions:
/// then nothing is left to write.
async fn until_nothing_is_left(fixture: &Fixture, drift: &str) {
    eventually(&format!("{drift}: nothing is left to write"), || async {
        let said = fixture.until("demo", Phase::Ready).await.status.unwrap_or_default();
        let observed = said.observed.unwrap_or_default();
        let deployment = fixture.deployments.get("demo").await.map_err(|error| error.to_string())?;
        let service = fixture.services.get("demo").await.map_err(|error| error.to_string())?.metadata;
        let status = deployment.status.unwrap_or_default();
        let right = said.ready_replicas == 1
            && observed.deployment_revision == revision(&deployment.metadata)
            && observed.service_resource_version == service.resource_version
            && status.observed_generation == deployment.metadata.generation
            && [status.replicas, status.updated_replicas, status.available_replicas] == [Some(1); 3];
        let version = service.resource_version;
        if right { Ok(()) } else { Err(format!("{} {observed:?}, {status:?}, {version:?}", said.ready_replicas)) }
    })
    .await;
}

/// As in `Meta::revision`.
fn revision(metadata: &ObjectMeta) -> Option<i64> {
    let uid: Uid = metadata.uid.as_deref()?.parse().ok()?;
    let generation = u32::try_from(metadata.generation?).ok()?;
    Some(i64::from(uid.folded() ^ generation))
}

#[tokio::test]
async fn drift_is_repaired_while_the_operator_runs() {
    let fixture = Fixture::new("drift").await;
    let mut operator = Operator::start("drift", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let intended = children(&fixture).await.expect("children");
    for drift in DRIFTS {
        kubectl(&[&["-n", &fixture.namespace], drift.kubectl].concat());
        let began = Instant::now();
        until_repaired(&fixture, drift.name, &intended).await;
        println!("{}: repaired and Ready after {} ms", drift.name, began.elapsed().as_millis());
        until_nothing_is_left(&fixture, drift.name).await;
        // A repair is complete: a restart has nothing to write.
        operator.kill();
        let mark = audit::mark();
        operator = Operator::start("drift", &[]).await;
        operator.settled().await;
        assert!(
            audit::since(mark).iter().all(|request| !request.is_write()),
            "{}: {:?}",
            drift.name,
            audit::since(mark)
        );
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn drift_is_repaired_after_the_operator_was_away() {
    let fixture = Fixture::new("away").await;
    let operator = Operator::start("away", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let intended = children(&fixture).await.expect("children");
    operator.kill();
    for drift in DRIFTS {
        kubectl(&[&["-n", &fixture.namespace], drift.kubectl].concat());
        let operator = Operator::start("away", &[]).await;
        until_repaired(&fixture, drift.name, &intended).await;
        operator.kill();
    }
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_status_that_somebody_else_writes_is_made_true_again() {
    let fixture = Fixture::new("status").await;
    let lie = r#"{"status":{"phase":"Failed","readyReplicas":7}}"#;
    let operator = Operator::start("status", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let patch = ["-n", &fixture.namespace, "patch", "isvc/demo", "--subresource=status", "--type=merge", "-p", lie];
    kubectl(&patch);
    let object = fixture.until("demo", Phase::Ready).await;
    assert_eq!(object.status.expect("a status").ready_replicas, 1);

    operator.kill();
    kubectl(&patch);
    let _operator = Operator::start("status", &[]).await;
    let object = fixture.until("demo", Phase::Ready).await;
    assert_eq!(object.status.expect("a status").ready_replicas, 1);
    fixture.clean_up().await;
}
