//! One round's state, which the phases share: the cluster, the operator, what is seen and recorded.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::audit::Counts;
use crate::cluster::Cluster;
use crate::ledger::Ledger;
use crate::operator::{Launch, Operator};
use crate::process;
use crate::progress::Progress;
use crate::prometheus::Page;
use crate::results::{Round, Span};
use crate::sampler::Sampler;
use crate::settings::Plan;
use crate::world::World;

/// Ended from the top to the bottom: the operator before its cluster.
pub struct Bench<'a> {
    pub plan: &'a Plan,
    pub progress: &'a Progress,
    pub operator: Option<Operator>,
    pub sampler: Sampler,
    pub ledger: Ledger,
    pub world: World,
    pub launch: Launch,
    pub cluster: Cluster,
    pub round: Round,
    /// CPU time of the round's processes that have ended.
    pub ended_seconds: f64,
}

impl Bench<'_> {
    pub fn operator(&self) -> Result<&Operator> {
        self.operator.as_ref().context("no operator runs")
    }

    pub fn start_operator(&mut self) -> Result<()> {
        self.operator = Some(self.launch.start(&self.cluster)?);
        self.attach_sampler()
    }

    pub fn stop_operator(&mut self) -> Result<()> {
        self.note_gc();
        self.sampler.pause();
        let Some(operator) = self.operator.take() else { return Ok(()) };
        self.ended_seconds += operator.cpu_seconds().unwrap_or(0.0);
        operator.stop()
    }

    /// The requests of this phase up to now.
    pub fn counts(&mut self) -> Result<Counts> {
        self.ledger.counts(self.operator.as_ref().context("no operator runs")?)
    }

    pub fn attach_sampler(&self) -> Result<()> {
        self.sampler.attach(self.operator()?);
        Ok(())
    }

    /// False: it goes on, because it is not ours to stop.
    pub fn stop_controller_manager(&mut self) -> Result<bool> {
        let used = |cluster: &Cluster| -> f64 {
            cluster.pids().iter().filter_map(|pid| process::cpu_seconds(*pid).ok()).sum()
        };
        let before = used(&self.cluster);
        let is_stopped = self.cluster.stop_controller_manager()?;
        self.ended_seconds += (before - used(&self.cluster)).max(0.0);
        Ok(is_stopped)
    }

    /// Tells what goes on, and that the operator still runs.
    pub fn at(&mut self, activity: &str, detail: &str) -> Result<()> {
        self.progress.at(activity, detail);
        self.operator.as_mut().map_or(Ok(()), Operator::check)
    }

    pub async fn sleep(&mut self, activity: &str, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.at(activity, &format!("{} s more", left.as_secs() + 1))?;
            tokio::time::sleep(left.min(Duration::from_secs(1))).await;
        }
    }

    /// Longest pause up to now. The metric speaks of the latest pauses only, so it is asked often.
    pub fn note_gc(&mut self) {
        let Some(page) = self.operator.as_ref().and_then(Operator::metrics) else { return };
        let page = Page(&page);
        if let Some(pause) = page.longest_gc_pause() {
            let longest = self.round.figures.entry("gc.longest_pause_seconds".into()).or_default();
            *longest = longest.max(pause);
        }
    }

    /// Runs from `begin_phase` to this.
    pub fn end_phase(&mut self, name: &str, began_seconds: f64) {
        self.note_gc();
        let to_seconds = self.sampler.seconds();
        self.round.phases.push(Span { name: name.into(), from_seconds: began_seconds, to_seconds });
    }

    /// What a phase did to the operator's memory, which was `before` bytes when it began.
    pub fn record_growth(&mut self, phase: &str, before: u64, began_seconds: f64) -> Result<()> {
        let operator = self.operator()?;
        let (after, peak) = (operator.memory()?.rss_bytes, operator.peak_bytes());
        let sampled = self.sampler.most_since(began_seconds);
        let round = &mut self.round;
        round.set(&format!("{phase}.rss_before_bytes"), before as f64);
        round.set(&format!("{phase}.rss_after_bytes"), after as f64);
        round.set(&format!("{phase}.growth_bytes"), after as f64 - before as f64);
        round.set_if(&format!("{phase}.peak_bytes"), peak.or(sampled).map(|bytes| bytes as f64));
        Ok(())
    }

    pub fn begin_phase(&mut self) -> Result<f64> {
        self.ledger.begin_phase(self.operator.as_ref())?;
        Ok(self.sampler.seconds())
    }
}
