//! The loop: watches -> fleet -> queue -> reconcile. Called by main with its context and its end;
//! knows WHEN something is to be done, and never names a field of a Deployment.

pub mod fleet;
pub mod names;
pub mod queue;
pub mod reasons;
pub mod record;
#[cfg(test)]
pub(crate) mod samples;
pub mod specs;
pub mod state;
pub mod watch;

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
use crate::labels::MANAGED_BY;
use crate::projection::{DeploymentMetadata, InferenceService, Kind, Service};
use crate::reconcile::status::COUNT_PACE;
use crate::reconcile::{Context, Done, Next, outcome, reconcile};
use crate::telemetry::metrics::Metrics;
use fleet::{Fleet, List, Slot};
use queue::{Jitter, Queue, backoff};
use reasons::Reasons;
use record::{ChildKind, Departed, Record, State};
use watch::{Event, Watch};

/// How long a changed Deployment is left alone before it is read: its controller changes it several
/// times in a row.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// Looks that have nothing to say double their wait so many times.
const LOOKS_DOUBLE: u8 = 3;

const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What has not failed for long is tried again soon, for what stands in its way may go without a word.
const SHORT_BACKOFF: Duration = Duration::from_secs(10);

/// So many failures in a row, a quarter of an hour or less, are long.
const LONG_FAILURES: u8 = 60;

/// But those that fail together try 20 times a second, as long as a minute is enough for that.
const SHARE_OF_ONE: Duration = Duration::from_millis(50);

/// So many reads in a row, over some seconds, do not find an InferenceService that no watch has called deleted.
const CONTRADICTED_AFTER: u8 = 4;

/// The time after which one repair is no longer of late.
const REPAIR_FADES: Duration = Duration::from_secs(300);

/// What a reconcile is given to finish when the operator is told to end.
const DRAIN: Duration = Duration::from_secs(4);

type Flight = BoxFuture<'static, (Slot, Departed, Duration, Result<Done, Error>)>;

struct Controller {
    context: Arc<Context>,
    metrics: Arc<Metrics>,
    fleet: Fleet,
    queue: Queue,
    flights: FuturesUnordered<Flight>,
    jitter: Jitter,
    /// Nothing departs before: the API server has asked for patience.
    resume: Instant,
    /// When repairs have last begun to fade.
    faded: Instant,
    /// What was read says that the watches have missed something.
    is_contradicted: bool,
    /// It was said that the API server's CRD is older than this operator.
    told_of_older_crd: bool,
    /// The first lists of all three watches have been read.
    synced: Synced,
}

#[derive(Default)]
struct Synced {
    inference_services: bool,
    deployments: bool,
    services: bool,
}

impl Synced {
    fn all(&self) -> bool {
        self.inference_services && self.deployments && self.services
    }
}

/// What a controller remembers, in numbers, for whoever wants to know whether that is all that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    pub inference_services: usize,
    /// Of them, in the order of `Phase::ALL`.
    pub phases: [u32; Phase::ALL.len()],
    /// Of their names.
    pub name_bytes: usize,
    pub specs: usize,
    pub queued: usize,
    pub in_flight: usize,
}

/// Runs until `shutdown` ends and what is in flight has landed. `seed` decides all jitter. Returns what it
/// remembers then.
pub async fn run(
    context: Arc<Context>,
    metrics: Arc<Metrics>,
    seed: u64,
    shutdown: impl Future<Output = ()>,
) -> Memory {
    let namespace = context.settings.namespace.as_deref();
    let labels = format!("app.kubernetes.io%2Fmanaged-by%3D{MANAGED_BY}");
    let client = || context.client.clone();
    let mut inference_services = Watch::<InferenceService>::new(client(), namespace, "", seed ^ 1, metrics.clone());
    let mut deployments = Watch::<DeploymentMetadata>::new(client(), namespace, &labels, seed ^ 2, metrics.clone());
    let mut services = Watch::<Service>::new(client(), namespace, &labels, seed ^ 3, metrics.clone());
    let mut controller = Controller::new(context.clone(), metrics, seed);
    let mut shutdown = pin!(shutdown);
    let mut sweep = tokio::time::interval_at(Instant::now() + context.settings.resync, context.settings.resync);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        // The children's lists are joined with what the InferenceServices say: those come first.
        let listed = controller.synced.inference_services;
        let due = controller.next_departure();
        tokio::select! {
            // In this order, so that a seed decides a simulation: what has landed makes room first.
            biased;
            () = &mut shutdown => break,
            Some(flight) = controller.flights.next() => controller.land(flight),
            event = inference_services.next() => controller.observe(event),
            event = deployments.next(), if listed => controller.observe_child(ChildKind::Deployment, event),
            event = services.next(), if listed => controller.observe_child(ChildKind::Service, event),
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            _ = sweep.tick() => controller.sweep(),
        }
        controller.depart();
        controller.tell();
        if std::mem::take(&mut controller.is_contradicted) {
            tracing::info!("the watches have missed something; listing again");
            inference_services.list_again();
            deployments.list_again();
            services.list_again();
        }
    }
    controller.drain().await;
    controller.memory()
}

