//! The filter keeps exactly what a reader of the whole document would have selected.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const OBJECT: Fields = &[
    ("metadata", Keep::Fields(&[("name", Keep::Whole), ("owners", Keep::Fields(&[("uid", Keep::Whole)]))])),
    ("spec", Keep::Whole),
];
const LIST: Fields = &[("metadata", Keep::Fields(&[("continue", Keep::Whole)])), ("items", Keep::Each(OBJECT))];

/// All pieces of an input split into chunks of `size` bytes.
fn pieces(fields: Fields, text: &str, size: usize) -> Result<Vec<(Piece, Value)>, Malformed> {
    let mut pruner = Pruner::new(fields);
    let mut pieces = Vec::new();
    for chunk in text.as_bytes().chunks(size) {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while let Some(piece) = pruner.advance(&mut chunk)? {
            assert!(pruner.kept().len() <= LIMIT + STEP + 2, "{} bytes are kept", pruner.kept().len());
            pieces.push((piece, serde_json::from_slice(pruner.kept()).expect("JSON")));
        }
    }
    Ok(pieces)
}

/// What `fields` keeps of a complete document.
fn picked(fields: Fields, value: &Value) -> Value {
    let Value::Object(object) = value else { return value.clone() };
    let mut kept = Map::new();
    for (name, keep) in fields {
        let Some(value) = object.get(*name) else { continue };
        let value = match (keep, value) {
            (Keep::Fields(fields), Value::Object(_)) => picked(fields, value),
            (Keep::Fields(fields), Value::Array(elements)) => {
                elements.iter().filter(|element| element.is_object()).map(|element| picked(fields, element)).collect()
            }
            _ => value.clone(),
        };
        kept.insert((*name).to_owned(), value);
    }
    Value::Object(kept)
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        any::<String>().prop_map(Value::from),
        Just(Value::from("\"}],{[\\")),
    ];
    let names = prop_oneof![
        Just("metadata"),
        Just("name"),
        Just("owners"),
        Just("uid"),
        Just("spec"),
        Just("other"),
        Just("a\"b\\c")
    ];
    let value = leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    });
    value.prop_map(|value| if value.is_object() { value } else { json!({"metadata": value}) })
}

