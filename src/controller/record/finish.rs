//! How the end of a reconcile changes a record: what was done is taken over, unless an observation meanwhile knows better.

use super::Record;
use crate::api::Phase;
use crate::controller::delay::Delay;
use crate::controller::flags::Flags;
use crate::controller::task_start::TaskStart;
use crate::error::Remedy;
use crate::model::{Action, ChildKind, Dirty, Outcome, Summary};
use crate::reconcile::status;

impl Record {
    /// Applies the outcome of a reconcile; `start` is how it began. False: the API server has not kept all of the
    /// status.
    pub fn finish(&mut self, start: &TaskStart, outcome: &Outcome) -> bool {
        let looked_only = start.dirty == Dirty::ROLLOUT;
        self.finish_children(start, outcome);
        self.service_port = outcome.service_port;
        self.last_load = outcome.last_load;
        if self.flags.contains(Flags::MISSED) {
            self.dirty |= Dirty::SERVICE;
        }
        self.finish_generation(start, outcome);
        let is_kept = self.finish_status(start, outcome);
        self.flags.set(Flags::IN_FLIGHT, false);
        let wrote = outcome.written.is_some();
        self.quiet_reads = if looked_only && !wrote && self.phase() == Some(Phase::Progressing) {
            self.quiet_reads.saturating_add(1)
        } else {
            0
        };
        if outcome.repaired {
            self.count_repair();
        }
        match &outcome.action {
            Action::Rejected(error) if error.remedy() != Remedy::User => {
                self.fail(start);
                // Another spec that was read on the way, and whose children were not applied, is still to be acted on.
                if outcome.generation != start.generation {
                    self.dirty |= Dirty::SPEC;
                }
            }
            action => {
                self.end_failures();
                self.dirty |= action.dirty();
                if let Action::RequeueAfter(_, time) = action {
                    self.requeue_after = Delay::new(*time);
                }
            }
        }
        is_kept
    }

    /// Without an observation meanwhile, the generation acted on is the truth, whether newer than the known one or
    /// older: the datastore was restored.
    fn finish_generation(&mut self, start: &TaskStart, outcome: &Outcome) {
        if self.generation == start.generation {
            self.generation = outcome.generation;
        } else if outcome.generation >= self.generation {
            self.generation = outcome.generation;
            self.dirty = self.dirty.difference(Dirty::SPEC);
        } else {
            self.dirty |= Dirty::SPEC;
        }
    }

    fn finish_status(&mut self, start: &TaskStart, outcome: &Outcome) -> bool {
        let same = self.summary.map(|seen| seen.checksum) == outcome.summary.map(|ours| ours.checksum);
        if !same && start.versions.deployment_revision != outcome.versions.deployment_revision {
            // That of another client was seen meanwhile, and was taken to have waited like the children before.
            self.summary = self.summary.map(Summary::of_others);
        }
        let Some(object) = &outcome.written else {
            match (&mut self.summary, outcome.summary) {
                // Times may have been corrected.
                (Some(seen), Some(ours)) if same => *seen = Summary { written: seen.written, ..ours },
                _ if same => {}
                // Another client wrote a status meanwhile.
                _ => self.dirty |= Dirty::SPEC_AND_CHILDREN,
            }
            return true;
        };
        let is_latest = object.meta.version() >= self.resource_version && object.meta.uid == self.uid;
        if !is_latest {
            if !same {
                // Another client's came later; or the datastore was restored, and responses are older for a while.
                self.dirty |= Dirty::SPEC_AND_CHILDREN;
                self.count_repair();
            }
            return true;
        }
        self.resource_version = object.meta.version();
        self.flags.set(Flags::DELETING, object.meta.deleting);
        self.flags.set(Flags::GONE, false);
        self.summary = outcome.summary;
        self.observe_generation(object.meta.generation, None);
        let kept = object.status().map(|status| status::parse(&status));
        kept.is_some_and(|kept| kept.trusted)
    }

    fn finish_children(&mut self, start: &TaskStart, outcome: &Outcome) {
        for kind in ChildKind::ALL {
            if kind == ChildKind::Service && !start.dirty.contains(Dirty::SERVICE) {
                continue;
            }
            let (before, after) = (start.versions.of(kind), outcome.versions.of(kind));
            let version = self.versions.of_mut(kind);
            if *version == before || after >= *version {
                *version = after;
                self.dirty = self.dirty.difference(kind.looks());
            }
        }
        self.versions.deployment_revision = outcome.versions.deployment_revision;
        self.versions.deployment_fields = outcome.versions.deployment_fields;
    }

    /// The reconcile failed: its dirty bits are set again.
    pub fn fail(&mut self, start: &TaskStart) {
        self.flags.set(Flags::IN_FLIGHT, false);
        self.dirty |= start.dirty;
        self.failures = self.failures.saturating_add(1);
    }
}
