//! What users do, drawn from a seed: InferenceServices made, changed, deleted and made anew. Done by the tests in
//! several namespaces alike.

use inference_operator::api::InferenceService;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::budget::Deeds;
use crate::chance::Chance;

pub enum Deed {
    Make(String, Value),
    Change(String, Value),
    Delete(String),
}

/// So many InferenceServices, with about as many changes in between.
pub fn plan(chance: &mut Chance, count: u64) -> Vec<Deed> {
    let mut plan = Vec::new();
    let name = |number: u64| format!("demo-{number}");
    for number in 0..count {
        plan.push(Deed::Make(name(number), first_spec(chance)));
        let other = name(chance.below(number + 1));
        match chance.below(10) {
            0..=3 => plan.push(Deed::Change(other, spec(chance))),
            4 | 5 => plan.push(Deed::Change(other, json!({"replicas": chance.below(3)}))),
            6 => plan.push(Deed::Change(other, json!({"maxBatchSize": null}))),
            7 => {
                plan.push(Deed::Delete(other.clone()));
                plan.push(Deed::Make(other, first_spec(chance)));
            }
            _ => {}
        }
    }
    // For good: these names come up no more.
    plan.extend((0..count).step_by(10).map(|number| Deed::Delete(name(number))));
    plan
}

/// How often each InferenceService was made and changed.
pub fn count(plan: &[Deed]) -> Deeds {
    let mut deeds = Deeds::new();
    for deed in plan {
        if let Deed::Make(name, _) | Deed::Change(name, _) = deed {
            *deeds.entry(name.clone()).or_default() += 1;
        }
    }
    deeds
}

impl Deed {
    pub async fn act(&self, api: &Api<InferenceService>) {
        match self {
            Deed::Make(name, spec) => {
                let spec = serde_json::from_value(spec.clone()).expect("a spec");
                api.create(&PostParams::default(), &InferenceService::new(name, spec)).await.expect("created");
            }
            Deed::Change(name, spec) => {
                let patch = Patch::Merge(json!({"spec": spec}));
                api.patch(name, &PatchParams::default(), &patch).await.expect("changed");
            }
            Deed::Delete(name) => {
                api.delete(name, &DeleteParams::background()).await.expect("deleted");
            }
        }
    }
}

/// One in ten is refused. Never by a change: what was there before it stays, and that is a matter of time.
fn first_spec(chance: &mut Chance) -> Value {
    let mut spec = spec(chance);
    if chance.below(10) == 0 {
        spec["gpuType"] = json!("T4");
    }
    spec
}

/// One in ten has pods, which the control plane takes its time for.
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
