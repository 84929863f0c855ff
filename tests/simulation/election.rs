//! Runs in which two operators elect a leader: processes that stand still for longer than the Lease, and what a take-over
//! may cost.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use inference_operator::controller::Memory;
use serde_json::Value;
use simulation::api_server::{Key, Kind, Store, faults};
use simulation::chance::Chance;
use simulation::cluster::{RequestRecord, Shared};
use simulation::operator::in_force;
use simulation::oracle::violation::ViolationKind;

/// A take-over at rest, with all that follows.
const TAKES_OVER: Duration = Duration::from_secs(120);

/// In those, how long a process runs and how long it stands still: longer than the Lease, now and then.
const LONGEST_RUN: Duration = Duration::from_secs(120);
const LONGEST_STOP: Duration = Duration::from_secs(90);

/// Runs the process, and lets it stand still now and then: then it hears of nothing, and of no time that passes.
pub async fn stop_and_go(cluster: Shared, mut chance: Chance, process: impl Future<Output = Memory>) -> Memory {
    let mut process = pin!(process);
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep(chance.up_to(LONGEST_RUN)) => {}
            memory = &mut process => return memory,
        }
        if cluster.lock().faults.on {
            tokio::time::sleep(chance.up_to(LONGEST_STOP)).await;
        }
    }
}

/// The leader has ended, and nothing was to be done: so it is for its successor, which looks only at what has changed since
/// the status was written, as after a restart.
pub async fn is_taken_over(cluster: &Shared) {
    let (since, version) = cluster.with(|inner| (inner.log.len(), inner.store.version));
    // Of a catalogue that cannot be accepted, an operator may know better than its status which one was before.
    let is_certain = in_force(&cluster.lock().store).is_some() && cluster.lock().store.missed.is_empty();
    let said = said(&cluster.lock().store);
    tokio::time::sleep(TAKES_OVER).await;
    let mut inner = cluster.lock();
    if inner.leases.holder().is_none() {
        inner.report(ViolationKind::NotQuiet, "nobody has taken over");
    }
    if !is_certain {
        return;
    }
    let is_of = |request: &RequestRecord| said.contains(&Key { kind: Kind::InferenceService, ..request.key.clone() });
    // What a list from the past has shown is looked at.
    let is_clear = !inner.faults.kinds.contains_key(faults::FROM_THE_PAST);
    let mut in_vain = inner.log[since..].iter().filter(|request| is_of(request) && (is_clear || request.wrote));
    let in_vain = in_vain.next().map(ToString::to_string);
    let is_all = said.len() == inner.store.of_kind(Kind::InferenceService).count();
    if is_all && inner.store.version != version || in_vain.is_some() {
        inner.report(ViolationKind::NotQuiet, format!("a take-over cost a write or a request: {in_vain:?}"));
    }
}

/// The InferenceServices whose status speaks of the children as they are, and of nothing that is looked at from time to
/// time.
fn said(store: &Store) -> BTreeSet<Key> {
    let is_as =
        |child: Option<&Value>, said: &Value| child.map(|child| &child["metadata"]["resourceVersion"]) == Some(said);
    let is_said = |(key, owner): &(&Key, &Value)| {
        let (status, observed) = (&owner["status"], &owner["status"]["observed"]);
        let [deployment, service] = Kind::CHILDREN.map(|kind| store.get(&Key { kind, ..(*key).clone() }));
        is_as(deployment, &observed["deploymentResourceVersion"])
            && is_as(service, &observed["serviceResourceVersion"])
            && matches!(status["phase"].as_str(), Some("Ready" | "Paused"))
    };
    store.of_kind(Kind::InferenceService).filter(is_said).map(|(key, _)| key.clone()).collect()
}
