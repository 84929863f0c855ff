//! The state that all parts of one simulated cluster share: the datastore, the faults, and the operator's requests.
//! Everything runs on one thread; the lock is never held across an await.

pub mod controllers;
pub mod pods;
pub mod rollout;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::api_server::faults::Faults;
use crate::api_server::lease::Leases;
use crate::api_server::{Key, Store};
use crate::clock;
use crate::cluster::pods::Nodes;
use crate::cluster::rollout::Rollout;
use crate::oracle::disturbances::Disturbances;
use crate::oracle::invariants::Invariants;
use crate::oracle::violation::{Violation, ViolationKind};

pub type Shared = Arc<Cluster>;

pub struct Cluster {
    inner: Mutex<Inner>,
    /// Not a watch channel: that wakes its receivers in an order that no seed decides.
    changed: Notify,
}

pub struct Inner {
    pub store: Store,
    pub leases: Leases,
    pub faults: Faults,
    /// Requests of any kind for which the operator received a response.
    pub answered: u64,
    /// The operator's requests, without watches and lists.
    pub log: Vec<RequestRecord>,
    /// The actions of users and strangers that changed anything.
    pub actions: Vec<UserAction>,
    pub disturbances: Disturbances,
    pub nodes: Nodes,
    /// The ReplicaSets and pods of each Deployment, by its uid.
    pub rollouts: BTreeMap<String, Rollout>,
    pub invariants: Invariants,
    /// The result is known: the periodic checks stop.
    pub is_over: bool,
    /// Violations found so far.
    pub violations: Vec<Violation>,
}

/// One action of a user or a stranger.
pub struct UserAction {
    pub at: Instant,
    pub what: &'static str,
    pub key: Key,
}

impl fmt::Display for UserAction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "** {} {:?} {}/{}", self.what, self.key.kind, self.key.namespace, self.key.name)
    }
}

/// One request of the operator that reached the API server.
pub struct RequestRecord {
    pub at: Instant,
    pub verb: &'static str,
    pub key: Key,
    pub code: u16,
    /// Did the datastore change?
    pub wrote: bool,
}

impl fmt::Display for RequestRecord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestRecord { verb, key, code, wrote, .. } = self;
        let wrote = if *wrote { ", written" } else { "" };
        write!(out, "{verb} {:?} {}/{}: {code}{wrote}", key.kind, key.namespace, key.name)
    }
}

impl Inner {
    pub fn report(&mut self, kind: ViolationKind, what: impl Into<String>) {
        self.violations.push(Violation { kind, at: clock::elapsed(Instant::now()), what: what.into() });
    }

    /// Draws a fault for a request about this object, or about all objects (None).
    pub fn draw<T>(&mut self, about: Option<&Key>, draw: impl FnOnce(&mut Faults) -> T) -> T {
        let before = self.faults.count;
        let drawn = draw(&mut self.faults);
        if self.faults.count != before {
            self.disturbances.add(about);
        }
        drawn
    }
}

impl Cluster {
    pub fn new(faults: Faults) -> Shared {
        let inner = Inner {
            store: Store::default(),
            leases: Leases::default(),
            faults,
            answered: 0,
            log: Vec::new(),
            actions: Vec::new(),
            disturbances: Disturbances::default(),
            nodes: Nodes::default(),
            rollouts: BTreeMap::new(),
            invariants: Invariants::default(),
            is_over: false,
            violations: Vec::new(),
        };
        Arc::new(Cluster { inner: Mutex::new(inner), changed: Notify::new() })
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on the datastore, and wakes the watches if that changed it.
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

    /// Wakes all waiting tasks after a change, be it in the datastore or not.
    pub fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Returns after the next change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
