//! A namespace with its own operator behind its own proxy. The tests run the same actions in several setups, and
//! compare the results with the one without faults.

use std::collections::BTreeSet;
use std::time::Duration;

use inference_operator::api::InferenceService;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::log::Entry;
use crate::proxy::Proxy;
use crate::snapshot::{self, Snapshot};
use crate::support::fixture::{leave, spec};
use crate::support::wait::within;
use crate::support::{Operator, kubectl};

/// The operator's longest backoff is a minute.
const SETTLES_WITHIN: Duration = Duration::from_secs(180);

/// A snapshot of hundreds of objects costs the API server time too.
const BETWEEN_SNAPSHOTS: Duration = Duration::from_millis(500);

pub struct Setup {
    pub namespace: String,
    pub api: Api<InferenceService>,
    pub client: Client,
    pub proxy: Proxy,
    operator: Option<Operator>,
}

impl Setup {
    /// Without an operator at first. `rate`: faults per thousand requests.
    pub async fn new(client: &Client, name: &str, seed: u64, rate: u64) -> Setup {
        let namespace = format!("{name}-{}", std::process::id());
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).expect("a namespace");
        Api::all(client.clone()).create(&PostParams::default(), &object).await.expect("created");
        let (api, client) = (Api::namespaced(client.clone(), &namespace), client.clone());
        Setup { namespace, api, client, proxy: Proxy::start(seed, rate).await, operator: None }
    }

    pub fn start_operator(&mut self) {
        self.proxy.note_start();
        let token = kubectl(&["create", "token", "-n", "inference-operator", "inference-operator"]);
        // Requests that hang, for half a minute each, must not delay the others.
        let arguments = ["--namespace", &self.namespace, "--concurrency", "32"];
        let (port, ca) = (&self.proxy.listener.port, &self.proxy.authority.pem);
        self.operator = Some(Operator::spawn_at(&self.namespace, &token, port, ca, &arguments));
    }

    /// As in a power cut.
    pub fn kill_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.kill();
        }
    }

    pub fn operator(&self) -> &Operator {
        self.operator.as_ref().expect("it was started")
    }

    /// An InferenceService without replicas.
    pub async fn create(api: &Api<InferenceService>, name: &str) {
        let object = InferenceService::new(name, spec("demo/model", 0, "L40S"));
        api.create(&PostParams::default(), &object).await.expect("created");
    }

    pub async fn traces(&self) -> BTreeSet<String> {
        snapshot::traces(&self.client, &self.namespace).await
    }

    /// The snapshot once this number of InferenceServices match their specs.
    pub async fn settles(&self, count: usize) -> Snapshot {
        within(SETTLES_WITHIN, &format!("all in {} are as their specs say", self.namespace), || async {
            let snapshot = self.snapshot().await?;
            let found = snapshot.keys().filter(|name| name.starts_with("InferenceService ")).count();
            match snapshot.iter().find(|(_, object)| !is_settled(object)) {
                None if found == count => Ok(snapshot),
                None => Err(format!("{found} InferenceServices")),
                Some((name, object)) => Err(format!("{name}: {object}")),
            }
        })
        .await
    }

    pub async fn becomes(&self, expected: &Snapshot) {
        within(SETTLES_WITHIN, &format!("{} is as without faults", self.namespace), || async {
            snapshot::difference(expected, &self.snapshot().await?).map_or(Ok(()), Err)
        })
        .await;
    }

    async fn snapshot(&self) -> Result<Snapshot, String> {
        tokio::time::sleep(BETWEEN_SNAPSHOTS).await;
        snapshot::take(&self.client, &self.namespace).await
    }

    /// Waits until the operator neither writes nor reads, except for reads of objects that wait for a name: each is
    /// retried every few seconds.
    pub async fn rests(&self, waiting: &[&str]) {
        let waits = |entry: &&Entry| matches!(entry, Entry::Asked(asked) if !asked.is_write && waiting.iter().any(|name| asked.is_of(name)));
        within(SETTLES_WITHIN, &format!("{} is at rest", self.namespace), || async {
            let before = self.proxy.log().len();
            tokio::time::sleep(Duration::from_secs(6)).await;
            let queued = self.operator().metric("workqueue_depth").await;
            if queued > f64::from(u32::try_from(waiting.len()).expect("few")) {
                return Err(format!("{queued} are in the queue"));
            }
            let log = self.proxy.log();
            let more: Vec<String> =
                log[before..].iter().filter(|entry| !waits(entry)).map(ToString::to_string).collect();
            if more.is_empty() { Ok(()) } else { Err(more.join("\n")) }
        })
        .await;
    }

    pub async fn clean_up(self) {
        self.api.delete_collection(&DeleteParams::foreground(), &ListParams::default()).await.expect("deleted");
        within(SETTLES_WITHIN, "all is collected", || async {
            // Strangers' objects are deleted with the namespace.
            let is_ours =
                |name: &str, object: &Value| name.starts_with("InferenceService ") || object["owners"] != json!([]);
            let left = self.snapshot().await?.iter().filter(|(name, object)| is_ours(name, object)).count();
            if left == 0 { Ok(()) } else { Err(format!("{left} objects left")) }
        })
        .await;
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::background()).await.expect("deleted");
    }
}

/// Leftovers of a failed test must not be reconciled by the next one's operators.
impl Drop for Setup {
    fn drop(&mut self) {
        if std::thread::panicking() {
            leave(&self.namespace);
        }
    }
}

fn is_settled(object: &Value) -> bool {
    let phase = &object["status"]["phase"];
    object["is observed"] != false && (phase.is_null() || phase == "Ready" || phase == "Failed")
}
