//! Does each status name its obstacle within a minute? Checked every ten seconds: an obstacle that lasts longer than
//! a minute, without a random fault meanwhile that could explain a delay, must be in the condition.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::end_state::missing;
use super::invariants::{Invariants, in_sync_since, report_once};
use super::ownership::is_adoptable;
use super::status::{IMAGE, REFUSALS, UNSCHEDULABLE, has_all, is_foreign, reason, says_ready, spec_of};
use super::violation::ViolationKind;
use crate::api_server::{Key, Kind, Store, is_deleting};
use crate::cluster::Inner;
use crate::cluster::pods::has_image;
use crate::cluster::rollout::{COMPLETE, TIMED_OUT, condition, has_reason, is_complete, number};
use crate::operator::LOAD;

pub const PACE: Duration = Duration::from_secs(10);
/// When the operator asks the pods, and how long it waits at most until it asks again.
const PODS_AFTER: Duration = Duration::from_secs(20);
pub const LONGEST_LOOK: Duration = Duration::from_secs(300);
const MINUTE: Duration = Duration::from_secs(60);
/// The longest delay that one fault causes: a late event.
const RECOVERY: Duration = Duration::from_secs(120);

/// An obstacle: what it is, how soon it must be reported, and with which reasons.
struct Obstacle {
    what: &'static str,
    within: Duration,
    reasons: &'static [&'static str],
}

