//! What is remembered of one InferenceService, and how each thing that is seen changes it. Kept by
//! the fleet; pure; must stay small, because there is one for every InferenceService of the cluster.

use crate::api::Phase;
use crate::controller::names::Name;
use crate::controller::reasons::Reasons;
pub use crate::controller::state::{ChildKind, State};
use crate::error::{Remedy, TOLD};
use crate::projection::{Identity, InferenceService, RawSpec};
use crate::reconcile::status::{self, Reading, Stamps, Summary};
use crate::reconcile::{Done, Next, Task};
use crate::uid::Uid;

/// More are not counted, or a fight of hours would be remembered for days.
const MOST_REPAIRS: u8 = 9;

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
        if identity.deleting {
            self.failures = 0;
        }
        let first = self.resource_version == 0;
        self.resource_version = identity.resource_version;

        let mut reading = object.status().map(|status| status::read(&status, configuration));
        if let Some(reading) = &mut reading {
            reading.summary.is_current = reading.observed_generation == identity.generation;
            if first {
                self.stamps = reading.stamps;
            }
        }
        match &reading {
            Some(reading) if reading.trusted || self.says(reading) => self.observe_status(reading, first),
            untrusted => self.distrust(untrusted.as_ref(), first),
        }
        self.observe_generation(
            identity.generation,
            reading.filter(|_| first).map(|reading| reading.observed_generation),
        );
    }

    /// Is this the status that is known? Then its stamps are not missed where an older CRD has cut them off.
    fn says(&self, reading: &Reading) -> bool {
        self.summary.is_some_and(|known| known.checksum == reading.summary.checksum)
    }

    fn observe_status(&mut self, reading: &Reading, first: bool) {
        let same = self.says(reading);
        if first {
            if reading.unfinished {
                self.reasons |= Reasons::ALL;
            }
            if reading.summary.phase == Phase::Progressing {
                self.reasons |= Reasons::DUE;
            }
        } else if !self.state.has(State::IN_FLIGHT) && !same {
            // Somebody put back a status that was true once.
            self.reasons |= Reasons::ALL;
            self.count_repair();
        }
        if !same {
            self.summary = Some(reading.summary);
        }
    }

    /// The status is none of ours, or of other settings. What is known of its times is kept, and a checksum of 0 equals
    /// no other.
    fn distrust(&mut self, reading: Option<&Reading>, first: bool) {
        if !first && self.summary.is_some() {
            // Who writes it again and again is answered ever more slowly.
            self.count_repair();
        }
        let known = self.summary.or(reading.map(|reading| reading.summary));
        self.summary = known.map(|known| Summary { checksum: 0, written: 0, ..known });
        self.reasons |= Reasons::ALL;
    }

    /// `observed`: what the first status that is seen speaks of.
    fn observe_generation(&mut self, generation: u32, observed: Option<u32>) {
        let acted_on = observed.unwrap_or(self.generation);
        if acted_on != generation {
            self.reasons |= Reasons::SPEC;
            // What stood in the way may do so no longer; what lasts is still told.
            self.failures = self.failures.min(TOLD);
            self.repairs = 0;
            if let Some(summary) = &mut self.summary {
                summary.is_current = false;
            }
        }
        // An API server that lags behind takes nothing back: the spec is read before it is acted on.
        self.generation = self.generation.max(generation);
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
        if !news {
            return false;
        }
        let same_revision = child.revision() == self.stamps.deployment_revision;
        let reason = if kind == ChildKind::Service || child.deleting || listed && !same_revision {
            kind.reason()
        } else if same_revision && child.labels.complete {
            Reasons::PROGRESS
        } else {
            self.looks = 0;
            Reasons::PROGRESS | Reasons::EDIT
        };
        self.mark(reason, kind, child.resource_version)
    }

    /// The child was deleted, or lost the label that the watch selects by. What stood in the way may do so no longer.
    pub fn observe_child_gone(&mut self, kind: ChildKind, child: &Identity) -> bool {
        let known = *self.version(kind);
        let is_news = if known == 0 { self.failures > 0 } else { child.resource_version >= known };
        if !is_news {
            return false;
        }
        self.failures = 0;
        let version = if known == 0 { 0 } else { child.resource_version };
        self.mark(kind.reason(), kind, version)
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
    pub fn depart(&mut self, namespace: String, name: String, spec: Option<RawSpec>) -> Task {
        self.state.set(State::IN_FLIGHT, true);
        self.state.set(State::MISSED, false);
        let mut reasons = std::mem::take(&mut self.reasons);
        // While a spec is refused nothing is made or repaired: what was put off is due when it is mended. Whatever
        // the reason, the spec is read again and may be found so, before its watch tells.
        let was_refused = self.stamps.service == 0 || self.stamps.deployment_revision == 0;
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
            failures: self.failures,
            repairs: self.repairs,
            stamps: self.stamps,
            summary: self.summary,
            spec,
        }
    }

    /// Work is done; `departed` is how it began. False: the API server has not kept all of the status.
    pub fn land(&mut self, departed: &Departed, done: &Done, configuration: u64) -> bool {
        let looked_only = departed.reasons == Reasons::PROGRESS;
        self.land_children(departed, done);
        if self.state.has(State::MISSED) {
            self.reasons |= Reasons::SERVICE;
        }
        self.land_generation(departed, done);
        let is_kept = self.land_status(done, configuration);
        self.state.set(State::IN_FLIGHT, false);
        let wrote = done.written.is_some();
        self.looks = if looked_only && !wrote && self.phase() == Some(Phase::Progressing) {
            self.looks.saturating_add(1)
        } else {
            0
        };
        if done.repaired {
            self.count_repair();
        }
        match &done.next {
            Next::Refused(error) if error.remedy() != Remedy::User => {
                self.fail(departed);
                // A spec that was read on the way, and whose children were not applied, is still to be acted on.
                if done.generation != departed.generation {
                    self.reasons |= Reasons::SPEC;
                }
            }
            next => {
                self.failures = 0;
                self.reasons |= next.reason();
            }
        }
        is_kept
    }

    /// Where nothing was seen meanwhile, what was acted on is the truth, be it newer than what was known or older: a
    /// datastore that was put back.
    fn land_generation(&mut self, departed: &Departed, done: &Done) {
        if self.generation == departed.generation {
            self.generation = done.generation;
        } else if done.generation >= self.generation {
            self.generation = done.generation;
            self.reasons = self.reasons.without(Reasons::SPEC);
        } else {
            self.reasons |= Reasons::SPEC;
        }
    }

    fn land_status(&mut self, done: &Done, configuration: u64) -> bool {
        let same = self.summary.map(|seen| seen.checksum) == done.summary.map(|ours| ours.checksum);
        let Some(object) = &done.written else {
            match (&mut self.summary, done.summary) {
                // Times may have been put right.
                (Some(seen), Some(ours)) if same => *seen = Summary { written: seen.written, ..ours },
                _ if same => {}
                // Somebody else wrote a status meanwhile.
                _ => self.reasons |= Reasons::ALL,
            }
            return true;
        };
        let is_latest = object.identity.resource_version >= self.resource_version && object.identity.uid == self.uid;
        if !is_latest {
            if !same {
                // Somebody else's came later; or the datastore was put back, and each answer is older for a while.
                self.reasons |= Reasons::ALL;
                self.count_repair();
            }
            return true;
        }
        self.resource_version = object.identity.resource_version;
        self.state.set(State::DELETING, object.identity.deleting);
        self.state.set(State::GONE, false);
        self.summary = done.summary;
        self.observe_generation(object.identity.generation, None);
        let kept = object.status().map(|status| status::read(&status, configuration));
        kept.is_some_and(|kept| kept.trusted)
    }

    fn count_repair(&mut self) {
        self.repairs = (self.repairs + 1).min(MOST_REPAIRS);
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
                    self.reasons = self.reasons.without(Reasons::PROGRESS | Reasons::EDIT);
                }
            }
        }
        self.stamps.deployment_revision = done.stamps.deployment_revision;
        self.stamps.deployment_fields = done.stamps.deployment_fields;
    }

    /// Work failed: its reasons are still there.
    pub fn fail(&mut self, departed: &Departed) {
        self.state.set(State::IN_FLIGHT, false);
        self.reasons |= departed.reasons;
        self.failures = self.failures.saturating_add(1);
    }

    /// Seconds that are left until its replicas should be there.
    pub fn load_left(&self, load_seconds: u32, now: u32) -> u32 {
        let since = self.summary.map(|summary| summary.abnormal_since).filter(|&since| since != 0).unwrap_or(now);
        (load_seconds + 1).saturating_sub(now.saturating_sub(since))
    }

    pub fn phase(&self) -> Option<Phase> {
        self.summary.map(|summary| summary.phase)
    }
}

impl Next {
    /// What is left to do.
    fn reason(&self) -> Reasons {
        match self {
            Next::Settled | Next::Refused(_) => Reasons::NONE,
            Next::Look => Reasons::STATUS,
            Next::Count => Reasons::COUNT,
            Next::Due => Reasons::DUE,
        }
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
