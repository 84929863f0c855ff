//! Clients that wait for an InferenceService: Helm 4, kstatus's own library (Flux) and Argo CD's health check from
//! docs/argocd.md, on every status of a real run. None takes one for finished too early, or for failed when it is not.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use inference_operator::api::{InferenceCatalog, Phase};
use serde_json::{Value, json};

use crate::support::catalog::with_image;
use crate::support::helm::{helm, helm_fails};
use crate::support::obstacle::{Cordon, refuse_image};
use crate::support::recorder::{self, Seen};
use crate::support::shell::built;
use crate::support::{Catalog, Fixture, Fleet, Operator, Recorder, Temporary, eventually, kubectl};

const PAGE: &str = include_str!("../../docs/argocd.md");

/// The ConfigMap on the page.
fn config() -> &'static str {
    PAGE.split("```yaml\n").nth(1).and_then(|rest| rest.split("\n```").next()).expect("a block of YAML")
}

/// The script on the page for this kind.
fn script(kind: &str) -> Temporary {
    let config: Value = serde_saphyr::from_str(config()).expect("YAML");
    let script = &config["data"][format!("resource.customizations.health.ai.example.com_{kind}")];
    Temporary::new(script.as_str().expect("a script for the kind"))
}

/// What the program prints of each of these objects, a word a line.
fn judge(program: &str, arguments: &[&str], objects: &[Value]) -> Vec<String> {
    let mut judge =
        Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = judge.stdin.take().expect("a pipe");
    for object in objects {
        writeln!(lines, "{object}").expect("written");
    }
    drop(lines);
    let output = judge.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{program} failed: see above");
    let words: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(words.len(), objects.len(), "{words:?}");
    words
}

fn argocd(kind: &str, objects: &[Value]) -> Vec<String> {
    judge(&format!("{}/argocd-health", built("argocd")), &[script(kind).path()], objects)
}

fn kstatus(objects: &[Value]) -> Vec<String> {
    judge(&format!("{}/kstatus", built("kstatus")), &[], objects)
}

/// Each status with the words of kstatus and of Argo CD.
fn judged(seen: Vec<Seen>) -> Vec<(Seen, String, String)> {
    let objects: Vec<Value> = seen.iter().map(Seen::object).collect();
    let words = kstatus(&objects).into_iter().zip(argocd("InferenceService", &objects));
    seen.into_iter().zip(words).map(|(seen, (kstatus, argocd))| (seen, kstatus, argocd)).collect()
}

/// Whatever happens: what is said of a status is true of it.
fn assert_true(judged: &[(Seen, String, String)]) {
    for (seen, kstatus, argocd) in judged {
        let is = |phase: &str| seen.phase() == phase && seen.is_of_this_spec();
        let is_right = (kstatus != "Current" || is("Ready") || is("Paused"))
            && (kstatus != "Failed" || is("Failed"))
            && (argocd != "Healthy" || is("Ready"))
            && (argocd != "Degraded" || is("Failed"))
            && (argocd != "Suspended" || is("Paused"));
        assert!(is_right, "kstatus: {kstatus}, Argo CD: {argocd}: {}", seen.line());
        assert_eq!(format!("{:?}", seen.kstatus()), *kstatus, "the simulation's kstatus: {}", seen.line());
    }
}