impl Obstacle {
    fn new(what: &'static str, reasons: &'static [&'static str]) -> Obstacle {
        Obstacle { what, within: MINUTE, reasons }
    }
}

/// Must be called at this pace.
pub fn check(inner: &mut Inner) {
    let version = (inner.store.version, inner.store.restores);
    if inner.invariants.looked_at == Some(version)
        && inner.invariants.since.is_empty()
        && inner.invariants.refused.is_empty()
    {
        return;
    }
    inner.invariants.looked_at = Some(version);
    let all: Vec<Key> = inner.store.of_kind(Kind::InferenceService).map(|(key, _)| key.clone()).collect();
    let is_there = |key: &Key| all.iter().any(|there| there.name == key.name && there.namespace == key.namespace);
    inner.invariants.since.retain(|(key, _), _| is_there(key));
    inner.invariants.refused.retain(|(key, _), _| is_there(key));
    for key in all {
        for (kind, about, what) in check_one(inner, &key) {
            report_once(inner, kind, about, what);
        }
    }
}

/// For each thing that has been wrong for too long: the violation, its subject, and its description.
fn check_one(inner: &mut Inner, key: &Key) -> Vec<(ViolationKind, String, String)> {
    let Inner { store, invariants, disturbances, .. } = inner;
    let is_leaving = |object: &Value| is_deleting(object) || store.terminating.contains(&key.namespace);
    let Some(object) = store.get(key).filter(|object| !is_leaving(object) && store.is_observed(key)) else {
        return Vec::new();
    };
    let (uid, status) = (&object["metadata"]["uid"], &object["status"]);
    // A status of an older spec is stale as a whole.
    let is_latest = status["observedGeneration"] == object["metadata"]["generation"];
    let is_paused = object["spec"]["paused"] == true;
    let obstacles = in_the_way(store, invariants, key, object);
    let is_named = is_paused && is_latest && status["phase"] == "Paused"
        || obstacles.iter().any(|obstacle| obstacle.reasons.contains(&reason(status)));
    let mut wrong: Vec<(ViolationKind, Obstacle)> =
        obstacles.into_iter().map(|obstacle| (ViolationKind::SilentObstacle, obstacle)).collect();
    if !is_latest {
        wrong.push((ViolationKind::StaleStatus, Obstacle::new("the status speaks of an older spec", &[])));
    }
    let deployment = store.get(&Key { kind: Kind::Deployment, ..key.clone() });
    if is_latest && says_ready(status) && !runs(deployment, object) {
        wrong.push((ViolationKind::StaleReady, Obstacle::new("not all replicas answer", &[])));
    }
    invariants.since.retain(|(place, what), _| place != key || wrong.iter().any(|(_, wrong)| wrong.what == *what));
    if wrong.is_empty() {
        return Vec::new();
    }
    let generation = deployment.map_or(0, |deployment| number(&deployment["metadata"]["generation"]));
    let (in_sync, sees) = (in_sync_since(invariants), invariants.watch_refused.map(|at| at + RECOVERY));
    // A recreated InferenceService meets the obstacles of the previous one, and each spec has its own time limit.
    let born = spec_of(store, key, uid, number(&object["metadata"]["generation"])).map(|(born, _)| born);
    let explained = disturbances.last(&key.namespace, &key.name).map(|at| at + RECOVERY);
    let mut violations = Vec::new();
    for (kind, Obstacle { what, within, reasons }) in wrong {
        // A changed Deployment is observed first: its obstacles count from then.
        let entry = invariants.since.entry((key.clone(), what)).or_insert_with(|| (Instant::now(), generation));
        if entry.1 != generation {
            *entry = (Instant::now(), generation);
        }
        let since = entry.0;
        // Rejections and the current spec are known without a watch of the children.
        let sees = sees.filter(|_| kind != ViolationKind::StaleStatus && reasons != REFUSALS);
        let since = Some(since).max(explained).max(in_sync).max(sees).max(born).unwrap_or(since);
        // There may be several obstacles, of which the status names one.
        if Instant::now().saturating_duration_since(since) > within + PACE
            && (kind == ViolationKind::StaleReady || !is_named)
        {
            let what_is_wrong = format!("{}/{}: {what}: {object}", key.namespace, key.name);
            violations.push((kind, format!("{uid} {what}"), what_is_wrong));
        }
    }
    violations
}

/// Are the replicas ready that Ready speaks of? While paused, those that the Deployment asks for.
fn runs(deployment: Option<&Value>, object: &Value) -> bool {
    let (spec, replicas) = (&object["spec"], number(&object["spec"]["replicas"]));
    if spec["paused"] == true {
        return deployment.is_some_and(|deployment| is_complete(deployment, &deployment["status"]));
    }
    replicas == 0 || deployment.is_some_and(|deployment| has_all(deployment, replicas))
}

fn in_the_way(store: &Store, invariants: &Invariants, key: &Key, object: &Value) -> Vec<Obstacle> {
    let uid = &object["metadata"]["uid"];
    let (name, spec) = (uid.as_str().unwrap_or_default(), &object["spec"]);
    let is_built = |deployment: &Value| {
        let is_it = |desired: &Value| missing(&deployment["spec"], &desired["spec"], "").is_none();
        store.offers.any(Kind::Deployment, key, name, spec, is_it)
    };
    let is_this = |(refused, _): &(Key, &str)| refused.name == key.name && refused.namespace == key.namespace;
    let is_refused = invariants.refused.keys().any(is_this);
    // Nothing is in the way of leaving all as it is. Where a child cannot be read, that may be reported instead.
    if object["spec"]["paused"] == true {
        return vec![Obstacle::new("spec.paused is true", if is_refused { &REFUSALS } else { &[] })];
    }
    let mut obstacles = Vec::new();
    for kind in Kind::CHILDREN {
        let key = Key { kind, ..key.clone() };
        let Some(child) = store.get(&key) else { continue };
        if is_foreign(&key, child, uid) {
            // A stranger's child may be terminating too.
            obstacles.push(Obstacle::new("the name is taken", &["NameTaken", "Terminating"]));
        } else if is_deleting(child) {
            obstacles.push(Obstacle::new("a child is being deleted", &["Terminating"]));
        } else if kind == Kind::Deployment && !is_adoptable(&key, child) {
            obstacles.extend(in_the_rollout(child, &is_built));
        }
    }
    if is_refused {
        obstacles.push(Obstacle::new("requests are refused", &REFUSALS));
    }
    // A rejected spec is the only obstacle to report. Which catalogue an operator knows is not known here.
    if !obstacles.is_empty() && store.offers.may_reject(key, name, spec) {
        obstacles.clear();
    }
    obstacles
}

fn in_the_rollout(deployment: &Value, is_built: &dyn Fn(&Value) -> bool) -> Option<Obstacle> {
    let status = &deployment["status"];
    let is_observed = number(&status["observedGeneration"]) >= number(&deployment["metadata"]["generation"]);
    if !is_observed || is_complete(deployment, status) {
        return None;
    }
    if deployment["spec"]["paused"] == true {
        // A pause hides other obstacles, and is hidden by them.
        return Some(Obstacle::new(
            "the Deployment is paused",
            &["DeploymentPaused", TIMED_OUT, "FailedCreate", IMAGE, UNSCHEDULABLE],
        ));
    }
    if condition(status, "ReplicaFailure").is_some() {
        return Some(Obstacle::new("pods cannot be made", &["FailedCreate"]));
    }
    if !has_image(&deployment["spec"]["template"]) {
        // The pods are asked at growing distance.
        let within = PODS_AFTER + LONGEST_LOOK + MINUTE;
        return Some(Obstacle { within, ..Obstacle::new("no registry has the image", &[IMAGE]) });
    }
    if has_reason(status, TIMED_OUT) {
        return Some(Obstacle::new("the rollout does not proceed", &[TIMED_OUT, IMAGE, UNSCHEDULABLE]));
    }
    if !has_reason(status, COMPLETE) || !is_built(deployment) {
        return None;
    }
    Some(Obstacle {
        within: LOAD + MINUTE,
        ..Obstacle::new("replicas do not come", &["ReplicasUnavailable", IMAGE, UNSCHEDULABLE])
    })
}
