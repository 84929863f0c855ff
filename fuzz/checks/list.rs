//! Pages of a list: filtered, handed out item by item, decoded.

use inference_operator::kubernetes::prune::{Fields, Keep, Piece};
use inference_operator::kubernetes::resource::Resource;
use inference_operator::kubernetes::watch::line;
use inference_operator::model::view::{InferenceServiceView, PartialDeployment, PartialService};
use serde_json::Value;

use super::pieces::{compare, picked, pieces};
use super::ways;

/// The first byte says whose list it is.
pub fn check(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => page::<InferenceServiceView>(data),
        1 => page::<PartialDeployment>(data),
        _ => page::<PartialService>(data),
    }
}

fn page<K: Resource>(data: &[u8]) {
    let ways = ways(data);
    for (piece, kept) in pieces(K::LIST, &ways).0 {
        if piece == Piece::Item {
            let _ = line::object::<K>(&kept);
        }
    }
    compare(K::LIST, &ways[0][0], items_and_rest);
}

/// The items one by one, then the page without them.
fn items_and_rest(fields: Fields, page: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for (name, keep) in fields {
        if let (Keep::Each(fields), Some(Value::Array(items))) = (keep, page.get(*name)) {
            all.extend(items.iter().filter(|item| item.is_object()).map(|item| picked(fields, item)));
        }
    }
    all.push(picked(fields, page));
    all
}
