//! InferenceServices with half a megabyte of metadata each: what they leave in the operator's memory.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::load;
use crate::quiet;

const QUIET: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(180);
/// Connections that were opened for the work are no growth; nobody keeps one for longer.
const IDLE: Duration = Duration::from_secs(15);

pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    let count = bench.plan.bulky;
    // Once is enough: it differs from round to round by less than by all else, and takes a minute.
    if count == 0 || bench.round.number > 1 {
        return Ok(());
    }
    quiet::until_no_writes(bench, QUIET, PATIENCE).await?;
    let began = bench.begin_phase()?;
    let operator = bench.operator()?;
    let before = operator.memory()?.rss_bytes;
    operator.reset_peak();
    bench.at("creating InferenceServices with much metadata", &format!("{count}"))?;
    let client = bench.cluster.access.client.clone();
    load::create_bulky(&client, count).await?;
    let are_ready = bench.world.until(PATIENCE, |seen| {
        let is_ready = |index| seen.inference_services.get(&load::bulky_name(index)).is_some_and(|seen| seen.is_ready);
        (0..count).all(is_ready).then_some(())
    });
    if are_ready.await.is_none() {
        bench.round.note(format!("not all of {count} with much metadata were Ready after {} s", PATIENCE.as_secs()));
    }
    quiet::until_no_writes(bench, QUIET, PATIENCE).await?;
    bench.sleep("until idle connections are closed", IDLE).await?;
    let operator = bench.operator()?;
    let (after, peak) = (operator.memory()?.rss_bytes, operator.peak_bytes());
    let sampled = bench.sampler.most_since(began);
    let round = &mut bench.round;
    round.set("bulky.rss_before_bytes", before as f64);
    round.set("bulky.rss_after_bytes", after as f64);
    round.set("bulky.growth_bytes", after as f64 - before as f64);
    round.set_if("bulky.peak_bytes", peak.or(sampled).map(|bytes| bytes as f64));
    bench.end_phase("bulky", began);
    Ok(())
}
