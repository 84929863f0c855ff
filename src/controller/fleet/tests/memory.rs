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
