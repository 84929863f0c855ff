//! A datastore that is restored from an earlier copy while the operator runs: the operator remembers a future that
//! never happened. The API servers are stopped meanwhile, as the manuals of etcd and k3s require.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use inference_operator::api::Phase;
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::shell::{cluster, variable};
use crate::support::{Fixture, Operator, eventually};

/// The cluster's other controllers remember that future too, and are restarted.
const CLIENTS: [&str; 3] = ["controller-manager", "scheduler", "kwok"];

fn data() -> PathBuf {
    PathBuf::from(variable("LOGS")).parent().expect("the cluster's folder").join("data")
}

fn copy(from: &PathBuf, to: &PathBuf) {
    let _ = std::fs::remove_dir_all(to);
    let status = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(status.success(), "{} is not copied", from.display());
}

/// Runs `act` while nothing uses the datastore.
async fn without_datastore(fixture: &Fixture, act: impl FnOnce()) {
    cluster(&["stop", "apiserver"]);
    cluster(&["stop", "datastore"]);
    act();
    cluster(&["start", "datastore"]);
    cluster(&["start", "apiserver"]);
    eventually("the API server is ready", || async {
        fixture.client.apiserver_version().await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_remembers_a_future_that_never_came_serves_what_is_there() {
    let fixture = Fixture::new("restored").await;
    let operator = Operator::start("restored", &[]).await;
    for name in ["stays", "is-scaled", "loses-its-deployment"] {
        fixture.create(name, 0).await;
    }
    fixture.until_all(3, Phase::Ready).await;
    let copied = data().with_extension("copy");
    without_datastore(&fixture, || copy(&data(), &copied)).await;

    // The following changes are not in the copy.
    fixture.create("never-was", 0).await;
    for round in 0..100 {
        fixture.change("is-scaled", json!({"maxBatchSize": 1 + round})).await;
    }
    fixture.until_all(4, Phase::Ready).await;
    operator.settled().await;
    without_datastore(&fixture, || copy(&copied, &data())).await;
    for part in CLIENTS {
        cluster(&["restart", part]);
    }

    let began = Instant::now();
    let old = fixture.inference_services.get("is-scaled").await.expect("it was there before");
    assert_eq!(old.spec.max_batch_size, None, "the copy is of before");
    fixture.change("is-scaled", json!({"replicas": 2})).await;
    fixture.deployments.delete("loses-its-deployment", &DeleteParams::default()).await.expect("deleted");
    fixture.create("is-new", 0).await;
    fixture.until_all(4, Phase::Ready).await;
    fixture.until_deployment("is-scaled", "as it is scaled", |object| replicas(object, 2)).await;
    fixture.until_deployment("loses-its-deployment", "made again", |object| replicas(object, 0)).await;
    println!("all is as the specs say {} s after it was put back", began.elapsed().as_secs());
    operator.settled().await;
    let (_, metrics) = operator.get("/metrics").await.expect("served");
    assert!(metrics.contains("inference_operator_inferenceservices{phase=\"Ready\"} 4\n"), "{metrics}");
    fixture.clean_up().await;
    let _ = std::fs::remove_dir_all(copied);
}

fn replicas(object: &k8s_openapi::api::apps::v1::Deployment, expected: i32) -> Result<(), String> {
    let found = object.spec.as_ref().and_then(|spec| spec.replicas);
    if found == Some(expected) { Ok(()) } else { Err(format!("{found:?}")) }
}
