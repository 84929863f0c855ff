//! Counters and their Prometheus text, under the names that operator dashboards expect. Written by the client and the
//! controller, read by the telemetry port; must never allocate when counting.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::telemetry::process;

/// Upper bounds of controller_runtime_reconcile_time_seconds, in milliseconds.
const BUCKETS: [u64; 24] =
    [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 30_000];

/// The outcome of a reconcile, in the values of controller-runtime's label `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    Success,
    RequeueAfter,
    /// Never used here, but dashboards expect the series.
    Requeue,
    Error,
}

impl ReconcileResult {
    const ALL: [ReconcileResult; 4] =
        [ReconcileResult::Success, ReconcileResult::RequeueAfter, ReconcileResult::Requeue, ReconcileResult::Error];

    fn as_str(self) -> &'static str {
        match self {
            ReconcileResult::Success => "success",
            ReconcileResult::RequeueAfter => "requeue_after",
            ReconcileResult::Requeue => "requeue",
            ReconcileResult::Error => "error",
        }
    }
}

const METHODS: [&str; 3] = ["GET", "PATCH", "POST"];

/// Codes with their own series in rest_client_requests_total; all others count as `OTHER`.
const CODES: [u16; 13] = [200, 201, 400, 401, 403, 404, 409, 410, 422, 429, 500, 503, 504];
const OTHER: usize = CODES.len();
/// client-go's `<error>`: a request without a response.
const NO_ANSWER: usize = CODES.len() + 1;

/// The watches, in the order of `Metrics::heard`.
const WATCHES: [&str; 5] = [
    "inferenceservices.ai.example.com",
    "deployments.apps",
    "services",
    "inferencecatalogs.ai.example.com",
    // Only with an election.
    "leases.coordination.k8s.io",
];

/// client-go's own.
const LEADS: &str = "leader_election_master_status";

/// In an election of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    NoElection,
    StandsBy,
    Leads,
}

/// The phases of an InferenceService, in the order of `Metrics::loop_ticked`.
const PHASES: [&str; 6] = ["Pending", "Progressing", "Ready", "Degraded", "Failed", "Paused"];

/// Of a change of the settings, or of the release.
const ROLLOUT: [(&str, &str); 3] = [
    ("inference_operator_rollout_pending", "InferenceServices that wait for their turn in a rollout."),
    (
        "inference_operator_rollout_in_progress",
        "InferenceServices that a rollout has changed and that are not Ready yet.",
    ),
    ("inference_operator_rollout_halted", "1 while a rollout is halted, because one of them is not Ready."),
];

const NEWER: &str = "inference_operator_newer_instance";

/// Its own metric, because an operator that may not list hears from the API server all the time, and has no work.
const IN_SYNC: &str = "inference_operator_in_sync";

const HEARD: &str = "inference_operator_watch_last_heard_seconds";

/// A watch that has heard nothing for this long is unhealthy. After three minutes of silence it is reopened, and if
/// there is no response, retried every few seconds.
const HEALTHY: Duration = Duration::from_secs(300);

pub struct Metrics {
    started: Instant,
    results: [AtomicU64; ReconcileResult::ALL.len()],
    buckets: [AtomicU64; BUCKETS.len()],
    time_microseconds: AtomicU64,
    requests: [[AtomicU64; CODES.len() + 2]; METHODS.len()],
    queue_depth: AtomicU32,
    phases: [AtomicU32; PHASES.len()],
    rollout: [AtomicU32; ROLLOUT.len()],
    has_met_newer: AtomicBool,
    /// A `Standing`.
    standing: AtomicU8,
    in_sync: AtomicBool,
    /// Milliseconds from the start until each watch last heard something.
    heard: [AtomicU64; WATCHES.len()],
    /// Milliseconds from the start until the last turn of the controller's loop.
    last_turn: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            started: Instant::now(),
            results: Default::default(),
            buckets: Default::default(),
            time_microseconds: AtomicU64::default(),
            requests: Default::default(),
            queue_depth: AtomicU32::default(),
            phases: Default::default(),
            rollout: Default::default(),
            has_met_newer: AtomicBool::default(),
            standing: AtomicU8::default(),
            in_sync: AtomicBool::default(),
            heard: Default::default(),
            last_turn: AtomicU64::default(),
        }
    }
}