#[tokio::test]
async fn no_client_takes_it_for_finished_too_early_or_for_failed_when_it_is_not() {
    let fixture = Fixture::new("clients").await;
    fixture.create("demo", 1).await;
    let recorder = Recorder::of(&fixture, "demo").await;
    // The pods of this cluster take no time at all otherwise.
    let cordon = Cordon::of("l40s");
    let _operator = Operator::start("clients", &[]).await;
    fixture.until_said("demo", Phase::Progressing, "RollingOut", "").await;
    drop(cordon);
    let ready = fixture.until("demo", Phase::Ready).await;
    let creation = judged(recorder.up_to(&ready).await);
    assert_true(&creation);
    let (last, before) = creation.split_last().expect("some");
    assert_eq!((last.1.as_str(), last.2.as_str()), ("Current", "Healthy"), "{}", last.0.line());
    assert!(before.len() >= 2, "{}", recorder::lines(&recorder.until_now().await));
    for (seen, kstatus, argocd) in before {
        assert_eq!((kstatus.as_str(), argocd.as_str()), ("InProgress", "Progressing"), "{}", seen.line());
    }

    fixture.change("demo", json!({"model": "second/model"})).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.change("demo", json!({"replicas": 3})).await;
    fixture.until("demo", Phase::Ready).await;
    let uid = fixture.deployments.get("demo").await.expect("there").metadata.uid;
    kubectl(&["-n", &fixture.namespace, "delete", "deployment/demo"]);
    eventually("another Deployment is there", || async {
        let found = fixture.deployments.get_opt("demo").await.map_err(|error| error.to_string())?;
        let other = found.and_then(|found| found.metadata.uid).filter(|found| Some(found) != uid.as_ref());
        other.map(drop).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    fixture.until("demo", Phase::Ready).await;
    for (change, phase) in [
        (json!({"gpuType": "T4"}), Phase::Failed),
        (json!({"gpuType": "A100"}), Phase::Ready),
        (json!({"paused": true}), Phase::Paused),
        (json!({"paused": null, "replicas": 0}), Phase::Ready),
        (json!({"replicas": 1}), Phase::Ready),
    ] {
        fixture.change("demo", change).await;
        fixture.until("demo", phase).await;
    }
    let all = judged(recorder.until_now().await);
    assert_true(&all);
    println!("{} statuses", all.len());
    let words = |which: fn(&(Seen, String, String)) -> &String| {
        all.iter().map(|one| which(one).as_str()).collect::<BTreeSet<_>>()
    };
    assert_eq!(words(|one| &one.1), ["Current", "Failed", "InProgress"].into());
    assert_eq!(words(|one| &one.2), ["Degraded", "Healthy", "Progressing", "Suspended"].into());
    fixture.clean_up().await;
}

#[tokio::test]
async fn argo_cd_shows_how_far_a_change_of_the_catalogue_is() {
    let health = |object: InferenceCatalog| {
        let object = serde_json::to_value(object).expect("JSON");
        argocd("InferenceCatalog", &[object]).remove(0)
    };
    let fleet = Fleet::new("catalogclients", 3, 0).await;
    let catalog = Catalog::of(&fleet.fixture);
    let policy = refuse_image(&fleet.fixture, "example.com/bad").await;
    catalog.apply(json!({})).await;
    assert_eq!(health(catalog.api.get("default").await.expect("there")), "Progressing", "no operator has seen it");
    let _operator = Operator::start("catalogclients", &[]).await;
    assert_eq!(health(catalog.until_complete().await), "Healthy");
    catalog.apply(json!({"defaults": {"engine": "tgi"}})).await;
    assert_eq!(health(catalog.until("Accepted", "InvalidSpec", "tgi").await), "Degraded");
    catalog.apply(with_image("example.com/bad", 1)).await;
    assert_eq!(health(catalog.until("Rollout", "InProgress", "").await), "Progressing");
    assert_eq!(health(catalog.until("Rollout", "Halted", "").await), "Degraded");
    drop(policy);
    catalog.apply(with_image("example.com/good", 1)).await;
    fleet.until_rolled_out("example.com/good").await;
    assert_eq!(health(catalog.until_complete().await), "Healthy");
    drop(catalog);
    fleet.fixture.clean_up().await;
}

/// As the page says: with --patch-file.
#[tokio::test]
async fn the_health_checks_are_added_to_argo_cd_s_own_settings() {
    let fixture = Fixture::new("argocdcm").await;
    let namespace = fixture.namespace.as_str();
    kubectl(&["-n", namespace, "create", "configmap", "argocd-cm", "--from-literal=url=https://argocd.example.com"]);
    let patch = Temporary::new(&config().replace("namespace: argocd", &format!("namespace: {namespace}")));
    kubectl(&["-n", namespace, "patch", "configmap", "argocd-cm", "--patch-file", patch.path()]);
    let object: Value =
        serde_json::from_str(&kubectl(&["-n", namespace, "get", "cm/argocd-cm", "-o", "json"])).expect("JSON");
    let data = object["data"].as_object().expect("data");
    assert_eq!((data.len(), &data["url"]), (3, &json!("https://argocd.example.com")), "{data:?}");
    fixture.clean_up().await;
}

/// A chart with one InferenceService, as a user's own may have it.
struct ModelChart(PathBuf);

impl ModelChart {
    fn new() -> ModelChart {
        let folder = std::env::temp_dir().join(format!("inference-operator-model-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("templates")).expect("a folder");
        let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).expect("written");
        write("Chart.yaml", "apiVersion: v2\nname: models\nversion: 1.0.0\n");
        write("values.yaml", "model: first/model\ngpuType: L40S\n");
        let object = "apiVersion: ai.example.com/v1\nkind: InferenceService\nmetadata: {name: demo}\n\
                      spec: {model: {{ .Values.model }}, gpuType: {{ .Values.gpuType }}, replicas: 2}\n";
        write("templates/model.yaml", object);
        ModelChart(folder)
    }
}

impl Drop for ModelChart {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn helm_waits_until_a_model_is_ready_and_no_longer_than_it_can_be() {
    let fixture = Fixture::new("helmwaits").await;
    let _operator = Operator::start("helmwaits", &[]).await;
    let chart = ModelChart::new();
    let command = |verb: &'static str, set: &'static str| {
        let chart = chart.0.to_str().expect("UTF-8");
        vec![verb, "models", chart, "-n", &fixture.namespace, "--wait", "--timeout", "60s", "--set", set]
    };
    let state = async || {
        let object = fixture.inference_services.get("demo").await.expect("there");
        let status = object.status.expect("a status");
        (status.phase, status.ready_replicas, Some(status.observed_generation) == object.metadata.generation)
    };
    for command in [command("install", "model=first/model"), command("upgrade", "model=second/model")] {
        let cordon = Cordon::of("l40s");
        let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
        let waits = tokio::task::spawn_blocking(move || helm(&command.iter().map(String::as_str).collect::<Vec<_>>()));
        fixture.until_said("demo", Phase::Progressing, "RollingOut", "").await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!waits.is_finished(), "helm does not wait");
        drop(cordon);
        waits.await.expect("it returns");
        assert_eq!(state().await, (Phase::Ready, 2, true));
    }
    let began = Instant::now();
    let told = helm_fails(&command("upgrade", "gpuType=T4"));
    println!("after {:.1} s: {told}", began.elapsed().as_secs_f32());
    assert!(told.contains("demo") && began.elapsed() < Duration::from_secs(30), "{told}");
    helm(&["rollback", "models", "-n", &fixture.namespace, "--wait"]);
    assert_eq!(state().await, (Phase::Ready, 2, true));
    helm(&["uninstall", "models", "-n", &fixture.namespace, "--wait"]);
    fixture.clean_up().await;
}
