//! What may have made the operator write something twice, kept apart by the InferenceService that it was about. Kept by
//! the server, read by the budget and the obstacles.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::api_server::Key;

#[derive(Default)]
pub struct Disturbances {
    /// When the last of them was: of this one, and of all.
    last: BTreeMap<(String, String), Instant>,
    last_shared: Option<Instant>,
    /// By namespace and name.
    own: BTreeMap<(String, String), u64>,
    /// Lists, watches and starts of the operator are about all of them.
    shared: u64,
}

impl Disturbances {
    /// Something went wrong with a request about this object, or with one about all of them.
    pub fn add(&mut self, about: Option<&Key>) {
        let now = Instant::now();
        if let Some(key) = about {
            let place = (key.namespace.clone(), key.name.clone());
            *self.own.entry(place.clone()).or_default() += 1;
            self.last.insert(place, now);
        } else {
            self.shared += 1;
            self.last_shared = Some(now);
        }
    }

    /// Since when nothing by chance went wrong with this one. None: nothing ever did.
    pub fn last(&self, namespace: &str, name: &str) -> Option<Instant> {
        self.last.get(&(namespace.to_owned(), name.to_owned())).copied().max(self.last_shared)
    }

    pub fn of(&self, namespace: &str, name: &str) -> u64 {
        self.shared + self.own.get(&(namespace.to_owned(), name.to_owned())).copied().unwrap_or(0)
    }
}
