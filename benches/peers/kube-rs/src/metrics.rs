//! Metrics under the names that controller-runtime has for them, and the page that shows them.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

pub struct Metrics {
    registry: Registry,
    duration: Histogram,
    failures: Counter,
}

impl Metrics {
    pub fn new() -> Arc<Self> {
        let (duration, failures) = (Histogram::new(BUCKETS), Counter::default());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let labels = [("controller".into(), "inferenceservice".into())];
        let ours = registry.sub_registry_with_labels(labels.into_iter());
        let help = "Length of time per reconciliation";
        ours.register("controller_runtime_reconcile_time_seconds", help, duration.clone());
        ours.register("controller_runtime_reconcile_errors", "Reconciliations that failed", failures.clone());
        Arc::new(Metrics { registry, duration, failures })
    }

    /// Observes the time until what is returned goes out of scope.
    pub fn time(&self) -> Timer {
        Timer { started: Instant::now(), duration: self.duration.clone() }
    }

    pub fn failed(&self) {
        self.failures.inc();
    }

    fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes whatever is written");
        text
    }
}

pub struct Timer {
    started: Instant,
    duration: Histogram,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.duration.observe(self.started.elapsed().as_secs_f64());
    }
}

/// The process's own memory, which prometheus-client has no collector for.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let Some(kib) = kib.and_then(|kib| kib.parse::<i64>().ok()) else { return Ok(()) };
        let gauge = ConstGauge::new(kib * 1024);
        let name = "process_resident_memory_bytes";
        gauge.encode(encoder.encode_descriptor(name, "Resident memory size in bytes", None, gauge.metric_type())?)
    }
}

pub fn router(metrics: Arc<Metrics>) -> Router {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let page = move || async move { ([(CONTENT_TYPE, OPEN_METRICS)], metrics.text()) };
    Router::new().route("/metrics", get(page)).route("/health", get(|| async { "healthy" }))
}
