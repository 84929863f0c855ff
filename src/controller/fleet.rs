//! All InferenceServices, one Record each, found by namespace and name. Kept by the controller,
//! which tells it what the watches bring; must never hold an object as the API server sent it.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::api::Phase;
use crate::controller::record::{ChildKind, Departed, Record, State};
use crate::error::Error;
use crate::projection::{Identity, InferenceService};
use crate::reconcile::{Done, Task};

/// Where a Record is. Stays the same while the InferenceService exists.
pub type Slot = u32;

/// Specs that are kept for work that waits; one more is read again when its turn comes.
const SPECS_KEPT: usize = 512;

pub struct Fleet {
    configuration: u64,
    /// The children's lists have been read: a status can no longer be confirmed by them.
    children_listed: bool,
    records: Vec<Option<Record>>,
    free: Vec<Slot>,
    /// Slots by the hash of namespace and name.
    index: HashTable<Slot>,
    hasher: RandomState,
    namespaces: Vec<Box<str>>,
    tally: Tally,
}

/// Counts over all records, kept up to date by whatever changes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    specs_kept: usize,
    /// InferenceServices in each phase, in the order of `Phase::ALL`.
    pub phases: [u32; Phase::ALL.len()],
}

impl Tally {
    fn add(&mut self, record: &Record) {
        self.specs_kept += usize::from(record.spec.is_some());
        self.phases[record.phase().unwrap_or_default() as usize] += 1;
    }

    fn subtract(&mut self, record: &Record) {
        self.specs_kept -= usize::from(record.spec.is_some());
        self.phases[record.phase().unwrap_or_default() as usize] -= 1;
    }
}

