//! Leader election by a Lease, as client-go does it (its package tools/leaderelection): who holds it writes, the others
//! stand by. Used by controller/election.rs, which sends what is decided here; pure: the time is passed in.
//!
//! Why no crate: `kube-lease-manager` compares the times in the Lease with one's own clock, and boards without a battery are
//! wrong by years. Here, as with client-go, a Lease is over when it has not been seen to change for its duration, by one's
//! own monotonic clock.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::time::{Timestamp, Utc};

/// How often the holder renews the Lease.
pub const RENEW_EVERY: Duration = Duration::from_secs(15);

/// How long the holder writes after a renewal, from the moment at which that was sent. The rest of `DURATION` is for a
/// request that is on its way, and for clocks that go at different speeds.
pub const VALID: Duration = Duration::from_secs(30);

/// How long nobody else takes a Lease that does not change.
pub const DURATION: Duration = Duration::from_secs(45);

/// The wait after a request that failed.
pub const RETRY: Duration = Duration::from_secs(2);

/// The part of a Lease's spec that decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseSpec {
    pub holder_identity: Option<String>,
    pub lease_transitions: Option<u32>,
}

/// The Lease as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// None: it is gone.
    version: Option<u64>,
    spec: LeaseSpec,
    /// When it was first seen like this.
    since: Instant,
}

/// Until when this process may write. Both clocks: the monotonic one stands still while a machine sleeps, and the other one
/// may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    until: Instant,
    until_time: Timestamp,
}

impl Hold {
    /// From the moment at which a request was sent that took the Lease, or renewed it.
    pub fn since(sent: Instant, sent_at: Timestamp) -> Hold {
        let seconds = u32::try_from(VALID.as_secs()).unwrap_or(0);
        Hold { until: sent + VALID, until_time: Timestamp(sent_at.0.saturating_add(seconds)) }
    }

    pub fn is_over(self, now: Instant, time: Timestamp) -> bool {
        now >= self.until || time >= self.until_time
    }

    pub fn until(self) -> Instant {
        self.until
    }
}

/// The hold of a candidate, shared with the work that depends on it: a renewal lengthens it for that too.
#[derive(Clone, Debug, Default)]
pub struct Term(Arc<Mutex<Option<Hold>>>);

impl Term {
    pub fn hold(&self, now: Instant, time: Timestamp) -> Option<Hold> {
        self.latest().filter(|hold| !hold.is_over(now, time))
    }

    fn latest(&self) -> Option<Hold> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, hold: Option<Hold>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hold;
    }

    /// Does this work while the Lease is held. None: it was dropped at the end of that, so that nothing more is sent. Looks
    /// at the clocks each time that the work goes on: the process may have stood still.
    pub async fn during<T>(&self, now: fn() -> Timestamp, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let is_held = || self.hold(Instant::now(), now()).is_some();
        loop {
            let until = self.latest()?.until;
            let mut go_on = |context: &mut Context<'_>| {
                if is_held() { work.as_mut().poll(context).map(Some) } else { Poll::Ready(None) }
            };
            match tokio::time::timeout_at(until, poll_fn(&mut go_on)).await {
                Ok(done) => return done,
                // It was renewed meanwhile.
                Err(_) if is_held() => {}
                Err(_) => return None,
            }
        }
    }
}

/// What a candidate does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is none.
    Create,
    /// Nobody holds the one of this version any more.
    Take(u64),
    /// This process does.
    Renew(u64),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This process has written the Lease, and it is this one now.
    Written(u64, LeaseSpec),
    /// It was another one than expected; this one was read.
    Read(u64, LeaseSpec),
    /// There is none.
    Absent,
}

/// A process that holds the Lease, or would like to.
pub struct Candidate {
    identity: String,
    /// None: not known yet, or not any more.
    seen: Option<Seen>,
    term: Term,
    /// The version of its own last write.
    own: Option<u64>,
    /// A request was not answered, and may have been a write.
    is_unanswered: bool,
    /// When the Lease was last renewed.
    renewed: Instant,
    retry_at: Instant,
}

impl Candidate {
    /// `identity`: of no other process.
    pub fn new(identity: String, now: Instant) -> Candidate {
        let (term, own, is_unanswered) = Default::default();
        Candidate { identity, seen: None, term, own, is_unanswered, renewed: now, retry_at: now }
    }

    /// The right to write, for as long as it lasts.
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// What was held is over, by whatever clock: it has to be renewed before anything is written.
    pub fn lose(&mut self) {
        self.term.set(None);
    }

    /// Is it known who holds the Lease?
    pub fn is_informed(&self) -> bool {
        self.seen.is_some()
    }

