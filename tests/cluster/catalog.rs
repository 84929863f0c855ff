//! The catalogue as its administrators use it: GPU types come and go, two of them share it, and what is printed is applied.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use inference_operator::api::Phase;
use serde_json::{Value, json};

use crate::support::fixture::spec;
use crate::support::shell::variable;
use crate::support::{Catalog, Fixture, Operator, Request, Temporary, audit, kubectl};

fn gpu_types(names: &[&str]) -> Value {
    let label = json!([{"key": "nvidia.com/gpu.product", "values": ["NVIDIA-L40S"]}]);
    let entries = names.iter().map(|name| json!({"name": name, "nodeLabels": label}));
    json!({"gpuTypes": entries.collect::<Vec<_>>()})
}

/// The InferenceServices that something was written to, or that were read, one by one.
fn touched(fixture: &Fixture, mark: audit::Mark) -> BTreeSet<String> {
    let requests = audit::since(mark).into_iter();
    let of_one = requests.filter(|request| request.is_of_one() && request.namespace == fixture.namespace);
    of_one.filter(|request| request.resource != "events").map(|request| request.name).collect()
}

#[tokio::test]
async fn a_gpu_type_that_is_added_serves_what_was_refused_and_one_that_goes_leaves_what_runs() {
    let fixture = Fixture::new("gputypes").await;
    let catalog = Catalog::of(&fixture);
    let operator = Operator::start("gputypes", &[]).await;
    fixture.create("other", 1).await;
    fixture.create_from("demo", spec("m", 1, "L40S-48")).await;
    fixture.until("other", Phase::Ready).await;
    fixture.until_said("demo", Phase::Failed, "InvalidGpuType", "L40S-48").await;
    operator.settled().await;
    audit::is_quiet().await;

    let mark = audit::mark();
    catalog.apply(gpu_types(&["L40S-48"])).await;
    let object = catalog.until_accepted().await;
    assert_eq!(object.status.expect("there").gpu_types, "A100, H100, L40S, L40S-48");
    fixture.until("demo", Phase::Ready).await;
    catalog.until_complete().await;
    audit::is_quiet().await;
    assert_eq!(touched(&fixture, mark), BTreeSet::from(["demo".to_owned()]), "nobody else is concerned");

    let before = fixture.deployments.get("demo").await.expect("there").metadata;
    let mark = audit::mark();
    catalog.apply(gpu_types(&["B200"])).await;
    let refused = fixture.until_said("demo", Phase::Failed, "InvalidGpuType", "B200").await;
    catalog.until_complete().await;
    audit::is_quiet().await;
    let after = fixture.deployments.get("demo").await.expect("there").metadata;
    assert_eq!((after.uid, after.generation), (before.uid, before.generation), "it keeps running");
    assert_eq!(refused.status.expect("there").ready_replicas, 1);
    assert!(!audit::since(mark).iter().any(|request| request.is_write() && request.resource == "deployments"));

    // And it is served as soon as its type is offered again.
    catalog.apply(gpu_types(&["L40S-48"])).await;
    fixture.until("demo", Phase::Ready).await;
    drop(catalog);
    fixture.clean_up().await;
}

#[tokio::test]
async fn two_managers_share_the_catalogue_by_server_side_apply() {
    let fixture = Fixture::new("managers").await;
    let catalog = Catalog::of(&fixture);
    let _operator = Operator::start("managers", &[]).await;
    let engine = |name: &str, image: &str| json!({"engines": [{"name": name, "image": image}]});
    catalog.apply_as("platform", engine("a", "example.com/a:1")).await.expect("applied");
    catalog.apply_as("research", engine("b", "example.com/b:1")).await.expect("applied");
    let object = catalog.until_accepted().await;
    let offered = object.status.expect("there").engines;
    assert_eq!(offered, "vllm, sglang, llamacpp, a, b");
    for name in ["a", "b"] {
        let mut asked = spec("m", 1, "L40S");
        asked.engine = Some(name.to_owned());
        fixture.create_from(name, asked).await;
        fixture.until(name, Phase::Ready).await;
    }

    let conflict = catalog.apply_as("research", engine("a", "example.com/a:2")).await.expect_err("it is not theirs");
    assert!(conflict.to_string().contains("platform"), "{conflict}");

    // What one of them leaves out goes; what the other has stays.
    catalog.apply_as("platform", json!({})).await.expect("applied");
    let object = catalog.until_accepted().await;
    let names: Vec<&str> = object.spec.engines.iter().map(|engine| &*engine.name).collect();
    assert_eq!(names, ["b"]);
    let refused = fixture.until_said("a", Phase::Failed, "InvalidEngine", "a").await;
    assert_eq!(refused.status.expect("there").ready_replicas, 1, "it keeps running");
    fixture.until("b", Phase::Ready).await;
    drop(catalog);
    fixture.clean_up().await;
}