impl Fleet {
    pub fn new(configuration: u64) -> Fleet {
        Fleet {
            configuration,
            children_listed: false,
            records: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            namespaces: Vec::new(),
            tally: Tally::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub fn get(&self, slot: Slot) -> Option<&Record> {
        self.records.get(slot as usize)?.as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Record)> {
        (0..).zip(&self.records).filter_map(|(slot, record)| Some((slot, record.as_ref()?)))
    }

    pub fn namespace(&self, record: &Record) -> &str {
        &self.namespaces[record.namespace as usize]
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Takes in an InferenceService; where it is kept.
    pub fn observe(&mut self, object: InferenceService, listed: bool) -> Slot {
        let found = self.find(&object.identity.namespace, &object.identity.name);
        let Some(slot) = found else { return self.insert(object) };
        let configuration = self.configuration;
        self.with(slot, |record| {
            record.state.set(State::LISTED, true);
            let seen = object.identity.resource_version;
            // A list is right even where it goes back in time; an event from the past is not.
            let news = if listed { seen != record.resource_version } else { seen > record.resource_version };
            if news || record.state.has(State::GONE) || record.uid != object.identity.uid {
                record.observe(object, configuration);
            }
        });
        slot
    }

    fn insert(&mut self, object: InferenceService) -> Slot {
        let namespace = self.intern(&object.identity.namespace);
        let record = Record::new(namespace, object, self.configuration, !self.children_listed);
        self.tally.add(&record);
        let hash = self.hash(&self.namespaces[namespace as usize], &record.name);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.records.push(None);
            // u32 slots: 4 billion InferenceServices do not fit into any datastore.
            Slot::try_from(self.records.len() - 1).unwrap_or(Slot::MAX)
        });
        self.records[slot as usize] = Some(record);
        let Fleet { index, hasher, records, namespaces, .. } = self;
        index.insert_unique(hash, slot, |&slot| {
            records[slot as usize]
                .as_ref()
                .map_or(0, |record| hasher.hash_one((&*namespaces[record.namespace as usize], &*record.name)))
        });
        self.drop_spec_beyond_limit(slot);
        slot
    }

    /// The InferenceService was deleted. Where work on it is in flight, it goes when that lands.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(slot) = self.find(namespace, name) {
            self.remove_slot(slot);
        }
    }

    fn remove_slot(&mut self, slot: Slot) {
        let Some(record) = self.records[slot as usize].as_mut() else { return };
        if record.state.has(State::IN_FLIGHT) {
            record.state.set(State::GONE, true);
            return;
        }
        let Some(record) = self.get(slot) else { return };
        let hash = self.hash(&self.namespaces[record.namespace as usize], &record.name);
        if let Ok(entry) = self.index.find_entry(hash, |&found| found == slot) {
            entry.remove();
        }
        if let Some(record) = self.records[slot as usize].take() {
            self.tally.subtract(&record);
        }
        self.free.push(slot);
    }

    /// Takes in a child; the slot where that is news. A child of nobody we know is no news: an
    /// InferenceService that appears later reads its children anyway.
    pub fn observe_child(&mut self, kind: ChildKind, child: &Identity, listed: bool) -> Option<Slot> {
        let slot = self.find(&child.namespace, &child.name)?;
        self.with(slot, |record| record.observe_child(kind, child, listed)).then_some(slot)
    }

    pub fn observe_child_gone(&mut self, kind: ChildKind, child: &Identity) -> Option<Slot> {
        let slot = self.find(&child.namespace, &child.name)?;
        self.with(slot, |record| record.observe_child_gone(kind, child)).then_some(slot)
    }

    /// A list begins: whatever it does not name is not there any more.
    pub fn list_begins(&mut self, list: List) {
        for record in self.records.iter_mut().flatten() {
            record.state.set(list.mark(), false);
        }
    }

    /// The list is complete. Returns the slots of which something vanished.
    pub fn list_ends(&mut self, list: List) -> Vec<Slot> {
        let unnamed: Vec<Slot> =
            self.iter().filter(|(_, record)| !record.state.has(list.mark())).map(|(slot, _)| slot).collect();
        match list {
            List::InferenceServices => {
                for slot in unnamed {
                    self.remove_slot(slot);
                }
                Vec::new()
            }
            List::Children(kind) => {
                unnamed.into_iter().filter(|&slot| self.with(slot, |record| record.child_vanished(kind))).collect()
            }
        }
    }

    /// From now on a status is not trusted without a look at the children.
    pub fn children_are_listed(&mut self) {
        self.children_listed = true;
    }

    /// Work begins, unless there is none.
    pub fn depart(&mut self, slot: Slot) -> Option<Task> {
        let record = self.get(slot)?;
        if record.is_settled() || record.state.has(State::IN_FLIGHT) {
            return None;
        }
        let namespace = self.namespace(record).to_owned();
        let task = self.with(slot, |record| record.depart(namespace));
        Some(task)
    }

    /// Work ended, well or not. Returns false where its InferenceService is gone.
    pub fn land(&mut self, slot: Slot, departed: &Departed, result: Result<Done, &Error>) -> bool {
        let configuration = self.configuration;
        let Some(record) = self.get(slot) else { return false };
        if record.state.has(State::GONE) {
            self.with(slot, |record| record.state.set(State::IN_FLIGHT, false));
            self.remove_slot(slot);
            return false;
        }
        self.with(slot, |record| {
            if record.uid != departed.uid {
                // It was made anew meanwhile, and what was done was for its predecessor.
                record.state.set(State::IN_FLIGHT, false);
                return;
            }
            match result {
                Ok(done) => record.land(departed, done, configuration),
                Err(_) => record.fail(departed),
            }
        });
        self.drop_spec_beyond_limit(slot);
        true
    }

    /// Changes a record that is there, and keeps count of what that changes.
    fn with<T>(&mut self, slot: Slot, change: impl FnOnce(&mut Record) -> T) -> T {
        let record = self.records[slot as usize].as_mut().unwrap_or_else(|| unreachable!("slot {slot} is empty"));
        self.tally.subtract(record);
        let result = change(record);
        self.tally.add(record);
        result
    }

    fn drop_spec_beyond_limit(&mut self, slot: Slot) {
        if self.tally.specs_kept > SPECS_KEPT {
            self.with(slot, |record| record.spec = None);
        }
    }

    fn find(&self, namespace: &str, name: &str) -> Option<Slot> {
        let hash = self.hash(namespace, name);
        let same = |slot: &Slot| {
            self.get(*slot).is_some_and(|record| &*record.name == name && self.namespace(record) == namespace)
        };
        self.index.find(hash, same).copied()
    }

    fn hash(&self, namespace: &str, name: &str) -> u64 {
        self.hasher.hash_one((namespace, name))
    }

    /// Namespaces are few and are never forgotten.
    fn intern(&mut self, namespace: &str) -> u32 {
        let known = self.namespaces.iter().position(|known| &**known == namespace);
        let position = known.unwrap_or_else(|| {
            self.namespaces.push(namespace.into());
            self.namespaces.len() - 1
        });
        u32::try_from(position).unwrap_or(u32::MAX)
    }
}

/// What a watch lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    InferenceServices,
    Children(ChildKind),
}

impl List {
    fn mark(self) -> State {
        match self {
            List::InferenceServices => State::LISTED,
            List::Children(kind) => kind.listed(),
        }
    }
}

#[cfg(test)]
mod tests;
