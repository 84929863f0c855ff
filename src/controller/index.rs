//! All InferenceServices, one Record each, looked up by namespace and name. Owned by the controller, which applies the
//! watch events to it; must never hold an object as the API server sent it.

mod rollout;
mod standby;

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::api::Phase;
use crate::controller::counts::Counts;
use crate::controller::flags::{self, Flags};
use crate::controller::name_arena::{NameArena, NameRef};
use crate::controller::namespaces::Namespaces;
pub use crate::controller::record::Seen;
use crate::controller::record::{Judge, Record};
use crate::controller::rollout::Rollout;
use crate::controller::spec_cache::SpecCache;
use crate::controller::task_start::TaskStart;
use crate::error::Error;
use crate::model::hashes::Standing;
use crate::model::view::{InferenceServiceView, Meta, RawSpec};
use crate::model::{ChildKind, Dirty};
use crate::model::{Outcome, Task};

/// Position of a Record. Stays the same while the InferenceService exists.
pub type Slot = u32;

pub struct Index {
    judge: Box<Judge>,
    /// The first lists of the children have been read, so that they can no longer confirm a status.
    children_listed: bool,
    records: Vec<Option<Record>>,
    free: Vec<Slot>,
    /// Slots by the hash of namespace and name.
    slots: HashTable<Slot>,
    hasher: RandomState,
    names: NameArena,
    namespaces: Namespaces,
    /// Specs of InferenceServices that wait for their turn.
    specs: SpecCache,
    counts: Counts,
    rollout: Rollout,
    judging: rollout::Judging,
    /// See `follow`.
    follows: bool,
}

impl Index {
    pub fn new(judge: Box<Judge>) -> Index {
        Index {
            judge,
            children_listed: false,
            records: Vec::new(),
            free: Vec::new(),
            slots: HashTable::new(),
            hasher: RandomState::new(),
            names: NameArena::default(),
            namespaces: Namespaces::default(),
            specs: SpecCache::default(),
            counts: Counts::default(),
            rollout: Rollout::default(),
            judging: rollout::Judging::Done,
            follows: false,
        }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub fn get(&self, slot: Slot) -> Option<&Record> {
        self.records.get(slot as usize)?.as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Record)> {
        (0..).zip(&self.records).filter_map(|(slot, record)| Some((slot, record.as_ref()?)))
    }

    pub fn namespace(&self, record: &Record) -> &str {
        self.namespaces.name(record.namespace)
    }

    pub fn name(&self, record: &Record) -> &str {
        self.names.get(record.name)
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Length in bytes of the names of all InferenceServices.
    pub fn name_bytes(&self) -> usize {
        self.names.living()
    }

    /// Number of specs that wait for their turn.
    pub fn specs(&self) -> usize {
        self.specs.len()
    }

    /// Applies an InferenceService and returns its slot. None: its name cannot be stored.
    pub fn observe(&mut self, object: InferenceServiceView, how: Seen) -> Option<Slot> {
        let found = self.find(&object.meta.namespace, &object.meta.name);
        let Some(slot) = found else { return self.insert(object) };
        if self.follows && self.get(slot).is_some_and(|record| record.uid == object.meta.uid) {
            self.observe_as_standby(slot, object, how);
            return Some(slot);
        }
        let is_judged = self.is_being_judged() && how == Seen::Listed;
        let (mut is_made_anew, mut is_older) = (false, false);
        let is_latest = self.with(slot, |record| {
            record.flags.set(Flags::LISTED, true);
            let changed = how.is_news(object.meta.version(), record.resource_version);
            is_made_anew = record.uid != object.meta.uid;
            is_older = object.meta.version() < record.resource_version;
            let is_change = changed || record.flags.contains(Flags::GONE) || is_made_anew;
            if is_change {
                record.observe(&object);
            }
            is_change && object.meta.generation == record.generation
        });
        if is_made_anew && let Some(namespace) = self.get(slot).map(|record| record.namespace) {
            self.namespaces.recreated(namespace);
        }
        let standing = self.get(slot).filter(|_| is_judged).map(|record| record.judge(&object, &*self.judge, is_older));
        if let Some(standing) = standing {
            self.enlist(slot, standing);
        }
        if is_latest || standing == Some(Standing::Outdated { replicas: 0 }) {
            self.keep_spec(slot, object.spec);
        }
        Some(slot)
    }

    fn insert(&mut self, object: InferenceServiceView) -> Option<Slot> {
        let Meta { namespace, name, .. } = &object.meta;
        let hash = self.hash(namespace, name);
        let place = self.names.add(name)?;
        let namespace = self.namespaces.enter(namespace);
        let trust = !self.children_listed;
        let (record, standing) = Record::new(namespace, place, &object, &*self.judge, trust);
        let (waits, phase) = (!record.dirty.contains(Dirty::SPEC), record.phase());
        self.counts.add(&record);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.records.push(None);
            // u32 slots: 4 billion InferenceServices do not fit into any datastore.
            Slot::try_from(self.records.len() - 1).unwrap_or(Slot::MAX)
        });
        self.records[slot as usize] = Some(record);
        let Index { slots, hasher, records, names, namespaces, .. } = self;
        slots.insert_unique(hash, slot, |&slot| {
            records[slot as usize]
                .as_ref()
                .map_or(0, |record| hasher.hash_one((namespaces.name(record.namespace), names.get(record.name))))
        });
        self.place(slot, standing, waits, phase);
        self.keep_spec(slot, object.spec);
        Some(slot)
    }

