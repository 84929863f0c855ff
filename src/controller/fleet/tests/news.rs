//! What is news of an InferenceService, and what is only said again.

use super::*;

#[test]
fn a_list_is_right_even_where_it_goes_back_in_time() {
    let (mut fleet, slot) = settled();
    fleet.observe(object(UID, 99, 2, Value::Null), true);
    assert_eq!(reasons(&fleet, slot), Reasons::ALL);
}

#[test]
fn what_is_said_again_is_no_news() {
    for listed in [false, true] {
        let mut fleet = Fleet::new(CONFIGURATION);
        let slot = fleet.observe(object(UID, 100, 1, Value::Null), false).expect("a name");
        fleet.depart(slot).expect("work");
        fleet.observe(object(UID, 100, 1, Value::Null), listed);
        assert_eq!(reasons(&fleet, slot), Reasons::NONE, "listed: {listed}");
    }
}

#[test]
fn one_that_was_deleted_in_flight_and_is_there_after_all_stays() {
    let (mut fleet, slot) = settled();
    fleet.observe_child(ChildKind::Service, &child(61, 0, UID), false);
    let departed = Departed::from(&fleet.depart(slot).expect("work"));
    fleet.remove("ns", "demo");
    fleet.observe(ready(100, 1), true);
    fleet.land(slot, &departed, Err(Error::Gone));
    assert_eq!(fleet.len(), 1);
}

/// As after a datastore was put back.
#[test]
fn one_that_was_made_anew_is_another_one_whatever_its_resource_version() {
    let (mut fleet, slot) = settled();
    see(&mut fleet, object(OTHER_UID, 99, 1, Value::Null));
    assert_eq!(reasons(&fleet, slot), Reasons::ALL);
}
