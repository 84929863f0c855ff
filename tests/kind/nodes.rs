//! Nodes that are restarted, drained and lost, under the operator and under the models.

use std::time::{Duration, Instant};

use inference_operator::api::{InferenceService, InferenceServiceSpec, Phase};
use inference_operator::time::Timestamp;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::node::{BOOT, Cordoned, Off};
use crate::support::audit::{self, Request};
use crate::support::fixture::ready;
use crate::support::wait::within;
use crate::support::{Fixture, eventually, kubectl};
use crate::{installed, node};

/// From the moment at which Kubernetes knows that a node is lost. The operator waits half a second for the Deployment
/// controller, which has to see it first.
const NOTICE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn when_its_node_restarts_the_operator_goes_on_and_writes_nothing() {
    let [here, there] = node::workers();
    let fixture = installed_on("restart", &here).await;
    create(&fixture, "model", json!({"nodeSelector": {"kubernetes.io/hostname": there}})).await;
    fixture.until("model", Phase::Ready).await;
    let (pods, operator) = (installed::pods_of(&fixture.namespace), installed::pod());
    audit::is_quiet().await;

    let mark = audit::mark();
    node::restart(&here);
    within(BOOT, "the same pod of the operator runs again", || async {
        let now = installed::pod();
        let is_again = uid(&now) == uid(&operator) && installed::restarts(&now) > installed::restarts(&operator);
        if is_again && is_ready(&now) { Ok(()) } else { Err(now["status"].to_string()) }
    })
    .await;
    assert_eq!(requests_of_one(mark), []);
    assert_eq!(installed::pods_of(&fixture.namespace), pods);
    scale_and_clean_up(&fixture, "model").await;
}

#[tokio::test]
async fn when_its_node_is_drained_the_operator_comes_up_elsewhere_and_writes_only_what_is_due() {
    let [here, there] = node::workers();
    let fixture = installed_on("drain", &here).await;
    create(&fixture, "stays", json!({"nodeSelector": {"kubernetes.io/hostname": there}})).await;
    {
        let _cordoned = Cordoned::all_but(&here);
        create(&fixture, "moves", json!({})).await;
        fixture.until("moves", Phase::Ready).await;
    }
    fixture.until("stays", Phase::Ready).await;
    audit::is_quiet().await;

    let mark = audit::mark();
    let drained = Cordoned::drained(&here);
    within(BOOT, "the operator runs on another node", || async {
        let now = installed::pod();
        if is_ready(&now) && installed::node(&now) != here { Ok(()) } else { Err(now["status"].to_string()) }
    })
    .await;
    println!("the operator is on {}", installed::node(&installed::pod()));
    fixture.until_all(2, Phase::Ready).await;
    audit::is_quiet().await;
    assert_eq!(audit::about("stays", mark), []);
    assert_no_child_was_written(&requests_of_one(mark));
    drop(drained);
    scale_and_clean_up(&fixture, "stays").await;
}

#[tokio::test]
async fn a_model_whose_node_is_lost_is_not_called_ready_and_heals_there_or_elsewhere() {
    let [here, lost] = node::workers();
    let fixture = installed_on("lost", &here).await;
    {
        let _cordoned = Cordoned::all_but(&lost);
        create(&fixture, "stays", json!({})).await;
        create(&fixture, "moves", json!({"nodeLossSeconds": 5})).await;
        fixture.until_all(2, Phase::Ready).await;
    }
    audit::is_quiet().await;

    let (mark, began) = (audit::mark(), Instant::now());
    let off = Off::of(&lost);
    let known = node::until(&lost, "Unknown").await;
    println!("Kubernetes knows after {} s", began.elapsed().as_secs());
    for name in ["stays", "moves"] {
        let later = until_it_is_not_ready(&fixture, name).await.since(known);
        println!("{name}: its status says so {} s later", later.as_secs());
        assert!(later <= NOTICE, "{name}: {later:?} later");
    }
    within(BOOT, "one of them is Ready elsewhere", || is_ready_now(&fixture, "moves")).await;
    println!("Ready elsewhere after {} s", began.elapsed().as_secs());

    drop(off);
    node::until(&lost, "True").await;
    within(BOOT, "the other one is Ready again", || is_ready_now(&fixture, "stays")).await;
    println!("Ready again after {} s", began.elapsed().as_secs());
    answers(&fixture, "stays").await;
    assert_no_child_was_written(&requests_of_one(mark));
    fixture.clean_up().await;
}

