//! The state kept for one InferenceService, and how each observation changes it. Owned by the index; pure; must stay
//! small, because there is one for every InferenceService of the cluster.

mod finish;

use std::num::{NonZeroU16, NonZeroU64};

use crate::api::{InferenceServiceStatus, Phase};
use crate::controller::delay::Delay;
use crate::controller::flags::{self, Flags};
use crate::controller::name_arena::NameRef;
use crate::controller::rollout::State;
use crate::error::REPORTED_AFTER_FAILURES;
use crate::model::Task;
use crate::model::hashes::Standing;
use crate::model::uid::Uid;
use crate::model::view::{InferenceServiceView, Meta, RawSpec};
use crate::model::{ChildKind, Dirty};
use crate::model::{ObservedVersions, Summary};
use crate::reconcile::plan;
use crate::reconcile::status::{self, ParsedStatus};
use crate::reconcile::validate::decode;

/// Cap on the repair count; otherwise a conflict of hours would be remembered for days.
const MOST_REPAIRS: u8 = 9;

/// Judges by its status whether the children of an InferenceService are those that it would get.
pub type Judge = dyn Fn(&InferenceServiceView, &InferenceServiceStatus) -> Standing + Send + Sync;

/// How an object was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Listed,
    /// The same for a standby: what has changed is what another process does, and tells of.
    ListedMeanwhile,
    Event,
}

impl Seen {
    /// A list is authoritative even if it goes back in time; an event from the past is not.
    pub fn is_news(self, version: Option<NonZeroU64>, known: Option<NonZeroU64>) -> bool {
        match self {
            Seen::Listed | Seen::ListedMeanwhile => version != known,
            Seen::Event => version > known,
        }
    }
}

#[derive(Debug)]
pub struct Record {
    /// The index holds the text of name and namespace.
    pub name: NameRef,
    pub namespace: u32,
    /// Failed attempts in a row.
    pub failures: u8,
    /// Reads of the Deployment in a row that found no change to report.
    pub quiet_reads: u8,
    /// Recent repairs: many if another client wants another state.
    pub repairs: u8,
    /// When it is due again, if it is DUE.
    pub requeue_after: Delay,
    pub flags: Flags,
    pub dirty: Dirty,
    pub uid: Uid,
    /// None: nothing was observed yet.
    pub resource_version: Option<NonZeroU64>,
    pub generation: u32,
    /// The children as last read; a resourceVersion here that was only observed and not read has its dirty bit set.
    pub versions: ObservedVersions,
    /// See `Task::service_port`.
    pub service_port: Option<NonZeroU16>,
    /// See `Task::last_load`.
    pub last_load: Option<NonZeroU16>,
    pub summary: Option<Summary>,
}

impl Record {
    /// `trust`: the status may settle the record, because the lists of children that are still to come will confirm it.
    pub fn new(
        namespace: u32,
        name: NameRef,
        object: &InferenceServiceView,
        judge: &Judge,
        trust: bool,
    ) -> (Record, Standing) {
        let mut record = Record {
            name,
            namespace,
            failures: 0,
            quiet_reads: 0,
            repairs: 0,
            requeue_after: Delay::default(),
            flags: Flags::ALL_LISTED,
            dirty: Dirty::empty(),
            uid: object.meta.uid,
            resource_version: None,
            generation: 0,
            versions: ObservedVersions::default(),
            service_port: None,
            last_load: None,
            summary: None,
        };
        let standing = record.take_over(object, Some(judge));
        if !trust {
            record.flags |= Flags::UNSEEN;
            record.dirty |= Dirty::SPEC_AND_CHILDREN;
        }
        (record, standing)
    }

    /// The settled predicate: is there nothing to do until something changes?
    pub fn is_settled(&self) -> bool {
        self.dirty.is_empty() || self.flags.contains(Flags::DELETING) || self.flags.contains(Flags::GONE)
    }

