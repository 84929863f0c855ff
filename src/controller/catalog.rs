//! The InferenceCatalog: when it is decided on, when it takes force, and when its status is written. Owned by the
//! controller; holds one request at a time.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::accept::say::{News, Progress, say};
use crate::accept::{Refusal, Verdict, decide};
use crate::controller::election::Right;
use crate::kubernetes::backoff::backoff;
use crate::kubernetes::watch::Event;
use crate::model::uid::Uid;
use crate::model::view::catalog::CatalogView;
use crate::model::view::{InferenceServiceView, RawSpec};
use crate::reconcile::Context;

/// How long to wait before a status that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// The longest wait before it is asked again which catalogue was accepted last. InferenceServices may be waiting for that.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A catalogue that was deleted holds for so long: `kubectl replace --force` deletes it and creates it again.
const GONE_FOR_GOOD: Duration = Duration::from_secs(10);

/// Of this many failures in a row one is logged: at first, and then about every five minutes.
const LOGGED_FAILURES: u32 = 32;

/// How often the status is corrected that another client has written, without anything new to say. A second operator
/// would correct it too, for ever, because each knows of its own rollout alone.
const MOST_CORRECTIONS: u8 = 5;

/// What is there to decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The right to read it is missing, so that nobody knows.
    Forbidden,
    Absent,
    /// Uid and generation of a catalogue.
    Of(Uid, u32),
}

#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Catalog {
    /// What is built in, and what the flags say. A catalogue is laid over it.
    base: Arc<Context>,
    object: Option<CatalogView>,
    /// The list that is being read, or was read last, has it.
    is_listed: bool,
    /// None: not known yet.
    version: Option<Version>,
    decided: Option<Version>,
    /// Why the catalogue is not in force.
    refusal: Option<Refusal>,
    /// The spec that was accepted last, and is in force. None: none that this process has seen.
    accepted: Option<String>,
    /// What takes force as soon as no reconcile is in flight.
    next: Option<InForce>,
    /// See `InForce`.
    holds_back: bool,
    /// What to build from is known: there is no catalogue, or one was accepted.
    knows_any: bool,
    /// It is decided on once more: see `lead`.
    asks_again: bool,
    /// What the job in flight is about to decide on, if it is.
    deciding_on: Option<Version>,
    /// Its status was not compared with what there is to say since one of the two has changed.
    is_unsaid: bool,
    /// What was said of the rollout since it was decided on.
    said: Option<Progress>,
    corrections: u8,
    retry_at: Instant,
    job: Option<BoxFuture<'static, Done>>,
}

/// What InferenceServices are built from.
pub struct InForce {
    pub context: Arc<Context>,
    /// A catalogue is there, and none is known that was accepted: no child is changed for the administrator's sake.
    pub holds_back: bool,
    /// The same of what was in force before.
    pub was_held_back: bool,
}

/// How a request ended.
pub enum Done {
    Decided(Version, RawSpec, Box<Verdict>),
    /// Was anything to be written for that?
    Said(bool),
    Unsaid,
    /// For good.
    Gone,
}

impl Catalog {
    pub fn new(base: Arc<Context>) -> Catalog {
        Catalog {
            base,
            object: None,
            is_listed: false,
            version: None,
            decided: None,
            refusal: None,
            accepted: None,
            next: None,
            holds_back: false,
            knows_any: false,
            asks_again: false,
            deciding_on: None,
            is_unsaid: false,
            said: None,
            corrections: 0,
            retry_at: Instant::now(),
            job: None,
        }
    }

    /// Is it known what to build from? Before, no InferenceService is looked at.
    pub fn is_decided(&self) -> bool {
        self.decided.is_some()
    }

    /// Is a change about to take force?
    pub fn is_waiting(&self) -> bool {
        self.next.is_some()
    }

    /// Is it certain what an InferenceService that is acted on now is built from?
    pub fn lets_start(&self) -> bool {
        !self.asks_again && !self.is_waiting()
    }

