//! What must hold at every moment, and not only at the end. Called by the server when a request of the operator
//! arrives and when it is answered, by the runs after each action, and periodically (obstacles.rs). Reports each
//! violation once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use inference_operator::time::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::kstatus::{self, Verdict, verdict};
use super::pauses::{self, Pauses};
use super::rollout::{self, Rollouts};
use super::status;
use super::violation::ViolationKind;
use crate::api_server::request::ApiRequest;
use crate::api_server::{Key, Kind, NAMESPACE_TERMINATING, Refusal, Store};
use crate::cluster::Inner;
use crate::cluster::rollout::number;

/// client-go's limits for the Events of one object: a burst, and then one in five minutes.
const EVENT_BURST: f64 = 25.0;
const SECONDS_AN_EVENT: f64 = 300.0;

/// The requests that may be in flight when a namespace begins to terminate: the operator's concurrent reconciles in
/// one namespace, times the requests of each.
const IN_FLIGHT: u64 = 3 * 4;

/// More requests in one second than six InferenceServices and their faults explain.
const STORM: u64 = 400;

#[derive(Default)]
pub struct Invariants {
    /// The number of requests in this second.
    requests: (Timestamp, u64),
    is_storm: bool,
    /// Requests that are rejected each time, and since when.
    pub refused: BTreeMap<(Key, &'static str), Instant>,
    /// Whether anything other than a random fault ever rejected a request.
    pub was_refused: bool,
    /// The obstacles of each object, since when, and at which generation of its Deployment.
    pub since: BTreeMap<(Key, &'static str), (Instant, i64)>,
    /// The datastore's version at the last check.
    pub looked_at: Option<(u64, u64)>,
    /// Until then the operator may not have read the current state, so nothing is expected of it.
    out_of_sync_until: Option<Instant>,
    /// When a watch of children was last rejected.
    pub watch_refused: Option<Instant>,
    /// The kinds listed since the operator last started. Until all are listed the operator reconciles nothing, and so
    /// reports nothing in any status: its log and /readyz show that.
    listed: BTreeSet<Kind>,
    /// Objects as observed, for kstatus itself to judge.
    pub seen: BTreeSet<String>,
    reported: BTreeSet<(ViolationKind, String)>,
    /// Operators that run at the same time: one, unless a second one was started by mistake. Each may post as many
    /// Events as if it were alone, because it does not know about the other.
    pub operators: u8,
    /// They elect a leader.
    pub elect: bool,
    /// The tokens left at that time.
    events: BTreeMap<String, (f64, Instant)>,
    /// The newest generation that a Deployment of this owner uid was built from.
    newest: BTreeMap<String, i64>,
    /// Requests about a namespace since the first rejection because it is terminating.
    dying: BTreeMap<String, u64>,
    early: BTreeSet<String>,
    pub pauses: Pauses,
    pub rollouts: Rollouts,
}

/// Reports this violation, unless it was reported before.
pub fn report_once(inner: &mut Inner, kind: ViolationKind, about: String, what: String) {
    if inner.invariants.reported.insert((kind, about)) {
        inner.report(kind, what);
    }
}

/// A new process does not remember the previous one's requests.
pub fn process_starts(inner: &mut Inner) {
    inner.invariants.events.clear();
    inner.invariants.dying.values_mut().for_each(|count| *count = 0);
    inner.invariants.listed.clear();
    rollout::process_starts(inner);
}

/// Another operator acts from now on, or none does. It does not remember what the one before has done, and looks at that
/// first.
pub fn leader_changes(inner: &mut Inner, for_so_long: Duration) {
    inner.invariants.events.clear();
    inner.invariants.dying.values_mut().for_each(|count| *count = 0);
    inner.invariants.out_of_sync_until = Some(Instant::now() + for_so_long);
    rollout::process_starts(inner);
}

/// A list of this kind was read to its end, which is of this version. It may contain objects of a terminating namespace
/// again.
pub fn is_listed(inner: &mut Inner, kind: Kind, version: u64) {
    inner.invariants.listed.insert(kind);
    if kind == Kind::InferenceCatalog {
        rollout::catalog_is_listed(inner, version);
    }
    if kind == Kind::InferenceService {
        rollout::is_listed(inner, version);
        inner.invariants.dying.values_mut().for_each(|count| *count = 0);
    }
}

/// Since when the operator is in sync; None: always.
pub fn in_sync_since(invariants: &Invariants) -> Option<Instant> {
    let is_in_sync = Kind::FAMILY.iter().all(|kind| invariants.listed.contains(kind));
    if is_in_sync { invariants.out_of_sync_until } else { Some(Instant::now()) }
}

/// The datastore was restored, or a watch is rejected from now on: detecting that takes the operator a while.
pub fn loses_sync(inner: &mut Inner, for_so_long: Duration) {
    inner.invariants.out_of_sync_until = Some(Instant::now() + for_so_long);
    inner.invariants.newest.clear();
    pauses::forget(&mut inner.invariants.pauses);
    inner.invariants.rollouts = Rollouts::default();
    inner.disturbances.add(None);
}

/// Until the watch works again, changes of the children are not reported. The log and /readyz show that it does not.
pub fn watch_is_refused(inner: &mut Inner) {
    inner.invariants.watch_refused = Some(Instant::now());
}

/// Does the operator send requests at full speed, or did it? Counted per second.
pub fn is_storm(inner: &mut Inner) -> bool {
    let second = crate::clock::now();
    let (last, count) = inner.invariants.requests;
    inner.invariants.requests = if last == second { (second, count + 1) } else { (second, 1) };
    if inner.invariants.is_storm {
        return true;
    }
    let is_storm = inner.invariants.requests.1 > STORM;
    inner.invariants.is_storm = is_storm;
    if is_storm {
        let what = inner.log.last().map(ToString::to_string).unwrap_or_default();
        report_once(inner, ViolationKind::Storm, String::new(), what);
    }
    is_storm
}

/// Called when a request arrives: its content is judged by the current state, however late it is served.
pub fn request_arrives(inner: &mut Inner, request: &ApiRequest) {
    match request {
        ApiRequest::Status { key, uid, status, .. } => {
            let refused = inner.invariants.was_refused || inner.faults.count > 0;
            // After a restore, a Deployment of the same generation may differ, until the operator detects the
            // restore.
            let is_deaf = inner.invariants.out_of_sync_until.is_some_and(|until| Instant::now() < until);
            let judged = status::violation(&inner.store, key, uid, status, refused).filter(|(kind, _)| {
                let judges_the_past = matches!(
                    kind,
                    ViolationKind::EarlyDegraded | ViolationKind::FalseReady | ViolationKind::FalsePaused
                );
                !is_deaf || !judges_the_past
            });
            let about = uid.as_str().unwrap_or_default().to_owned();
            let is_early = judged.as_ref().is_some_and(|(kind, _)| *kind == ViolationKind::EarlyDegraded);
            if is_early {
                inner.invariants.early.insert(about.clone());
            } else {
                inner.invariants.early.remove(&about);
            }
            if let Some((kind, what)) = judged {
                report_once(inner, kind, format!("{about} {}", status["observedGeneration"]), what);
            }
        }
        ApiRequest::Event { event, .. } => event_arrives(inner, event),
        _ => {}
    }
}

fn event_arrives(inner: &mut Inner, event: &Value) {
    let uid = event["regarding"]["uid"].as_str().unwrap_or_default().to_owned();
    let reason = event["reason"].as_str().unwrap_or_default();
    let is_early = inner.invariants.early.contains(&uid) && reason == "ReplicasUnavailable";
    if event["type"] == "Warning" && (is_early || matches!(reason, "RollingOut" | "DeploymentPending")) {
        report_once(inner, ViolationKind::EarlyWarning, uid.clone(), event.to_string());
    }
    let operators = f64::from(inner.invariants.operators);
    let burst = EVENT_BURST * operators;
    let (left, at) = inner.invariants.events.get(&uid).copied().unwrap_or((burst, Instant::now()));
    let left = (left + at.elapsed().as_secs_f64() * operators / SECONDS_AN_EVENT).min(burst) - 1.0;
    inner.invariants.events.insert(uid.clone(), (left.max(0.0), Instant::now()));
    // The operator counts whole seconds.
    if left < -operators / SECONDS_AN_EVENT {
        report_once(inner, ViolationKind::TooManyEvents, uid, event.to_string());
    }
}

/// Called when a request about one object is answered.
pub fn answered(inner: &mut Inner, verb: &'static str, key: &Key, refusal: Option<&Refusal>) {
    let place = (key.clone(), verb);
    let goes_away = refusal.is_some_and(|no| no.cause == Some(NAMESPACE_TERMINATING));
    if !inner.store.terminating.contains(&key.namespace) && !inner.store.gone.contains(&key.namespace) {
        inner.invariants.dying.remove(&key.namespace);
    }
    // A deleted object is read a few times more, until its watch reports the deletion, in any namespace.
    let owner = Key { kind: Kind::InferenceService, ..key.clone() };
    if let Some(count) = inner.invariants.dying.get_mut(&key.namespace) {
        *count += u64::from(inner.store.get(&owner).is_some());
        if *count > IN_FLIGHT * u64::from(inner.invariants.operators) {
            let what = format!("{verb} {key:?}");
            report_once(inner, ViolationKind::DyingNamespace, format!("{} {}", key.namespace, key.name), what);
        }
    } else if goes_away {
        inner.invariants.dying.insert(key.namespace.clone(), 0);
    }
    match refusal {
        // These are answers and not rejections of the request: 422 is a failed test of the uid.
        Some(no) if matches!(no.code, 404 | 409) || goes_away || (verb, no.code) == ("status", 422) => {}
        Some(_) => {
            inner.invariants.was_refused = true;
            inner.invariants.refused.entry(place).or_insert_with(Instant::now);
        }
        None => drop(inner.invariants.refused.remove(&place)),
    }
}

/// The operator has written a Deployment: records the generation of the spec that it was built from.
pub fn applied(inner: &mut Inner, key: &Key, written: &Value) {
    let owner = Key { kind: Kind::InferenceService, ..key.clone() };
    let Some(uid) = written["metadata"]["ownerReferences"][0]["uid"].as_str() else { return };
    // A late request may create a child of a deleted InferenceService: the garbage collector deletes it.
    if inner.store.get(&owner).is_none_or(|owner| owner["metadata"]["uid"] != uid) {
        return;
    }
    let newest = inner.invariants.newest.get(uid).copied().unwrap_or(0);
    let generation = generation_of(&inner.store, &owner, uid, written, newest);
    rollout::applied(inner, key, uid, generation);
    let Some(generation) = generation else { return };
    inner.invariants.newest.insert(uid.to_owned(), newest.max(generation));
    if generation < newest {
        let what = format!("{}/{} has generation {newest}, and gets {generation}", key.namespace, key.name);
        report_once(inner, ViolationKind::OlderSpec, uid.to_owned(), what);
    }
}

/// The generation that this was built from. If several generations have the same spec: the first that is not older
/// than the newest seen, otherwise the latest.
fn generation_of(store: &Store, owner: &Key, uid: &str, written: &Value, newest: i64) -> Option<i64> {
    let changes = store.history.iter().rev().filter(|change| change.key == *owner);
    let objects = changes.filter_map(|change| change.after.as_ref()).filter(|object| object["metadata"]["uid"] == uid);
    let (mut asked, mut found) = (None, None);
    for object in objects {
        let generation = number(&object["metadata"]["generation"]);
        if generation < newest && found.is_some() {
            break;
        }
        // Each generation has one spec, so one check per generation is enough.
        if asked.replace(generation) == Some(generation) {
            continue;
        }
        let is_it = |desired: &Value| desired["spec"] == written["spec"];
        if store.offers.any(Kind::Deployment, owner, uid, &object["spec"], is_it) {
            found = Some(generation);
        }
    }
    found
}

/// Evaluates kstatus for each InferenceService. Called after each action and each status.
pub fn check_kstatus(inner: &mut Inner) {
    let mut early = Vec::new();
    for (_, object) in inner.store.of_kind(Kind::InferenceService) {
        let verdict = verdict(object);
        if *kstatus::RECORDS {
            inner.invariants.seen.insert(format!("{verdict:?} {object}"));
        }
        let phase = &object["status"]["phase"];
        let is_right = phase == "Ready" || phase == "Paused" && object["spec"]["paused"] == true;
        if verdict == Verdict::Current && !is_right {
            early.push((object["metadata"]["uid"].to_string(), object.to_string()));
        }
    }
    for (uid, object) in early {
        report_once(inner, ViolationKind::EarlyCurrent, uid, object);
    }
}
