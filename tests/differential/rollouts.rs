//! Does the simulated Deployment controller behave like Kubernetes' own? Runs the same scenario on both, on a control
//! plane whose controllers run, and compares the Deployment at rest and the reasons that its condition Progressing
//! had until then. scripts/test.sh runs this before it stops the controllers.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Request;
use inference_operator::api::InferenceServiceSpec;
use inference_operator::catalog::Catalog;
use inference_operator::model::uid::Uid;
use inference_operator::reconcile::deployment;
use inference_operator::reconcile::validate::validate;
use inference_operator::settings::Pods;
use kube::Client;
use serde_json::{Value, json};
use simulation::chance::Chance;
use simulation::cluster::pods::Nodes;
use simulation::cluster::rollout::{Rollout, condition, number};
use tokio::time::Instant;

/// How long a status must stay unchanged to count as at rest; and how long to wait for that.
const REST: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(120);
const LOOKS: Duration = Duration::from_millis(20);

/// One action, and the nodes from then on.
struct Step {
    what: &'static str,
    patch: Value,
    cordoned: bool,
    /// Are the reasons until then the same each time?
    is_determined: bool,
}

fn story() -> Vec<Step> {
    let step = |what, patch, is_determined| Step { what, patch, cordoned: false, is_determined };
    let model = |model: &str| json!({"spec": {"template": {"metadata": {"annotations": {"model": model}}}}});
    vec![
        step("create", json!({}), false),
        step("scale up", json!({"spec": {"replicas": 2}}), true),
        step("scale to 0", json!({"spec": {"replicas": 0}}), true),
        step("0 to 1", json!({"spec": {"replicas": 1}}), true),
        step("a new template", model("b"), false),
        step("an earlier template", model("a"), false),
        step("annotate", json!({"metadata": {"annotations": {"x": "y"}}}), true),
        step("pause", json!({"spec": {"paused": true}}), false),
        step("a new template while paused", model("c"), true),
        step("resume", json!({"spec": {"paused": false}}), false),
        Step { cordoned: true, ..step("scale up without nodes", json!({"spec": {"replicas": 2}}), true) },
        step("nodes again", json!({}), true),
    ]
}

/// The compared state.
#[derive(Debug, PartialEq)]
struct Seen {
    conditions: BTreeSet<(String, String, String)>,
    counts: Vec<i64>,
    reasons: BTreeSet<String>,
}

fn seen(status: &Value, reasons: BTreeSet<String>) -> Seen {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let names = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas"];
    Seen {
        conditions: conditions.map(|one| (text(&one["type"]), text(&one["status"]), text(&one["reason"]))).collect(),
        counts: names.iter().map(|name| number(&status[*name])).collect(),
        reasons,
    }
}

fn note(status: &Value, reasons: &mut BTreeSet<String>) {
    reasons.extend(condition(status, "Progressing").and_then(|one| one["reason"].as_str()).map(str::to_owned));
}

fn built(namespace: &str) -> Value {
    let (spec, catalog) = (InferenceServiceSpec::new("m", "L40S"), Catalog::default());
    let valid = validate(namespace, "one", Uid::default(), &spec, &catalog).expect("valid");
    let mut object = deployment::build(&valid, &Pods::default()).expect("built");
    // Without an owner: the garbage collector would delete it.
    object["metadata"] = json!({"name": "one", "namespace": namespace});
    object["spec"]["template"]["metadata"]["annotations"] = json!({"model": "a"});
    object
}

// === the simulated one ===

struct SimulatedController {
    deployment: Value,
    rollout: Rollout,
    chance: Chance,
    now: Instant,
}

