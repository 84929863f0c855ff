//! Which observations change an InferenceService, and which are duplicates.

use super::*;

#[test]
fn a_list_is_right_even_where_it_goes_back_in_time() {
    let (mut index, slot) = settled();
    index.observe(object(UID, 99, 2, Value::Null), Seen::Listed);
    assert_eq!(dirty(&index, slot), Dirty::SPEC_AND_CHILDREN);
}

#[test]
fn duplicate_events_are_ignored() {
    for how in [Seen::Event, Seen::Listed] {
        let mut index = Index::new(Box::new(judge));
        let slot = index.observe(object(UID, 100, 1, Value::Null), Seen::Event).expect("a name");
        index.start(slot).expect("work");
        index.observe(object(UID, 100, 1, Value::Null), how);
        assert_eq!(dirty(&index, slot), Dirty::empty(), "{how:?}");
    }
}

#[test]
fn one_that_was_deleted_in_flight_and_is_there_after_all_stays() {
    let (mut index, slot) = settled();
    index.observe_child(ChildKind::Service, &child(61, 0, UID), Seen::Event);
    let start = TaskStart::from(&index.start(slot).expect("work"));
    index.remove("ns", "demo");
    index.observe(ready(100, 1), Seen::Listed);
    index.finish(slot, &start, Err(Error::Gone));
    assert_eq!(index.len(), 1);
}

/// As after the datastore was restored.
#[test]
fn one_that_was_made_anew_is_another_one_whatever_its_resource_version() {
    let (mut index, slot) = settled();
    see(&mut index, object(OTHER_UID, 99, 1, Value::Null));
    assert_eq!(dirty(&index, slot), Dirty::SPEC_AND_CHILDREN);
}

/// A lagging API server lists an earlier state.
#[test]
fn an_older_spec_takes_the_place_of_no_newer_one() {
    let (mut index, slot) = settled();
    let mut newer = object(UID, 110, 2, Value::Null);
    newer.spec = RawSpec::from(&json!({"model": "newer", "gpuType": "A100"}));
    see(&mut index, newer);
    index.observe(ready(100, 1), Seen::Listed);
    let spec = index.start(slot).expect("work").spec.expect("it waits");
    assert!(spec.text().is_some_and(|text| text.contains("newer")), "{spec:?}");
}
