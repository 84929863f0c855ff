//! What is remembered of one InferenceService, and how each thing that is seen changes it. Kept by
//! the fleet; pure; must stay small, because there is one for every InferenceService of the cluster.

use crate::api::Phase;
use crate::controller::names::Name;
use crate::controller::reasons::Reasons;
use crate::error::Remedy;
use crate::projection::{Identity, InferenceService};
use crate::reconcile::status::{self, Reading, Stamps, Summary};
use crate::reconcile::{Done, Next, Spec, Task};
use crate::uid::Uid;

#[derive(Debug)]
pub struct Record {
    /// Name and namespace are kept by the fleet.
    pub name: Name,
    pub namespace: u32,
    /// Failed attempts in a row.
    pub failures: u8,
    /// Looks at the Deployment in a row that had nothing new to say.
    pub looks: u8,
    /// Repairs of late: many, where somebody else wants something else.
    pub repairs: u8,
    pub state: State,
    pub reasons: Reasons,
    pub uid: Uid,
    pub resource_version: u64,
    pub generation: u32,
    /// The children as last looked at; a resourceVersion here that was only seen and not looked at
    /// has its reason set.
    pub stamps: Stamps,
    pub summary: Option<Summary>,
}

/// Marks that are not reasons for work, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State(u8);

impl State {
    pub const IN_FLIGHT: State = State(1);
    /// Deleted while in flight: removed when it lands.
    pub const GONE: State = State(1 << 1);
    /// Has a deletionTimestamp: its children belong to the garbage collector.
    pub const DELETING: State = State(1 << 2);
    /// Named by the list that is being read or was read last; one mark a kind.
    pub const LISTED: State = State(1 << 3);
    pub const DEPLOYMENT_LISTED: State = State(1 << 4);
    pub const SERVICE_LISTED: State = State(1 << 5);
    /// A list that ended in flight did not name the Service that is being made: was it not there yet, or gone again?
    pub const MISSED: State = State(1 << 6);
    const ALL_LISTED: State = State(0b11_1000);

    pub fn has(self, mark: State) -> bool {
        self.0 & mark.0 == mark.0
    }

    pub fn set(&mut self, mark: State, on: bool) {
        self.0 = if on { self.0 | mark.0 } else { self.0 & !mark.0 };
    }
}

/// The two kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    Deployment,
    Service,
}

impl ChildKind {
    fn reason(self) -> Reasons {
        match self {
            ChildKind::Deployment => Reasons::DEPLOYMENT,
            ChildKind::Service => Reasons::SERVICE,
        }
    }

    pub fn listed(self) -> State {
        match self {
            ChildKind::Deployment => State::DEPLOYMENT_LISTED,
            ChildKind::Service => State::SERVICE_LISTED,
        }
    }
}

impl Record {
    /// `trust`: the status may say that nothing is to be done, because the lists of children that
    /// are yet to come will confirm it.
    pub fn new(namespace: u32, name: Name, object: &InferenceService, configuration: u64, trust: bool) -> Record {
        let mut record = Record {
            name,
            namespace,
            failures: 0,
            looks: 0,
            repairs: 0,
            state: State::ALL_LISTED,
            reasons: Reasons::NONE,
            uid: object.identity.uid,
            resource_version: 0,
            generation: 0,
            stamps: Stamps::default(),
            summary: None,
        };
        record.observe(object, configuration);
        if !trust {
            record.reasons |= Reasons::ALL;
        }
        record
    }

    /// The settled predicate: is there nothing to do until something changes?
    pub fn is_settled(&self) -> bool {
        self.reasons.is_none() || self.state.has(State::DELETING) || self.state.has(State::GONE)
    }

