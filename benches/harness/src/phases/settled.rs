//! Nothing happens: what the operator costs while there is nothing to do.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::audit;
use crate::bench::Bench;
use crate::phases::start;
use crate::quiet;

/// Between the end of the work before and the beginning of this.
const QUIET: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(90);
/// A connection that lives for less than this may be missed by the byte counts.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    if !quiet::until_no_writes(bench, QUIET, PATIENCE).await? {
        bench.round.note(format!("it did not stop writing within {} s of the last change", PATIENCE.as_secs()));
    }
    let began = bench.begin_phase()?;
    let port = bench.cluster.access.port;
    let time = Duration::from_secs(bench.plan.settled_seconds);
    let operator = bench.operator()?;
    let (cpu, switches, mut wire) = (operator.cpu_seconds(), operator.switches(), operator.wire(port));
    let started = Instant::now();
    while started.elapsed() < time {
        let left = time.saturating_sub(started.elapsed());
        bench.at("settled", &format!("{} s more", left.as_secs() + 1))?;
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
        if let Some(wire) = &mut wire {
            wire.look()?;
        }
    }
    let seconds = started.elapsed().as_secs_f64();

    let operator = bench.operator()?;
    let (cpu_after, switches_after) = (operator.cpu_seconds(), operator.switches());
    let memory = operator.memory()?;
    let counts = bench.counts()?;
    let round = &mut bench.round;
    round.set("settled.rss_bytes", memory.rss_bytes as f64);
    round.set_if("settled.anonymous_bytes", memory.anonymous_bytes.map(|bytes| bytes as f64));
    round.set_if("settled.file_bytes", memory.file_bytes.map(|bytes| bytes as f64));
    round.set_if("settled.working_set_bytes", memory.working_set_bytes.map(|bytes| bytes as f64));
    round.set_if("settled.cpu_percent", cpu_after.zip(cpu).map(|(after, before)| (after - before) / seconds * 100.0));
    if let Some((after, before)) = switches_after.zip(switches) {
        let rate = |after: u64, before: u64| after.saturating_sub(before) as f64 / seconds;
        round.set("settled.voluntary_switches_per_second", rate(after.voluntary, before.voluntary));
        round.set("settled.involuntary_switches_per_second", rate(after.involuntary, before.involuntary));
    }
    if let Some(wire) = wire {
        round.set("settled.received_bytes_per_minute", wire.received_bytes as f64 / seconds * 60.0);
        round.set("settled.sent_bytes_per_minute", wire.sent_bytes as f64 / seconds * 60.0);
        round.set("settled.connections", wire.connections as f64);
        let (bytes, watches) = ((wire.received_bytes + wire.sent_bytes) as f64, start::WATCHED.len() as f64);
        round.set("settled.wire_bytes_per_hour_per_watch", bytes / seconds * 3_600.0 / watches);
    }
    round.set("settled.requests", audit::requests_without_watches(&counts) as f64);
    round.set("settled.writes", audit::writes(&counts) as f64);
    round.requests.insert("settled".into(), counts);
    bench.end_phase("settled", began);
    Ok(())
}
