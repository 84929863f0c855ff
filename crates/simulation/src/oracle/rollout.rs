//! What a change of the catalogue may do to InferenceServices that nobody else has changed: no more than allowed are down
//! by it at a time, and where one of them stays down, the others are left alone. Called after each write of a
//! Deployment; judges by the datastore, whatever the operator believes.

use std::collections::BTreeMap;
use std::time::Duration;

use inference_operator::error::UNFINISHED;
use inference_operator::settings::MaxUnavailable;
use serde_json::Value;
use tokio::time::Instant;

use super::invariants::report_once;
use super::status::reason;
use super::violation::ViolationKind;
use crate::api_server::{Change, Key, Kind, Store, controller_uid, is_deleting};
use crate::cluster::Inner;
use crate::cluster::rollout::{is_complete, number};
use crate::operator::SETTINGS;

/// How long after a change of the catalogue an operator may still go by the one before: it finds out late that its watch
/// is deaf.
const LAG: Duration = Duration::from_secs(600);
/// How long a status says that one is down before the rollout must know it: the first list of a new process may be
/// from the past, and the watch then brings what it lacks, each event with a delay of its own.
const KNOWN_WITHIN: Duration = Duration::from_secs(120);

#[derive(Default)]
pub struct Rollouts {
    /// Each Deployment as the operator has left it, and the generation of the spec that it was built from; by the uid of
    /// its InferenceService.
    left: BTreeMap<String, (Value, i64)>,
    /// The InferenceServices that a change of the catalogue has taken down.
    down: BTreeMap<Key, Down>,
}

/// Since that write, which was not for the user's sake.
struct Down {
    uid: String,
    generation: i64,
    at: Instant,
    version: u64,
    deployment: Value,
}

/// The operator has read a list of InferenceServices that shows them as they were at this version. A status that it has
/// written since looks to it as if another client had put back an older one, and what it does about that is a repair.
pub fn is_listed(inner: &mut Inner, version: u64) {
    let Inner { store, invariants, .. } = inner;
    let since = store.history.iter().rev().take_while(|change| change.version > version);
    for change in since.filter(|change| change.key.kind == Kind::InferenceService) {
        let uid = change.after.as_ref().and_then(|after| after["metadata"]["uid"].as_str()).unwrap_or_default();
        invariants.rollouts.left.remove(uid);
    }
}

/// A process that was killed before it could write the status has left a Deployment that looks to the next one as if
/// somebody had edited it, and is repaired without waiting for its turn. So is one whose status tells of something that was
/// left undone.
pub fn process_starts(inner: &mut Inner) {
    let Inner { store, invariants, .. } = inner;
    let version = |value: &Value| value.as_str().and_then(|version| version.parse::<u64>().ok()).unwrap_or(0);
    invariants.rollouts.left.retain(|_, (deployment, _)| {
        let metadata = &deployment["metadata"];
        let [namespace, name] = ["namespace", "name"].map(|part| metadata[part].as_str().unwrap_or_default());
        let owner = store.get(&Key::new(Kind::InferenceService, namespace, name));
        let said = owner.map_or(0, |owner| version(&owner["status"]["observed"]["deploymentResourceVersion"]));
        let is_unfinished = owner.is_some_and(|owner| UNFINISHED.contains(&reason(&owner["status"])));
        said >= version(&metadata["resourceVersion"]) && !is_unfinished
    });
}

/// The operator has read the catalogue as it was at this version. If it has changed since, what was done for its sake is
/// undone until the watch brings the change.
pub fn catalog_is_listed(inner: &mut Inner, version: u64) {
    if catalog_changes(&inner.store).any(|change| change.version > version) {
        inner.invariants.rollouts = Rollouts::default();
    }
}

/// The operator has written this Deployment. `generation`: that it was built from; None: from none that ever was.
pub fn applied(inner: &mut Inner, key: &Key, uid: &str, generation: Option<i64>) {
    let Some(Change { before, after: Some(after), version, .. }) = inner.store.history.last().cloned() else { return };
    let Some(generation) = generation else {
        // A restore may have erased the spec.
        if inner.store.restores == 0 {
            report_once(inner, ViolationKind::NotOffered, uid.to_owned(), format!("{key:?}: {after}"));
        }
        return;
    };
    let left = inner.invariants.rollouts.left.insert(uid.to_owned(), (after.clone(), generation));
    let is_by_administrator = left.zip(before.as_ref()).is_some_and(|((left, built_from), before)| {
        built_from == generation && is_same(&left, before) && before["spec"]["template"] != after["spec"]["template"]
    });
    if !is_by_administrator {
        inner.invariants.rollouts.down.remove(key);
        return;
    }
    let Inner { store, invariants, .. } = inner;
    invariants.rollouts.down.retain(|key, down| is_down(store, key, down));
    let was_down = invariants.rollouts.down.contains_key(key);
    if was_down || before.is_some_and(|before| was_ready(store, key, &before)) {
        let down = Down { uid: uid.to_owned(), generation, at: Instant::now(), version, deployment: after };
        invariants.rollouts.down.insert(key.clone(), down);
    }
    judge(inner, key, version);
}