    /// Its place in a rollout, by what its status says. `waits`: its spec was acted on.
    fn place(&mut self, slot: Slot, standing: Standing, waits: bool, phase: Option<Phase>) {
        match standing {
            Standing::RolledOut if phase != Some(Phase::Ready) => self.rollout.resume(slot),
            standing if waits => self.enlist(slot, standing),
            _ => {}
        }
    }

    /// The InferenceService was deleted. If a reconcile is in flight, the record is removed when that finishes.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(slot) = self.find(namespace, name) {
            self.remove_slot(slot);
        }
    }

    fn remove_slot(&mut self, slot: Slot) {
        let Some(record) = self.records[slot as usize].as_mut() else { return };
        if record.flags.contains(Flags::IN_FLIGHT) {
            record.flags.set(Flags::GONE, true);
            return;
        }
        let Some(record) = self.get(slot) else { return };
        let hash = self.hash(self.namespace(record), self.name(record));
        if let Ok(entry) = self.slots.find_entry(hash, |&found| found == slot) {
            entry.remove();
        }
        self.specs.take(slot);
        self.rollout.remove(slot);
        if let Some(record) = self.records[slot as usize].take() {
            self.counts.subtract(&record);
            self.namespaces.leave(record.namespace);
            self.forget(record.name);
        }
        self.free.push(slot);
    }

    fn forget(&mut self, name: NameRef) {
        self.names.remove(name);
        if self.names.wants_compaction() {
            self.names.compact(self.records.iter_mut().flatten().map(|record| &mut record.name));
        }
    }

    /// Applies a child and returns the slot if that is a change. A child without a known InferenceService is ignored:
    /// an InferenceService that appears later reads its children anyway.
    pub fn observe_child(&mut self, kind: ChildKind, child: &Meta, how: Seen) -> Option<Slot> {
        let slot = self.find(&child.namespace, &child.name)?;
        let how = if self.follows && how == Seen::Listed { Seen::ListedMeanwhile } else { how };
        self.with(slot, |record| record.observe_child(kind, child, how)).then_some(slot)
    }

    pub fn observe_child_gone(&mut self, kind: ChildKind, child: &Meta) -> Option<Slot> {
        let slot = self.find(&child.namespace, &child.name)?;
        self.with(slot, |record| record.observe_child_gone(kind, child)).then_some(slot)
    }

    /// Time has passed: lowers the repair count of each record by `count`.
    pub fn forget_repairs(&mut self, count: u8) {
        for record in self.records.iter_mut().flatten() {
            record.repairs = record.repairs.saturating_sub(count);
        }
    }

    /// Stops all work in the record's namespace. Returns whether that is a change.
    pub fn namespace_terminates(&mut self, slot: Slot) -> bool {
        let Some(namespace) = self.get(slot).map(|record| record.namespace) else { return false };
        let is_change = self.namespaces.terminates(namespace);
        if is_change {
            for record in self.records.iter_mut().flatten().filter(|record| record.namespace == namespace) {
                self.counts.subtract(record);
                record.end_failures();
                self.counts.add(record);
            }
        }
        is_change
    }

    /// A failure that the status cannot report is about to be logged. Returns whether it is the first one in a row.
    pub fn logs_failure(&mut self, slot: Slot) -> bool {
        let Some(record) = self.records[slot as usize].as_mut() else { return false };
        let is_first = !record.flags.contains(Flags::LOGGED);
        record.flags |= Flags::LOGGED;
        is_first
    }

    /// Is there nothing to do until something changes?
    pub fn is_at_rest(&self, record: &Record) -> bool {
        record.is_settled() || self.namespaces.is_terminating(record.namespace)
    }

    /// A list begins: objects that it does not contain no longer exist.
    pub fn list_begins(&mut self, list: ListKind) {
        for record in self.records.iter_mut().flatten() {
            record.flags.set(list.mark(), false);
        }
        if list == ListKind::InferenceServices {
            self.judging_begins();
            // A namespace that is there now may have been recreated.
            self.namespaces.are_listed();
        }
    }

    /// The list is complete. Returns the slots whose child vanished.
    pub fn list_ends(&mut self, list: ListKind) -> Vec<Slot> {
        let unnamed: Vec<Slot> =
            self.iter().filter(|(_, record)| !record.flags.contains(list.mark())).map(|(slot, _)| slot).collect();
        match list {
            ListKind::InferenceServices => {
                for slot in unnamed {
                    self.remove_slot(slot);
                }
                self.judging_ends();
                Vec::new()
            }
            ListKind::Children(kind) => {
                unnamed.into_iter().filter(|&slot| self.with(slot, |record| record.child_vanished(kind))).collect()
            }
        }
    }

    /// From now on a status is not trusted without reading the children.
    pub fn children_are_listed(&mut self) {
        self.children_listed = true;
    }

    /// Starts a reconcile, unless there is nothing to do.
    pub fn start(&mut self, slot: Slot) -> Option<Task> {
        let record = self.get(slot)?;
        if self.is_at_rest(record) || record.flags.contains(Flags::IN_FLIGHT) {
            return None;
        }
        let (namespace, name) = (self.namespace(record).to_owned(), self.name(record).to_owned());
        let spec = self.specs.take(slot);
        let task = self.with(slot, |record| record.start(namespace, name, spec));
        if task.dirty.contains(Dirty::SPEC) {
            self.rollout.overtake(slot);
        }
        Some(Task { released: self.rollout.is_under_way(slot), ..task })
    }

    /// Applies the result of a reconcile. False: the API server has not kept all of the status that was written.
    pub fn finish(&mut self, slot: Slot, start: &TaskStart, result: Result<Outcome, Error>) -> bool {
        let Some(record) = self.get(slot) else { return true };
        if record.flags.contains(Flags::GONE) {
            self.with(slot, |record| record.flags.set(Flags::IN_FLIGHT, false));
            self.remove_slot(slot);
            return true;
        }
        if record.uid != start.uid {
            // It was recreated meanwhile; the result is that of its predecessor.
            self.with(slot, |record| record.flags.set(Flags::IN_FLIGHT, false));
            return true;
        }
        let Ok(outcome) = result else {
            let is_over = self.namespaces.is_terminating(record.namespace);
            self.with(slot, |record| {
                record.fail(start);
                // No retry follows, so it must not lengthen the backoff of the others.
                if is_over {
                    record.end_failures();
                }
            });
            return true;
        };
        let (version, generation) = (record.resource_version, record.generation);
        let (is_kept, new_version, new_generation) = self.with(slot, |record| {
            let is_kept = record.finish(start, &outcome);
            (is_kept, record.resource_version, record.generation)
        });
        let says_so = |written: &InferenceServiceView| {
            let standing = self.get(slot).map(|record| record.judge(written, &*self.judge, false));
            !matches!(standing, Some(Standing::Outdated { .. } | Standing::TakenDown { .. }))
        };
        // Its user or a repair has brought it up to date since it was judged, and it need not wait for its turn.
        let is_up_to_date = || start.dirty.contains(Dirty::SPEC) || outcome.written.as_deref().is_some_and(says_so);
        if !self.rollout.is_over() && is_up_to_date() {
            self.rollout.overtake(slot);
        }
        let is_latest =
            |written: &InferenceServiceView| new_version != version && written.meta.generation == new_generation;
        if let Some(written) = outcome.written.filter(|written| is_latest(written)) {
            self.keep_spec(slot, written.spec);
        } else if !self.is_spec_due(slot) || new_generation != generation {
            // The spec arrived during the reconcile, which has read the same one or a later one.
            self.specs.take(slot);
        }
        is_kept
    }

    /// Changes an existing record, and the counts with it.
    fn with<T>(&mut self, slot: Slot, change: impl FnOnce(&mut Record) -> T) -> T {
        self::change(&mut self.records, &mut self.counts, slot, change)
    }

    /// Keeps the latest spec if it is about to be acted on.
    fn keep_spec(&mut self, slot: Slot, spec: RawSpec) {
        if self.is_spec_due(slot) {
            self.specs.keep(slot, spec);
        } else {
            self.specs.take(slot);
        }
    }

    fn is_spec_due(&self, slot: Slot) -> bool {
        self.get(slot).is_some_and(|record| record.dirty.contains(Dirty::SPEC))
    }

    fn find(&self, namespace: &str, name: &str) -> Option<Slot> {
        let hash = self.hash(namespace, name);
        let same = |slot: &Slot| {
            self.get(*slot).is_some_and(|record| self.name(record) == name && self.namespace(record) == namespace)
        };
        self.slots.find(hash, same).copied()
    }

    fn hash(&self, namespace: &str, name: &str) -> u64 {
        self.hasher.hash_one((namespace, name))
    }
}

/// Changes an existing record, and the counts with it.
fn change<T>(
    records: &mut [Option<Record>],
    counts: &mut Counts,
    slot: Slot,
    change: impl FnOnce(&mut Record) -> T,
) -> T {
    let record = records[slot as usize].as_mut().unwrap_or_else(|| unreachable!("slot {slot} is empty"));
    counts.subtract(record);
    let result = change(record);
    counts.add(record);
    result
}

/// What a watch lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    InferenceServices,
    Children(ChildKind),
}

impl ListKind {
    fn mark(self) -> Flags {
        match self {
            ListKind::InferenceServices => Flags::LISTED,
            ListKind::Children(kind) => flags::listed(kind),
        }
    }
}

#[cfg(test)]
mod tests;
