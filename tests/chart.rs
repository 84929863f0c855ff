//! The Helm chart agrees with the operator and with its own pages. What Helm makes of it: tests/cluster/chart.rs.

#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;

use inference_operator::settings;
use serde_json::Value;

/// Flags that are not for a chart: what it sets itself, and what is for an operator outside of the cluster.
const NOT_SETTINGS: [&str; 4] = ["catalog-namespace", "service-account", "kubeconfig", "context"];

fn read(file: &str) -> String {
    let path = format!("{}/charts/inference-operator/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&read(file)).expect("YAML")
}

fn schema() -> Value {
    serde_json::from_str(&read("values.schema.json")).expect("JSON")
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().expect("an object").keys().cloned().collect()
}

fn is_accepted(flag: &str, value: &str) -> bool {
    settings::parse([format!("--{flag}={value}")].map(OsString::from), |_| None).is_ok()
}

#[test]
fn the_chart_is_of_this_version() {
    let chart = yaml("Chart.yaml");
    for field in ["version", "appVersion"] {
        assert_eq!(chart[field], env!("CARGO_PKG_VERSION"), "{field}");
    }
}

#[test]
fn every_flag_for_a_pod_is_a_setting_and_nothing_else_is() {
    let help = settings::help();
    let flags = help.lines().filter_map(|line| line.strip_prefix("  --")?.split_once(' ').map(|(name, _)| name));
    let flags: BTreeSet<_> = flags.filter(|flag| !NOT_SETTINGS.contains(flag)).map(str::to_owned).collect();
    assert!(flags.len() > 10, "{flags:?}");
    assert_eq!(keys(&schema()["properties"]["settings"]["properties"]), flags);
}

#[test]
fn the_schema_has_the_operator_s_own_bounds_of_each_setting() {
    let schema = schema();
    let settings = schema["properties"]["settings"]["properties"].as_object().expect("settings");
    let mut checked = 0;
    for (flag, rule) in settings {
        for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
            if let Some(bound) = rule[bound].as_i64() {
                assert!(is_accepted(flag, &bound.to_string()), "{flag}={bound}");
                assert!(!is_accepted(flag, &(bound + beyond).to_string()), "{flag}={}", bound + beyond);
                checked += 1;
            }
        }
        for choice in rule["enum"].as_array().into_iter().flatten() {
            assert!(is_accepted(flag, choice.as_str().expect("a text")), "{flag}={choice}");
            assert!(!is_accepted(flag, "another"), "{flag}");
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}

/// A schema without this takes a mistyped value for nothing.
#[test]
fn every_object_of_the_schema_says_what_else_may_be_in_it() {
    fn check(path: &str, rule: &Value) {
        if rule["type"] == "object" && path != "/properties/global" && !path.starts_with("/properties/affinity/") {
            assert!(!rule["additionalProperties"].is_null(), "{path}");
        }
        match rule {
            Value::Object(fields) => fields.iter().for_each(|(key, rule)| check(&format!("{path}/{key}"), rule)),
            Value::Array(rules) => rules.iter().for_each(|rule| check(path, rule)),
            _ => {}
        }
    }
    check("", &schema());
}

#[test]
fn every_value_is_in_the_schema_and_explained_with_its_default() {
    let values = yaml("values.yaml");
    let mut known = keys(&schema()["properties"]);
    known.remove("global");
    assert_eq!(keys(&values), known);

    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rows: Vec<(&str, &str)> =
        rows.map(|(name, rest)| (name, rest.split(" |").next().unwrap_or_default())).collect();
    let has_row = |name: &str| rows.iter().any(|(row, _)| *row == name);
    for key in keys(&values) {
        let parts = values[&key].as_object().into_iter().flatten();
        let parts: Vec<String> = parts.map(|(part, _)| format!("{key}.{part}")).collect();
        let are_rows = !parts.is_empty() && parts.iter().all(|part| has_row(part));
        assert!(has_row(&key) || are_rows, "the README does not explain {key}");
    }
    for (name, default) in &rows {
        let value = values.pointer(&format!("/{}", name.replace('.', "/"))).cloned().unwrap_or_default();
        let Some(default) = default.strip_prefix('`').and_then(|default| default.strip_suffix('`')) else { continue };
        assert_eq!(serde_saphyr::from_str::<Value>(default).expect("YAML"), value, "the README's default of {name}");
    }
}
