//! Pages of a list: filtered, handed out item by item, decoded.

use inference_operator::kubernetes::prune::{Fields, Keep, Piece};
use inference_operator::kubernetes::resource::{Resource, Watched};
use inference_operator::kubernetes::watch::line;
use inference_operator::model::view::{InferenceServiceView, Meta, PartialDeployment, PartialService};
use serde_json::Value;

use super::pieces::{compare, picked, pieces};
use super::ways;

/// The first byte says whose list it is.
pub fn check(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => page::<InferenceServiceView>(data, InferenceServiceView::LIST),
        1 => page::<Meta>(data, PartialDeployment::LIST),
        _ => page::<Meta>(data, PartialService::LIST),
    }
}

fn page<K: Watched>(data: &[u8], fields: Fields) {
    let ways = ways(data);
    for (piece, kept) in pieces(fields, &ways).0 {
        if piece == Piece::Item {
            let _ = line::object::<K>(&kept);
        }
    }
    compare(fields, &ways[0][0], items_and_rest);
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