    /// Applies the InferenceService from a list, an event or a response.
    pub fn observe(&mut self, object: &InferenceServiceView) {
        if object.meta.uid != self.uid {
            // Recreated under the same name; a reconcile in flight for the old one still has to finish.
            let in_flight = self.flags.contains(Flags::IN_FLIGHT);
            (*self, _) = Record::new(self.namespace, self.name, object, &|_, _| Standing::UpToDate, false);
            self.flags.set(Flags::IN_FLIGHT, in_flight);
            return;
        }
        self.take_over(object, None);
    }

    /// The same while another process acts on it: what its status tells of that is taken over, as at the start. What a watch
    /// has shown of the children beyond that stays to be looked at.
    pub fn follow(&mut self, object: &InferenceServiceView, judge: &Judge) -> Standing {
        let (told, standing) = Record::new(self.namespace, self.name, object, judge, true);
        let seen = std::mem::replace(self, told);
        // A list that is being read may not have named it yet.
        self.flags = self.flags.difference(Flags::ALL_LISTED) | seen.flags & (Flags::ALL_LISTED | Flags::UNSEEN);
        for kind in ChildKind::ALL {
            // It may have changed before there was a record to note that.
            if seen.flags.contains(flags::unseen(kind)) {
                self.dirty |= kind.dirty();
            }
            let version = seen.versions.of(kind);
            if version > self.versions.of(kind) {
                let looks = kind.looks();
                let due = seen.dirty & looks;
                self.mark(if due.is_empty() { looks } else { due }, kind, version);
            }
        }
        standing
    }

    /// `judge`: it is seen for the first time. Later, neither release nor settings can have changed.
    fn take_over(&mut self, object: &InferenceServiceView, judge: Option<&Judge>) -> Standing {
        let (meta, first) = (&object.meta, judge.is_some());
        self.flags.set(Flags::GONE, false);
        self.flags.set(Flags::DELETING, meta.deleting);
        if meta.deleting {
            self.end_failures();
        }
        self.resource_version = meta.version();

        let mut standing = Standing::UpToDate;
        let status = object.status();
        let mut parsed = status.as_ref().map(status::parse);
        if let Some(parsed) = &mut parsed {
            parsed.summary.is_current = parsed.observed_generation == meta.generation;
            // No watch reports the port: where another operator has written it, only its status tells. One that says
            // nothing of it may not know it.
            if first || parsed.trusted && !self.says(parsed) {
                self.service_port = parsed.service_port.or(self.service_port);
                self.last_load = parsed.last_load.or(self.last_load);
            }
            if let Some(judge) = judge {
                self.versions = parsed.versions;
                parsed.trusted |= parsed.of_earlier_release;
                // A spec that has changed is acted on anyway.
                if let Some(status) = status.as_ref().filter(|_| parsed.trusted && parsed.summary.is_current) {
                    standing = judge(object, status);
                }
            }
        }
        match &parsed {
            Some(parsed) if parsed.trusted || self.says(parsed) => {
                self.observe_status(parsed, first);
            }
            untrusted => self.distrust(untrusted.as_ref(), first),
        }
        self.observe_generation(meta.generation, parsed.filter(|_| first).map(|parsed| parsed.observed_generation));
        standing
    }

    /// How it stands with an InferenceService that is known, as a list shows it. One that is about to be acted on is brought
    /// up to date anyway. One whose status does not say yet what was built last waits for its turn only if it is Ready, or
    /// acted on right now.
    /// `is_older`: the list is from the past, before the version that was known.
    pub fn judge(&self, object: &InferenceServiceView, judge: &Judge, is_older: bool) -> Standing {
        if self.dirty.contains(Dirty::SPEC) || self.flags.contains(Flags::DELETING) {
            return Standing::UpToDate;
        }
        // Where a child was written, the status still speaks of the one before.
        let status = object.status().filter(|_| !self.dirty.contains(Dirty::STATUS));
        let parsed = status.as_ref().map(status::parse);
        let is_current = parsed.as_ref().is_some_and(|parsed| parsed.observed_generation == object.meta.generation);
        match (status, parsed) {
            (Some(status), Some(parsed)) if is_current && (parsed.trusted || parsed.of_earlier_release) => {
                // The reconcile in flight may write another status, of a Deployment that was applied before.
                let is_past = is_older || self.flags.contains(Flags::IN_FLIGHT);
                match judge(object, &status) {
                    Standing::UpToDate | Standing::RolledOut if is_past => self.in_doubt(object),
                    standing => standing,
                }
            }
            // Nobody knows, and so it waits like one that has to be changed.
            (Some(_), Some(_)) if is_current => self.in_doubt(object),
            // What was in force then was acted on, and no status says so yet. What is Ready, as far as is known, was not
            // taken down by that, and waits; so does what may be said to be Ready in a moment. Else its user has.
            _ if self.phase() == Some(Phase::Ready) || self.flags.contains(Flags::IN_FLIGHT) => self.in_doubt(object),
            _ => Standing::Outdated { replicas: 0 },
        }
    }

