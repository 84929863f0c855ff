//! The simulated server's lists, page by page. Used by the server; pure.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::request::{ListRequest, Selection};
use super::{Key, Refusal, Store, refusal};

/// Items per page, whatever limit the client sets: servers may send fewer.
const PAGE: usize = 2;

pub fn page(store: &Store, request: &ListRequest) -> Result<Value, Refusal> {
    let selection = &request.selection;
    let (version, begin) = match request.token.as_deref().and_then(|token| token.split_once('.')) {
        Some((version, begin)) => (version.parse().unwrap_or(0), begin.parse().unwrap_or(0)),
        None => (store.version, 0),
    };
    if version < store.floor {
        return Err(refusal(410, "Expired", "the continue token is too old"));
    }
    let size = request.limit.map_or(PAGE, |limit| limit.min(PAGE));
    let (mut items, mut metadata) = (Vec::new(), json!({"resourceVersion": version.to_string()}));
    let all = store.snapshot(selection.kind, version);
    let mut rest = all.iter().filter(|(key, _)| is_in(selection, key)).enumerate().skip(begin).peekable();
    while let Some((place, (_, object))) = rest.next() {
        if !selection.managed_only || is_managed(object) {
            items.push(shown(object, selection.metadata_only).into_owned());
        }
        // Like the real server, which does not check whether the remaining objects match: the last page can be empty.
        if items.len() == size && rest.peek().is_some() {
            metadata["continue"] = json!(format!("{version}.{}", place + 1));
            break;
        }
    }
    Ok(json!({"kind": "List", "items": items, "metadata": metadata}))
}

pub fn is_in(selection: &Selection, key: &Key) -> bool {
    key.kind == selection.kind
        && selection.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
        && selection.name.as_ref().is_none_or(|name| *name == key.name)
}

pub fn is_managed(object: &Value) -> bool {
    object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == json!("inference-operator")
}

pub fn shown(object: &Value, metadata_only: bool) -> Cow<'_, Value> {
    if metadata_only {
        Cow::Owned(
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]}),
        )
    } else {
        Cow::Borrowed(object)
    }
}
