//! What observability/ says twice it says alike, and what it names is there. tests/cluster/observability.rs shows it to
//! Prometheus.

#![allow(clippy::expect_used)]

mod committed;

use std::collections::BTreeSet;

use serde_json::Value;

const HEAD: &str = "\
# Generated from rules.yaml by: UPDATE_OBSERVABILITY=1 cargo test --test observability
# For Prometheus Operator. One that selects rules by a label needs that label here too (kube-prometheus-stack: release).
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: inference-operator
  namespace: inference-operator
  labels:
    app.kubernetes.io/name: inference-operator
spec:
";

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).expect("a file")
}

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&read(file)).expect("YAML")
}

fn alarms() -> Vec<Value> {
    let groups = yaml("observability/rules.yaml")["groups"].take();
    groups
        .as_array()
        .expect("groups")
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules").clone())
        .collect()
}

fn name(alarm: &Value) -> String {
    alarm["alert"].as_str().expect("a name").to_owned()
}

#[test]
fn the_prometheus_rule_has_the_alarms_of_the_plain_file() {
    let rules = read("observability/rules.yaml");
    let groups = &rules[rules.find("groups:").expect("groups")..];
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    let generated = HEAD.to_owned() + &groups.lines().map(indented).collect::<String>();
    committed::check("observability", "observability/prometheusrule.yaml", &generated);
    let object: Value = serde_saphyr::from_str(&generated).expect("YAML");
    assert_eq!(object["spec"], yaml("observability/rules.yaml"));
}

#[test]
fn each_alarm_has_a_runbook_that_it_links_to() {
    let page = read("docs/alerts.md");
    let sections: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## Inference")).collect();
    let alarms = alarms();
    for alarm in &alarms {
        let name = name(alarm);
        assert!(sections.contains(name.trim_start_matches("Inference")), "docs/alerts.md has no section {name}");
        let link = format!("docs/alerts.md#{}", name.to_lowercase());
        assert_eq!(alarm["annotations"]["runbook_url"], link.as_str());
    }
    assert_eq!(sections.len(), alarms.len(), "a runbook without an alarm: {sections:?}");
}

/// `promtool test rules` says nothing about an alarm that it is not asked for.
#[test]
fn each_alarm_is_shown_to_fire_and_not_to_fire() {
    let tests = yaml("observability/rules.test.yaml");
    let checks: Vec<&Value> = tests["tests"]
        .as_array()
        .expect("tests")
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().expect("checks"))
        .collect();
    for name in alarms().iter().map(name) {
        for fires in [true, false] {
            let is_shown =
                |check: &&&Value| check["alertname"] == name.as_str() && check["exp_alerts"].is_array() == fires;
            assert!(checks.iter().any(|check| is_shown(&check)), "{name}: no test where this is: it fires: {fires}");
        }
    }
}

#[test]
fn the_pod_monitors_select_the_pods_and_the_port_that_there_are() {
    let manifests = read("k3s-manifests/operator.yaml");
    let operator = manifests.split("\n---\n").find(|document| document.contains("kind: Deployment")).expect("it");
    let model = read("tests/golden/deployment-l40s.yaml");
    for (monitor, deployment) in [("operator", operator), ("models", &model)] {
        let monitor = yaml(&format!("observability/podmonitor-{monitor}.yaml"))["spec"].take();
        let pod: Value = serde_saphyr::from_str::<Value>(deployment).expect("YAML")["spec"]["template"].take();
        for (label, value) in monitor["selector"]["matchLabels"].as_object().expect("labels") {
            assert_eq!(&pod["metadata"]["labels"][label], value, "{label}");
        }
        let port = &monitor["podMetricsEndpoints"][0]["port"];
        let ports = pod["spec"]["containers"][0]["ports"].as_array().expect("ports");
        assert!(ports.iter().any(|there| &there["name"] == port), "{port}: {ports:?}");
    }
}
