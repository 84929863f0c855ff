//! What must never happen, looked at each time that the operator has written. Called by the server, whatever the
//! operator believes; pure.

use serde_json::{Value, json};

use crate::store::{Change, Key, Kind, Store, controller_uid, controllers};

/// None: the operator may do that.
pub fn complaint(store: &Store, change: &Change) -> Option<String> {
    let what = match (&change.before, &change.after) {
        (_, None) => Some("the operator has deleted"),
        (Some(before), Some(after)) if change.key.kind == Kind::InferenceService => {
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
    if before.is_some_and(|before| controller_uid(before) != owner) {
        return Some("the operator has changed what is somebody else's:");
    }
    if controllers(after) != 1 || !owner.is_some_and(|owner| has_existed(store, key, owner)) {
        return Some("the operator has made, for nobody or for too many,");
    }
    let other = Kind::CHILDREN.into_iter().find(|kind| *kind != key.kind)?;
    let beside = store.get(&Key { kind: other, ..key.clone() }).and_then(controller_uid);
    (beside.is_some() && beside != owner).then_some("beside the child of another controller, the operator has written")
}

/// Was there an InferenceService of this name and uid?
fn has_existed(store: &Store, child: &Key, uid: &str) -> bool {
    let owner = Key { kind: Kind::InferenceService, ..child.clone() };
    store.history.iter().any(|change| {
        change.key == owner && change.after.as_ref().is_some_and(|object| object["metadata"]["uid"] == json!(uid))
    })
}