impl SimulatedController {
    fn act(&mut self, step: &Step) -> Seen {
        let before = (self.deployment["spec"].clone(), self.deployment["metadata"]["annotations"].clone());
        crate::simulated::merge(&mut self.deployment, &step.patch);
        if before != (self.deployment["spec"].clone(), self.deployment["metadata"]["annotations"].clone()) {
            let generation = number(&self.deployment["metadata"]["generation"]) + 1;
            self.deployment["metadata"]["generation"] = json!(generation);
        }
        let mut reasons = BTreeSet::new();
        loop {
            let far = self.now + Duration::from_secs(1_000_000);
            let nodes = Nodes { cordoned_until: step.cordoned.then_some(far), quota_until: None };
            let (scaled, status) = self.rollout.sync(&self.deployment);
            let mut moved = scaled || status != self.deployment["status"];
            self.deployment["status"] = status;
            note(&self.deployment["status"], &mut reasons);
            for set in &mut self.rollout.sets {
                moved |= set.step(&nodes, &mut self.chance, self.now);
            }
            // All starting pods become ready.
            self.now += Duration::from_secs(100);
            if !moved {
                return seen(&self.deployment["status"], reasons);
            }
        }
    }
}

// === the real one ===

struct RealController {
    client: Client,
    path: String,
}

impl RealController {
    async fn merge(&self, path: &str, changes: &Value) {
        let request = Request::patch(path).header("content-type", "application/merge-patch+json");
        let request = request.body(changes.to_string().into_bytes()).expect("a request");
        self.client.request::<Value>(request).await.expect("patched");
    }

    async fn get(&self, path: &str) -> Value {
        let request = Request::get(path).body(Vec::new()).expect("a request");
        self.client.request::<Value>(request).await.expect("found")
    }

    async fn act(&self, step: &Step) -> Seen {
        for node in self.get("/api/v1/nodes").await["items"].as_array().into_iter().flatten() {
            let path = format!("/api/v1/nodes/{}", node["metadata"]["name"].as_str().unwrap_or_default());
            self.merge(&path, &json!({"spec": {"unschedulable": step.cordoned}})).await;
        }
        self.merge(&self.path, &step.patch).await;
        let (mut reasons, mut last, begun) = (BTreeSet::new(), Value::Null, Instant::now());
        let mut since = Instant::now();
        while since.elapsed() < REST {
            assert!(begun.elapsed() < PATIENCE, "{} does not come to rest: {last}", step.what);
            tokio::time::sleep(LOOKS).await;
            let object = self.get(&self.path).await;
            let is_observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            if is_observed {
                note(&object["status"], &mut reasons);
            }
            if object["status"] != last || !is_observed {
                last = object["status"].clone();
                since = Instant::now();
            }
        }
        seen(&last, reasons)
    }
}

#[tokio::test]
async fn the_simulated_deployment_controller_does_as_the_real_one() {
    let namespace = format!("differential-{}-rollouts", std::process::id());
    let client = Client::try_default().await.expect("KUBECONFIG");
    let make = async |path: &str, object: &Value| {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(object.to_string().into_bytes()).expect("a request");
        client.request::<Value>(request).await.expect("created");
    };
    make("/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await;
    let collection = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    make(&collection, &built(&namespace)).await;
    let real = RealController { client: client.clone(), path: format!("{collection}/one") };
    let mut deployment = built(&namespace);
    deployment["metadata"]["generation"] = json!(1);
    let mut simulated =
        SimulatedController { deployment, rollout: Rollout::default(), chance: Chance::new(0), now: Instant::now() };
    let mut story_so_far = String::new();
    for step in story() {
        let (mut real, mut simulated) = (real.act(&step).await, simulated.act(&step));
        story_so_far = format!("{story_so_far}\n{}: {real:?}", step.what);
        if !step.is_determined {
            real.reasons.clear();
            simulated.reasons.clear();
        }
        assert_eq!(real, simulated, "left the real one, right the simulated one{story_so_far}");
    }
    println!("rollouts: {} steps alike", story().len());
    let request = Request::delete(format!("/api/v1/namespaces/{namespace}")).body(Vec::new()).expect("a request");
    let _ = client.request::<Value>(request).await;
}
