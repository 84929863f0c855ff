//! Specs are changed, one at a time and then in a burst, while no controller-manager takes part:
//! from the API server's word that it accepted the change to the Deployment's new generation.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::audit;
use crate::bench::Bench;
use crate::load;
use crate::pairs::{Reading, Window};
use crate::prometheus::{Histogram, Page};
use crate::quiet;
use crate::server_time;
use crate::stats;

/// A change that has not come through by then is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The status of one change is waited for before the next, so that it meets an idle operator; no longer
/// than this, because one that waits before it writes a status is idle meanwhile.
const STATUS_PATIENCE: Duration = Duration::from_millis(100);
/// A reconcile whose write is seen by others has this time to end before the operator is asked what it took.
const LANDING: Duration = Duration::from_millis(10);
/// A percentile of fewer reconciles would be none.
const PAIRS: usize = 100;
const QUIET: Duration = Duration::from_secs(3);
const QUIET_PATIENCE: Duration = Duration::from_secs(90);

pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    if bench.plan.changes == 0 {
        return Ok(());
    }
    // What comes after this does not need it either.
    if !bench.stop_controller_manager()? {
        bench.round.note("the controller-manager ran while specs were changed: latencies have its work in them");
    }
    quiet::until_no_writes(bench, QUIET, QUIET_PATIENCE).await?;
    // With replicas they would roll out.
    let zero_share = bench.plan.zero_share;
    let zeros = (0..bench.plan.crs).filter(|index| load::replicas(*index, zero_share) == 0);
    let indexes: Vec<usize> = zeros.take(bench.plan.changes).collect();
    one_at_a_time(bench, &indexes).await?;
    burst(bench, &indexes).await
}

async fn one_at_a_time(bench: &mut Bench<'_>, indexes: &[usize]) -> Result<()> {
    let began = bench.begin_phase()?;
    let histogram = reconcile_time(bench);
    bench.sampler.pause();
    let client = bench.cluster.access.client.clone();
    let (mut latencies, mut windows) = (Vec::with_capacity(indexes.len()), Vec::new());
    for (done, &index) in indexes.iter().enumerate() {
        let name = load::name(index);
        let before = bench.world.seen().generation_of(&name);
        let reading = Reading::take(bench.operator()?);
        let (generation, accepted) = load::change(&client, index, 1_000).await?;
        latencies.push(until_changed(bench, &name, before, generation, accepted).await);
        tokio::time::sleep(LANDING).await;
        if let Some((before, after)) = reading.zip(Reading::take(bench.operator()?)) {
            windows.push(Window { name: name.clone(), before, after });
        }
        bench
            .world
            .until(STATUS_PATIENCE, |seen| {
                (seen.inference_services.get(&name)?.observed_generation >= generation).then_some(())
            })
            .await;
        bench.at("changing specs, one at a time", &format!("{} of {}", done + 1, indexes.len()))?;
    }
    record(bench, "one", latencies, histogram).await?;
    record_server_time(bench, indexes);
    record_pairs(bench, &windows);
    bench.end_phase("changes, one at a time", began);
    Ok(())
}

async fn burst(bench: &mut Bench<'_>, indexes: &[usize]) -> Result<()> {
    let began = bench.begin_phase()?;
    let histogram = reconcile_time(bench);
    bench.sampler.pause();
    bench.at("changing specs in a burst", "")?;
    let before: Vec<i64> = {
        let seen = bench.world.seen();
        indexes.iter().map(|&index| seen.generation_of(&load::name(index))).collect()
    };
    let client = bench.cluster.access.client.clone();
    let accepted = load::change_all(&client, indexes, 2_000).await?;
    let mut latencies = Vec::with_capacity(indexes.len());
    for ((&index, before), (generation, accepted)) in indexes.iter().zip(before).zip(accepted) {
        latencies.push(until_changed(bench, &load::name(index), before, generation, accepted).await);
        bench.at("changing specs in a burst", &format!("{} of {} came through", latencies.len(), indexes.len()))?;
    }
    record(bench, "burst", latencies, histogram).await?;
    bench.end_phase("changes in a burst", began);
    Ok(())
}

