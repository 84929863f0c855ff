//! Actions of users and strangers, drawn from a seed: InferenceServices are created, changed, deleted and recreated;
//! children are edited, relabeled and deleted, and names are taken. The tests run the same ones in several
//! namespaces.

use inference_operator::api::InferenceService;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use simulation::api_server::Kind;
use simulation::chance::Chance;

use crate::budget::ActionCounts;

pub enum UserAction {
    Make(String, Value),
    Change(String, Value),
    Delete(String),
    /// A stranger's actions on a child: change its replicas, change its label, delete it.
    Edit(String),
    Relabel(Kind, String),
    Lose(Kind, String),
    /// A stranger creates an object of that name first.
    Take(Kind, String),
}

/// The names that strangers take, and the kind of their object.
pub const TAKEN: [(&str, Kind); 2] = [("taken-1", Kind::Deployment), ("taken-2", Kind::Service)];

/// Creates `count` InferenceServices, with about as many changes in between, and those whose names are taken.
pub fn plan(chance: &mut Chance, count: u64) -> Vec<UserAction> {
    let mut plan = Vec::new();
    for (name, kind) in TAKEN {
        plan.push(UserAction::Take(kind, name.to_owned()));
        plan.push(UserAction::Make(name.to_owned(), spec(chance)));
    }
    let name = |number: u64| format!("demo-{number}");
    for number in 0..count {
        plan.push(UserAction::Make(name(number), first_spec(chance)));
        let other = name(chance.below(number + 1));
        match chance.below(10) {
            0..=3 => plan.push(UserAction::Change(other, spec(chance))),
            4 | 5 => plan.push(UserAction::Change(other, json!({"replicas": chance.below(3)}))),
            6 => plan.push(UserAction::Change(other, json!({"maxBatchSize": null}))),
            7 => {
                plan.push(UserAction::Delete(other.clone()));
                plan.push(UserAction::Make(other, first_spec(chance)));
            }
            _ => {}
        }
        let other = name(chance.below(number + 1));
        let child = chance.pick(&Kind::CHILDREN).copied().unwrap_or(Kind::Service);
        match chance.below(8) {
            0 => plan.push(UserAction::Edit(other)),
            1 => plan.push(UserAction::Relabel(child, other)),
            2 => plan.push(UserAction::Lose(child, other)),
            _ => {}
        }
    }
    // For good: these names are not used again.
    plan.extend((0..count).step_by(10).map(|number| UserAction::Delete(name(number))));
    plan
}

/// The number of actions on each InferenceService and its children.
pub fn count(plan: &[UserAction]) -> ActionCounts {
    let mut actions = ActionCounts::new();
    for action in plan {
        match action {
            UserAction::Make(name, _)
            | UserAction::Change(name, _)
            | UserAction::Edit(name)
            | UserAction::Relabel(_, name)
            | UserAction::Lose(_, name) => *actions.entry(name.clone()).or_default() += 1,
            UserAction::Delete(_) | UserAction::Take(..) => {}
        }
    }
    actions
}

impl UserAction {
    pub async fn act(&self, client: &Client, namespace: &str) {
        let api = Api::<InferenceService>::namespaced(client.clone(), namespace);
        let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
        let services = Api::<Service>::namespaced(client.clone(), namespace);
        let (parameters, delete) = (PatchParams::default(), DeleteParams::background());
        match self {
            UserAction::Make(name, spec) => {
                let spec = serde_json::from_value(spec.clone()).expect("a spec");
                api.create(&PostParams::default(), &InferenceService::new(name, spec)).await.expect("created");
            }
            UserAction::Change(name, spec) => {
                let patch = Patch::Merge(json!({"spec": spec}));
                api.patch(name, &parameters, &patch).await.expect("changed");
            }
            UserAction::Delete(name) => drop(api.delete(name, &delete).await.expect("deleted")),
            // The child may not exist yet, or no longer.
            UserAction::Edit(name) => {
                let patch = Patch::Merge(json!({"spec": {"replicas": 7}}));
                drop(deployments.patch(name, &parameters, &patch).await);
            }
            UserAction::Relabel(kind, name) => {
                let patch = Patch::Merge(json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}));
                match kind {
                    Kind::Service => drop(services.patch(name, &parameters, &patch).await),
                    _ => drop(deployments.patch(name, &parameters, &patch).await),
                }
            }
            UserAction::Lose(Kind::Service, name) => drop(services.delete(name, &delete).await),
            UserAction::Lose(_, name) => drop(deployments.delete(name, &delete).await),
            UserAction::Take(Kind::Service, name) => {
                services.create(&PostParams::default(), &strangers(Kind::Service, name)).await.expect("created");
            }
            UserAction::Take(kind, name) => {
                deployments.create(&PostParams::default(), &strangers(*kind, name)).await.expect("created");
            }
        }
    }
}

fn strangers<T: DeserializeOwned>(kind: Kind, name: &str) -> T {
    let labels = json!({"app": "foreign"});
    let spec = match kind {
        Kind::Service => json!({"selector": labels, "ports": [{"port": 81}]}),
        _ => json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web"}]}}}),
    };
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).expect("an object")
}

/// One in ten is rejected. A change never is: the existing children stay then, and in which state depends on timing.
fn first_spec(chance: &mut Chance) -> Value {
    let mut spec = spec(chance);
    if chance.below(10) == 0 {
        spec["gpuType"] = json!("T4");
    }
    spec
}

/// One in ten has pods, which take the control plane time.
fn spec(chance: &mut Chance) -> Value {
    let gpu_type = chance.pick(&["A100", "H100", "L40S"]).copied().unwrap_or_default();
    let replicas = u64::from(chance.below(10) == 0);
    let mut spec =
        json!({"model": format!("org/model-{}", chance.below(3)), "gpuType": gpu_type, "replicas": replicas});
    if chance.per_mille(300) {
        spec["maxBatchSize"] = json!(1 + chance.below(9));
    }
    spec
}
