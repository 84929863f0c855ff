//! To lead or to stand by: what changes for the controller when it takes the Lease, or may have lost it. One that stands by
//! keeps its index up to date and writes nothing.

use std::future::pending;
use std::time::Duration;

use futures::stream::FuturesUnordered;

use super::Controller;
use super::election::{Election, Right};
use super::queue::Queue;
use crate::reconcile::Context;
use crate::telemetry::metrics::Standing;

/// Time limit for the release of the Lease at shutdown.
const RESIGNS_WITHIN: Duration = Duration::from_secs(2);

/// Returns when something has changed about who leads; never, if there is no election. Cancel-safe.
pub(super) async fn next(election: &mut Option<Election>) {
    match election {
        Some(election) => election.next().await,
        None => pending().await,
    }
}

/// For a person who looks at the Lease: the pod's name.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// What a change of the leader means for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Leads,
    /// It stands by, and all has to be listed again.
    BeginsAnew,
}

impl Controller {
    /// Stands by from now on, if there may be other instances.
    pub(super) fn stand_for_election(&mut self, seed: u64) {
        let Context { client, settings, now, instances, .. } = &*self.context;
        if !settings.leader_elect {
            return;
        }
        let identity = format!("{}_{seed:016x}", host_name());
        self.election =
            Some(Election::new(client.clone(), &settings.catalog_namespace, identity, *now, instances.clone()));
        self.leads = false;
        self.index.follow(true);
        self.publish_metrics();
    }

    pub(super) fn standing(&self) -> Standing {
        match self.election {
            None => Standing::NoElection,
            Some(_) if self.leads => Standing::Leads,
            Some(_) => Standing::StandsBy,
        }
    }

    /// Is it known who leads?
    pub(super) fn is_informed(&self) -> bool {
        self.election.as_ref().is_none_or(|election| election.candidate().is_informed())
    }

    pub(super) fn right(&self) -> Right {
        self.election.as_ref().map_or(Right::Always, Election::right)
    }

    /// Begins to lead, or to stand by, if that has changed.
    pub(super) fn elect(&mut self) -> Change {
        let leads = self.right().is_given();
        if leads == std::mem::replace(&mut self.leads, leads) {
            return Change::None;
        }
        if leads {
            tracing::info!("leading");
            self.index.follow(false);
            self.context.instances.forget_newer();
            self.catalog.lead();
            self.sweep();
            return Change::Leads;
        }
        tracing::warn!("the Lease could not be renewed in time, or another instance has it: standing by");
        self.begin_anew();
        Change::BeginsAnew
    }

    /// As after a restart: what was under way may be what another process does now, and what was known is of a time when this
    /// one had done it all.
    fn begin_anew(&mut self) {
        self.election.iter_mut().for_each(Election::lose);
        self.context.instances.forget_newer();
        self.in_flight = FuturesUnordered::new();
        self.queue = Queue::default();
        self.index = self.empty_index(self.catalog.holds_back());
        self.catalog.begin_anew();
        self.in_sync = false;
    }

    /// For the end of this process: lets another one lead at once, unless what is in flight was abandoned.
    pub(super) async fn resign(&mut self) {
        let is_over = self.in_flight.is_empty() && !self.catalog.is_busy();
        let Some(election) = self.election.as_mut().filter(|_| is_over) else { return };
        // Without it, the other one waits for as long as after a crash.
        let _ = tokio::time::timeout(RESIGNS_WITHIN, election.release()).await;
    }
}
