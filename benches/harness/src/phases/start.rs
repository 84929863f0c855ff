//! The operator starts, and nothing is there: time until its first lists are done, RSS after 10 s.

use std::time::Duration;

use anyhow::Result;

use crate::audit::Request;
use crate::bench::Bench;
use crate::quiet;

const SETTLES_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AFTER: Duration = Duration::from_secs(10);

/// What every operator of this kind watches.
pub const WATCHED: [&str; 3] = ["inferenceservices", "deployments", "services"];

pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    let began = bench.begin_phase()?;
    bench.at("starting with nothing there", "")?;
    bench.start_operator()?;
    let settled = quiet::until_settled(bench, "starting with nothing there", 0, SETTLES_WITHIN).await?;
    let started = bench.operator()?.started;
    bench.sleep("starting with nothing there", LOOK_AFTER.saturating_sub(started.elapsed())).await?;

    let operator = bench.operator()?;
    let (memory, started_at) = (operator.memory()?, operator.started_at);
    let counts = bench.counts()?;
    let round = &mut bench.round;
    round.set("start.rss_bytes", memory.rss_bytes as f64);
    round.set_if("start.anonymous_bytes", memory.anonymous_bytes.map(|bytes| bytes as f64));
    round.set_if("start.file_bytes", memory.file_bytes.map(|bytes| bytes as f64));
    round.set_if("start.working_set_bytes", memory.working_set_bytes.map(|bytes| bytes as f64));
    let watching = watches_began(&bench.ledger.requests).map(|at| at.duration_since(started_at).as_secs_f64());
    round.set_if("start.watching_seconds", watching);
    round.set_if("start.in_sync_seconds", settled.in_sync_seconds);
    round.requests.insert("start".into(), counts);
    bench.end_phase("start", began);
    Ok(())
}

/// When the last of its first watches was accepted: lists that come before a watch are done then,
/// and a list that streams through a watch of nothing has nothing to wait for.
fn watches_began(requests: &[Request]) -> Option<k8s_openapi::jiff::Timestamp> {
    let first = |resource: &str| {
        let mut watches = requests.iter().filter(|request| request.verb == "watch" && request.resource == resource);
        watches.next().map(|request| request.at)
    };
    WATCHED.iter().map(|resource| first(resource)).collect::<Option<Vec<_>>>()?.into_iter().max()
}
