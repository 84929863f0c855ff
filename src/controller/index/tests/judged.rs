//! After a change of what the judge knows, each InferenceService is judged as the next list shows it.

use super::*;
use crate::model::hashes::Standing;

const OUTDATED: Standing = Standing::Outdated { replicas: 1 };

fn relist(index: &mut Index, objects: impl IntoIterator<Item = InferenceServiceView>) {
    index.list_begins(ListKind::InferenceServices);
    for object in objects {
        index.observe(object, Seen::Listed);
    }
    index.list_ends(ListKind::InferenceServices);
}

fn named(name: &str) -> InferenceServiceView {
    let mut object = ready(100, 1);
    object.meta.name = name.into();
    object
}

fn settled(names: &[&str]) -> Index {
    let mut index = Index::new(Box::new(|_, _| Standing::UpToDate));
    relist(&mut index, names.iter().map(|name| named(name)));
    index.children_are_listed();
    index
}

fn waiting(index: &Index) -> usize {
    index.rollout().waiting()
}

#[test]
fn whoever_is_outdated_waits_for_its_turn_and_nobody_else_is_touched() {
    let mut index = settled(&["a", "b"]);
    index.judge_again(Box::new(|object, _| if object.meta.name == "a" { OUTDATED } else { Standing::UpToDate }));
    assert!(index.wants_list() && !index.is_judged());
    relist(&mut index, ["a", "b"].map(named));
    assert!(!index.wants_list() && index.is_judged());
    assert_eq!((waiting(&index), index.specs()), (1, 0));
    assert!(index.iter().all(|(_, record)| record.is_settled()));
}

#[test]
fn a_list_that_was_under_way_does_not_count() {
    let mut index = settled(&["a"]);
    index.list_begins(ListKind::InferenceServices);
    index.judge_again(Box::new(|_, _| OUTDATED));
    index.observe(named("a"), Seen::Listed);
    index.list_ends(ListKind::InferenceServices);
    assert!(index.wants_list() && waiting(&index) == 0);
    relist(&mut index, [named("a")]);
    assert!(index.is_judged() && waiting(&index) == 1);
}

#[test]
fn what_waits_for_one_change_waits_for_the_next_one_instead() {
    let mut index = settled(&["a", "b"]);
    index.judge_again(Box::new(|_, _| OUTDATED));
    relist(&mut index, ["a", "b"].map(named));
    assert_eq!(waiting(&index), 2);
    index.judge_again(Box::new(|_, _| Standing::UpToDate));
    relist(&mut index, ["a", "b"].map(named));
    assert!(index.rollout().is_over());
}

#[test]
fn without_replicas_there_is_nothing_to_take_down_and_the_spec_is_at_hand() {
    let mut index = settled(&["a"]);
    index.judge_again(Box::new(|_, _| Standing::Outdated { replicas: 0 }));
    relist(&mut index, [named("a")]);
    assert_eq!((waiting(&index), index.specs()), (0, 1));
    assert!(index.iter().all(|(_, record)| record.dirty == Dirty::SPEC_AND_CHILDREN));
}

/// Its status says nothing of the spec that it has now.
#[test]
fn what_is_acted_on_anyway_is_not_judged() {
    let mut index = settled(&["a"]);
    see(&mut index, {
        let mut changed = object(UID, 101, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady"));
        changed.meta.name = "a".into();
        changed
    });
    index.judge_again(Box::new(|_, _| OUTDATED));
    let mut changed = object(UID, 101, 2, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady"));
    changed.meta.name = "a".into();
    relist(&mut index, [changed]);
    assert_eq!(waiting(&index), 0);
}

/// Found by the simulation, seed 5040: it was Ready in the same moment, and two were taken down at once.
#[test]
fn a_new_one_that_is_acted_on_right_now_waits_for_its_turn() {
    for (is_in_flight, expected) in [(true, 1), (false, 0)] {
        let mut index = settled(&[]);
        let mut new = object(UID, 101, 1, Value::Null);
        new.meta.name = "a".into();
        let slot = index.observe(new.clone(), Seen::Event).expect("a name");
        let start = TaskStart::from(&index.start(slot).expect("work"));
        if !is_in_flight {
            let unwritten = Outcome { action: Action::Recheck(Dirty::STATUS), ..outcome(1, STAMPS, None) };
            index.finish(slot, &start, Ok(unwritten));
        }
        index.judge_again(Box::new(|_, _| OUTDATED));
        relist(&mut index, [new]);
        assert_eq!(waiting(&index), expected, "in flight: {is_in_flight}");
    }
}

/// It shows what was built before a change that has been taken back since, and so nobody knows.
#[test]
fn what_a_list_from_the_past_shows_up_to_date_waits_for_its_turn() {
    let mut index = settled(&["a"]);
    let mut past = ready(99, 1);
    past.meta.name = "a".into();
    index.judge_again(Box::new(|_, _| Standing::UpToDate));
    relist(&mut index, [past]);
    assert_eq!(waiting(&index), 1);
}
