//! A Prometheus that scrapes one operator every second and evaluates the alarms of observability/.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::operator::Operator;
use super::port::{free_port, get};
use super::shell::built;
use super::wait::eventually;

pub struct Prometheus {
    child: Child,
    folder: PathBuf,
    port: u16,
}

/// One line of a panel: its labels, and times (seconds since the epoch) with values.
pub struct Series {
    pub labels: Value,
    pub points: Vec<(f64, f64)>,
}

impl Prometheus {
    /// Starts it and waits until it has scraped this operator. The labels are those that the PodMonitor leads to. The same
    /// gauges again are those of a second replica, which has the same models and does nothing.
    pub async fn scraping(operator: &Operator) -> Prometheus {
        let folder = std::env::temp_dir().join(format!("inference-operator-prometheus-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        let targets = |target: &str| json!([{"targets": [target], "labels": {"namespace": "inference-operator"}}]);
        let address = operator.address();
        let gauges =
            json!({"source_labels": ["__name__"], "regex": "inference_operator_.+|workqueue_depth", "action": "keep"});
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [concat!(env!("CARGO_MANIFEST_DIR"), "/observability/rules.yaml")],
            "scrape_configs": [
                {"job_name": "inference-operator", "static_configs": targets(&address)},
                {
                    "job_name": "second-replica",
                    "static_configs": targets(&address.replace("127.0.0.1", "localhost")),
                    "metric_relabel_configs": [gauges],
                },
            ],
        });
        // YAML has JSON in it.
        std::fs::write(folder.join("prometheus.yml"), config.to_string()).expect("written");
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let port = free_port();
        let child = Command::new(format!("{}/prometheus", built("prometheus")))
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Prometheus starts");
        let prometheus = Prometheus { child, folder, port };
        eventually("Prometheus has scraped the operator", || async {
            let up = prometheus.get("query", &[("query", "up == 1")]).await?;
            if up["result"].as_array().is_some_and(|found| found.len() == 2) { Ok(()) } else { Err(up.to_string()) }
        })
        .await;
        prometheus
    }

    /// The field `data` of the answer of its HTTP API.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let parameters: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let path = format!("/api/v1/{path}?{}", parameters.join("&"));
        let (_, body) = get(self.port, &path).await.map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        if answer["status"] == "success" { Ok(answer["data"].take()) } else { Err(answer.to_string()) }
    }

    /// Each second from `start` to `end`; what is no number is left out.
    pub async fn range(&self, expression: &str, start: f64, end: f64) -> Vec<Series> {
        let (start, end) = (start.to_string(), end.to_string());
        let parameters = [("query", expression), ("start", &start), ("end", &end), ("step", "1")];
        let data = self.get("query_range", &parameters).await.unwrap_or_else(|error| panic!("{expression}: {error}"));
        let series = |found: &Value| Series {
            labels: found["metric"].clone(),
            points: found["values"].as_array().into_iter().flatten().filter_map(point).collect(),
        };
        data["result"].as_array().expect("series").iter().map(series).collect()
    }

    /// All alarms, which must have been evaluated without an error.
    pub async fn rules(&self) -> Result<Vec<Value>, String> {
        let data = self.get("rules", &[]).await?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules: Vec<Value> = groups.filter_map(|group| group["rules"].as_array()).flatten().cloned().collect();
        if rules.is_empty() || rules.iter().any(|rule| rule["health"] != "ok") {
            return Err(data.to_string());
        }
        Ok(rules)
    }

    /// The names of the alarms that are pending or fire.
    pub async fn alarms(&self) -> Result<Vec<String>, String> {
        let rules = self.rules().await?;
        let active = rules.iter().filter(|rule| rule["state"] != "inactive");
        Ok(active.filter_map(|rule| Some(rule["name"].as_str()?.to_owned())).collect())
    }

    /// Of this expression: all but those of Prometheus' own ALERTS.
    pub async fn selectors(&self, expression: &str) -> Vec<String> {
        let tree = self.get("parse_query", &[("query", expression)]).await.unwrap_or_else(|error| panic!("{error}"));
        let mut selectors = Vec::new();
        collect_selectors(&tree, &mut selectors);
        selectors.retain(|selector| !selector.contains("\"ALERTS\""));
        selectors
    }
}

fn collect_selectors(tree: &Value, selectors: &mut Vec<String>) {
    if let Some(matchers) = tree["matchers"].as_array() {
        let text = |matcher: &Value| {
            let text = |field: &str| matcher[field].as_str().expect("a text").to_owned();
            format!("{}{}{}", text("name"), text("type"), matcher["value"])
        };
        selectors.push(format!("{{{}}}", matchers.iter().map(text).collect::<Vec<_>>().join(",")));
    }
    let children: Vec<&Value> = match tree {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    for child in children {
        collect_selectors(child, selectors);
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- Prometheus' log ---\n{}",
                std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
            );
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn point(pair: &Value) -> Option<(f64, f64)> {
    let value: f64 = pair[1].as_str()?.parse().ok()?;
    value.is_finite().then_some((pair[0].as_f64()?, value))
}

fn encode(text: &str) -> String {
    let encode =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

/// Seconds since the epoch.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// Runs one of its programs in observability/; with `input`, on that.
pub fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut child = Command::new(format!("{}/{program}", built("prometheus")))
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/observability"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("read");
    child.wait_with_output().expect("it ends")
}
