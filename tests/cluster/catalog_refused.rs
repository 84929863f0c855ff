//! A catalogue with a mistake: the condition says where, the last accepted one stays in force, and no child changes.

use std::collections::BTreeSet;

use inference_operator::api::{InferenceServiceSpec, Phase};
use serde_json::{Value, json};

use crate::support::catalog::{condition, object};
use crate::support::fixture::{image, spec};
use crate::support::{Catalog, Fixture, Operator, Request, Temporary, audit, kubectl_fails};

/// An accepted catalogue: an engine of its own, which InferenceServices use.
fn good() -> Value {
    json!({"engines": [{"name": "mine", "image": "example.com/mine:1"}]})
}

fn engine(field: &str, value: Value) -> Value {
    let mut engine = json!({"name": "mine", "image": "example.com/mine:2"});
    engine[field] = value;
    json!({"engines": [engine]})
}

/// What is wrong, with the condition's reason and what its message starts with.
fn mistakes() -> Vec<(Value, &'static str, &'static str)> {
    let label = |key: &str, value: &str| json!([{"key": key, "values": [value]}]);
    vec![
        (json!({"engines": [{"name": "mine"}]}), "InvalidSpec", "spec.engines[mine].image: it is missing"),
        (
            engine("args", json!(["{modle}"])),
            "InvalidSpec",
            "spec.engines[mine].args[0]: there is no placeholder {modle} (expected: {model}, ",
        ),
        (
            json!({"gpuTypes": [{"name": "T4", "nodeLabels": label("gpu product", "T4")}]}),
            "InvalidSpec",
            "spec.gpuTypes[T4].nodeLabels: \"gpu product\" is not the key of a label",
        ),
        (
            json!({"gpuTypes": [{"name": "T4", "nodeLabels": label("gpu", "Tesla T4")}]}),
            "InvalidSpec",
            "spec.gpuTypes[T4].nodeLabels[gpu].values: \"Tesla T4\" is not the value of a label",
        ),
        (
            engine("template", json!({"spec": {"hostNetwork": true}})),
            "InvalidSpec",
            "spec.engines[mine].template: the pod is not allowed by the operator's pod policy baseline: spec.hostNetwork",
        ),
        (
            engine("template", json!({"spec": {"conatiners": []}})),
            "InvalidPod",
            "spec.engines[mine].template: Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: \
             unknown field \"spec.template.spec.conatiners\"",
        ),
        (
            json!({"defaults": {"engine": "tgi"}}),
            "InvalidSpec",
            "spec.defaults.engine: there is no engine tgi (expected:",
        ),
    ]
}

async fn create_of_mine(fixture: &Fixture, name: &str) {
    let engine = Some("mine".to_owned());
    fixture.create_from(name, InferenceServiceSpec { engine, ..spec("m", 1, "L40S") }).await;
}

/// Is one served that chooses an engine of the catalogue, and with its image?
async fn serves_mine(fixture: &Fixture, name: &str) {
    create_of_mine(fixture, name).await;
    fixture.until(name, Phase::Ready).await;
    assert_eq!(image(&fixture.deployments.get(name).await.expect("there")), Some("example.com/mine:1"));
}

/// The names of the children that were written. A dry run is in the operator's namespace.
fn written(fixture: &Fixture, mark: audit::Mark) -> BTreeSet<String> {
    let requests = audit::since(mark).into_iter().filter(|request| request.namespace == fixture.namespace);
    let of_children = requests.filter(|request| matches!(&*request.resource, "deployments" | "services"));
    of_children.filter(Request::is_write).map(|request| request.name).collect()
}

