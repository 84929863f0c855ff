//! All InferenceServices are created as fast as the API server takes them: time until each has its
//! Deployment and until each is Ready, peak memory, CPU time, requests.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::audit;
use crate::bench::Bench;
use crate::load;
use crate::world::Seen;

/// Nothing became Ready for so long: it will not.
const PATIENCE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(200);

pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    let crs = bench.plan.crs;
    prepare(bench, 0, crs).await?;
    let began = bench.begin_phase()?;
    let cpu_before = bench.operator()?.cpu_seconds();
    let started = Instant::now();
    let accepted = bring_to_ready(bench, 0, crs).await?;

    let (deployments, ready) = {
        let seen = bench.world.seen();
        let since = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(started).as_secs_f64());
        (since(seen.last_deployment_at()), since(seen.last_ready_at()))
    };
    let operator = bench.operator()?;
    let (peak, cpu) = (operator.peak_bytes(), operator.cpu_seconds());
    let sampled = bench.sampler.most_since(began);
    let counts = bench.counts()?;
    let round = &mut bench.round;
    round.set("create.accepted_seconds", accepted.as_secs_f64());
    round.set_if("create.deployments_seconds", deployments);
    round.set_if("create.ready_seconds", ready);
    round.set_if("create.peak_bytes", peak.or(sampled).map(|bytes| bytes as f64));
    round.set_if("create.cpu_seconds", cpu.zip(cpu_before).map(|(after, before)| after - before));
    per_inference_service(bench, "create", &counts);
    bench.end_phase("create", began);
    Ok(())
}

fn per_inference_service(bench: &mut Bench<'_>, phase: &str, counts: &audit::Counts) {
    let crs = bench.plan.crs as f64;
    let round = &mut bench.round;
    if !counts.is_empty() {
        round.set(&format!("{phase}.requests_per_cr"), audit::requests_without_watches(counts) as f64 / crs);
        round.set(&format!("{phase}.writes_per_cr"), audit::writes(counts) as f64 / crs);
    }
    round.requests.insert(phase.into(), counts.clone());
}

/// Namespaces, with what pods need in them.
pub async fn prepare(bench: &mut Bench<'_>, from: usize, to: usize) -> Result<()> {
    let client = bench.cluster.access.client.clone();
    let names = load::namespaces(from, to);
    for name in &names {
        load::create_namespace(&client, name).await?;
    }
    if bench.plan.zero_share < 1.0 {
        for name in &names {
            load::wait_for_service_account(&client, name).await?;
        }
    }
    Ok(())
}

/// Creates from..to and returns when all up to `to` are Ready: how long the API server took to
/// accept them.
pub async fn bring_to_ready(bench: &mut Bench<'_>, from: usize, to: usize) -> Result<Duration> {
    let client = bench.cluster.access.client.clone();
    let (started, zero_share) = (Instant::now(), bench.plan.zero_share);
    let mut creating = std::pin::pin!(load::create_inference_services(&client, from, to, zero_share));
    let mut accepted = None;
    let (mut best, mut best_at) = ((0, 0), Instant::now());
    loop {
        tokio::select! {
            done = &mut creating, if accepted.is_none() => {
                done?;
                accepted = Some(started.elapsed());
            }
            () = tokio::time::sleep(POLL) => {}
        }
        bench.ledger.poll()?;
        let now = progress(&bench.world.seen());
        if now > best {
            (best, best_at) = (now, Instant::now());
        }
        bench.at(&format!("creating {to}"), &format!("{} have a Deployment, {} are Ready", now.1, now.0))?;
        if let Some(accepted) = accepted
            && now.0 >= to
            && now.1 >= to
        {
            return Ok(accepted);
        }
        if best_at.elapsed() > PATIENCE {
            bail!(
                "of {to} InferenceServices {} have a Deployment and {} are Ready, and nothing changed for {} s",
                now.1,
                now.0,
                PATIENCE.as_secs()
            );
        }
    }
}

/// (Ready, with a Deployment)
fn progress(seen: &Seen) -> (usize, usize) {
    (seen.ready(), seen.deployments.len())
}
