//! The panels of observability/dashboard.json, with their variables filled in as Grafana does.

use serde_json::Value;

pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/observability/dashboard.json");

/// One query of a panel.
pub struct Query {
    pub panel: u64,
    pub title: String,
    pub expression: String,
    pub legend: String,
}

/// One line of a panel: times (seconds since the epoch) with values.
pub struct Line {
    pub panel: u64,
    pub title: String,
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

pub fn read() -> Value {
    serde_json::from_str(&std::fs::read_to_string(FILE).expect("the dashboard")).expect("JSON")
}

/// Of all clusters, and the interval of rates that Grafana takes where a scrape is a second: four of them, here a few more
/// for a busy machine.
pub fn queries(dashboard: &Value) -> Vec<Query> {
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("a query");
            let expression = expression.replace("$cluster", ".*").replace("$__rate_interval", "10s");
            assert!(!expression.contains('$'), "a variable is left in {expression}");
            queries.push(Query {
                panel: panel["id"].as_u64().expect("an id"),
                title: panel["title"].as_str().expect("a title").to_owned(),
                expression,
                legend: target["legendFormat"].as_str().expect("a legend").to_owned(),
            });
        }
    }
    queries
}

/// The legend with the labels of a series in the place of `{{label}}`.
pub fn name(legend: &str, labels: &Value) -> String {
    let mut name = legend.to_owned();
    for (label, value) in labels.as_object().into_iter().flatten() {
        name = name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default());
    }
    name
}
