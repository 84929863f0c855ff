//! The operator is started again with everything settled: peak memory, time, requests and writes.

use std::time::Duration;

use anyhow::Result;

use crate::audit;
use crate::bench::Bench;
use crate::quiet;

pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    let crs = bench.plan.crs;
    bench.at("restart", "ending it")?;
    bench.stop_operator()?;
    let began = bench.begin_phase()?;
    bench.start_operator()?;
    let count = if bench.launch.is_ours() { 0 } else { crs };
    let settled = quiet::until_settled(bench, "restart", count, patience(crs)).await?;
    let operator = bench.operator()?;
    let (memory, peak) = (operator.memory()?, operator.peak_bytes());
    let sampled = bench.sampler.most_since(began);
    let cpu = operator.cpu_seconds();
    let counts = bench.counts()?;
    let round = &mut bench.round;
    if settled.seconds.is_none() {
        round.note(format!("it was not settled {} s after a restart", patience(crs).as_secs()));
    }
    round.set_if("restart.settled_seconds", settled.seconds);
    round.set_if("restart.in_sync_seconds", settled.in_sync_seconds);
    round.set_if("restart.peak_bytes", peak.or(sampled).map(|bytes| bytes as f64));
    round.set("restart.rss_bytes", memory.rss_bytes as f64);
    round.set_if("restart.cpu_seconds", cpu);
    round.set("restart.requests", audit::requests_without_watches(&counts) as f64);
    round.set("restart.writes", audit::writes(&counts) as f64);
    round.requests.insert("restart".into(), counts);
    bench.end_phase("restart", began);
    Ok(())
}

pub fn patience(crs: usize) -> Duration {
    Duration::from_secs(120 + crs as u64 / 20)
}
