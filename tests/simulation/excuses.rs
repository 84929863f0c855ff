//! What may have made the operator write something twice, kept apart by the InferenceService that it was about. Kept by
//! the server, read by the budget.

use std::collections::BTreeMap;

use crate::store::Key;

#[derive(Default)]
pub struct Excuses {
    /// By namespace and name.
    own: BTreeMap<(String, String), u64>,
    /// Lists, watches and starts of the operator are about all of them.
    shared: u64,
}

impl Excuses {
    /// Something went wrong with a request about this object, or with one about all of them.
    pub fn add(&mut self, about: Option<&Key>) {
        match about {
            Some(key) => *self.own.entry((key.namespace.clone(), key.name.clone())).or_default() += 1,
            None => self.shared += 1,
        }
    }

    pub fn of(&self, namespace: &str, name: &str) -> u64 {
        self.shared + self.own.get(&(namespace.to_owned(), name.to_owned())).copied().unwrap_or(0)
    }
}
