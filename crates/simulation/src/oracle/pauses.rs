//! Does the operator leave alone what it has called paused? Called by the server when a request of the operator
//! arrives; judges by what the process that sends it must know.

use std::collections::BTreeMap;

use serde_json::Value;

use super::invariants::report_once;
use super::violation::ViolationKind;
use crate::api_server::request::ApiRequest;
use crate::api_server::{Key, Kind, Store};
use crate::cluster::Inner;
use crate::cluster::rollout::number;

/// The first lists of a process may be this many versions behind, and what it knows from them.
const STALENESS: u64 = 12;

/// The number of an operator process in this run.
pub type Process = usize;

#[derive(Default)]
pub struct Pauses {
    /// The version of the datastore at the start of each process. None: it has been restored since.
    starts: Vec<Option<u64>>,
    /// The newest pauses that a process has reported: the uid and the generation.
    told: BTreeMap<(Process, Key), (Value, i64)>,
}

/// A process that will send requests.
pub fn process_starts(inner: &mut Inner) -> Process {
    let starts = &mut inner.invariants.pauses.starts;
    starts.push(Some(inner.store.version));
    starts.len() - 1
}

/// After a restore of the datastore, all that was known may be of another past.
pub fn forget(pauses: &mut Pauses) {
    pauses.starts.iter_mut().for_each(|start| *start = None);
    pauses.told.clear();
}

/// A list of the InferenceServices from the past is served. One that it does not contain, or another of its name, is
/// forgotten, and is a new one when the watch reports it.
pub fn lists_the_past(inner: &mut Inner, version: u64) {
    let Inner { store, invariants, .. } = inner;
    if invariants.pauses.told.is_empty() {
        return;
    }
    let listed = store.snapshot(Kind::InferenceService, version);
    let is_listed = |key: &Key, uid: &Value| listed.get(key).is_some_and(|object| object["metadata"]["uid"] == *uid);
    invariants.pauses.told.retain(|(_, key), (uid, _)| is_listed(key, uid));
}

pub fn request_arrives(inner: &mut Inner, process: Process, request: &ApiRequest) {
    match request {
        ApiRequest::Status { key, uid, status } if status["phase"] == "Paused" => {
            let told = (uid.clone(), number(&status["observedGeneration"]));
            inner.invariants.pauses.told.insert((process, key.clone()), told);
        }
        ApiRequest::Create { key, .. } | ApiRequest::Apply { key, .. } | ApiRequest::ReplacePorts { key, .. } => {
            let owner = Key { kind: Kind::InferenceService, ..key.clone() };
            let Some(pause) = pause(&inner.store, &owner) else { return };
            if must_know(&inner.invariants.pauses, process, &owner, &pause) {
                let verb = request.verb();
                let what = format!("{verb} {key:?}, which is paused since version {}", pause.since);
                let about = format!("{} {}", pause.uid, pause.generation);
                report_once(inner, ViolationKind::PausedWrite, about, what);
            }
        }
        _ => {}
    }
}

/// An InferenceService whose spec is paused and whose status says so.
struct Pause {
    uid: Value,
    generation: i64,
    /// The version that first said so of this generation.
    since: u64,
}

fn pause(store: &Store, key: &Key) -> Option<Pause> {
    let object = store.get(key)?;
    let (uid, generation) = (object["metadata"]["uid"].clone(), number(&object["metadata"]["generation"]));
    let says_so = |object: &Value| {
        let (metadata, status) = (&object["metadata"], &object["status"]);
        metadata["uid"] == uid
            && number(&metadata["generation"]) == generation
            && number(&status["observedGeneration"]) == generation
            && status["phase"] == "Paused"
            && object["spec"]["paused"] == true
    };
    let changes = store.history.iter().rev().filter(|change| change.key == *key);
    let first = changes.take_while(|change| change.after.as_ref().is_some_and(says_so)).last()?;
    Some(Pause { since: first.version, uid, generation })
}

/// The process has said it itself, or it has started when this had been said for a while. Another one may have an older
/// view, and then writes what was desired before.
fn must_know(pauses: &Pauses, process: Process, key: &Key, pause: &Pause) -> bool {
    let has_told = || {
        let told = pauses.told.get(&(process, key.clone()));
        told.is_some_and(|(uid, generation)| *uid == pause.uid && *generation == pause.generation)
    };
    let start = pauses.starts.get(process).copied().flatten();
    start.is_some_and(|start| start >= pause.since + STALENESS) || has_told()
}