#[tokio::test]
async fn when_the_control_plane_restarts_no_model_does_and_the_operator_follows_again() {
    let [here, _] = node::workers();
    let fixture = installed_on("control-plane", &here).await;
    create(&fixture, "model", json!({})).await;
    fixture.until("model", Phase::Ready).await;
    let (pods, operator) = (installed::pods_of(&fixture.namespace), installed::pod());
    audit::is_quiet().await;

    let (mark, began) = (audit::mark(), Instant::now());
    node::restart(&node::control_plane());
    let later = InferenceService::new("later", spec(json!({})));
    within(BOOT, "another model is created", || async {
        let created = fixture.inference_services.create(&PostParams::default(), &later).await;
        created.map(drop).map_err(|error| error.to_string())
    })
    .await;
    println!("the API server is back after {} s", began.elapsed().as_secs());
    within(BOOT, "it is Ready", || is_ready_now(&fixture, "later")).await;
    println!("another model is Ready after {} s", began.elapsed().as_secs());
    audit::is_quiet().await;
    let writes = audit::about("model", mark).into_iter().filter(Request::is_write);
    assert_eq!(writes.collect::<Vec<_>>(), []);
    assert!(installed::pods_of(&fixture.namespace).contains(&pods), "a model has restarted");
    let now = installed::pod();
    assert_eq!((uid(&now), installed::restarts(&now)), (uid(&operator), installed::restarts(&operator)));
    fixture.clean_up().await;
}

/// The operator, on this node.
async fn installed_on(name: &str, node: &str) -> Fixture {
    installed::install();
    if installed::node(&installed::pod()) != node {
        let _cordoned = Cordoned::all_but(node);
        kubectl(&["-n", installed::NAMESPACE, "rollout", "restart", "deployment/inference-operator"]);
        installed::roll_out();
    }
    assert_eq!(installed::node(&installed::pod()), node);
    Fixture::new(name).await
}

async fn create(fixture: &Fixture, name: &str, more: Value) {
    fixture.create_from(name, spec(more)).await;
}

/// Of a model without a GPU: a node that boots has none any more, because only its status said that it had.
pub fn spec(mut spec: Value) -> InferenceServiceSpec {
    spec["model"] = json!("demo/model");
    spec["gpuCount"] = json!(0);
    serde_json::from_value(spec).expect("a spec")
}

/// It does its work.
async fn scale_and_clean_up(fixture: &Fixture, name: &str) {
    fixture.change(name, json!({"replicas": 0})).await;
    fixture
        .until_deployment(name, "it has no replicas", |deployment| {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            if replicas == Some(0) { Ok(()) } else { Err(format!("{replicas:?}")) }
        })
        .await;
    fixture.clean_up().await;
}

/// What a restart with everything settled does not cost.
fn requests_of_one(mark: audit::Mark) -> Vec<Request> {
    audit::since(mark).into_iter().filter(Request::is_of_one).collect()
}

fn assert_no_child_was_written(requests: &[Request]) {
    let others = ["inferenceservices/status", "events"];
    let is_due = |request: &Request| !request.is_write() || others.contains(&request.resource.as_str());
    assert!(requests.iter().all(is_due), "{requests:?}");
}

/// For `within`.
async fn is_ready_now(fixture: &Fixture, name: &str) -> Result<(), String> {
    let object = fixture.inference_services.get(name).await.map_err(|error| error.to_string())?;
    let status = object.status.unwrap_or_default();
    if status.phase == Phase::Ready { Ok(()) } else { Err(format!("{status:?}")) }
}

/// Since when it says so.
async fn until_it_is_not_ready(fixture: &Fixture, name: &str) -> Timestamp {
    let object = eventually(&format!("{name} is not Ready"), || async {
        let object = fixture.inference_services.get(name).await.map_err(|error| error.to_string())?;
        let (status, reason, message) = ready(&object);
        if status == "False" { Ok(object) } else { Err(format!("{reason}: {message}")) }
    })
    .await;
    println!("{name}: {:?}", ready(&object));
    let conditions = object.status.map(|status| status.conditions).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").expect("the condition");
    ready.last_transition_time
}

/// By its Service, as the API server reaches it.
async fn answers(fixture: &Fixture, name: &str) {
    let path = format!("/api/v1/namespaces/{}/services/{name}:http/proxy/v1/models", fixture.namespace);
    eventually(&format!("{name} answers"), || async {
        let request = http::Request::get(&path).body(vec![]).expect("a request");
        let answer = fixture.client.request_text(request).await.map_err(|error| error.to_string())?;
        if answer.contains("demo/model") { Ok(()) } else { Err(answer) }
    })
    .await;
}

fn uid(pod: &Value) -> &str {
    pod["metadata"]["uid"].as_str().unwrap_or_default()
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["containerStatuses"][0]["ready"] == true
}
