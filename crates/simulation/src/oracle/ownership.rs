//! Forbidden writes, checked after each write of the operator. Called by the server; judges by the datastore,
//! whatever the operator believes; pure.

use std::time::Duration;

use inference_operator::reconcile::deployment::{MANAGED_BY, SELECTOR_LABEL};
use serde_json::{Value, json};

use crate::api_server::{Change, Key, Kind, Store, controller_uid, controllers, is_deleting};

const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The longest delay of a request.
const ON_ITS_WAY: Duration = Duration::from_secs(45);

/// None: the operator may do that.
pub fn violation(store: &Store, change: &Change) -> Option<String> {
    let what = match (&change.before, &change.after) {
        (_, None) => Some("the operator has deleted"),
        (Some(before), Some(after)) if !change.key.kind.is_child() => {
            (!differ_in_status_alone(before, after)).then_some("the operator has changed more than the status of")
        }
        (before, Some(after)) => child(store, &change.key, before.as_ref(), after),
    };
    what.map(|what| format!("{what} {:?}:\n{:?}\n{:?}", change.key, change.before, change.after))
}

fn differ_in_status_alone(before: &Value, after: &Value) -> bool {
    let mut expected = before.clone();
    expected["status"] = after["status"].clone();
    expected["metadata"]["resourceVersion"] = after["metadata"]["resourceVersion"].clone();
    expected == *after
}

fn child(store: &Store, key: &Key, before: Option<&Value>, after: &Value) -> Option<&'static str> {
    let owner = controller_uid(after);
    let adopts = |before: &Value| is_adoptable(key, before) && owner.is_some_and(|owner| is_alive(store, key, owner));
    if before.is_some_and(|before| controller_uid(before) != owner && !adopts(before)) {
        return Some("the operator has changed what is somebody else's:");
    }
    if controllers(after) != 1 || !owner.is_some_and(|owner| has_existed(store, key, owner)) {
        return Some("the operator has made, for nobody or for too many,");
    }
    let other = Kind::CHILDREN.into_iter().find(|kind| *kind != key.kind)?;
    let other = Key { kind: other, ..key.clone() };
    let beside = store.get(&other).and_then(controller_uid);
    let is_ours = beside.is_none() || beside == owner;
    (!is_ours && is_one_of_two(store, key, owner?, &other, beside?))
        .then_some("beside the child of another controller, the operator has written")
}

/// A late request may create a child of an InferenceService that was deleted meanwhile, and no precondition can
/// prevent that; the garbage collector deletes the child. In all other cases the children of one name have the same
/// controller.
fn is_one_of_two(store: &Store, key: &Key, owner: &str, other: &Key, other_owner: &str) -> bool {
    let made_late = |child: &Key, owner: &str| {
        let made = store.history.iter().rposition(|change| change.key == *child && change.before.is_none());
        let gone = store.history.iter().position(|change| is_end_of(change, child, owner));
        gone.is_some_and(|gone| made.is_some_and(|made| gone < made))
    };
    !made_late(key, owner) && !made_late(other, other_owner)
}

fn is_end_of(change: &Change, child: &Key, owner: &str) -> bool {
    let uid = |object: &Option<Value>| object.as_ref().map(|object| object["metadata"]["uid"] == json!(owner));
    change.key == owner_key(child) && change.after.is_none() && uid(&change.before) == Some(true)
}

/// Did an InferenceService of this name and uid ever exist?
fn has_existed(store: &Store, child: &Key, uid: &str) -> bool {
    store.existed.contains(&(owner_key(child), uid.to_owned()))
}

/// Can this object be adopted, by the rules of Kubernetes' own controllers? It has both labels of this name and no
/// controller, and is not being deleted.
pub fn is_adoptable(key: &Key, object: &Value) -> bool {
    let labels = &object["metadata"]["labels"];
    key.kind.is_child()
        && labels[MANAGED_BY_LABEL] == MANAGED_BY
        && labels[SELECTOR_LABEL] == json!(key.name)
        && controllers(object) == 0
        && !is_deleting(object)
}

/// Does the owner exist, or did it recently, without being deleted? A request may be under way for a while.
fn is_alive(store: &Store, child: &Key, uid: &str) -> bool {
    let lives = |object: &Value| object["metadata"]["uid"] == json!(uid) && !is_deleting(object);
    let owner = owner_key(child);
    store.get(&owner).is_some_and(lives)
        || store
            .history
            .iter()
            .rev()
            .take_while(|change| change.at.elapsed() < ON_ITS_WAY)
            .any(|change| change.key == owner && change.before.as_ref().is_some_and(lives))
}

fn owner_key(child: &Key) -> Key {
    Key { kind: Kind::InferenceService, ..child.clone() }
}
