//! The simulated API server, without faults or other clients in its cluster. Called by the tests, over HTTP as the
//! operator would; actions of users are done directly in its datastore.

use kube::Client;
use serde_json::Value;
use simulation::api_server::faults::Faults;
use simulation::api_server::server;
use simulation::api_server::{Key, Propagation, Refusal};
use simulation::chance::Chance;
use simulation::cluster::{Cluster, Shared};

use crate::action_result::{ActionResult, Told};
use crate::api_server::{ApiServer, Places};

pub struct Simulated {
    cluster: Shared,
    client: Client,
    namespace: String,
    places: Places,
}

impl Simulated {
    pub fn new(namespace: &str, streams_lists: bool) -> Simulated {
        let cluster = Cluster::new(Faults { streams_lists, ..Faults::none(Chance::new(0)) });
        // Otherwise "1" could be a valid version.
        cluster.with(|inner| {
            inner.store.version = 1_000;
            inner.store.compact(1_000);
        });
        let (client, _) = server::client(cluster.clone(), None);
        Simulated { client, cluster, namespace: namespace.to_owned(), places: Places::new() }
    }
}

impl ApiServer for Simulated {
    fn client(&self) -> &Client {
        &self.client
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    async fn make(&mut self, key: &Key, object: Value) -> ActionResult {
        let refused = |no: Refusal| (no.code, no.reason.to_owned());
        self.cluster
            .with(|inner| inner.store.create(key, object))
            .map(|object| Told::Object { object, wrote: true })
            .map_err(refused)
    }

    async fn edit(&mut self, key: &Key, patch: &Value) -> ActionResult {
        let before = self.read(key).await.unwrap_or_default();
        let edited = self.cluster.with(|inner| inner.store.update(key, |object| merge(object, patch)));
        let edited = edited.ok_or_else(|| (404, "NotFound".to_owned()))?;
        let wrote = edited != before;
        Ok(Told::Object { object: edited, wrote })
    }

    async fn delete_as(&mut self, key: &Key, propagation: Propagation) {
        self.cluster.with(|inner| inner.store.delete_as(key, propagation));
    }

    async fn read(&self, key: &Key) -> Option<Value> {
        self.cluster.lock().store.get(key).cloned()
    }
}

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