fn judge(inner: &mut Inner, key: &Key, version: u64) {
    // Without the catalogue's watch, an operator does not know of what it is judged by.
    if inner.store.missed.contains(&Key::catalog()) {
        return;
    }
    let (store, down) = (&inner.store, &inner.invariants.rollouts.down);
    let operators = usize::from(inner.invariants.operators);
    // Each of two operators has a rollout of its own, and knows of no other's.
    let allowed = down.values().map(|down| down.at).min().map_or(0, |since| operators * allowed(store, since));
    let names: Vec<String> = down.keys().map(|key| format!("{}/{}", key.namespace, key.name)).collect();
    let halting = down.iter().find(|(other, down)| *other != key && operators == 1 && halts(store, other, down));
    let halting = halting.map(|(key, _)| format!("{}/{}", key.namespace, key.name));
    if names.len() > allowed {
        let what = format!("{} are down by a rollout, of {allowed} that may be", names.join(", "));
        report_once(inner, ViolationKind::TooManyDown, version.to_string(), what);
    }
    if let Some(halting) = halting {
        let what = format!("{}/{} is changed, although {halting} stays down", key.namespace, key.name);
        report_once(inner, ViolationKind::HaltedGoesOn, version.to_string(), what);
    }
}

/// Is this the same child, with nothing changed but its status? An annotation of a stranger's raises the generation of a
/// Deployment, which is looked into like an edit; and whatever is edited is brought up to date by its repair, without
/// waiting for its turn (docs/operating.md).
fn is_same(one: &Value, other: &Value) -> bool {
    let of_metadata = |name: &str| one["metadata"][name] == other["metadata"][name];
    ["uid", "labels", "annotations", "ownerReferences", "deletionTimestamp"].into_iter().all(of_metadata)
        && one["spec"] == other["spec"]
}

fn owner(key: &Key) -> Key {
    Key { kind: Kind::InferenceService, ..key.clone() }
}

/// Did it serve before this write, and does its status say so? `before`: its Deployment.
fn was_ready(store: &Store, key: &Key, before: &Value) -> bool {
    let is_said = |object: &Value| {
        object["status"]["phase"] == "Ready"
            && object["status"]["observedGeneration"] == object["metadata"]["generation"]
            && number(&object["spec"]["replicas"]) > 0
    };
    is_complete(before, &before["status"]) && store.get(&owner(key)).is_some_and(is_said)
}

/// Is it down still, and by nothing else? One whose spec has been refused since, because the catalogue no longer has its
/// GPU type, is not waited for: its children stay as they are, and nobody knows when somebody will put that right.
fn is_down(store: &Store, key: &Key, down: &Down) -> bool {
    let is_unchanged = |object: &Value| {
        let metadata = &object["metadata"];
        metadata["uid"] == down.uid
            && number(&metadata["generation"]) == down.generation
            && object["status"]["phase"] != "Failed"
            && !is_deleting(object)
    };
    let goes_on = store.get(&owner(key)).is_some_and(is_unchanged) && !store.terminating.contains(&key.namespace);
    let since = store.history.iter().rev().take_while(|change| change.version > down.version);
    let mut deployments = since.filter(|change| change.key == *key).map(|change| change.after.as_ref());
    goes_on
        && deployments.all(|after| {
            after.is_some_and(|after| {
                controller_uid(after) == Some(&down.uid)
                    && is_same(&down.deployment, after)
                    && !is_complete(after, &after["status"])
            })
        })
}

/// Does its status say for a while, and since the catalogue was changed last, that it is down? If its Deployment has changed
/// meanwhile, the operator may have read that it goes on, and could not say so yet.
fn halts(store: &Store, key: &Key, down: &Down) -> bool {
    let says_so = |object: &Value| object["status"]["phase"] == "Degraded";
    let owner = owner(key);
    let changes = store.history.iter().rev().take_while(|change| change.version > down.version);
    let down_since = changes
        .filter(|change| change.key == owner)
        .take_while(|change| change.after.as_ref().is_some_and(says_so))
        .last()
        .map(|change| change.at);
    let moved = store.history.iter().rev().find(|change| change.key == *key).map_or(down.at, |change| change.at);
    let offered = catalog_changes(store).last().map_or(down.at, |change| change.at);
    // What the last change builds was not tried on it yet, as long as requests fail. Others may have had their turn with it.
    let patience = if moved < offered { LAG } else { KNOWN_WITHIN };
    down_since.is_some_and(|since| since.max(moved).max(offered).elapsed() > patience)
}

/// The changes of the catalogue's spec, with its creation and its end.
fn catalog_changes(store: &Store) -> impl DoubleEndedIterator<Item = &Change> {
    let spec = |object: &Option<Value>| object.as_ref().map(|object| object["spec"].clone());
    let changes = store.history.iter().filter(|change| change.key.kind == Kind::InferenceCatalog);
    changes.filter(move |change| spec(&change.before) != spec(&change.after))
}

/// The most that any catalogue allows that an operator may have gone by since then.
fn allowed(store: &Store, since: Instant) -> usize {
    let most = store.existed.iter().filter(|(key, _)| key.kind == Kind::InferenceService).map(|(key, _)| key);
    let most = most.collect::<std::collections::BTreeSet<_>>().len();
    let is_old = |change: &&Change| change.at + LAG < since;
    let all: Vec<&Change> = catalog_changes(store).collect();
    let recent = all.iter().position(|change| !is_old(change)).unwrap_or(all.len());
    let before = all.get(recent).map_or_else(|| store.get(&Key::catalog()), |change| change.before.as_ref());
    let objects = all[recent..].iter().map(|change| change.after.as_ref()).chain([before]);
    let shares = objects.flat_map(|object| match object {
        None => vec![SETTINGS.max_unavailable],
        Some(object) => of_catalog(store, object),
    });
    shares.map(|share| share.of(most)).max().unwrap_or(1)
}

/// Of one that cannot be accepted, what was accepted before; and any, if that is not known.
fn of_catalog(store: &Store, object: &Value) -> Vec<MaxUnavailable> {
    let known = [&object["spec"], &object["status"]["accepted"]].into_iter().find_map(|spec| store.offers.of(spec));
    known.map_or_else(
        || store.offers.all().map(|settings| settings.max_unavailable).collect(),
        |settings| vec![settings.max_unavailable],
    )
}
