//! Objects that are none of the operator's business: what they do to its memory.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::load;

const SETTLES: Duration = Duration::from_secs(5);

pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    let count = bench.plan.noise;
    if count == 0 {
        return Ok(());
    }
    // Its work on foreign Deployments would take minutes, and shows to no operator in more than
    // their statuses. It may be stopped already.
    bench.stop_controller_manager()?;
    bench.sleep("before the noise", SETTLES).await?;
    let began = bench.begin_phase()?;
    let operator = bench.operator()?;
    let before = operator.memory()?.rss_bytes;
    operator.reset_peak();
    bench.at("creating foreign objects", &format!("{count} each of Deployments, Services, Secrets, ConfigMaps"))?;
    let (client, progress) = (bench.cluster.access.client.clone(), bench.progress);
    load::create_foreign(&client, count, |kind, count| {
        progress.at("creating foreign objects", &format!("{count} {kind}"));
    })
    .await?;
    bench.sleep("after the noise", SETTLES).await?;
    bench.record_growth("noise", before, began)?;
    bench.end_phase("noise", began);
    Ok(())
}