    /// Takes in the InferenceService as a list, an event or an answer shows it.
    pub fn observe(&mut self, object: &InferenceService, configuration: u64) {
        let identity = &object.identity;
        if identity.uid != self.uid {
            // Made anew under the same name; what is in flight for the old one still has to land.
            let in_flight = self.state.has(State::IN_FLIGHT);
            *self = Record::new(self.namespace, self.name, object, configuration, false);
            self.state.set(State::IN_FLIGHT, in_flight);
            return;
        }
        self.state.set(State::GONE, false);
        self.state.set(State::DELETING, identity.deleting);
        let first = self.resource_version == 0;
        self.resource_version = identity.resource_version;

        let reading = object.status.as_ref().map(|status| status::read(status, configuration));
        match reading {
            Some(reading) if reading.trusted => self.observe_status(&reading, first),
            // The times of its conditions are kept; a checksum of 0 equals no other.
            untrusted => {
                self.summary = untrusted.map(|reading| Summary { checksum: 0, ..reading.summary });
                self.reasons |= Reasons::ALL;
            }
        }
        let observed = reading.filter(|_| first).map_or(self.generation, |reading| reading.observed_generation);
        if observed != identity.generation {
            self.reasons |= Reasons::SPEC;
            (self.failures, self.repairs) = (0, 0);
        }
        self.generation = identity.generation;
    }

    fn observe_status(&mut self, reading: &Reading, first: bool) {
        let same = self.summary.is_some_and(|known| known.checksum == reading.summary.checksum);
        if first {
            self.stamps = reading.stamps;
            if reading.unfinished {
                self.reasons |= Reasons::ALL;
            }
        } else if !self.state.has(State::IN_FLIGHT) && !same {
            // Somebody put back a status that was true once.
            self.reasons |= Reasons::ALL;
        }
        if !same {
            self.summary = Some(reading.summary);
        }
    }

    /// Takes in a child as its watch shows it. Returns whether that is news.
    /// `listed`: part of a list, which is right even where it goes back in time.
    pub fn observe_child(&mut self, kind: ChildKind, child: &Identity, listed: bool) -> bool {
        let known = *self.version(kind);
        if !child.is_controlled_by(self.uid) {
            // Somebody else's, or ours no longer. Only the latter is news.
            return known != 0
                && child.resource_version > known
                && self.mark(kind.reason(), kind, child.resource_version);
        }
        if listed {
            self.state.set(kind.listed(), true);
        }
        let news = if listed { child.resource_version != known } else { child.resource_version > known };
        let same_spec = kind == ChildKind::Deployment && child.revision() == self.stamps.deployment_revision;
        let reason = if same_spec { Reasons::PROGRESS } else { kind.reason() };
        news && self.mark(reason, kind, child.resource_version)
    }

    /// The child was deleted, or lost the label that the watch selects by.
    pub fn observe_child_gone(&mut self, kind: ChildKind, child: &Identity) -> bool {
        let known = *self.version(kind);
        known != 0 && child.resource_version >= known && self.mark(kind.reason(), kind, child.resource_version)
    }

    /// A complete list did not name the child.
    pub fn child_vanished(&mut self, kind: ChildKind) -> bool {
        let known = *self.version(kind);
        if known == 0 && kind == ChildKind::Service && self.state.has(State::IN_FLIGHT) {
            self.state.set(State::MISSED, true);
        }
        // One more than known, so that the answer of a read that came before does not count.
        known != 0 && self.mark(kind.reason(), kind, known + 1)
    }

    fn mark(&mut self, reason: Reasons, kind: ChildKind, resource_version: u64) -> bool {
        *self.version(kind) = resource_version;
        self.reasons |= reason;
        true
    }

    fn version(&mut self, kind: ChildKind) -> &mut u64 {
        match kind {
            ChildKind::Deployment => &mut self.stamps.deployment,
            ChildKind::Service => &mut self.stamps.service,
        }
    }

    /// Work begins: the reasons go with the task, and what comes up meanwhile collects anew.
    pub fn depart(&mut self, namespace: String, name: String, spec: Option<Spec>) -> Task {
        self.state.set(State::IN_FLIGHT, true);
        self.state.set(State::MISSED, false);
        let mut reasons = std::mem::take(&mut self.reasons);
        // While a spec is refused nothing is made or repaired: what was put off is due when it is mended. Whatever
        // the reason, the spec is read again and may be found so, before its watch tells.
        let was_refused = self.stamps.service == 0 || self.phase() == Some(Phase::Failed);
        let is_brought = reasons.contains(Reasons::STATUS) && !reasons.contains(Reasons::SPEC);
        if was_refused && !is_brought {
            reasons |= Reasons::SERVICE;
        }
        Task {
            namespace,
            name,
            uid: self.uid,
            generation: self.generation,
            reasons,
            stamps: self.stamps,
            summary: self.summary,
            spec,
        }
    }

