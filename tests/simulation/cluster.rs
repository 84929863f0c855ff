//! What all parts of one simulated cluster share: the datastore, the faults, and what the operator asked
//! for. Everything runs on one thread; the lock is never held across an await.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::faults::Faults;
use crate::store::{Key, Store};

pub type Shared = Arc<Cluster>;

pub struct Cluster {
    inner: Mutex<Inner>,
    /// Not a watch channel: that wakes in an order that no seed decides.
    changed: Notify,
}

pub struct Inner {
    pub store: Store,
    pub faults: Faults,
    /// What the operator asked for, watches and lists apart.
    pub log: Vec<Request>,
    /// What users and strangers did.
    pub deeds: Vec<Deed>,
    /// How often an operator was started.
    pub starts: u64,
    /// What must never happen and did.
    pub violations: Vec<String>,
}

/// One thing that a user or a stranger did.
pub struct Deed {
    pub at: Instant,
    pub what: &'static str,
    pub key: Key,
}

impl fmt::Display for Deed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "** {} {:?} {}/{}", self.what, self.key.kind, self.key.namespace, self.key.name)
    }
}

/// One request of the operator that reached the API server.
pub struct Request {
    pub at: Instant,
    pub verb: &'static str,
    pub key: Key,
    pub code: u16,
    /// Did the datastore change?
    pub wrote: bool,
}

impl fmt::Display for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { verb, key, code, wrote, .. } = self;
        let wrote = if *wrote { ", written" } else { "" };
        write!(out, "{verb} {:?} {}/{}: {code}{wrote}", key.kind, key.namespace, key.name)
    }
}

impl Cluster {
    pub fn new(faults: Faults) -> Shared {
        let inner = Inner {
            store: Store::default(),
            faults,
            log: Vec::new(),
            deeds: Vec::new(),
            starts: 0,
            violations: Vec::new(),
        };
        Arc::new(Cluster { inner: Mutex::new(inner), changed: Notify::new() })
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the datastore, and tells the watches if that changed it.
    pub fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let before = inner.store.version;
        let result = act(&mut inner);
        let after = inner.store.version;
        drop(inner);
        if after != before {
            self.changed.notify_waiters();
        }
        result
    }

    /// Returns after the next change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
