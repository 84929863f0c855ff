//! The operator's telemetry.

use inference_operator::api::Phase;

use crate::support::{Fixture, Operator, eventually};

#[tokio::test]
async fn metrics_tell_what_dashboards_ask_for() {
    let fixture = Fixture::new("metrics").await;
    let operator = Operator::start("metrics", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let text = eventually("the phase is counted", || async {
        let (code, text) = operator.get("/metrics").await.map_err(|error| error.to_string())?;
        let counted = text.contains("inference_operator_inferenceservices{phase=\"Ready\"} 1\n");
        if code == 200 && counted { Ok(text) } else { Err(text) }
    })
    .await;
    for name in [
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
        "process_open_fds",
        "process_max_fds",
        "controller_runtime_reconcile_total",
        "controller_runtime_reconcile_errors_total",
        "controller_runtime_reconcile_time_seconds_bucket",
        "controller_runtime_reconcile_time_seconds_sum",
        "controller_runtime_reconcile_time_seconds_count",
        "workqueue_depth",
        "rest_client_requests_total",
    ] {
        let told = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in\n{text}"));
        let value: f64 = told.rsplit(' ').next().expect("a value").parse().expect("a number");
        assert!(value >= 0.0, "{told}");
    }
    assert!(text.contains("controller_runtime_reconcile_errors_total{controller=\"inferenceservice\"} 0\n"), "{text}");
    assert_eq!(operator.get("/nothing").await.expect("served").0, 404);
    fixture.clean_up().await;
}
