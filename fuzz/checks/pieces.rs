//! What the pruning filter hands out of an input, whatever the chunks are, and what a reader of the
//! whole document would pick. Used by the checks of watches and lists.

use bytes::Bytes;
use inference_operator::kubernetes::prune::{Fields, Keep, Piece, Pruner};
use serde_json::{Map, Value};

/// The promise of prune.rs, with the room that it has beyond for names and brackets.
const MOST_KEPT: usize = (32 << 10) + (4 << 10);

/// What is longer may be cut.
const NEVER_CUT: usize = 16 << 10;

/// All pieces, and whether the filter gave up at the end.
pub type Pieces = (Vec<(Piece, Vec<u8>)>, bool);

/// The pieces of the input, which must be the same whatever way it arrives.
pub fn pieces(fields: Fields, ways: &[Vec<Vec<u8>>]) -> Pieces {
    let mut found = ways.iter().map(|chunks| one_way(fields, chunks));
    let first = found.next().unwrap_or_default();
    for other in found {
        assert!(first == other, "in other chunks other pieces come out:\n{first:?}\n{other:?}");
    }
    first
}

fn one_way(fields: Fields, chunks: &[Vec<u8>]) -> Pieces {
    let mut pruner = Pruner::new(fields);
    let mut pieces = Vec::new();
    for chunk in chunks {
        let mut chunk = Bytes::copy_from_slice(chunk);
        loop {
            match pruner.advance(&mut chunk) {
                Ok(Some(piece)) => {
                    assert!(pruner.kept().len() <= MOST_KEPT, "{} bytes are kept", pruner.kept().len());
                    pieces.push((piece, pruner.kept().to_vec()));
                }
                Ok(None) => {
                    assert!(pruner.kept().len() <= MOST_KEPT, "{} bytes are kept", pruner.kept().len());
                    break;
                }
                Err(_) => return (pieces, true),
            }
        }
    }
    (pieces, false)
}

/// Where the input is one JSON object, the filter keeps of it what `pick` does. Written anew before it
/// is compared, because of names that are written with an escape, or twice.
pub fn compare(fields: Fields, input: &[u8], pick: fn(Fields, &Value) -> Vec<Value>) {
    let Ok(value @ Value::Object(_)) = serde_json::from_slice(input) else { return };
    let text = value.to_string();
    if text.len() > NEVER_CUT {
        return;
    }
    let (kept, gave_up) = one_way(fields, &[text.into_bytes()]);
    assert!(!gave_up, "JSON is refused");
    let kept: Vec<Value> = kept.iter().map(|(_, kept)| serde_json::from_slice(kept).expect("JSON")).collect();
    assert_eq!(kept, pick(fields, &value));
}

/// What `fields` keeps of an object.
pub fn picked(fields: Fields, value: &Value) -> Value {
    let mut kept = Map::new();
    for (name, keep) in fields {
        let Some(value) = value.get(*name) else { continue };
        let objects = |fields, elements: &[Value]| {
            elements.iter().filter(|element| element.is_object()).map(|element| picked(fields, element)).collect()
        };
        let value = match (keep, value) {
            (Keep::Fields(fields), Value::Object(_)) => picked(fields, value),
            (Keep::Fields(fields), Value::Array(elements)) => objects(fields, elements),
            (Keep::Each(_), Value::Array(_)) => Value::Array(Vec::new()),
            _ => value.clone(),
        };
        kept.insert((*name).to_owned(), value);
    }
    Value::Object(kept)
}