proptest! {
    #[test]
    fn what_is_kept_is_what_a_reader_of_all_would_pick(
        values in prop::collection::vec(documents(), 1..4), size in 1..40_usize, pretty: bool
    ) {
        let write = |value| if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        let text: String = values.iter().map(|value| write(value).expect("JSON") + "\n").collect();
        let expected: Vec<_> = values.iter().map(|value| (Piece::Document, picked(OBJECT, value))).collect();
        prop_assert_eq!(pieces(OBJECT, &text, size).expect("well-formed"), expected);
    }

    #[test]
    fn a_list_is_handed_out_item_by_item(items in prop::collection::vec(documents(), 0..4), size in 1..40_usize) {
        let text = json!({"items": items, "metadata": {"continue": "more"}}).to_string();
        let mut expected: Vec<_> = items.iter().map(|item| (Piece::Item, picked(OBJECT, item))).collect();
        expected.push((Piece::Document, json!({"items": [], "metadata": {"continue": "more"}})));
        prop_assert_eq!(pieces(LIST, &text, size).expect("well-formed"), expected);
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics_and_little_is_kept(bytes: Vec<u8>, size in 1..40_usize) {
        let mut pruner = Pruner::new(LIST);
        let head = br#"{"items":[{"spec":"#;
        for chunk in head.iter().copied().chain(bytes).collect::<Vec<u8>>().chunks(size) {
            let mut chunk = Bytes::copy_from_slice(chunk);
            while let Ok(Some(_)) = pruner.advance(&mut chunk) {}
        }
    }
}

#[test]
fn what_is_skipped_costs_no_memory() {
    let long = "x".repeat(1 << 20);
    let text = json!({"metadata": {"annotations": {"a": long}, "name": "a"}, "other": [long]}).to_string();
    let mut pruner = Pruner::new(OBJECT);
    assert_eq!(pruner.advance(&mut Bytes::from(text)), Ok(Some(Piece::Document)));
    assert_eq!(pruner.kept(), br#"{"metadata":{"name":"a"}}"#);
    assert!(pruner.kept.capacity() < 100 && pruner.key.capacity() < 100);
}

#[test]
fn what_is_too_long_becomes_null_and_the_rest_stays() {
    let long = Value::from("ü\"".repeat(LIMIT));
    let owners: Vec<Value> = (0..LIMIT / 8).map(|_| json!({"uid": "a\"]}", "x": [1, "]"]})).collect();
    for (text, expected) in [
        (json!({"metadata": {"name": "a"}, "spec": long}), json!({"metadata": {"name": "a"}, "spec": null})),
        (json!({"metadata": {"name": "a"}, "spec": [long]}), json!({"metadata": {"name": "a"}, "spec": null})),
        (
            json!({"metadata": {"name": "a", "owners": owners}, "spec": 1}),
            json!({"metadata": {"name": "a", "owners": null}, "spec": 1}),
        ),
        (
            json!({"metadata": {"name": "a", "owners": [{"uid": long}, {"uid": "b"}]}, "spec": 1}),
            json!({"metadata": {"name": "a", "owners": null}, "spec": 1}),
        ),
    ] {
        for size in [1, 7, STEP, 1 << 20] {
            let kept = pieces(OBJECT, &text.to_string(), size).expect("well-formed");
            assert_eq!(kept, [(Piece::Document, expected.clone())]);
        }
    }
    let one = json!({"metadata": {"name": "a", "owners": owners}, "spec": 1});
    let list = json!({"items": [one, one], "metadata": {}}).to_string();
    let expected = json!({"metadata": {"name": "a", "owners": null}, "spec": 1});
    let kept = pieces(LIST, &list, 100).expect("well-formed");
    assert_eq!(kept[..2], [(Piece::Item, expected.clone()), (Piece::Item, expected)]);
}

/// The length of an annotation is up to its author, and must not end a watch.
#[test]
fn no_length_is_a_reason_to_give_up_and_chunks_make_no_difference() {
    const LONG: Fields = &[("a", Keep::Whole), ("b", Keep::Whole), ("c", Keep::Fields(&[("d", Keep::Whole)]))];
    let around = |length: usize| length - 12..length + 12;
    for length in around(LONGEST_VALUE).chain(around(LIMIT - LONGEST_VALUE)).chain(around(LIMIT)) {
        let (half, rest) = ("x".repeat(LONGEST_VALUE - 100), "x".repeat(length.saturating_sub(LONGEST_VALUE)));
        for text in [
            json!({"a": "x".repeat(length), "b": 1, "c": {"d": true}}),
            json!({"a": half, "b": rest, "c": {"d": true}}),
            json!({"a": half, "b": 1, "c": {"d": rest}}),
        ] {
            let text = text.to_string();
            let whole = pieces(LONG, &text, text.len()).expect("whole");
            assert!(pieces(LONG, &text, 997).expect("in chunks") == whole, "{text:.20}, {} bytes", text.len());
            assert!(whole[0].1.get("c").is_some_and(Value::is_object), "{text:.20}");
        }
    }
}

#[test]
fn a_value_that_is_too_long_leaves_room_for_the_others() {
    let object =
        json!({"metadata": {"owners": [{"uid": "b"}], "name": "x".repeat(LIMIT - 200)}, "spec": "y".repeat(200)});
    let expected = json!({"metadata": {"owners": [{"uid": "b"}], "name": null}, "spec": "y".repeat(200)});
    let kept = pieces(OBJECT, &object.to_string(), 100).expect("well-formed");
    assert!(kept == [(Piece::Document, expected)], "the others are not as they were");
}

#[test]
fn fields_that_are_named_without_end_are_refused() {
    let text = format!("{{{}", r#""metadata":{"name":""},"#.repeat(LIMIT));
    assert_eq!(pieces(OBJECT, &text, 1000), Err(Malformed("more fields than expected")));
}

#[test]
fn a_long_document_gives_its_buffer_back() {
    let long = json!({"spec": "x".repeat(LONGEST_VALUE - 100)}).to_string();
    let mut pruner = Pruner::new(OBJECT);
    assert_eq!(pruner.advance(&mut Bytes::from(long)), Ok(Some(Piece::Document)));
    assert!(pruner.kept.capacity() > CAPACITY);
    assert_eq!(pruner.advance(&mut Bytes::from_static(b"{}")), Ok(Some(Piece::Document)));
    assert!(pruner.kept.capacity() <= CAPACITY);
}

#[test]
fn of_what_is_only_measured_the_length_stays() {
    const MEASURED: Fields = &[("a", Keep::Fields(&[("l", Keep::Length), ("b", Keep::Whole)])), ("l", Keep::Length)];
    let long = format!("[{}]", "1".repeat(2 * LIMIT));
    for value in ["{}", r#"{"f:a":{}}"#, "[1]", "1", "12", r#""1""#, r#""}\\""#, "null", &long] {
        let text = format!(r#"{{"a": [{{"l": {value}, "x": 2, "b": 3}}, {{"l":{value}}}], "l": {value}}}"#);
        let length = value.len();
        let expected = json!({"a": [{"l": length, "b": 3}, {"l": length}], "l": length});
        for size in [1, 2, 3, 5, 1000] {
            let kept = pieces(MEASURED, &text, size).expect("well-formed");
            assert_eq!(kept, [(Piece::Document, expected.clone())], "{text:.60} in chunks of {size}");
        }
    }
}

#[test]
fn of_what_is_too_long_the_length_stays_where_it_is_asked_for() {
    const EITHER: Fields = &[("a", Keep::Whole), ("b", Keep::WholeOrLength), ("c", Keep::Whole)];
    let text = |length: usize| json!({"x": ["y\"]}".repeat(length)]});
    for (value, expected) in [
        (json!({"x": 1}), json!({"x": 1})),
        (text(10), text(10)),
        (text(LIMIT), json!(text(LIMIT).to_string().len())),
        (json!("z".repeat(LONGEST_VALUE - 2)), json!("z".repeat(LONGEST_VALUE - 2))),
        (json!("z".repeat(LONGEST_VALUE - 1)), json!(LONGEST_VALUE + 1)),
    ] {
        for size in [1, 7, STEP, 1 << 20] {
            let kept = pieces(EITHER, &json!({"a": 1, "b": value, "c": [2]}).to_string(), size).expect("well-formed");
            assert_eq!(kept, [(Piece::Document, json!({"a": 1, "b": expected, "c": [2]}))], "in chunks of {size}");
        }
    }
    // The value shares the limit with those before it.
    let (half, rest) = ("x".repeat(LONGEST_VALUE - 100), "y".repeat(LONGEST_VALUE - 50));
    let kept = pieces(EITHER, &json!({"a": half, "b": rest, "c": half}).to_string(), 1000).expect("well-formed");
    assert_eq!((&kept[0].1["b"], &kept[0].1["c"]), (&json!(rest), &Value::Null));
}

#[test]
fn what_is_no_json_object_is_refused() {
    for text in ["<html>", "[]", "5", r#"{"spec" 5}"#, "{5}", r#"{"spec":}"#, r#"{"metadata":{"name":]}}"#] {
        assert!(pieces(OBJECT, text, 100).is_err(), "{text}");
    }
}