    /// Is a request in flight?
    pub fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// This process has stood by, and speaks of the catalogue from now on. Where it is not accepted, or another process has
    /// not said so, it is decided on once more: the status says which one was accepted before.
    pub fn lead(&mut self) {
        let is_said = |object: &CatalogView| object.is_said_to_be_accepted();
        if self.object.as_ref().is_some_and(|object| self.refusal.is_some() || !is_said(object)) {
            (self.job, self.deciding_on, self.decided, self.asks_again) = (None, None, None, true);
        }
    }

    /// See `InForce`.
    pub fn holds_back(&self) -> bool {
        self.holds_back
    }

    /// Drops the request in flight: another process speaks of the catalogue now. What it was about is done again.
    pub fn begin_anew(&mut self) {
        (self.job, self.deciding_on, self.said, self.is_unsaid) = (None, None, None, true);
    }

    pub fn observe(&mut self, event: Event<InferenceServiceView>) {
        let none = if matches!(event, Event::Forbidden) { Version::Forbidden } else { Version::Absent };
        match event {
            Event::Init => {
                self.is_listed = false;
                return;
            }
            Event::InitDone if self.is_listed => return,
            Event::InitApply(object) => (self.object, self.is_listed) = (Some(CatalogView(object)), true),
            Event::Apply(object) => self.object = Some(CatalogView(object)),
            Event::InitDone | Event::Delete(_) | Event::Absent | Event::Forbidden => self.object = None,
        }
        let of = |CatalogView(object): &CatalogView| Version::Of(object.meta.uid, object.meta.generation);
        self.version = Some(self.object.as_ref().map_or(none, of));
        self.is_unsaid = true;
        if self.deciding_on.take_if(|version| Some(*version) != self.version).is_some() {
            // It may wait for an answer that the new one does not need.
            self.job = None;
        }
    }

    /// Starts what is to be done, if anything is. `progress`: of the rollout; None: not known yet, or not for this process
    /// to tell. `right`: to write.
    pub fn advance(&mut self, context: &Arc<Context>, progress: Option<Progress>, right: Right) {
        if self.job.is_some() {
            return;
        }
        let Some(version) = self.version.filter(|version| self.decided != Some(*version)) else {
            return self.tell(context, progress, right);
        };
        let had_one = self.asks_again || matches!(self.decided, Some(Version::Of(..)));
        if self.object.is_none() && !had_one {
            return self.conclude_without(version);
        }
        self.deciding_on = Some(version);
        let Some(object) = self.object.clone() else {
            self.job = Some(tokio::time::sleep(GONE_FOR_GOOD).map(|()| Done::Gone).boxed());
            return;
        };
        let (base, is_first) = (self.base.clone(), !self.knows_any || self.asks_again);
        self.job = Some(
            async move {
                let verdict = decide_at_last(&base, &object, is_first).await;
                Done::Decided(version, object.0.spec, Box::new(verdict))
            }
            .boxed(),
        );
    }

    /// `version`: none that is of an object.
    fn conclude_without(&mut self, version: Version) {
        let is_forbidden = version == Version::Forbidden;
        if is_forbidden {
            tracing::warn!("before the catalogue can be read, what is built in is in force, and nothing is rolled out");
        }
        (self.decided, self.refusal, self.accepted, self.asks_again) = (Some(version), None, None, false);
        (self.knows_any, self.said) = (!is_forbidden, None);
        self.put_next(self.base.clone(), is_forbidden);
    }

    fn tell(&mut self, context: &Arc<Context>, progress: Option<Progress>, right: Right) {
        let Some(progress) = progress.filter(|_| self.next.is_none()) else { return };
        let is_news = self.said.as_ref() != Some(&progress);
        let is_unsaid = is_news || self.is_unsaid && self.corrections < MOST_CORRECTIONS;
        if !is_unsaid || Instant::now() < self.retry_at {
            return;
        }
        if is_news {
            self.corrections = 0;
        }
        (self.is_unsaid, self.said) = (false, Some(progress.clone()));
        if self.object.is_none() && !matches!(progress, Progress::Halted { .. }) {
            return;
        }
        let news = News { refusal: self.refusal.clone(), accepted: self.accepted.clone(), progress };
        let (context, object) = (context.clone(), self.object.clone());
        self.job = Some(
            async move {
                let said = pin!(say(&context, object.as_ref(), &news));
                let said = tokio::time::timeout(context.settings.deadline, said);
                let Some(result) = right.during(context.now, said).await else { return Done::Unsaid };
                let problem = match result {
                    Ok(Ok(wrote)) => return Done::Said(wrote),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "timed out".to_owned(),
                };
                tracing::warn!("cannot write the status of the catalogue: {problem}; retrying");
                Done::Unsaid
            }
            .boxed(),
        );
    }

