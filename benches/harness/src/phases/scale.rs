//! Memory and restart time against the number of InferenceServices. All have replicas 0 and there is
//! no controller-manager: its work would take most of the time, and shows to the operator only in
//! the Deployments' statuses.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::phases::{create, restart};
use crate::quiet;
use crate::results::ScalePoint;

const QUIET: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AFTER: Duration = Duration::from_secs(5);

pub async fn run(bench: &mut Bench<'_>, points: &[usize]) -> Result<()> {
    bench.stop_controller_manager()?;
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
