//! What is left of InferenceServices that are gone.

use super::*;

#[test]
fn names_that_come_and_go_leave_nothing_behind() {
    let mut fleet = Fleet::new(CONFIGURATION);
    assert!(fleet.is_empty());
    let kept = fleet.observe(ready(100, 1), false).expect("a name");
    for number in 0..1000 {
        let mut object = object(OTHER_UID, 100, 1, Value::Null);
        object.identity.name = format!("{number:0>253}");
        fleet.observe(object, false).expect("a name");
        fleet.remove("ns", &format!("{number:0>253}"));
    }
    assert!(fleet.names.bytes() < 20_000, "{} bytes", fleet.names.bytes());
    assert!(!fleet.is_empty());
    let record = fleet.get(kept).expect("a record");
    assert_eq!(fleet.name(record), "demo");
}

#[test]
fn a_spec_that_was_acted_on_meanwhile_is_not_kept() {
    let (mut fleet, slot) = settled();
    see_child(&mut fleet, ChildKind::Deployment, &child(51, 2, UID));
    let task = fleet.depart(slot).expect("work");
    see(&mut fleet, object(UID, 110, 2, status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady")));
    assert_eq!(fleet.specs(), 1);
    // It has read the spec after that one.
    let summary = fleet.get(slot).expect("a record").summary;
    let landed = Done { summary, ..done(3, Stamps { deployment: 51, ..STAMPS }, None) };
    fleet.land(slot, &Departed::from(&task), Ok(landed));
    assert_eq!((fleet.specs(), reasons(&fleet, slot)), (0, Reasons::NONE));
    // A spec that is older than its generation says would be brought about, and for ever.
    see_child(&mut fleet, ChildKind::Deployment, &child(52, 3, UID));
    assert!(fleet.depart(slot).expect("work").spec.is_none());
}
