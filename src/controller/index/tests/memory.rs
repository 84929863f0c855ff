//! What remains in memory of deleted InferenceServices.

use super::*;
use std::num::NonZeroU64;

#[test]
fn names_that_come_and_go_leave_nothing_behind() {
    let mut index = Index::new(Box::new(judge));
    assert!(index.is_empty());
    let kept = index.observe(ready(100, 1), Seen::Event).expect("a name");
    for number in 0..1000 {
        let mut object = object(OTHER_UID, 100, 1, Value::Null);
        object.meta.name = format!("{number:0>253}");
        index.observe(object, Seen::Event).expect("a name");
        index.remove("ns", &format!("{number:0>253}"));
    }
    assert!(index.names.bytes() < 20_000, "{} bytes", index.names.bytes());
    assert!(!index.is_empty());
    let record = index.get(kept).expect("a record");
    assert_eq!(index.name(record), "demo");
}

#[test]
fn a_spec_that_was_acted_on_meanwhile_is_not_kept() {
    let (mut index, slot) = settled();
    see_child(&mut index, ChildKind::Deployment, &child(51, 2, UID));
    let task = index.start(slot).expect("work");
    see(&mut index, object(UID, 110, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady")));
    assert_eq!(index.specs(), 1);
    // The reconcile has read the spec after that one.
    let summary = index.get(slot).expect("a record").summary;
    let landed =
        Outcome { summary, ..outcome(3, ObservedVersions { deployment: NonZeroU64::new(51), ..STAMPS }, None) };
    index.finish(slot, &TaskStart::from(&task), Ok(landed));
    assert_eq!((index.specs(), dirty(&index, slot)), (0, Dirty::empty()));
    // A spec older than its recorded generation would be applied, and never corrected.
    see_child(&mut index, ChildKind::Deployment, &child(52, 3, UID));
    assert!(index.start(slot).expect("work").spec.is_none());
}
