//! How much the operator may write in one run: so much for each thing that happened to an object, and for each fault
//! and start of the operator, which may have made it do something twice. Called by the simulation; pure.

use std::collections::BTreeMap;

use crate::cluster::Inner;

/// Each child is written once for what happened, and the status follows the replicas as they come.
const CHILD_WRITES: u64 = 1;
const STATUS_WRITES: u64 = 4;

#[derive(Default)]
struct Count {
    deeds: u64,
    deployments: u64,
    services: u64,
    statuses: u64,
}

/// Empty: all is within the budget.
pub fn complaints(inner: &Inner) -> Vec<String> {
    let mut counts: BTreeMap<(&str, &str), Count> = BTreeMap::new();
    for deed in &inner.deeds {
        counts.entry((&deed.key.namespace, &deed.key.name)).or_default().deeds += 1;
    }
    for request in inner.log.iter().filter(|request| request.wrote) {
        let count = counts.entry((&request.key.namespace, &request.key.name)).or_default();
        match (request.verb, request.key.kind) {
            ("status", _) => count.statuses += 1,
            (_, crate::store::Kind::Service) => count.services += 1,
            _ => count.deployments += 1,
        }
    }
    let excuses = inner.faults.count + inner.starts;
    let judge = |((namespace, name), count): (&(&str, &str), &Count)| {
        let causes = count.deeds + excuses;
        let Count { deployments, services, statuses, .. } = count;
        let is_within = *deployments <= CHILD_WRITES * causes
            && *services <= CHILD_WRITES * causes
            && *statuses <= STATUS_WRITES * causes;
        (!is_within).then(|| {
            format!(
                "{namespace}/{name}: {deployments} writes of the Deployment, {services} of the Service, {statuses} of the \
                 status, for {} deeds and {excuses} faults and starts",
                count.deeds
            )
        })
    };
    counts.iter().filter_map(judge).collect()
}
