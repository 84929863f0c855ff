//! Faults that may have caused a repeated write, per affected InferenceService. Recorded by the server, read by the
//! budget and the obstacles.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::api_server::Key;

#[derive(Default)]
pub struct Disturbances {
    /// The time of the last one per InferenceService, and below of the last shared one.
    last: BTreeMap<(String, String), Instant>,
    last_shared: Option<Instant>,
    /// By namespace and name.
    own: BTreeMap<(String, String), u64>,
    /// Faults in lists, watches and starts of the operator affect all InferenceServices.
    shared: u64,
}

impl Disturbances {
    /// Records a fault in a request about this object, or in one about all objects.
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

    /// The time of the last random fault that affected this InferenceService. None: there was none.
    pub fn last(&self, namespace: &str, name: &str) -> Option<Instant> {
        self.last.get(&(namespace.to_owned(), name.to_owned())).copied().max(self.last_shared)
    }

    pub fn of(&self, namespace: &str, name: &str) -> u64 {
        self.shared + self.own.get(&(namespace.to_owned(), name.to_owned())).copied().unwrap_or(0)
    }
}
