//! A rollout as the index drives it: whose turn is next, and when it is over. Called by the controller's loop.

use super::{Index, Slot};
use crate::controller::record::Record;
use crate::controller::rollout::{Rollout, State};
use crate::model::Dirty;

impl Index {
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