    /// Who holds it, as far as is known.
    pub fn holder(&self) -> Option<&str> {
        let seen = self.seen.as_ref().filter(|seen| seen.version.is_some())?;
        seen.spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// An event of the watch shows the Lease: one from the past is no news.
    pub fn observe(&mut self, version: u64, spec: LeaseSpec, now: Instant) {
        if self.seen.as_ref().is_none_or(|seen| seen.version < Some(version)) {
            self.read(version, spec, now);
        }
    }

    /// A list, or the answer to a GET, shows it: that is how it is, even if the datastore has gone back in time.
    pub fn read(&mut self, version: u64, spec: LeaseSpec, now: Instant) {
        if self.seen.as_ref().is_some_and(|seen| seen.version == Some(version)) {
            return;
        }
        self.seen = Some(Seen { version: Some(version), spec, since: now });
        if !self.is_holder() {
            self.term.set(None);
        }
    }

    /// The Lease is not there. One that was deleted counts for as long as it would have: its holder may not know yet.
    pub fn observe_none(&mut self, now: Instant) {
        match &mut self.seen {
            Some(seen) if seen.version.is_some() => seen.version = None,
            Some(_) => {}
            None => self.seen = Some(Seen { version: None, spec: LeaseSpec::default(), since: now }),
        }
    }

    fn is_holder(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.spec.holder_identity.as_ref() == Some(&self.identity))
    }

    /// What to do next, and when. None: nothing, until something is seen.
    pub fn next(&self) -> Option<(Instant, Step)> {
        let seen = self.seen.as_ref()?;
        let is_held = seen.spec.holder_identity.as_ref().is_some_and(|holder| !holder.is_empty());
        // A datastore that was restored, or a person, may name this process long after it has lost the Lease.
        let is_own = self.is_holder() && (seen.version.is_none_or(|_| seen.version == self.own) || self.is_unanswered);
        let due = match self.term.latest() {
            _ if !is_held => seen.since,
            Some(_) if self.is_holder() && seen.version.is_some() => self.renewed + RENEW_EVERY,
            // It has lost the answer, or its time.
            _ if is_own => seen.since,
            _ => seen.since + DURATION,
        };
        let step = match seen.version {
            None => Step::Create,
            Some(version) if self.is_holder() => Step::Renew(version),
            Some(version) => Step::Take(version),
        };
        Some((due.max(self.retry_at), step))
    }

    /// The body of the request: an object to create, or a merge patch that holds for this version alone.
    pub fn body(&self, step: Step, time: Utc) -> Value {
        let now = format!("{time:.6}");
        let transitions = self.seen.as_ref().and_then(|seen| seen.spec.lease_transitions);
        let taken = |transitions: u32| {
            json!({
                "holderIdentity": self.identity,
                "leaseDurationSeconds": DURATION.as_secs(),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": transitions,
            })
        };
        match step {
            Step::Create => json!({"spec": taken(transitions.map_or(0, |count| count.saturating_add(1)))}),
            Step::Take(version) => json!({
                "metadata": {"resourceVersion": version.to_string()},
                "spec": taken(transitions.unwrap_or(0).saturating_add(1)),
            }),
            Step::Renew(version) => {
                json!({"metadata": {"resourceVersion": version.to_string()}, "spec": {"renewTime": now}})
            }
        }
    }

    /// The same for the end of this process, so that another one need not wait. None: it does not hold the Lease.
    pub fn release(&mut self, now: Instant, time: Timestamp) -> Option<Value> {
        self.term.hold(now, time)?;
        let version = self.seen.as_ref()?.version?;
        self.term.set(None);
        let time = format!("{:.6}", Utc::from(time));
        let spec = json!({"holderIdentity": null, "leaseDurationSeconds": 1, "renewTime": time});
        Some(json!({"metadata": {"resourceVersion": version.to_string()}, "spec": spec}))
    }

    /// A request that was sent then has ended.
    pub fn answered(&mut self, answer: Answer, sent: Instant, sent_at: Timestamp, now: Instant) {
        self.retry_at = now + RETRY;
        match answer {
            Answer::Written(version, spec) => {
                self.observe(version, spec, now);
                (self.own, self.is_unanswered) = (Some(version), false);
                // What the watch has shown meanwhile knows better.
                if self.is_holder() {
                    self.renewed = sent;
                    self.term.set(Some(Hold::since(sent, sent_at)));
                }
            }
            // Only a write renews it: what is read may have been written long ago.
            Answer::Read(version, spec) => self.read(version, spec, now),
            Answer::Absent => self.observe_none(now),
        }
    }

    /// A request was not answered, or refused.
    pub fn failed(&mut self, now: Instant) {
        (self.retry_at, self.is_unanswered) = (now + RETRY, true);
    }
}

#[cfg(test)]
mod tests;