const COUNT: usize = 6;

#[tokio::test]
async fn idle_and_after_a_restart_an_accepted_catalogue_costs_no_write_and_no_read() {
    let fixture = Fixture::new("catalogidle").await;
    let catalog = Catalog::of(&fixture);
    let operator = Operator::start("catalogidle", &[]).await;
    for number in 0..COUNT {
        fixture.create(&format!("demo-{number}"), 1).await;
    }
    // Some are still being created. A fragment is one that the API server is asked about.
    let fragment = json!({"metadata": {"annotations": {"team": "a"}}});
    catalog
        .apply(json!({"defaults": {"template": fragment}, "engines": [{"name": "a", "image": "example.com/a"}]}))
        .await;
    catalog.until_accepted().await;
    for number in 0..COUNT {
        fixture
            .until_deployment(&format!("demo-{number}"), "it is of this catalogue", |deployment| {
                let pod = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
                let team = pod.and_then(|pod| pod.annotations.as_ref()?.get("team").cloned());
                if team.as_deref() == Some("a") { Ok(()) } else { Err(format!("{team:?}")) }
            })
            .await;
    }
    fixture.until_all(COUNT, Phase::Ready).await;
    catalog.until_complete().await;
    audit::is_quiet().await;

    let mark = audit::mark();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(beyond_watches(mark), [], "idle");
    operator.stop();
    let mark = audit::mark();
    let operator = Operator::start("catalogidle", &[]).await;
    operator.settled().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let requests = beyond_watches(mark);
    let of_one: Vec<&Request> = requests.iter().filter(|request| request.is_of_one()).collect();
    assert!(of_one.is_empty(), "after a restart: {of_one:?}");
    assert_eq!(operator.lines_with("the catalogue is accepted"), 1, "{}", operator.log());
    drop(catalog);
    fixture.clean_up().await;
}

fn beyond_watches(mark: audit::Mark) -> Vec<Request> {
    audit::since(mark).into_iter().filter(|request| request.verb != "watch").collect()
}

#[tokio::test]
async fn the_printed_catalogue_changes_no_child_when_it_is_applied_and_kubectl_shows_it() {
    let fixture = Fixture::new("printed").await;
    let catalog = Catalog::of(&fixture);
    let operator = Operator::start("printed", &[]).await;
    for (name, gpu_type) in [("one", "A100"), ("two", "L40S")] {
        fixture.create_from(name, spec("m", 1, gpu_type)).await;
        fixture.until(name, Phase::Ready).await;
    }
    operator.settled().await;
    audit::is_quiet().await;
    let mark = audit::mark();
    let printed = Command::new(variable("OPERATOR")).arg("--print-catalog").output().expect("it prints").stdout;
    let file = Temporary::new(&String::from_utf8(printed).expect("UTF-8"));
    kubectl(&["apply", "-f", file.path()]);
    catalog.until_accepted().await;
    catalog.until_complete().await;
    audit::is_quiet().await;
    assert_eq!(touched(&fixture, mark), BTreeSet::new());

    let table = kubectl(&["-n", "inference-operator", "get", "icat", "-o", "wide"]);
    println!("{table}");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split("  ").filter(|cell| !cell.trim().is_empty()).map(str::trim).collect())
        .collect();
    assert_eq!(rows[0], ["NAME", "ACCEPTED", "ENGINES", "GPU TYPES", "ROLLOUT", "AGE", "MESSAGE"]);
    assert_eq!(rows[1][..5], ["default", "True", "vllm, sglang, llamacpp", "A100, H100, L40S", "Complete"]);
    assert!(kubectl(&["explain", "icat.spec.engines"]).contains("Programs that serve a model"));
    assert!(kubectl(&["explain", "icat.spec.engines.args"]).contains("{maxBatchSize}"));
    assert!(kubectl(&["explain", "icat.status.conditions"]).contains("Halted"));
    drop(catalog);
    fixture.clean_up().await;
}