impl Controller {
    fn new(context: Arc<Context>, metrics: Arc<Metrics>, seed: u64) -> Controller {
        Controller {
            fleet: Fleet::new(context.configuration),
            context,
            metrics,
            queue: Queue::default(),
            flights: FuturesUnordered::new(),
            jitter: Jitter::new(seed),
            resume: Instant::now(),
            faded: Instant::now(),
            is_contradicted: false,
            told_of_older_crd: false,
            synced: Synced::default(),
        }
    }

    // === what the watches bring ===

    fn observe(&mut self, event: Event<InferenceService>) {
        match event {
            Event::Init => self.fleet.list_begins(List::InferenceServices),
            Event::InitApply(object) => self.take_in(object, true),
            Event::Apply(object) => self.take_in(object, false),
            Event::Delete(object) => self.fleet.remove(&object.identity.namespace, &object.identity.name),
            Event::InitDone => {
                self.fleet.list_ends(List::InferenceServices);
                self.synced.inference_services = true;
            }
        }
    }

    fn take_in(&mut self, object: InferenceService, listed: bool) {
        if let Some(slot) = self.fleet.observe(object, listed) {
            self.queue(slot);
        }
    }

    fn observe_child<K: Kind>(&mut self, kind: ChildKind, event: Event<K>) {
        let news = match event {
            Event::Init => {
                self.fleet.list_begins(List::Children(kind));
                None
            }
            Event::InitApply(child) => self.fleet.observe_child(kind, child.identity(), true),
            Event::Apply(child) => self.fleet.observe_child(kind, child.identity(), false),
            Event::Delete(child) => self.fleet.observe_child_gone(kind, child.identity()),
            Event::InitDone => {
                let vanished = self.fleet.list_ends(List::Children(kind));
                for slot in vanished {
                    self.queue(slot);
                }
                self.note_sync(kind);
                None
            }
        };
        if let Some(slot) = news {
            self.queue(slot);
        }
    }

    fn note_sync(&mut self, kind: ChildKind) {
        let before = self.synced.all();
        match kind {
            ChildKind::Deployment => self.synced.deployments = true,
            ChildKind::Service => self.synced.services = true,
        }
        if self.synced.all() && !before {
            self.fleet.children_are_listed();
            self.sweep();
            tracing::info!(inference_services = self.fleet.len(), not_settled = self.queue.len(), "in sync");
        }
    }

    // === what is due ===

    /// Queues what is not settled, for the time that its reasons ask for.
    fn queue(&mut self, slot: Slot) {
        let Some(record) = self.fleet.get(slot) else { return };
        if self.fleet.is_at_rest(record) || record.state.has(State::IN_FLIGHT) || !self.synced.all() {
            return;
        }
        let mut wait = self.wait(record);
        if record.failures > 0 {
            let longest = longest_backoff(record.failures, self.fleet.tally().failing);
            wait = wait.max(backoff(record.failures, longest, self.jitter.draw()));
        }
        // Looks too, for they repair what they find.
        if record.repairs > 0 {
            wait = wait.max(backoff(record.repairs, LONGEST_BACKOFF, self.jitter.draw()));
        }
        self.queue.push(slot, Instant::now() + wait);
    }

    /// How long what is to be done can wait.
    fn wait(&self, record: &Record) -> Duration {
        let late = Reasons::COUNT | Reasons::DUE;
        let looks = Reasons::PROGRESS | Reasons::EDIT | Reasons::STATUS;
        if !record.reasons.without(late | looks).is_none() {
            return Duration::ZERO;
        }
        // Only the Deployment can have changed: let its controller finish.
        if !record.reasons.without(late).is_none() {
            return LOOK_AFTER * (1 << record.looks.min(LOOKS_DOUBLE));
        }
        if record.reasons.contains(Reasons::COUNT) {
            return Duration::from_secs(u64::from(COUNT_PACE));
        }
        let load_seconds = self.context.settings.server.load_seconds;
        Duration::from_secs(u64::from(record.load_left(load_seconds, (self.context.now)())))
    }

