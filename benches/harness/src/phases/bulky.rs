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
    bench.record_growth("bulky", before, began)?;
    bench.end_phase("bulky", began);
    Ok(())
}