    /// It waits for its turn, unless it has no replica that a change of its children could take down.
    fn in_doubt(&self, object: &InferenceServiceView) -> Standing {
        // A generation has one spec.
        let known = Some(&object.spec).filter(|_| object.meta.generation == self.generation);
        let replicas = known.and_then(|spec| u32::try_from(decode(spec).ok()?.replicas).ok());
        Standing::Outdated { replicas: replicas.unwrap_or(1) }
    }

    /// Is this the known status? Then it may lack the versions: an older CRD has pruned them.
    fn says(&self, parsed: &ParsedStatus) -> bool {
        self.summary.is_some_and(|known| known.checksum == parsed.summary.checksum)
    }

    fn observe_status(&mut self, parsed: &ParsedStatus, first: bool) {
        let same = self.says(parsed);
        if first {
            if parsed.unfinished {
                self.dirty |= Dirty::SPEC_AND_CHILDREN;
            }
            if parsed.summary.waits_for_pods() {
                self.dirty |= Dirty::DUE;
            }
            if parsed.replicas.is_none() && parsed.summary.phase == Phase::Ready {
                self.dirty |= Dirty::COUNT;
            }
        } else if !self.flags.contains(Flags::IN_FLIGHT) && !same {
            // Another client wrote back a status that was true once, the answer to a write was lost, or a list is from the
            // past: the status is written again, and what other settings would build otherwise has its turn in their
            // rollout.
            let children = Dirty::DEPLOYMENT | Dirty::SERVICE;
            self.dirty |= if parsed.summary.is_current { children } else { Dirty::SPEC_AND_CHILDREN };
            self.count_repair();
        }
        if !same {
            let known = self.summary.filter(|known| !first && known.is_current && parsed.summary.is_current);
            self.summary = Some(known.map_or(parsed.summary, |known| parsed.summary.waiting_like(&known)));
        }
    }

    /// The status is not ours. Its known times are kept, and checksum 0 equals no
    /// other.
    fn distrust(&mut self, parsed: Option<&ParsedStatus>, first: bool) {
        if !first && self.summary.is_some() {
            // A client that keeps writing it is answered with growing backoff.
            self.count_repair();
        }
        let known = self.summary.or(parsed.map(|parsed| parsed.summary));
        self.summary = known.map(|known| Summary { checksum: 0, written: 0, ..known });
        self.dirty |= Dirty::SPEC_AND_CHILDREN;
    }

    /// `observed`: the observedGeneration of the first status seen.
    fn observe_generation(&mut self, generation: u32, observed: Option<u32>) {
        let acted_on = observed.unwrap_or(self.generation);
        if acted_on != generation {
            self.dirty |= Dirty::SPEC;
            // The new spec may resolve the failure; an error that lasts is still reported.
            self.failures = self.failures.min(REPORTED_AFTER_FAILURES);
            self.repairs = 0;
            if let Some(summary) = &mut self.summary {
                summary.is_current = false;
            }
        }
        // A lagging API server must not move it back: the spec is read before it is acted on.
        self.generation = self.generation.max(generation);
    }