    /// Waits for the request in flight; for ever, if there is none. Cancel-safe.
    pub async fn done(&mut self) -> Done {
        let Some(job) = &mut self.job else { return pending().await };
        let done = job.await;
        self.job = None;
        done
    }

    /// Takes over how a request ended.
    pub fn finish(&mut self, done: Done) {
        match done {
            Done::Said(false) => {}
            Done::Said(true) => {
                self.corrections += 1;
                self.retry_at = Instant::now() + RETRY * self.corrections.saturating_sub(1).into();
            }
            Done::Unsaid => {
                self.is_unsaid = true;
                self.retry_at = Instant::now() + RETRY;
            }
            Done::Gone => {
                tracing::info!("there is no catalogue any more: what is built in is in force");
                if let Some(version) = self.deciding_on.take() {
                    self.conclude_without(version);
                }
            }
            Done::Decided(version, spec, verdict) => {
                (self.said, self.deciding_on) = (None, None);
                self.decided = Some(version);
                if std::mem::take(&mut self.asks_again) && verdict.last.is_some() {
                    // What the status says of that stays.
                    self.accepted = None;
                }
                self.conclude(&spec, *verdict);
            }
        }
    }

    /// `spec`: that this is the verdict on.
    fn conclude(&mut self, spec: &RawSpec, verdict: Verdict) {
        let is_first = !std::mem::replace(&mut self.knows_any, true);
        let last = verdict.last;
        let (settings, holds_back) = match verdict.accepted {
            Ok(settings) => {
                let (engines, gpu_types) = (settings.catalog.engine_names(), settings.catalog.gpu_type_names());
                tracing::info!(engines, gpu_types, "the catalogue is accepted");
                (self.refusal, self.accepted) = (None, spec.text().map(str::to_owned));
                (Some(settings), false)
            }
            Err(refusal) => {
                if self.refusal.as_ref() != Some(&refusal) {
                    let message = &refusal.message;
                    tracing::warn!("the catalogue is not accepted, and what is in force stays: {message}");
                }
                self.refusal = Some(refusal);
                // Of which nothing is known.
                self.knows_any = !is_first || last.is_some();
                (last, is_first)
            }
        };
        let context = match settings {
            Some(settings) => Context::with_settings(&self.base, settings),
            None if is_first => self.base.clone(),
            None => return,
        };
        self.put_next(context, holds_back && !self.knows_any);
    }

    fn put_next(&mut self, context: Arc<Context>, holds_back: bool) {
        self.next = Some(InForce { context, holds_back, was_held_back: self.holds_back });
    }

    /// What takes force now.
    pub fn take_next(&mut self) -> Option<InForce> {
        let next = self.next.take()?;
        (self.is_unsaid, self.holds_back) = (true, next.holds_back);
        Some(next)
    }
}

/// Asks until it is answered which catalogue was accepted last, because to go by what is built in meanwhile would replace
/// the engines of those InferenceServices that are changed or repaired. At the start all wait for it, and nothing is in
/// sync until then; later, what was in force stays.
async fn decide_at_last(base: &Context, object: &CatalogView, is_first: bool) -> Verdict {
    let mut failures = 0_u32;
    loop {
        let error = match decide(base, object, is_first).await {
            Ok(verdict) => return verdict,
            Err(error) => error,
        };
        if failures.is_multiple_of(LOGGED_FAILURES) {
            tracing::warn!(
                "cannot read which catalogue was accepted last, and nothing takes force before that is known: {error}; \
                 retrying"
            );
        }
        failures += 1;
        // There is one request only, which needs no jitter.
        tokio::time::sleep(backoff(u8::try_from(failures).unwrap_or(u8::MAX), LONGEST_WAIT, 500)).await;
    }
}

#[cfg(test)]
mod tests;
