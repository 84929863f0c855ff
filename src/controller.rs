//! The control loop: watches -> index -> queue -> reconcile. Called by main with the context and a shutdown future;
//! decides WHEN to reconcile, and must never name a field of a Deployment.

mod catalog;
pub mod counts;
pub mod delay;
pub mod election;
pub mod flags;
pub mod index;
mod leadership;
pub mod name_arena;
mod namespaces;
mod offer;
pub mod queue;
pub mod record;
pub mod rollout;
mod schedule;
pub mod sources;
pub mod spec_cache;
pub mod task_start;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::Phase;
use crate::error::Error;
use crate::kubernetes::backoff::Jitter;
use crate::kubernetes::watch::Event;
use crate::model::task::counted;
use crate::model::view::{InferenceServiceView, Meta};
use crate::model::{Action, ChildKind, Instance, Outcome};
use crate::reconcile::{Context, reconcile};
use crate::telemetry::metrics::Metrics;
use election::Election;
use index::{Index, ListKind, Seen, Slot};
use leadership::Change;
use queue::Queue;
use sources::{Observation, Sources};
use task_start::TaskStart;

/// Reads in a row, over some seconds, that do not find an InferenceService which no watch has reported as deleted.
const CONTRADICTED_AFTER: u8 = 4;

/// Time limit for the reconciles in flight at shutdown.
const DRAIN: Duration = Duration::from_secs(4);

type InFlight = BoxFuture<'static, (Slot, TaskStart, Duration, Result<Outcome, Error>)>;

#[allow(clippy::struct_excessive_bools)] // independent facts
struct Controller {
    /// Of what is in force: the settings, with the catalogue laid over them.
    context: Arc<Context>,
    catalog: catalog::Catalog,
    metrics: Arc<Metrics>,
    index: Index,
    queue: Queue,
    in_flight: FuturesUnordered<InFlight>,
    jitter: Jitter,
    /// No reconcile starts earlier: the API server sent a Retry-After.
    paused_until: Instant,
    /// When the repair counts were last reduced.
    faded: Instant,
    /// A read showed that the watches have missed a change.
    is_contradicted: bool,
    /// The warning that the API server's CRD is older than this operator was logged.
    warned_of_older_crd: bool,
    /// The first lists of all watches have been read.
    in_sync: bool,
    /// None: there is no other process, and this one always leads.
    election: Option<Election>,
    leads: bool,
}

/// What a controller holds in memory, as counts, to check that it holds nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    pub inference_services: usize,
    /// InferenceServices in each phase, in the order of `Phase::ALL`.
    pub phases: [u32; Phase::ALL.len()],
    /// Length of all their names.
    pub name_bytes: usize,
    pub specs: usize,
    pub queued: usize,
    pub in_flight: usize,
}

/// Runs until `shutdown` resolves and the reconciles in flight are finished. `seed` determines all jitter. Returns what
/// the controller holds at that point.
pub async fn run(
    context: Arc<Context>,
    metrics: Arc<Metrics>,
    seed: u64,
    shutdown: impl Future<Output = ()>,
) -> Memory {
    let mut sources = Sources::new(&context, &metrics, seed);
    let mut controller = Controller::new(context.clone(), metrics.clone(), seed);
    controller.stand_for_election(seed);
    let mut shutdown = pin!(shutdown);
    let mut sweep = tokio::time::interval_at(Instant::now() + context.settings.resync, context.settings.resync);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        let (due, is_decided) = (controller.next_start(), controller.catalog.is_decided());
        tokio::select! {
            // A fixed order, so that a simulation depends on its seed alone: finished reconciles first, to make room.
            biased;
            () = &mut shutdown => break,
            Some(flight) = controller.in_flight.next() => controller.finish(flight),
            done = controller.catalog.done() => controller.catalog.finish(done),
            () = leadership::next(&mut controller.election) => {}
            observation = sources.next(is_decided) => {
                controller.observe(observation);
                if !controller.in_sync && sources.are_listed() {
                    controller.start_work();
                }
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            _ = sweep.tick() => controller.sweep(),
        }
        if controller.elect() == Change::BeginsAnew {
            sources = Sources::new(&context, &metrics, seed);
        }
        controller.roll_out();
        controller.offer();
        if controller.index.wants_list() {
            sources.list_owners_again();
        }
        controller.start();
        controller.publish_metrics();
        if std::mem::take(&mut controller.is_contradicted) {
            tracing::info!("objects that the watches showed do not exist; listing again");
            sources.list_again();
        }
    }
    controller.drain().await;
    controller.resign().await;
    controller.memory()
}

