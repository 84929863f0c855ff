//! What is in observability/ works with the real thing: promtool takes the alarms and the metrics, and a Prometheus that
//! scrapes the operator through a create, a failure and a rollout has data for each panel of the dashboard.

use std::collections::BTreeSet;
use std::time::Duration;

use inference_operator::api::{InferenceServiceSpec, Phase};
use serde_json::json;

use crate::standby::Rights;
use crate::support::catalog::with_image;
use crate::support::fixture::spec;
use crate::support::obstacle::{Stopped, policy, refuse_image};
use crate::support::prometheus::{Prometheus, now, run};
use crate::support::{Catalog, Fixture, Operator, eventually};

mod dashboard;
mod picture;

use dashboard::Line;

/// Of the models that are changed by the rollout.
const COUNT: usize = 8;

fn passes(program: &str, arguments: &[&str], input: &str) {
    let output = run(program, arguments, input);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    println!("{program} {arguments:?}: {said}");
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

#[test]
fn each_alarm_fires_when_it_should_and_only_then() {
    passes("promtool", &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"], "");
    passes("promtool", &["test", "rules", "rules.test.yaml"], "");
}

#[test]
fn prometheus_operator_and_grafana_know_each_field() {
    let files = ["prometheusrule.yaml", "podmonitor-operator.yaml", "podmonitor-models.yaml", "dashboard.json"];
    passes("check-schemas", &files, "");
}

#[tokio::test]
async fn the_metrics_are_named_and_typed_as_prometheus_wants_them() {
    let fixture = Fixture::new("lint").await;
    let operator = Operator::start("lint", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let (_, text) = operator.get("/metrics").await.expect("served");
    passes("promtool", &["check", "metrics"], &text);
    fixture.clean_up().await;
}

#[tokio::test]
async fn each_panel_shows_a_create_a_failure_and_a_rollout_and_each_alarm_comes_in_its_time() {
    let fixture = Fixture::new("observed").await;
    let catalog = Catalog::of(&fixture);
    // In an election, whose metric is there in no other operator.
    let _rights = Rights::give();
    let operator = Operator::start("observed", &["--leader-elect"]).await;
    let prometheus = Prometheus::scraping(&operator).await;
    until_alarms(&prometheus, &[]).await;
    let begun = now();
    settle().await;
    create(&fixture).await;
    fail(&fixture).await;
    roll_out(&fixture, &catalog, &operator, &prometheus).await;
    settle().await;
    let ended = now();

    let shown = shown(&prometheus, begun, ended).await;
    let highest = |title: &str, name: &str| {
        let lines = shown.iter().filter(|line| line.title == title && line.name == name);
        lines.flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max)
    };
    for phase in Phase::ALL.map(Phase::as_str) {
        assert!(highest("InferenceServices by phase", phase) >= 1.0, "no {phase}");
    }
    for (title, name) in [("Rollout", "waiting"), ("Rollout", "under way"), ("Rollout", "halted")] {
        assert!(highest(title, name) >= 1.0, "{title}: no {name}");
    }
    assert!(highest("Reconciles", "error") > 0.0);
    assert!(highest("Requests to the API server", "GET <error>") > 0.0, "while there was no API server");
    assert!(highest("Queue", "waiting") >= 1.0);
    // And not twice as many, for the second replica.
    assert_eq!(format!("{}", highest("InferenceServices", "InferenceServices")), format!("{}", COUNT + 3));
    each_selector_finds_something(&prometheus).await;

    operator.kill();
    until_alarms(&prometheus, &["InferenceOperatorDown"]).await;
    drop(catalog);
    fixture.clean_up().await;
}

/// Long enough to be seen on the dashboard, with a scrape each second.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

async fn create(fixture: &Fixture) {
    for number in 0..COUNT {
        fixture.create(&format!("model-{number}"), 1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let paused = InferenceServiceSpec { paused: true, ..spec("m", 1, "L40S") };
    fixture.create_from("paused", paused).await;
    fixture.create_from("mistyped", spec("m", 1, "T4")).await;
    for number in 0..COUNT {
        fixture.until(&format!("model-{number}"), Phase::Ready).await;
    }
    fixture.until("mistyped", Phase::Failed).await;
    settle().await;
}

/// A Deployment that a policy rejects, and an API server that is gone for a while.
async fn fail(fixture: &Fixture) {
    let deny = json!({"validations": [{"expression": "false", "message": "not today"}]});
    let policy = policy(fixture, "Validating", "object.metadata.name == 'rejected'", &deny);
    // It takes a moment until it is in force.
    settle().await;
    fixture.create("rejected", 1).await;
    fixture.until("rejected", Phase::Pending).await;
    settle().await;
    let stopped = Stopped::part("apiserver");
    tokio::time::sleep(Duration::from_secs(10)).await;
    drop(stopped);
    drop(policy);
    fixture.until("rejected", Phase::Ready).await;
    settle().await;
}

async fn roll_out(fixture: &Fixture, catalog: &Catalog, operator: &Operator, prometheus: &Prometheus) {
    let bad = "example.com/bad";
    let policy = refuse_image(fixture, bad).await;
    catalog.apply(with_image(bad, 1)).await;
    catalog.until("Rollout", "Halted", "has not become Ready again").await;
    until_alarms(prometheus, &["InferenceServiceFailed", "InferenceServiceNotReady", "InferenceServiceRolloutHalted"])
        .await;
    settle().await;
    drop(policy);
    catalog.apply(with_image("example.com/vllm:2", 2)).await;
    operator.rolled_out().await;
    catalog.until_complete().await;
    until_alarms(prometheus, &["InferenceServiceFailed"]).await;
}

/// Waits until these are pending or fire, and no others.
async fn until_alarms(prometheus: &Prometheus, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    eventually(&format!("{expected:?}"), || async {
        let alarms: BTreeSet<String> = prometheus.alarms().await?.into_iter().collect();
        if alarms == expected { Ok(()) } else { Err(format!("{alarms:?}")) }
    })
    .await;
}

/// Of the alarms: most of them have no series while all is well, and would have none either if they asked for the wrong ones.
async fn each_selector_finds_something(prometheus: &Prometheus) {
    let rules = prometheus.rules().await.expect("all evaluated");
    assert!(!rules.is_empty());
    for rule in rules {
        for selector in prometheus.selectors(rule["query"].as_str().expect("a query")).await {
            let found = prometheus.get("query", &[("query", &format!("last_over_time({selector}[10m])"))]).await;
            let found = found.unwrap_or_else(|error| panic!("{selector}: {error}"));
            assert_ne!(found["result"], json!([]), "{}: {selector} finds nothing", rule["name"]);
        }
    }
}

/// What each panel shows. One without a single value is an error.
async fn shown(prometheus: &Prometheus, begun: f64, ended: f64) -> Vec<Line> {
    let board = dashboard::read();
    let (mut shown, mut empty) = (Vec::new(), Vec::new());
    for query in dashboard::queries(&board) {
        let series = prometheus.range(&query.expression, begun, ended).await;
        if series.iter().all(|series| series.points.is_empty()) {
            empty.push(format!("{}: {}", query.title, query.expression));
        }
        for series in series {
            let name = dashboard::name(&query.legend, &series.labels);
            println!("{}: {name}: {} values", query.title, series.points.len());
            shown.push(Line { panel: query.panel, title: query.title.clone(), name, points: series.points });
        }
    }
    assert!(empty.is_empty(), "without data: {empty:#?}");
    if let Some(file) = std::env::var_os("DASHBOARD_PICTURE") {
        std::fs::write(file, picture::draw(&board, &shown, begun, ended)).expect("written");
    }
    shown
}
