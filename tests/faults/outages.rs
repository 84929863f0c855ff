//! An API server and a datastore that are killed, and a history that is compacted when the operator comes back.

use inference_operator::api::Phase;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::budget::{self, ActionCounts};
use crate::proxy::Proxy;
use crate::setup::Setup;
use crate::snapshot;
use crate::support::shell::{cluster, variable};
use crate::support::{Fixture, Operator, eventually, kubectl};

fn start(name: &str, proxy: &Proxy) -> Operator {
    let token = kubectl(&["create", "token", "-n", "inference-operator", "inference-operator"]);
    Operator::spawn_at(name, &token, &proxy.listener.port, &proxy.authority.pem, &[])
}

/// The number of InferenceServices created before each outage.
const COUNT: usize = 20;

async fn create_some(setup: &Setup, round: usize) -> Vec<String> {
    let names: Vec<String> = (0..COUNT).map(|number| format!("demo-{round}-{number}")).collect();
    for name in &names {
        Setup::create(&setup.api, name).await;
    }
    names
}

async fn outage(client: &Client, parts: &[&str]) {
    for part in parts.iter().rev() {
        cluster(&["stop", part, "--kill"]);
    }
    for part in parts {
        cluster(&["start", part]);
    }
    eventually("the API server is ready", || async {
        client.apiserver_version().await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_and_a_datastore_that_are_killed_cost_no_more_than_what_they_interrupt() {
    const OUTAGES: [&[&str]; 3] = [&["apiserver"], &["datastore"], &["datastore", "apiserver"]];
    let fixture = Fixture::new("outages").await;
    // The reference run comes first: an outage affects every operator.
    let mut spared = Setup::new(&fixture.client, "outages-none", 0, 0).await;
    spared.start_operator();
    for round in 0..OUTAGES.len() {
        create_some(&spared, round).await;
    }
    let expected = spared.settles(OUTAGES.len() * COUNT).await;
    spared.rests(&[]).await;
    spared.kill_operator();

    let mut struck = Setup::new(&fixture.client, "outages-many", 0, 0).await;
    struck.start_operator();
    struck.operator().ready().await;
    let mut actions = ActionCounts::new();
    for (round, parts) in OUTAGES.into_iter().enumerate() {
        // Each outage from now on ends all watches. Objects created while the following lists are read are not in
        // them, and are checked again: an apply that changes nothing.
        let names = create_some(&struck, round).await;
        actions.extend(names.into_iter().map(|name| (name, 1 + OUTAGES.len() - round)));
        outage(&fixture.client, parts).await;
    }
    struck.becomes(&expected).await;
    struck.rests(&[]).await;
    snapshot::assert_same_traces(&spared.traces().await, &struck.traces().await);
    println!("no outages: {}", budget::totals(&spared.proxy.log()));
    println!("outages: {}", budget::totals(&struck.proxy.log()));
    let mut violations = budget::violations(&struck.proxy.log(), &actions);
    violations.extend(budget::made_otherwise(&spared.proxy.log(), &struck.proxy.log()));
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    tokio::join!(spared.clean_up(), struck.clean_up());
    fixture.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_the_operator_was_away_is_found_by_a_new_list() {
    let fixture = Fixture::new("cutoff").await;
    let proxy = Proxy::start(0, 0).await;
    let operator = start("cutoff", &proxy);
    operator.ready().await;
    for name in ["stays", "changes", "goes", "is-made-anew", "loses-its-deployment", "has-it-edited"] {
        fixture.create(name, 1).await;
    }
    fixture.until_all(6, Phase::Ready).await;
    let lists = |proxy: &Proxy| budget::asked(&proxy.log()).filter(|asked| asked.line.contains("sendInitial")).count();
    let before = (lists(&proxy), proxy.expired());

    // The operator is paused, because an error response would be a sign too: it then finds its watches ended, and a
    // healthy API server whose history is compacted.
    operator.pause();
    proxy.listener.cut();
    let delete = DeleteParams::foreground();
    fixture.change("changes", json!({"replicas": 2, "model": "another/model"})).await;
    for name in ["goes", "is-made-anew"] {
        fixture.inference_services.delete(name, &delete).await.expect("deleted");
        gone(&fixture, name).await;
    }
    fixture.create("is-made-anew", 0).await;
    fixture.create("is-new", 1).await;
    fixture.deployments.delete("loses-its-deployment", &delete).await.expect("deleted");
    let patch = Patch::Merge(json!({"spec": {"replicas": 3}}));
    fixture.deployments.patch("has-it-edited", &PatchParams::default(), &patch).await.expect("edited");
    compact().await;
    // The watch cache holds history too.
    cluster(&["restart", "apiserver"]);
    operator.go_on();

    fixture.until_deployment("has-it-edited", "as it was", |object| replicas(object, 1)).await;
    fixture.until_deployment("loses-its-deployment", "made again", |object| replicas(object, 1)).await;
    fixture.until_deployment("changes", "as the spec says", |object| replicas(object, 2)).await;
    fixture.until_all(6, Phase::Ready).await;
    operator.settled().await;
    let (_, metrics) = operator.get("/metrics").await.expect("served");
    assert!(metrics.contains("inference_operator_inferenceservices{phase=\"Ready\"} 6\n"), "{metrics}");
    // All four watches, each at its own time.
    let told = eventually("all four watches have listed again", || async {
        let (listed, told) = (lists(&proxy) - before.0, proxy.expired() - before.1);
        if listed >= 4 { Ok(told) } else { Err(format!("{listed} lists, told {told} times that it fell behind")) }
    })
    .await;
    // Or the API server was not healthy yet when the watch was reopened, which leads to a list as well.
    println!("told {told} times that it fell behind");
    fixture.clean_up().await;
}

async fn gone(fixture: &Fixture, name: &str) {
    eventually(&format!("{name} is gone"), || async {
        match fixture.inference_services.get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

fn replicas(object: &k8s_openapi::api::apps::v1::Deployment, expected: i32) -> Result<(), String> {
    let found = object.spec.as_ref().and_then(|spec| spec.replicas);
    if found == Some(expected) { Ok(()) } else { Err(format!("{found:?}")) }
}

/// Compacts etcd's whole history up to now.
async fn compact() {
    let status = etcd("/v3/maintenance/status", "{}").await;
    let revision = status["header"]["revision"].as_str().expect("a revision").to_owned();
    etcd("/v3/kv/compaction", &json!({"revision": revision, "physical": true}).to_string()).await;
}

async fn etcd(path: &str, body: &str) -> Value {
    let url = variable("DATASTORE_URL");
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("etcd");
    let request = format!("POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.contains(" 200 "), "{path}: {answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON")
}