#[tokio::test]
async fn a_mistake_is_named_with_its_path_and_the_last_accepted_catalogue_stays_in_force() {
    let fixture = Fixture::new("refused").await;
    let catalog = Catalog::of(&fixture);
    let operator = Operator::start("refused", &[]).await;
    catalog.apply(good()).await;
    catalog.until_accepted().await;
    serves_mine(&fixture, "before").await;
    audit::is_quiet().await;

    let mark = audit::mark();
    for (spec, reason, message) in mistakes() {
        catalog.apply(spec.clone()).await;
        let object = catalog.until("Accepted", reason, message).await;
        let condition = condition(&object, "Accepted").expect("there");
        println!("{reason}: {}", condition.message);
        assert!(condition.status == "False" && condition.message.starts_with(message), "{condition:?}");
        let status = object.status.expect("there");
        assert_eq!(status.accepted, Some(good()), "{spec}");
        assert_eq!(status.engines, "vllm, sglang, llamacpp, mine");
    }
    serves_mine(&fixture, "meanwhile").await;
    assert_eq!(written(&fixture, mark), BTreeSet::from(["meanwhile".to_owned()]));

    operator.stop();
    let mark = audit::mark();
    let _operator = Operator::start("refused", &[]).await;
    serves_mine(&fixture, "later").await;
    audit::is_quiet().await;
    assert_eq!(written(&fixture, mark), BTreeSet::from(["later".to_owned()]), "after a restart");
    assert!(!audit::since(mark).iter().any(|request| request.is("patch", "inferencecatalogs/status")), "said already");

    // Put right, it is in force at once.
    catalog.apply(json!({"engines": [{"name": "mine", "image": "example.com/mine:3"}]})).await;
    catalog.until_accepted().await;
    fixture
        .until_deployment("before", "the image that was put right", |deployment| {
            let image = image(deployment);
            if image == Some("example.com/mine:3") { Ok(()) } else { Err(format!("{image:?}")) }
        })
        .await;
    drop(catalog);
    fixture.clean_up().await;
}

/// As after a catalogue was restored from a backup, which has no status: what it once said is not known.
#[tokio::test]
async fn an_operator_that_starts_with_a_catalogue_that_was_never_accepted_rolls_out_nothing() {
    let fixture = Fixture::new("neveraccepted").await;
    let catalog = Catalog::of(&fixture);
    let operator = Operator::start("neveraccepted", &[]).await;
    catalog.apply(good()).await;
    catalog.until_accepted().await;
    serves_mine(&fixture, "before").await;
    fixture.create("plain", 1).await;
    fixture.until("plain", Phase::Ready).await;
    operator.stop();

    catalog.delete().await;
    catalog.apply(json!({"engines": [{"name": "mine"}]})).await;
    let mark = audit::mark();
    // A flag that would change all of vllm.
    let operator = Operator::start("neveraccepted", &["--server-image", "example.com/vllm:2"]).await;
    let object = catalog.until("Accepted", "InvalidSpec", "spec.engines[mine].image: it is missing").await;
    assert_eq!(object.status.expect("there").accepted, None);
    operator.settled().await;
    audit::is_quiet().await;
    assert_eq!(written(&fixture, mark), BTreeSet::new(), "{}", operator.log());
    assert!(audit::since(mark).iter().any(|request| request.is("get", "inferencecatalogs")));
    fixture.until("before", Phase::Ready).await;
    // New ones are served with what is built in.
    fixture.create("new", 1).await;
    fixture.until("new", Phase::Ready).await;
    create_of_mine(&fixture, "of-mine").await;
    fixture.until_said("of-mine", Phase::Failed, "InvalidEngine", "mine").await;
    drop(catalog);
    fixture.clean_up().await;
}

/// What the schema refuses never reaches the operator.
#[tokio::test]
async fn the_api_server_itself_refuses_what_the_schema_can_tell() {
    let fixture = Fixture::new("schema").await;
    let catalog = Catalog::of(&fixture);
    let twice = json!([{"name": "a", "image": "x"}, {"name": "a", "image": "y"}]);
    let share = |share: Value| json!({"rollout": {"maxUnavailable": share}});
    for (spec, words) in [
        (share(json!(0)), "maxUnavailable"),
        (share(json!("0%")), "maxUnavailable"),
        (share(json!("101%")), "maxUnavailable"),
        (share(json!("5")), "maxUnavailable"),
        (engine("port", json!(0)), "port"),
        (engine("loadSeconds", json!(1)), "loadSeconds"),
        (json!({"engines": twice}), "Duplicate value"),
        (engine("image", json!("a b")), "image"),
        (engine("healthPath", json!("health")), "healthPath"),
        (json!({"gpuTypes": [{"name": ""}]}), "name"),
        (json!({"gpuTypes": [{"name": "T4, L4"}]}), "name"),
    ] {
        let refusal = create(&spec, "default");
        assert!(refusal.contains(words), "{spec}: {refusal}");
    }
    let refusal = create(&json!({}), "other");
    assert!(refusal.contains("metadata.name must be default: the operator reads no other catalogue"), "{refusal}");
    drop(catalog);
    fixture.clean_up().await;
}

/// Why it is refused, as kubectl says it.
fn create(spec: &Value, name: &str) -> String {
    let mut object = object(spec);
    object["metadata"]["name"] = json!(name);
    let file = Temporary::new(&object.to_string());
    let refusal = kubectl_fails(&["create", "-f", file.path()]);
    println!("{refusal}");
    refusal
}
