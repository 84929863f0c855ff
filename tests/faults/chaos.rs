//! Faults in so many of a hundred requests, while users are at work: the end is the same as without.

use std::collections::BTreeSet;
use std::time::Duration;

use inference_operator::api::InferenceService;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::budget::{self, Deeds};
use crate::chance::Chance;
use crate::deeds::{self, Deed};
use crate::proxy::Proxy;
use crate::seed;
use crate::snapshot::{self, Snapshot};
use crate::support::wait::within;
use crate::support::{Fixture, Operator, kubectl};

const COUNT: u64 = 60;

/// Faults in a thousand requests. The first is what the others are held against.
const RATES: [u64; 4] = [0, 30, 100, 250];

/// Between two deeds.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest that the operator waits before it tries again is a minute.
const SETTLES_WITHIN: Duration = Duration::from_secs(180);

/// An operator that serves one namespace, through a proxy of its own.
struct Side {
    namespace: String,
    api: Api<InferenceService>,
    client: Client,
    proxy: Proxy,
    operator: Operator,
}

impl Side {
    async fn start(client: &Client, seed: u64, rate: u64) -> Side {
        let namespace = format!("chaos-{}-rate-{rate}", std::process::id());
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).expect("a namespace");
        Api::all(client.clone()).create(&PostParams::default(), &object).await.expect("created");
        let proxy = Proxy::start(seed ^ rate, rate).await;
        let token = kubectl(&["create", "token", "-n", "inference-operator", "inference-operator"]);
        // Those that hang, for half a minute each, must not keep the others waiting.
        let arguments = ["--namespace", &namespace, "--concurrency", "32"];
        let (port, ca) = (&proxy.listener.port, &proxy.authority.pem);
        let operator = Operator::spawn_at(&namespace, &token, port, ca, &arguments);
        Side { api: Api::namespaced(client.clone(), &namespace), client: client.clone(), namespace, proxy, operator }
    }

    async fn settles(&self) -> Snapshot {
        within(SETTLES_WITHIN, "all are as their specs say", || async {
            let snapshot = snapshot::take(&self.client, &self.namespace).await?;
            match snapshot.iter().find(|(_, object)| !is_settled(object)) {
                None => Ok(snapshot),
                Some((name, object)) => Err(format!("{name}: {object}")),
            }
        })
        .await
    }

    async fn becomes(&self, expected: &Snapshot) {
        within(SETTLES_WITHIN, &format!("{} is as without faults", self.namespace), || async {
            let found = snapshot::take(&self.client, &self.namespace).await?;
            snapshot::difference(expected, &found).map_or(Ok(()), Err)
        })
        .await;
    }

    /// Neither writes nor reads any more.
    async fn rests(&self) {
        self.operator.settled().await;
        within(SETTLES_WITHIN, &format!("{} is at rest", self.namespace), || async {
            let before = self.proxy.log().len();
            tokio::time::sleep(Duration::from_secs(6)).await;
            let log = self.proxy.log();
            if log.len() == before {
                return Ok(());
            }
            Err(log[before..].iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })
        .await;
    }

    fn keeps_its_budget(&self, deeds: &Deeds) {
        let complaints = budget::complaints(&self.proxy.log(), deeds);
        println!("{}: {}", self.namespace, budget::totals(&self.proxy.log()));
        assert!(complaints.is_empty(), "{}:\n{}", self.namespace, complaints.join("\n"));
    }

    async fn clean_up(self) {
        self.api.delete_collection(&DeleteParams::foreground(), &ListParams::default()).await.expect("deleted");
        within(SETTLES_WITHIN, "all is collected", || async {
            let left = snapshot::take(&self.client, &self.namespace).await?.len();
            if left == 0 { Ok(()) } else { Err(format!("{left} objects left")) }
        })
        .await;
        let namespaces = Api::<Namespace>::all(self.client);
        namespaces.delete(&self.namespace, &DeleteParams::background()).await.expect("deleted");
    }
}

fn is_settled(object: &serde_json::Value) -> bool {
    let phase = &object["status"]["phase"];
    object["is observed"] != false && (phase.is_null() || phase == "Ready" || phase == "Failed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_on_the_way_the_end_is_as_if_nothing_had() {
    let fixture = Fixture::new("chaos").await;
    let seed = seed::drawn();
    let plan = deeds::plan(&mut Chance::new(seed), COUNT);
    let mut sides = Vec::new();
    for rate in RATES {
        sides.push(Side::start(&fixture.client, seed, rate).await);
    }
    for deed in &plan {
        for side in &sides {
            deed.act(&side.api).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let counts: Vec<(u64, u64)> = sides.iter().map(|side| side.proxy.stop_faults()).collect();
    println!("faults, of requests and of lines of watches: {counts:?}");
    assert!(
        counts[1..].iter().all(|(requests, _)| *requests > 0) && counts.last().is_some_and(|(_, lines)| *lines > 0)
    );

    let expected = sides[0].settles().await;
    assert_eq!(names(&expected), expected_names(&plan), "without faults");
    let deeds = deeds::count(&plan);
    for side in &sides {
        side.becomes(&expected).await;
        side.rests().await;
        side.keeps_its_budget(&deeds);
    }
    for side in sides {
        side.clean_up().await;
    }
    fixture.clean_up().await;
}

fn names(snapshot: &Snapshot) -> BTreeSet<&str> {
    snapshot.keys().filter_map(|name| name.strip_prefix("InferenceService ")).collect()
}

fn expected_names(plan: &[Deed]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for deed in plan {
        match deed {
            Deed::Make(name, _) => names.insert(name.as_str()),
            Deed::Delete(name) => names.remove(name.as_str()),
            Deed::Change(..) => false,
        };
    }
    names
}
