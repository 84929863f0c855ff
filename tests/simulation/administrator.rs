//! The administrator: creates, changes, breaks and deletes the catalogue, and sometimes offers an engine whose image no
//! registry has. There is one in every third run. All that it does is drawn from numbers of its own, so that seeds without
//! one mean what they meant before there were catalogues.

use std::time::Duration;

use serde_json::{Value, json};
use simulation::api_server::Key;
use simulation::chance::Chance;
use simulation::cluster::pods::NO_IMAGE;
use simulation::cluster::{Inner, Shared, UserAction};
use tokio::time::Instant;

/// Of this many runs one has an administrator. The number that a run's seed is mixed with leaves the seeds that had found
/// a bug before there were catalogues without one.
const RUNS: u64 = 3;
const MIXED_WITH: u64 = 0xce9;

/// Actions per thousand of those of the users.
const RATE: u64 = 100;
const LONGEST_CALM: Duration = Duration::from_secs(30 * 60);
const BROKEN: &str = "{nothing}";

pub struct Administrator {
    chance: Chance,
}

impl Administrator {
    /// None: this run has none, and its API server knows no catalogues.
    pub fn draw(seed: u64) -> Option<Administrator> {
        let mut chance = Chance::new(seed ^ MIXED_WITH);
        (chance.below(RUNS) == 0).then_some(Administrator { chance })
    }

    /// Does the API server know the kind from the start? Otherwise it learns of it before the first catalogue is made.
    pub fn begins_with_the_kind(&mut self) -> bool {
        self.chance.per_mille(700)
    }

    /// Between two actions of the users.
    pub async fn act_sometimes(&mut self, cluster: &Shared) {
        if !self.chance.per_mille(RATE) {
            return;
        }
        self.act(cluster);
        if self.chance.per_mille(400) {
            tokio::time::sleep(self.chance.up_to(LONGEST_CALM)).await;
        }
    }

    /// When faults have stopped: a last change, more often than not one that puts right what is wrong. What is wrong still
    /// may stay so.
    pub fn conclude(&mut self, cluster: &Shared) {
        if self.chance.per_mille(500) {
            self.act(cluster);
        }
    }

    fn act(&mut self, cluster: &Shared) {
        cluster.with(|inner| {
            let version = inner.store.version;
            let what = self.change(inner);
            if inner.store.version != version {
                inner.actions.push(UserAction { at: Instant::now(), what, key: Key::catalog() });
                // Each InferenceService may have to be written once more, when its turn comes.
                inner.disturbances.add(None);
            }
        });
        cluster.wake();
    }

    fn change(&mut self, inner: &mut Inner) -> &'static str {
        inner.store.lacks_catalog = false;
        let chance = &mut self.chance;
        let Some(found) = inner.store.get(&Key::catalog()).map(|found| found["spec"].clone()) else {
            let mut spec = json!({});
            for _ in 0..=chance.below(2) {
                change(&mut spec, chance);
            }
            drop(inner.store.create(&Key::catalog(), json!({"metadata": {}, "spec": spec})));
            return "create";
        };
        if chance.per_mille(100) {
            inner.store.delete(&Key::catalog());
            return "delete";
        }
        let mut spec = found.clone();
        let what = if is_wrong(&found) && chance.per_mille(600) {
            spec["engines"] = engine(chance.below(4).to_string().as_str(), "{model}");
            "put right"
        } else {
            change(&mut spec, chance)
        };
        inner.store.update(&Key::catalog(), |object| object["spec"] = spec);
        what
    }
}

fn is_wrong(spec: &Value) -> bool {
    let text = spec.to_string();
    text.contains(BROKEN) || text.contains(NO_IMAGE)
}

fn engine(tag: &str, argument: &str) -> Value {
    json!([{
        "name": "vllm",
        "image": format!("example.com/vllm:{tag}"),
        "command": ["vllm", "serve"],
        "args": [argument, "--port={port}", "--max-num-seqs={maxBatchSize}"]
    }])
}

/// Changes one thing of a catalogue.
fn change(spec: &mut Value, chance: &mut Chance) -> &'static str {
    let pick = |chance: &mut Chance, values: [Value; 4]| chance.pick(&values).cloned().unwrap_or_default();
    match chance.below(10) {
        0..=2 => {
            spec["engines"] = engine(&chance.below(4).to_string(), "{model}");
            "change the engine of"
        }
        3 | 4 => {
            spec["engines"] = engine(NO_IMAGE.trim_start_matches(':'), "{model}");
            "take the image from"
        }
        5 => {
            // With another image too, which must not be seen anywhere.
            spec["engines"] = engine(&(4 + chance.below(4)).to_string(), BROKEN);
            "break"
        }
        6 | 7 => {
            let name = chance.pick(&["T4", "L40S", "H100"]).copied().unwrap_or_default();
            let product = format!("product-{}", chance.below(3));
            let label = json!({"key": "nvidia.com/gpu.product", "values": [product]});
            spec["gpuTypes"] = json!([{"name": name, "nodeLabels": [label]}]);
            "change a GPU type of"
        }
        8 => {
            spec["defaults"]["loadSeconds"] = pick(chance, [60.into(), 60.into(), 120.into(), 300.into()]);
            "change the load time of"
        }
        _ => {
            spec["rollout"]["maxUnavailable"] = pick(chance, [1.into(), 2.into(), 3.into(), "50%".into()]);
            "change the rollout of"
        }
    }
}