impl Metrics {
    /// One reconcile ended.
    pub fn reconciled(&self, result: ReconcileResult, took: Duration) {
        self.results[result as usize].fetch_add(1, Relaxed);
        let bucket = BUCKETS.iter().position(|&bound| took <= Duration::from_millis(bound));
        if let Some(bucket) = bucket {
            self.buckets[bucket].fetch_add(1, Relaxed);
        }
        self.time_microseconds.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// One request was answered with `code`, or got no response (None).
    pub fn requested(&self, method: &Method, code: Option<StatusCode>) {
        let Some(method) = METHODS.iter().position(|known| *known == method.as_str()) else { return };
        let code = match code {
            Some(code) => CODES.iter().position(|known| *known == code.as_u16()).unwrap_or(OTHER),
            None => NO_ANSWER,
        };
        self.requests[method][code].fetch_add(1, Relaxed);
    }

    /// How far a rollout is: InferenceServices that wait, that are on their way, and that halt it.
    pub fn rolled_out(&self, counts: [usize; ROLLOUT.len()]) {
        for (gauge, count) in self.rollout.iter().zip(counts) {
            gauge.store(u32::try_from(count).unwrap_or(u32::MAX), Relaxed);
        }
    }

    /// Has this process met children of a newer instance of the operator?
    pub fn met_newer(&self, has_met: bool) {
        self.has_met_newer.store(has_met, Relaxed);
    }

    /// Does this process lead?
    pub fn elected(&self, standing: Standing) {
        self.standing.store(standing as u8, Relaxed);
    }

    fn is_in_election(&self) -> bool {
        self.standing.load(Relaxed) != Standing::NoElection as u8
    }

    /// The controller's loop completed one turn.
    pub fn loop_ticked(&self, in_sync: bool, queue_depth: usize, phases: &[u32; PHASES.len()]) {
        self.last_turn.store(self.age(), Relaxed);
        self.in_sync.store(in_sync, Relaxed);
        self.queue_depth.store(u32::try_from(queue_depth).unwrap_or(u32::MAX), Relaxed);
        for (gauge, count) in self.phases.iter().zip(phases) {
            gauge.store(*count, Relaxed);
        }
    }

    /// A watch received something: response headers, a line, a page. `watch`: index from `watch()`.
    pub fn heard(&self, watch: usize) {
        self.heard[watch].store(self.age(), Relaxed);
    }

    /// Time since each watch last heard something, or since the start if it never did.
    fn unheard(&self) -> impl Iterator<Item = (&'static str, Duration)> + '_ {
        let since = |heard: &AtomicU64| Duration::from_millis(self.age().saturating_sub(heard.load(Relaxed)));
        let watches = WATCHES.len() - usize::from(!self.is_in_election());
        WATCHES.into_iter().zip(self.heard.iter().map(since)).take(watches)
    }

    /// The watch with the longest silence, if that is too long.
    pub fn is_deaf(&self) -> Option<(&'static str, Duration)> {
        self.unheard().filter(|(_, since)| *since > HEALTHY).max_by_key(|(_, since)| *since)
    }

    pub fn in_sync(&self) -> bool {
        self.in_sync.load(Relaxed)
    }

    /// Time since the last turn of the controller's loop.
    pub fn since_last_turn(&self) -> Duration {
        Duration::from_millis(self.age().saturating_sub(self.last_turn.load(Relaxed)))
    }

    /// Milliseconds since the start.
    fn age(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The Prometheus text exposition format, version 0.0.4.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(4096);
        let out = &mut text;
        process::write(out);
        family(out, "controller_runtime_reconcile_total", "counter", "Reconciles by result.");
        for (result, count) in ReconcileResult::ALL.map(ReconcileResult::as_str).iter().zip(&self.results) {
            line(
                out,
                format_args!(
                    "controller_runtime_reconcile_total{{controller=\"inferenceservice\",result=\"{result}\"}} {}",
                    count.load(Relaxed)
                ),
            );
        }
        family(out, "controller_runtime_reconcile_errors_total", "counter", "Reconciles that failed.");
        line(
            out,
            format_args!(
                "controller_runtime_reconcile_errors_total{{controller=\"inferenceservice\"}} {}",
                self.results[3].load(Relaxed)
            ),
        );
        self.histogram(out);
        family(out, "workqueue_depth", "gauge", "InferenceServices waiting for a reconcile.");
        line(out, format_args!("workqueue_depth{{name=\"inferenceservice\"}} {}", self.queue_depth.load(Relaxed)));
        family(out, "rest_client_requests_total", "counter", "Requests to the API server by method and code.");
        for (method, codes) in METHODS.iter().zip(&self.requests) {
            for (position, count) in codes.iter().enumerate().filter(|(_, count)| count.load(Relaxed) > 0) {
                let code: &dyn std::fmt::Display = match position {
                    OTHER => &"other",
                    NO_ANSWER => &"<error>",
                    known => &CODES[known],
                };
                let count = count.load(Relaxed);
                line(out, format_args!("rest_client_requests_total{{method=\"{method}\",code=\"{code}\"}} {count}"));
            }
        }
        family(out, IN_SYNC, "gauge", "1 once all watches have been listed: until then, nothing is reconciled.");
        line(out, format_args!("{IN_SYNC} {}", u8::from(self.in_sync())));
        family(out, HEARD, "gauge", "Time since each watch last heard from the API server.");
        for (resource, since) in self.unheard() {
            line(out, format_args!("{HEARD}{{resource=\"{resource}\"}} {}", since.as_secs()));
        }
        family(out, "inference_operator_inferenceservices", "gauge", "InferenceServices by phase.");
        for (phase, count) in PHASES.iter().zip(&self.phases) {
            line(
                out,
                format_args!("inference_operator_inferenceservices{{phase=\"{}\"}} {}", phase, count.load(Relaxed)),
            );
        }
        for ((name, help), count) in ROLLOUT.iter().zip(&self.rollout) {
            family(out, name, "gauge", help);
            line(out, format_args!("{name} {}", count.load(Relaxed)));
        }
        family(out, NEWER, "gauge", "1 if a newer instance of this operator runs, or ran, beside this one.");
        line(out, format_args!("{NEWER} {}", u8::from(self.has_met_newer.load(Relaxed))));
        if self.is_in_election() {
            family(out, LEADS, "gauge", "1 if this instance leads, 0 if it stands by.");
            let leads = self.standing.load(Relaxed) == Standing::Leads as u8;
            line(out, format_args!("{LEADS}{{name=\"inference-operator\"}} {}", u8::from(leads)));
        }
        text
    }

    fn histogram(&self, out: &mut String) {
        const NAME: &str = "controller_runtime_reconcile_time_seconds";
        family(out, NAME, "histogram", "Time of one reconcile.");
        let mut total = 0;
        for (bound, count) in BUCKETS.iter().zip(&self.buckets) {
            total += count.load(Relaxed);
            let (seconds, milliseconds) = (bound / 1000, bound % 1000);
            line(
                out,
                format_args!(
                    "{NAME}_bucket{{controller=\"inferenceservice\",le=\"{seconds}.{milliseconds:03}\"}} {total}"
                ),
            );
        }
        let count: u64 = self.results.iter().map(|count| count.load(Relaxed)).sum();
        let sum = self.time_microseconds.load(Relaxed);
        line(out, format_args!("{NAME}_bucket{{controller=\"inferenceservice\",le=\"+Inf\"}} {count}"));
        line(
            out,
            format_args!("{NAME}_sum{{controller=\"inferenceservice\"}} {}.{:06}", sum / 1_000_000, sum % 1_000_000),
        );
        line(out, format_args!("{NAME}_count{{controller=\"inferenceservice\"}} {count}"));
    }
}

/// The index of a watch.
pub fn watch(resource: &str) -> usize {
    WATCHES.iter().position(|known| *known == resource).unwrap_or(0)
}

/// The two comment lines before a family's samples.
pub fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

pub fn line(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::default();
        assert!(metrics.text().contains("\ninference_operator_in_sync 0\n"));
        metrics.reconciled(ReconcileResult::Success, Duration::from_millis(3));
        metrics.reconciled(ReconcileResult::Error, Duration::from_secs(40));
        metrics.requested(&Method::GET, Some(StatusCode::OK));
        metrics.requested(&Method::GET, Some(StatusCode::IM_A_TEAPOT));
        metrics.requested(&Method::PATCH, None);
        metrics.loop_ticked(true, 7, &[0, 1, 2, 3, 4, 5]);
        metrics.rolled_out([8, 9, 1]);
        metrics.met_newer(true);
        let text = metrics.text();
        for line in [
            "inference_operator_rollout_pending 8",
            "inference_operator_rollout_in_progress 9",
            "inference_operator_rollout_halted 1",
            "inference_operator_newer_instance 1",
            "inference_operator_in_sync 1",
            "controller_runtime_reconcile_total{controller=\"inferenceservice\",result=\"success\"} 1",
            "controller_runtime_reconcile_errors_total{controller=\"inferenceservice\"} 1",
            "controller_runtime_reconcile_time_seconds_bucket{controller=\"inferenceservice\",le=\"0.002\"} 0",
            "controller_runtime_reconcile_time_seconds_bucket{controller=\"inferenceservice\",le=\"0.005\"} 1",
            "controller_runtime_reconcile_time_seconds_bucket{controller=\"inferenceservice\",le=\"30.000\"} 1",
            "controller_runtime_reconcile_time_seconds_bucket{controller=\"inferenceservice\",le=\"+Inf\"} 2",
            "controller_runtime_reconcile_time_seconds_sum{controller=\"inferenceservice\"} 40.003000",
            "controller_runtime_reconcile_time_seconds_count{controller=\"inferenceservice\"} 2",
            "rest_client_requests_total{method=\"GET\",code=\"200\"} 1",
            "rest_client_requests_total{method=\"GET\",code=\"other\"} 1",
            "rest_client_requests_total{method=\"PATCH\",code=\"<error>\"} 1",
            "workqueue_depth{name=\"inferenceservice\"} 7",
            "inference_operator_watch_last_heard_seconds{resource=\"deployments.apps\"} 0",
            "inference_operator_inferenceservices{phase=\"Failed\"} 4",
            "inference_operator_inferenceservices{phase=\"Paused\"} 5",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n---\n{text}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "));
    }

    /// Otherwise one would be mistaken for another.
    #[test]
    fn each_watch_has_a_name() {
        use crate::kubernetes::resource::Resource;
        use crate::model::view::catalog::CatalogView;
        use crate::model::view::lease::LeaseView;
        use crate::model::view::{InferenceServiceView, PartialDeployment, PartialService};
        let names = [InferenceServiceView::resource(), PartialDeployment::resource(), PartialService::resource()];
        assert_eq!(names.map(|name| watch(&name)), [0, 1, 2]);
        assert_eq!([CatalogView::resource(), LeaseView::resource()].map(|name| watch(&name)), [3, 4]);
    }

    #[test]
    fn each_phase_is_counted_under_its_own_name() {
        assert_eq!(crate::api::Phase::ALL.map(crate::api::Phase::as_str), PHASES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_has_heard_nothing_for_five_minutes_is_named() {
        let metrics = Metrics::default();
        tokio::time::advance(HEALTHY).await;
        assert_eq!(metrics.is_deaf(), None);
        metrics.heard(0);
        metrics.heard(2);
        metrics.heard(3);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(metrics.is_deaf(), Some(("deployments.apps", Duration::from_secs(307))));
        let text = metrics.text();
        for (resource, seconds) in [("deployments.apps", 307), ("services", 7)] {
            let line = format!("\ninference_operator_watch_last_heard_seconds{{resource=\"{resource}\"}} {seconds}\n");
            assert!(text.contains(&line), "{text}");
        }
        metrics.heard(1);
        assert_eq!(metrics.is_deaf(), None);
        metrics.elected(Standing::StandsBy);
        assert_eq!(metrics.is_deaf().map(|(watch, _)| watch), Some("leases.coordination.k8s.io"));
    }

    #[test]
    fn who_leads_is_told_where_there_is_an_election() {
        let metrics = Metrics::default();
        assert!(!metrics.text().contains(LEADS));
        for (standing, leads) in [(Standing::StandsBy, 0), (Standing::Leads, 1)] {
            metrics.elected(standing);
            let line = format!("\nleader_election_master_status{{name=\"inference-operator\"}} {leads}\n");
            assert!(metrics.text().contains(&line), "{}", metrics.text());
        }
    }
}