impl Controller {
    fn new(context: Arc<Context>, metrics: Arc<Metrics>, seed: u64) -> Controller {
        Controller {
            index: Index::new(offer::judge_of(&context, false)),
            catalog: catalog::Catalog::new(context.clone()),
            context,
            metrics,
            queue: Queue::default(),
            in_flight: FuturesUnordered::new(),
            jitter: Jitter::new(seed),
            paused_until: Instant::now(),
            faded: Instant::now(),
            is_contradicted: false,
            warned_of_older_crd: false,
            in_sync: false,
            election: None,
            leads: true,
        }
    }

    // === watch events ===

    fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Catalog(event) => self.catalog.observe(event),
            Observation::InferenceService(event) => self.observe_inference_service(event),
            Observation::Lease(event) => {
                if let Event::InitApply(lease) | Event::Apply(lease) = &event {
                    self.find(|| lease.meta.instance.clone());
                }
                self.election.iter_mut().for_each(|election| election.observe(&event));
            }
            Observation::Child(kind, event) => self.observe_child(kind, event),
        }
    }

    fn observe_inference_service(&mut self, event: Event<InferenceServiceView>) {
        let seen = match event {
            Event::Init => {
                self.index.list_begins(ListKind::InferenceServices);
                None
            }
            Event::InitApply(object) => {
                self.find(|| object.instance());
                self.index.observe(object, Seen::Listed)
            }
            Event::Apply(object) => {
                self.find(|| object.instance());
                self.index.observe(object, Seen::Event)
            }
            Event::Delete(object) => {
                self.index.remove(&object.meta.namespace, &object.meta.name);
                None
            }
            Event::InitDone => {
                self.index.list_ends(ListKind::InferenceServices);
                None
            }
            Event::Absent | Event::Forbidden => None,
        };
        if let Some(slot) = seen {
            self.queue(slot);
        }
    }

    /// An object names who has brought the children. This process is newer, if it is its first list, or if it has stood by.
    fn find(&self, instance: impl FnOnce() -> Option<Instance>) {
        if self.in_sync && self.leads {
            return;
        }
        if let Some(found) = instance() {
            self.context.instances.start_after(&found);
        }
    }

    fn observe_child(&mut self, kind: ChildKind, event: Event<Meta>) {
        let changed = match event {
            Event::Init => {
                self.index.list_begins(ListKind::Children(kind));
                None
            }
            Event::InitApply(child) => {
                self.find(|| child.instance.clone());
                self.index.observe_child(kind, &child, Seen::Listed)
            }
            Event::Apply(child) => {
                self.find(|| child.instance.clone());
                self.index.observe_child(kind, &child, Seen::Event)
            }
            Event::Delete(child) => self.index.observe_child_gone(kind, &child),
            Event::InitDone => {
                for slot in self.index.list_ends(ListKind::Children(kind)) {
                    self.queue(slot);
                }
                None
            }
            Event::Absent | Event::Forbidden => None,
        };
        if let Some(slot) = changed {
            self.queue(slot);
        }
    }

    /// All first lists have been read: reconciles may start.
    fn start_work(&mut self) {
        self.in_sync = true;
        self.index.children_are_listed();
        self.sweep();
        tracing::info!(inference_services = self.index.len(), not_settled = self.queue.len(), "in sync");
    }

    // === scheduling ===

    /// When the next reconcile can start; None: not before another event, such as the end of those that a changed
    /// catalogue waits for.
    fn next_start(&self) -> Option<Instant> {
        if !self.leads || !self.catalog.lets_start() {
            return None;
        }
        let due = self.queue.next_due()?.max(self.paused_until);
        (self.in_flight.len() < self.context.settings.concurrency).then_some(due)
    }

    fn start(&mut self) {
        let (right, now) = (self.right(), self.context.now);
        while right.is_given()
            && self.catalog.lets_start()
            && self.in_flight.len() < self.context.settings.concurrency
            && self.paused_until <= Instant::now()
        {
            let Some(slot) = self.queue.pop(Instant::now()) else { return };
            let Some(task) = self.index.start(slot) else { continue };
            let (context, right) = (self.context.clone(), right.clone());
            let start = TaskStart::from(&task);
            self.in_flight.push(Box::pin(async move {
                let began = Instant::now();
                // By reference, or each of the futures around it would have a copy of its state.
                let work = pin!(reconcile(&context, task));
                let result = right.during(now, work).await.unwrap_or(Err(Error::LeaseOver));
                (slot, start, began.elapsed(), result)
            }));
        }
    }

    fn finish(&mut self, (slot, start, took, result): (Slot, TaskStart, Duration, Result<Outcome, Error>)) {
        self.metrics.reconciled(counted(&result), took);
        if let Err(error) | Ok(Outcome { action: Action::Rejected(error), .. }) = &result {
            self.paused_until = self.paused_until.max(Instant::now() + error.retry_after());
        }
        if let Err(error) = &result {
            self.note(slot, error);
        }
        let is_kept = self.index.finish(slot, &start, result);
        if !is_kept && !std::mem::replace(&mut self.warned_of_older_crd, true) {
            tracing::warn!(
                "the API server drops fields of the status: the CRD is older than this operator (apply \
                 k3s-manifests/crd.yaml); until then, each restart reconciles every InferenceService"
            );
        }
        self.queue(slot);
    }

    /// Logs a failure that the status does not report.
    fn note(&mut self, slot: Slot, error: &Error) {
        let failures = self.index.get(slot).map_or(0, |record| record.failures);
        // Repeated, because a list may be stale too, or another failure may have come in between.
        let is_due = failures > 0 && (failures.is_multiple_of(CONTRADICTED_AFTER) || failures == u8::MAX);
        self.is_contradicted |= is_due && matches!(error, Error::Gone);
        let is_terminating = error.is_of_a_namespace_that_goes();
        let terminates = is_terminating && self.index.namespace_terminates(slot);
        let is_first = error.is_reported(failures) && self.index.logs_failure(slot);
        let Some(record) = self.index.get(slot) else { return };
        let (namespace, name) = (self.index.namespace(record), self.index.name(record));
        if terminates {
            tracing::info!(namespace, "the namespace is being deleted: its InferenceServices are skipped");
        } else if is_first {
            // The status could not report it.
            tracing::warn!(namespace, name, "{error}; retrying");
        } else {
            tracing::debug!(namespace, name, "{error}");
        }
    }

    /// Waits for the reconciles in flight: a write whose response is not read is repeated.
    async fn drain(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        tracing::info!(in_flight = self.in_flight.len(), "waiting for the reconciles in flight");
        let landed = tokio::time::timeout(DRAIN, async { while self.in_flight.next().await.is_some() {} }).await;
        if landed.is_err() {
            tracing::warn!(
                in_flight = self.in_flight.len(),
                "shutdown timeout: these reconciles are abandoned, and resumed at the next start"
            );
        }
    }

    fn memory(&self) -> Memory {
        Memory {
            inference_services: self.index.iter().count(),
            phases: self.index.counts().phases,
            name_bytes: self.index.name_bytes(),
            specs: self.index.specs(),
            queued: self.queue.len(),
            in_flight: self.in_flight.len(),
        }
    }

    fn publish_metrics(&self) {
        let rollout = self.index.rollout();
        let halted = usize::from(rollout.halted_by().is_some());
        self.metrics.rolled_out([rollout.waiting(), rollout.under_way(), halted]);
        self.metrics.met_newer(self.context.instances.has_met_newer());
        self.metrics.elected(self.standing());
        self.metrics.loop_ticked(self.in_sync && self.is_informed(), self.queue.len(), &self.index.counts().phases);
    }
}

#[cfg(test)]
mod tests;
