//! Hours of an operator's life in minutes: specs change, InferenceServices go and come again, all the time.
//! What it holds at rest after the first minute is compared with what it holds at rest in the end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use kube::Api;
use kube::api::DeleteParams;

use crate::audit;
use crate::bench::Bench;
use crate::isvc::InferenceService;
use crate::load;
use crate::phases::{create, scale};
use crate::process;
use crate::quiet;

/// Each second.
const CHANGES: usize = 20;
const DELETIONS: usize = 2;
/// What was deleted is made again under the same name, after so many seconds.
const ABSENCE: usize = 20;

const FIRST: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_secs(10);
const QUIET_PATIENCE: Duration = Duration::from_secs(300);

pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    let crs = bench.plan.crs;
    scale::leave_out_addresses(&bench.cluster.access.client.clone()).await?;
    bench.start_operator()?;
    create::prepare(bench, 0, crs).await?;
    create::bring_to_ready(bench, 0, crs).await?;
    let began = bench.begin_phase()?;
    let mut churn = Churn::new(crs, bench.plan.zero_share);
    churn.go_on_for(bench, FIRST).await?;
    let first = rest(bench, &mut churn).await?;
    bench.operator()?.reset_peak();
    churn.go_on_for(bench, Duration::from_secs(60 * bench.plan.soak_minutes)).await?;
    let peak = bench.operator()?.peak_bytes();
    let last = rest(bench, &mut churn).await?;
    let counts = bench.counts()?;
    let round = &mut bench.round;
    round.set("soak.changes", churn.changed as f64);
    round.set("soak.recreations", churn.deleted as f64);
    round.set("soak.first_rss_bytes", first.rss_bytes as f64);
    round.set("soak.last_rss_bytes", last.rss_bytes as f64);
    round.set_if("soak.peak_bytes", peak.map(|bytes| bytes as f64));
    round.set("soak.growth_percent", (last.rss_bytes as f64 / first.rss_bytes as f64 - 1.0) * 100.0);
    for (when, rest) in [("first", first), ("last", last)] {
        round.set_if(&format!("soak.{when}_files"), rest.files.map(|count| count as f64));
        round.set_if(&format!("soak.{when}_sockets"), rest.sockets.map(|count| count as f64));
    }
    round.set("soak.writes", audit::writes(&counts) as f64);
    bench.end_phase("soak", began);
    Ok(())
}

/// What an operator holds when it has nothing to do.
struct Rest {
    rss_bytes: u64,
    files: Option<usize>,
    sockets: Option<usize>,
}

/// Everything is there and Ready, nothing is written, idle connections are closed.
async fn rest(bench: &mut Bench<'_>, churn: &mut Churn) -> Result<Rest> {
    churn.bring_back(bench, usize::MAX).await?;
    let (crs, end) = (bench.plan.crs, Instant::now() + QUIET_PATIENCE);
    loop {
        let ready = bench.world.seen().ready();
        if ready >= crs {
            break;
        }
        anyhow::ensure!(Instant::now() < end, "{ready} of {crs} are Ready {} s after churn", QUIET_PATIENCE.as_secs());
        bench.at("waiting until all are Ready", &format!("{ready} of {crs}"))?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    quiet::until_no_writes(bench, QUIET, QUIET_PATIENCE).await?;
    let operator = bench.operator()?;
    let pid = operator.pid();
    Ok(Rest {
        rss_bytes: operator.memory()?.rss_bytes,
        files: pid.and_then(|pid| process::open_files(pid).ok()),
        sockets: pid.and_then(|pid| process::sockets(pid).ok()).map(|sockets| sockets.len()),
    })
}

struct Churn {
    crs: usize,
    zero_share: f64,
    /// The next to be changed, and the next to be deleted, far from each other.
    next_change: usize,
    next_deletion: usize,
    away: VecDeque<usize>,
    changed: usize,
    deleted: usize,
}

impl Churn {
    fn new(crs: usize, zero_share: f64) -> Churn {
        Churn { crs, zero_share, next_change: 0, next_deletion: crs / 2, away: VecDeque::new(), changed: 0, deleted: 0 }
    }

    async fn go_on_for(&mut self, bench: &mut Bench<'_>, time: Duration) -> Result<()> {
        let began = Instant::now();
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        while began.elapsed() < time {
            seconds.tick().await;
            bench.ledger.poll()?;
            let left = time.saturating_sub(began.elapsed()).as_secs();
            bench.at("churn", &format!("{} changed, {} made again, {left} s more", self.changed, self.deleted))?;
            self.second(bench).await?;
        }
        Ok(())
    }

    async fn second(&mut self, bench: &mut Bench<'_>) -> Result<()> {
        let client = bench.cluster.access.client.clone();
        let indexes = (0..CHANGES).map(|number| (self.next_change + number) % self.crs);
        let indexes: Vec<usize> = indexes.filter(|index| !self.away.contains(index)).collect();
        self.next_change = (self.next_change + CHANGES) % self.crs;
        // Another value each time, within what the schema allows.
        let value = 1 + u32::try_from(self.changed % 4_000).unwrap_or(0);
        self.changed += load::change_all(&client, &indexes, value).await?.len();
        for _ in 0..DELETIONS {
            let index = self.next_deletion;
            self.next_deletion = (index + 1) % self.crs;
            let api = Api::<InferenceService>::namespaced(client.clone(), &load::namespace(index));
            api.delete(&load::name(index), &DeleteParams::background()).await?;
            self.away.push_back(index);
            self.deleted += 1;
        }
        let back = self.away.len().saturating_sub(ABSENCE * DELETIONS);
        self.bring_back(bench, back).await
    }

    /// Makes the first `count` of those that are away again.
    async fn bring_back(&mut self, bench: &mut Bench<'_>, count: usize) -> Result<()> {
        let client = bench.cluster.access.client.clone();
        for index in self.away.drain(..count.min(self.away.len())) {
            load::create_inference_services(&client, index, index + 1, self.zero_share).await?;
        }
        Ok(())
    }
}