    /// A safety net under all of the above: whatever is not settled and not queued is queued.
    fn sweep(&mut self) {
        let fades = self.faded.elapsed().as_secs() / REPAIR_FADES.as_secs();
        if fades > 0 {
            self.faded = Instant::now();
            self.fleet.forget_repairs(u8::try_from(fades).unwrap_or(u8::MAX));
        }
        let lost: Vec<Slot> = self
            .fleet
            .iter()
            .filter(|(slot, record)| {
                !self.fleet.is_at_rest(record) && !record.state.has(State::IN_FLIGHT) && !self.queue.contains(*slot)
            })
            .map(|(slot, _)| slot)
            .collect();
        for slot in lost {
            self.queue(slot);
        }
    }

    /// When the next reconcile can begin; None: not before something else happens.
    fn next_departure(&self) -> Option<Instant> {
        let due = self.queue.next_due()?.max(self.resume);
        (self.flights.len() < self.context.settings.concurrency).then_some(due)
    }

    fn depart(&mut self) {
        while self.flights.len() < self.context.settings.concurrency && self.resume <= Instant::now() {
            let Some(slot) = self.queue.pop(Instant::now()) else { return };
            let Some(task) = self.fleet.depart(slot) else { continue };
            let context = self.context.clone();
            let departed = Departed::from(&task);
            self.flights.push(Box::pin(async move {
                let began = Instant::now();
                let result = reconcile(&context, task).await;
                (slot, departed, began.elapsed(), result)
            }));
        }
    }

    fn land(&mut self, (slot, departed, took, result): (Slot, Departed, Duration, Result<Done, Error>)) {
        self.metrics.reconciled(outcome(&result), took);
        if let Err(error) | Ok(Done { next: Next::Refused(error), .. }) = &result {
            self.resume = self.resume.max(Instant::now() + error.patience());
        }
        if let Err(error) = &result {
            self.note(slot, error);
        }
        let is_kept = self.fleet.land(slot, &departed, result);
        if !is_kept && !std::mem::replace(&mut self.told_of_older_crd, true) {
            tracing::warn!(
                "the API server does not keep all of the status: its CRD is older than this operator (apply \
                 k3s-manifests/crd.yaml); until then each restart looks at every InferenceService"
            );
        }
        self.queue(slot);
    }

    /// Logs what has failed and is not told in the status.
    fn note(&mut self, slot: Slot, error: &Error) {
        let failures = self.fleet.get(slot).map_or(0, |record| record.failures);
        if matches!(error, Error::Gone) && failures == CONTRADICTED_AFTER {
            self.is_contradicted = true;
        }
        let is_terminating = error.is_of_a_namespace_that_goes();
        let is_news = !is_terminating || self.fleet.namespace_terminates(slot);
        let Some(record) = self.fleet.get(slot) else { return };
        let (namespace, name) = (self.fleet.namespace(record), self.fleet.name(record));
        if is_terminating && is_news {
            tracing::info!(namespace, "the namespace is being deleted: nothing is done in it any more");
        } else if error.is_told(record.failures)
            && record.failures.checked_sub(1).is_none_or(|before| !error.is_told(before))
        {
            // It could not be said in the status.
            tracing::warn!(namespace, name, "{error}; trying again");
        } else {
            tracing::debug!(namespace, name, "{error}");
        }
    }

    /// What is in flight gets the time to land: a write whose answer nobody reads is done again.
    async fn drain(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        tracing::info!(in_flight = self.flights.len(), "finishing what is in flight");
        let landed = tokio::time::timeout(DRAIN, async { while self.flights.next().await.is_some() {} }).await;
        if landed.is_err() {
            tracing::warn!(in_flight = self.flights.len(), "not finished in time; the next start takes it up");
        }
    }

    fn memory(&self) -> Memory {
        Memory {
            inference_services: self.fleet.iter().count(),
            phases: self.fleet.tally().phases,
            name_bytes: self.fleet.name_bytes(),
            specs: self.fleet.specs(),
            queued: self.queue.len(),
            in_flight: self.flights.len(),
        }
    }

    fn tell(&self) {
        self.metrics.turned(self.synced.all(), self.queue.len(), &self.fleet.tally().phases);
    }
}

/// The longest wait after so many failures in a row, where so many InferenceServices fail.
fn longest_backoff(failures: u8, failing: u32) -> Duration {
    let longest = if failures < LONG_FAILURES { SHORT_BACKOFF } else { LONGEST_BACKOFF };
    longest.max(SHARE_OF_ONE * failing).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests;
