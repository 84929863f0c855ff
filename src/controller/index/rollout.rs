//! A rollout as the index drives it: who waits, whose turn is next, and when it is over. Called by the controller's loop.

use super::{Index, Slot};
use crate::controller::record::{Judge, Record};
use crate::controller::rollout::{Rollout, State};
use crate::model::Dirty;
use crate::model::hashes::Standing;

/// After a change of what the judge knows, each InferenceService is judged as the next list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judging {
    /// A list is still to be asked for, or is on its way.
    Due,
    /// By the list that is being read.
    Now,
    Done,
}

impl Index {
    /// If its children are to be brought up to date, that is done at once, or when its turn comes.
    pub(super) fn enlist(&mut self, slot: Slot, standing: Standing) {
        match standing {
            // Without replicas there is nothing to take down.
            Standing::Outdated { replicas: 0 } => {
                self.with(slot, |record| record.dirty |= Dirty::SPEC_AND_CHILDREN);
            }
            Standing::Outdated { replicas } => self.rollout.add(slot, replicas),
            Standing::TakenDown { replicas } => {
                // This process may not have seen that.
                if !self.rollout.is_under_way(slot) {
                    self.rollout.resume(slot);
                }
                self.rollout.add(slot, replicas);
            }
            Standing::UpToDate | Standing::RolledOut => {}
        }
    }

    /// From now on this judge holds: each InferenceService is judged anew, as the next list shows it.
    pub fn judge_again(&mut self, judge: Box<Judge>) {
        self.judge = judge;
        self.judging = Judging::Due;
        self.rollout.begin_anew();
    }

    /// A list has to be asked for.
    pub fn wants_list(&self) -> bool {
        self.judging == Judging::Due
    }

    /// Is everybody judged by what is known now?
    pub fn is_judged(&self) -> bool {
        self.judging == Judging::Done
    }

    pub(super) fn is_being_judged(&self) -> bool {
        self.judging == Judging::Now
    }

    /// A list of all InferenceServices begins.
    pub(super) fn judging_begins(&mut self) {
        if self.judging == Judging::Due {
            self.judging = Judging::Now;
        }
    }

    /// It is complete.
    pub(super) fn judging_ends(&mut self) {
        if self.judging == Judging::Now {
            self.judging = Judging::Done;
        }
    }

    /// Lets the next InferenceService of a rollout go, if there is one and it may.
    pub fn release(&mut self, limit: usize) -> Option<Slot> {
        let Index { rollout, records, names, namespaces, .. } = self;
        if rollout.is_over() {
            return None;
        }
        let record = |slot: Slot| records.get(slot as usize).and_then(Option::as_ref);
        let is_here = |record: &&Record| !namespaces.is_terminating(record.namespace);
        let state = |slot| record(slot).filter(is_here).map_or(State::Leaving, Record::state);
        let order = |slot| record(slot).map(|record| (namespaces.name(record.namespace), names.get(record.name)));
        let slot = rollout.next(limit, state, order)?;
        self.with(slot, |record| record.dirty |= Dirty::SPEC_AND_CHILDREN);
        Some(slot)
    }

    /// What still waits for its turn stays as it is.
    pub fn end_rollout(&mut self) {
        self.rollout = Rollout::default();
    }

    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }
}