/// What the API server itself took for these changes, and what the operator took for them.
fn record_server_time(bench: &mut Bench<'_>, indexes: &[usize]) {
    let names: HashSet<String> = indexes.iter().map(|&index| load::name(index)).collect();
    let reconciles = server_time::reconciles(&bench.ledger.requests, &names);
    let total = server_time::total_milliseconds(&bench.ledger.requests, &names);
    let writing = || reconciles.iter().filter(|reconcile| reconcile.wrote_deployment);
    let server: Vec<f64> = writing().map(|reconcile| reconcile.server_milliseconds).collect();
    let busy: Vec<f64> = writing().map(|reconcile| reconcile.busy_milliseconds).collect();
    let round = &mut bench.round;
    for (figure, percent) in [("p50", 50.0), ("p99", 99.0)] {
        let (server, busy) = (stats::percentile(&server, percent), stats::percentile(&busy, percent));
        round.set_if(&format!("one.server_{figure}_milliseconds"), server);
        round.set_if(&format!("one.busy_{figure}_milliseconds"), busy);
        round.set_if(&format!("one.{figure}_to_server"), busy.zip(server).map(|(busy, server)| busy / server));
    }
    if let Some(own) = round.reconcile_times.get("one")
        && total > 0.0
    {
        round.set("one.reconcile_to_server", own.sum_seconds * 1_000.0 / total);
    }
}

/// The reconciles that wrote a Deployment, by the operator's own clock and by the API server's.
fn record_pairs(bench: &mut Bench<'_>, windows: &[Window]) {
    let pairs: Vec<_> = windows.iter().filter_map(|window| window.pair(&bench.ledger.requests)).collect();
    let round = &mut bench.round;
    round.set("one.pairs", pairs.len() as f64);
    if pairs.len() < PAIRS {
        return;
    }
    let own: Vec<f64> = pairs.iter().map(|pair| pair.own_milliseconds).collect();
    let server: Vec<f64> = pairs.iter().map(|pair| pair.server_milliseconds).collect();
    for (figure, percent) in [("p50", 50.0), ("p99", 99.0)] {
        let (own, server) = (stats::percentile(&own, percent), stats::percentile(&server, percent));
        round.set_if(&format!("one.own_{figure}_milliseconds"), own);
        round.set_if(&format!("one.reconcile_{figure}_to_server"), own.zip(server).map(|(own, server)| own / server));
    }
}

/// Milliseconds; None: not within the patience. That the API server has accepted the change is told
/// by its answer or by the watch, whichever is here first: `answered` is when the answer was.
async fn until_changed(bench: &Bench<'_>, name: &str, before: i64, generation: i64, answered: Instant) -> Option<f64> {
    let patience = PATIENCE.saturating_sub(answered.elapsed()).max(Duration::from_millis(1));
    let changed = bench.world.until(patience, |seen| {
        let (deployment, spec) = (seen.deployments.get(name)?, seen.inference_services.get(name)?);
        let is_through = deployment.generation > before && spec.generation >= generation;
        is_through.then_some((deployment.generation_at, spec.generation_at))
    });
    let (changed, seen) = changed.await?;
    Some(changed.saturating_duration_since(answered.min(seen)).as_secs_f64() * 1_000.0)
}

fn reconcile_time(bench: &Bench<'_>) -> Option<Histogram> {
    Page(&bench.operator.as_ref()?.metrics()?).reconcile_time()
}

async fn record(
    bench: &mut Bench<'_>,
    kind: &str,
    latencies: Vec<Option<f64>>,
    before: Option<Histogram>,
) -> Result<()> {
    bench.attach_sampler()?;
    // Statuses may be written later than the Deployments, and belong to these changes.
    quiet::until_no_writes(bench, QUIET, QUIET_PATIENCE).await?;
    let counts = bench.counts()?;
    let own = reconcile_time(bench).zip(before).map(|(after, before)| after.since(&before));
    let (round, changed) = (&mut bench.round, latencies.len());
    let latencies: Vec<f64> = latencies.into_iter().flatten().collect();
    if latencies.len() < changed {
        let lost = changed - latencies.len();
        round.note(format!("{lost} of {changed} changes ({kind}) had not come through after {} s", PATIENCE.as_secs()));
    }
    for (figure, percent) in [("p50", 50.0), ("p99", 99.0), ("max", 100.0)] {
        round.set_if(&format!("{kind}.{figure}_milliseconds"), stats::percentile(&latencies, percent));
    }
    if let Some(own) = own {
        for (figure, percent) in [("p50", 50.0), ("p99", 99.0)] {
            let milliseconds = own.percentile_seconds(percent).map(|seconds| seconds * 1_000.0);
            round.set_if(&format!("{kind}.reconcile_{figure}_milliseconds"), milliseconds);
        }
        round.reconcile_times.insert(kind.into(), own);
    }
    if !counts.is_empty() {
        round.set(&format!("{kind}.writes_per_change"), audit::writes(&counts) as f64 / changed as f64);
    }
    round.requests.insert(kind.into(), counts);
    round.latencies.insert(kind.into(), latencies);
    Ok(())
}
