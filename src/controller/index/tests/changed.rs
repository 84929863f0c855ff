//! What is news of an InferenceService, and what is only said again.

use super::*;

#[test]
fn a_list_is_right_even_where_it_goes_back_in_time() {
    let (mut index, slot) = settled();
    index.observe(object(UID, 99, 2, Value::Null), true);
    assert_eq!(dirty(&index, slot), Dirty::SPEC_AND_CHILDREN);
}

#[test]
fn what_is_said_again_is_no_news() {
    for listed in [false, true] {
        let mut index = Index::new(CONFIG_HASH);
        let slot = index.observe(object(UID, 100, 1, Value::Null), false).expect("a name");
        index.start(slot).expect("work");
        index.observe(object(UID, 100, 1, Value::Null), listed);
        assert_eq!(dirty(&index, slot), Dirty::empty(), "listed: {listed}");
    }
}

#[test]
fn one_that_was_deleted_in_flight_and_is_there_after_all_stays() {
    let (mut index, slot) = settled();
    index.observe_child(ChildKind::Service, &child(61, 0, UID), false);
    let start = TaskStart::from(&index.start(slot).expect("work"));
    index.remove("ns", "demo");
    index.observe(ready(100, 1), true);
    index.finish(slot, &start, Err(Error::Gone));
    assert_eq!(index.len(), 1);
}

/// As after a datastore was put back.
#[test]
fn one_that_was_made_anew_is_another_one_whatever_its_resource_version() {
    let (mut index, slot) = settled();
    see(&mut index, object(OTHER_UID, 99, 1, Value::Null));
    assert_eq!(dirty(&index, slot), Dirty::SPEC_AND_CHILDREN);
}