    /// Applies a child as its watch shows it. Returns whether that is a change.
    pub fn observe_child(&mut self, kind: ChildKind, child: &Meta, how: Seen) -> bool {
        let known = self.versions.of(kind);
        if !child.is_controlled_by(self.uid) {
            // Controlled by another owner, or no longer by ours. Only the latter is a change.
            return known.is_some() && child.version() > known && self.mark(kind.dirty(), kind, child.version());
        }
        self.flags.remove(flags::unseen(kind));
        if how != Seen::Event {
            self.flags.set(flags::listed(kind), true);
        }
        if !how.is_news(child.version(), known) {
            return false;
        }
        let same_revision = child.revision() == self.versions.deployment_revision;
        let reason = if kind == ChildKind::Service || child.deleting || how == Seen::Listed && !same_revision {
            kind.dirty()
        } else if same_revision && child.labels.complete {
            Dirty::ROLLOUT
        } else {
            self.quiet_reads = 0;
            Dirty::ROLLOUT | Dirty::EDIT
        };
        self.mark(reason, kind, child.version())
    }

    /// The child was deleted, or lost the label that the watch selects by: a failure may be resolved.
    pub fn observe_child_gone(&mut self, kind: ChildKind, child: &Meta) -> bool {
        let known = self.versions.of(kind);
        let is_change = if known.is_none() { self.failures > 0 } else { child.version() >= known };
        if !is_change {
            return false;
        }
        self.end_failures();
        self.mark(kind.dirty(), kind, known.and(child.version()))
    }

    /// A complete list did not contain the child.
    pub fn child_vanished(&mut self, kind: ChildKind) -> bool {
        let known = self.versions.of(kind);
        if known.is_none() && kind == ChildKind::Service && self.flags.contains(Flags::IN_FLIGHT) {
            self.flags.set(Flags::MISSED, true);
        }
        // One more than known, so that the response to an earlier read does not count.
        known.is_some_and(|known| self.mark(kind.dirty(), kind, known.checked_add(1)))
    }

    fn mark(&mut self, reason: Dirty, kind: ChildKind, version: Option<NonZeroU64>) -> bool {
        *self.versions.of_mut(kind) = version;
        self.dirty |= reason;
        true
    }

    /// Starts a reconcile: the dirty bits move to the task, and changes during the reconcile set them again.
    pub fn start(&mut self, namespace: String, name: String, spec: Option<RawSpec>) -> Task {
        self.flags.set(Flags::IN_FLIGHT, true);
        self.flags.set(Flags::MISSED, false);
        self.flags.set(Flags::LOOKING, Dirty::LOOK.contains(self.dirty));
        let dirty = plan::due(std::mem::take(&mut self.dirty), &self.versions);
        Task {
            namespace,
            name,
            uid: self.uid,
            generation: self.generation,
            dirty,
            failures: self.failures,
            repairs: self.repairs,
            versions: self.versions,
            service_port: self.service_port,
            last_load: self.last_load,
            released: false,
            summary: self.summary,
            spec,
        }
    }

    fn count_repair(&mut self) {
        self.repairs = (self.repairs + 1).min(MOST_REPAIRS);
    }

    /// The next failure is the first one in a row.
    pub fn end_failures(&mut self) {
        self.failures = 0;
        self.flags.remove(Flags::LOGGED);
    }

    /// What a rollout sees of it.
    pub fn state(&self) -> State {
        let is_acted_on = self.flags.contains(Flags::IN_FLIGHT) && !self.flags.contains(Flags::LOOKING);
        let is_busy = is_acted_on || !Dirty::LOOK.contains(self.dirty);
        match self.phase() {
            _ if self.flags.intersects(Flags::DELETING | Flags::GONE) => State::Leaving,
            Some(Phase::Failed) if !is_busy => State::Rejected,
            Some(Phase::Degraded | Phase::Failed | Phase::Pending) if !is_busy || self.failures > 0 => State::Down,
            _ if is_busy => State::Busy,
            Some(Phase::Ready | Phase::Paused) => State::Well,
            _ => State::Starting,
        }
    }

    pub fn phase(&self) -> Option<Phase> {
        self.summary.map(|summary| summary.phase)
    }
}

#[cfg(test)]
mod tests;