    /// Work is done; `departed` is how it began.
    pub fn land(&mut self, departed: &Departed, done: &Done, configuration: u64) {
        let looked_only = departed.reasons == Reasons::PROGRESS;
        self.land_children(departed, done);
        if self.state.has(State::MISSED) {
            self.reasons |= Reasons::SERVICE;
        }
        self.generation = self.generation.max(done.generation);
        if done.generation < self.generation {
            self.reasons |= Reasons::SPEC;
        } else if done.generation == self.generation && departed.generation != done.generation {
            self.reasons = self.reasons.without(Reasons::SPEC);
        }
        let wrote = done.written.is_some();
        if let Some(object) = &done.written
            && object.identity.resource_version >= self.resource_version
            && object.identity.uid == self.uid
        {
            self.observe(object, configuration);
            self.summary = done.summary;
        } else if self.summary.map(|seen| seen.checksum) != done.summary.map(|ours| ours.checksum) {
            // Somebody else wrote a status meanwhile.
            self.reasons |= Reasons::ALL;
        }
        self.state.set(State::IN_FLIGHT, false);
        self.looks = if looked_only && !wrote && self.phase() == Some(Phase::Progressing) {
            self.looks.saturating_add(1)
        } else {
            0
        };
        let is_refused = matches!(done.next, Next::Refused(_));
        if departed.reasons.are_repair() && departed.stamps.deployment != 0 && !is_refused {
            self.repairs = self.repairs.saturating_add(1);
        }
        match &done.next {
            Next::Settled => self.failures = 0,
            Next::Look => {
                self.failures = 0;
                self.reasons |= Reasons::STATUS;
            }
            Next::Count => {
                self.failures = 0;
                self.reasons |= Reasons::COUNT;
            }
            Next::Refused(error) if error.remedy() == Remedy::User => self.failures = 0,
            Next::Refused(_) => self.fail(departed),
        }
    }

    fn land_children(&mut self, departed: &Departed, done: &Done) {
        for kind in [ChildKind::Deployment, ChildKind::Service] {
            if kind == ChildKind::Service && !departed.reasons.contains(Reasons::SERVICE) {
                continue;
            }
            let (before, after) = match kind {
                ChildKind::Deployment => (departed.stamps.deployment, done.stamps.deployment),
                ChildKind::Service => (departed.stamps.service, done.stamps.service),
            };
            let version = self.version(kind);
            if *version == before || after >= *version {
                *version = after;
                self.reasons = self.reasons.without(kind.reason());
                if kind == ChildKind::Deployment {
                    self.reasons = self.reasons.without(Reasons::PROGRESS);
                }
            }
        }
        self.stamps.deployment_revision = done.stamps.deployment_revision;
    }

    /// Work failed: its reasons are still there.
    pub fn fail(&mut self, departed: &Departed) {
        self.state.set(State::IN_FLIGHT, false);
        self.reasons |= departed.reasons;
        self.failures = self.failures.saturating_add(1);
    }

    pub fn phase(&self) -> Option<Phase> {
        self.summary.map(|summary| summary.phase)
    }
}

/// How a task began, kept until it lands.
#[derive(Clone, Copy, Debug)]
pub struct Departed {
    pub uid: Uid,
    pub generation: u32,
    pub reasons: Reasons,
    pub stamps: Stamps,
}

impl From<&Task> for Departed {
    fn from(task: &Task) -> Self {
        Departed { uid: task.uid, generation: task.generation, reasons: task.reasons, stamps: task.stamps }
    }
}

#[cfg(test)]
mod tests;
