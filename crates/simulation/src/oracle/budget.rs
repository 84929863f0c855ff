//! The write budget of one run: a number of writes for each event that happened to an object, and for each fault and
//! start of the operator, which may have caused a repeat, and for each change of the catalogue. Called by the simulation; pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api_server::{Key, Kind};
use crate::cluster::{Inner, RequestRecord, UserAction};

/// Actions on a child that call for no write of the operator.
pub const NOISE: [&str; 2] = ["annotate", "put a label of their own on"];
/// Each event allows one write per child, and some of the status as the replicas become ready.
const CHILD_WRITES: u64 = 1;
const STATUS_WRITES: u64 = 4;
/// A new Service is created by a POST; the first apply makes the operator a manager of its fields, which is a write
/// too.
const NEW_SERVICE_WRITES: u64 = 2;

/// Where another port must go, a patch does that before the apply, and of a Service that spec.service shapes so may any
/// change of the spec.
const PORTS_WRITES: u64 = 2;

/// For one InferenceService and its children: the reasons to write each object, or the number of writes.
#[derive(Debug, Default)]
struct Count {
    deployments: u64,
    services: u64,
    statuses: u64,
}

/// Empty if everything is within the budget.
pub fn violations(inner: &Inner) -> Vec<String> {
    // Two operators that hear of a change at different times have different settings meanwhile, and undo each other's work.
    if inner.invariants.operators > 1 && inner.actions.iter().any(|action| action.key == Key::catalog()) {
        return Vec::new();
    }
    let shaped = shaped(inner);
    let mut actions: BTreeMap<(&str, &str), Count> = BTreeMap::new();
    for UserAction { what, key, .. } in inner.actions.iter().filter(|action| !NOISE.contains(&action.what)) {
        let count = actions.entry((&key.namespace, &key.name)).or_default();
        let is_shaped = shaped.contains(&(&*key.namespace, &*key.name));
        count.services += match key.kind {
            Kind::Service => PORTS_WRITES,
            Kind::InferenceService if what.contains("create") || is_shaped => NEW_SERVICE_WRITES,
            // The Service depends on the name alone.
            _ => 0,
        };
        count.deployments += u64::from(key.kind != Kind::Service);
        count.statuses += 1;
    }
    let mut writes: BTreeMap<(&str, &str), Count> = BTreeMap::new();
    for RequestRecord { verb, key, .. } in inner.log.iter().filter(|request| request.wrote) {
        let count = writes.entry((&key.namespace, &key.name)).or_default();
        match (*verb, key.kind) {
            ("status", _) => count.statuses += 1,
            (_, Kind::Service) => count.services += 1,
            _ => count.deployments += 1,
        }
    }
    let judge = |(&(namespace, name), writes): (&(&str, &str), &Count)| {
        let disturbances = inner.disturbances.of(namespace, name);
        let none = Count::default();
        let actions = actions.get(&(namespace, name)).unwrap_or(&none);
        let is_within = writes.deployments <= CHILD_WRITES * (actions.deployments + disturbances)
            && writes.services <= actions.services + CHILD_WRITES * disturbances
            && writes.statuses <= STATUS_WRITES * (actions.statuses + disturbances);
        (!is_within).then(|| {
            format!("over budget: {namespace}/{name}: {writes:?} were written, for {actions:?} and {disturbances} faults and starts")
        })
    };
    writes.iter().filter_map(judge).collect()
}

/// The InferenceServices that have or had a `spec.service`, or a pause after which the Service is looked at again.
fn shaped(inner: &Inner) -> BTreeSet<(&str, &str)> {
    let may_shape = |object: &Value| !object["spec"]["service"].is_null() || !object["spec"]["paused"].is_null();
    let changes = inner.store.history.iter().filter(|change| change.key.kind == Kind::InferenceService);
    let shaped = changes.filter(|change| change.after.as_ref().is_some_and(may_shape));
    shaped.map(|change| (&*change.key.namespace, &*change.key.name)).collect()
}
