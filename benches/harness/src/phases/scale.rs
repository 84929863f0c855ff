//! Memory and restart time against the number of InferenceServices. All have replicas 0 and there is
//! no controller-manager: its work would take most of the time, and shows to the operator only in
//! the Deployments' statuses. Services have no address of their own: the API server counts all
//! addresses at each one that it gives away, which above 5,000 leaves it no time for anything else.

use std::time::Duration;

use anyhow::{Context, Result};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::phases::{create, restart};
use crate::quiet;
use crate::results::ScalePoint;

const QUIET: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AFTER: Duration = Duration::from_secs(5);

pub async fn run(bench: &mut Bench<'_>, points: &[usize]) -> Result<()> {
    bench.stop_controller_manager()?;
    leave_out_addresses(&bench.cluster.access.client.clone()).await?;
    bench.start_operator()?;
    let mut created = 0;
    for &point in points {
        let began = bench.begin_phase()?;
        if point > created {
            create::prepare(bench, created, point).await?;
            create::bring_to_ready(bench, created, point).await?;
            created = point;
        }
        quiet::until_no_writes(bench, QUIET, PATIENCE).await?;
        bench.sleep(&format!("settled with {point}"), LOOK_AFTER).await?;
        let before = bench.operator()?.memory()?;
        bench.stop_operator()?;
        bench.begin_phase()?;
        bench.start_operator()?;
        let count = if bench.launch.is_ours() { 0 } else { point };
        let settled =
            quiet::until_settled(bench, &format!("started again with {point}"), count, restart::patience(point))
                .await?;
        bench.sleep(&format!("started again with {point}"), LOOK_AFTER).await?;
        let operator = bench.operator()?;
        let (after, peak) = (operator.memory()?, operator.peak_bytes());
        bench.round.scale.push(ScalePoint {
            crs: point,
            rss_bytes: before.rss_bytes,
            anonymous_bytes: before.anonymous_bytes,
            restarted_rss_bytes: after.rss_bytes,
            restarted_anonymous_bytes: after.anonymous_bytes,
            restarted_peak_bytes: peak,
            restart_seconds: settled.seconds,
        });
        bench.end_phase(&format!("{point} InferenceServices"), began);
    }
    Ok(())
}

/// Every new Service becomes a headless one: `Allocator::Used` of Kubernetes 1.36's
/// pkg/registry/core/service/ipallocator goes through all IPAddresses at each allocation, for a metric.
pub async fn leave_out_addresses(client: &Client) -> Result<()> {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": "bench-headless"},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["services"]}
            ]},
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": "Object{spec: Object.spec{clusterIP: 'None'}}"}
            }]
        }
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "bench-headless"},
        "spec": {"policyName": "bench-headless"}
    });
    for (resource, object) in [("mutatingadmissionpolicies", policy), ("mutatingadmissionpolicybindings", binding)] {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{resource}");
        let request = Request::post(path).header("content-type", "application/json").body(object.to_string().into())?;
        client.request::<Value>(request).await.with_context(|| format!("creating the {resource} of the bench"))?;
    }
    Ok(())
}
