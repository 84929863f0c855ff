//! Other settings, or another release: one InferenceService after the other.

use super::*;
use crate::api::InferenceServiceStatus;
use crate::controller::rollout::State;
use crate::model::hashes::Standing;
use crate::testing::fixtures::outcome;

/// In sync, after a start with other settings than those by which these were built.
fn restarted(names: &[&str]) -> Controller {
    let mut controller = controller();
    let outdated = |name: &&str| named(object(UID, 100, 1, status_of(1, 8, Phase::Ready, "ReplicasReady")), name);
    list(&mut controller, names.iter().map(outdated));
    for (kind, version) in [(ChildKind::Deployment, DEPLOYMENT_VERSION), (ChildKind::Service, SERVICE_VERSION)] {
        let of = |name: &&str| Meta { name: (*name).to_owned(), ..child(version, 1, UID) };
        list_children(&mut controller, kind, names.iter().map(of));
    }
    controller
}

fn work_on(controller: &mut Controller, slot: Slot, next: Action, phase: Phase) {
    let task = controller.index.start(slot).expect("work");
    assert!(task.released && task.dirty.contains(Dirty::SPEC));
    let status = object(UID, task.versions.deployment.map_or(200, |at| 150 + at.get()), 1, {
        status_of(1, CONFIG_HASH, phase, "Reason")
    });
    let done = Outcome { action: next, ..outcome(1, STAMPS, Some(status)) };
    controller.finish((slot, TaskStart::from(&task), Duration::ZERO, Ok(done)));
}

#[tokio::test(start_paused = true)]
async fn other_settings_start_with_one_and_the_next_follows_when_that_is_ready() {
    let mut controller = restarted(&["b", "a", "c"]);
    assert!(controller.queue.is_empty(), "nothing is dirty: it all waits");
    controller.roll_out();
    controller.roll_out();
    let first = controller.queue.pop(Instant::now()).expect("the first");
    assert_eq!((controller.index.name(controller.index.get(first).expect("there")), controller.queue.len()), ("a", 0));
    assert_eq!((controller.index.rollout().waiting(), controller.index.rollout().under_way()), (2, 1));

    work_on(&mut controller, first, Action::AwaitChange, Phase::Progressing);
    controller.roll_out();
    assert!(controller.queue.is_empty(), "its replicas are starting");
    let ready = named(object(UID, 300, 1, status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady")), "a");
    let start = TaskStart::from(&{
        controller.index.observe_child(
            ChildKind::Deployment,
            &Meta { name: "a".into(), ..child(60, 1, UID) },
            Seen::Event,
        );
        controller.index.start(first).expect("a look")
    });
    controller.finish((first, start, Duration::ZERO, Ok(outcome(1, STAMPS, Some(ready)))));
    controller.roll_out();
    let second = controller.queue.pop(Instant::now()).expect("the second");
    assert_eq!(controller.index.name(controller.index.get(second).expect("there")), "b");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_rolled_out_before_every_list_was_read() {
    let mut controller = controller();
    list(&mut controller, [object(UID, 100, 1, status_of(1, 8, Phase::Ready, "ReplicasReady"))]);
    controller.roll_out();
    assert_eq!((controller.index.rollout().waiting(), controller.index.rollout().under_way()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_halts_says_so_once() {
    let (lines, _guard) = listen();
    let mut controller = restarted(&["a", "b"]);
    controller.roll_out();
    let first = controller.queue.pop(Instant::now()).expect("the first");
    work_on(&mut controller, first, Action::AwaitChange, Phase::Degraded);
    controller.roll_out();
    controller.roll_out();
    assert!(controller.queue.is_empty());
    assert_eq!(controller.index.rollout().halted_by(), Some(first));
    let halted = lines.take().into_iter().filter(|line| line.contains("halted")).count();
    assert_eq!(halted, 1);
}

#[tokio::test(start_paused = true)]
async fn what_its_user_changes_meanwhile_does_not_wait() {
    let mut controller = restarted(&["a", "b"]);
    let changed = named(object(UID, 101, 2, status_of(1, 8, Phase::Ready, "ReplicasReady")), "b");
    controller.observe_inference_service(Event::Apply(changed));
    let slot = controller.queue.pop(Instant::now()).expect("queued");
    let task = controller.index.start(slot).expect("work");
    assert!(!task.released && controller.index.rollout().waiting() == 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_in_the_middle_the_one_that_was_on_its_way_is_waited_for() {
    let mut controller = controller();
    let rolled_out = object(UID, 100, 1, status_of(1, CONFIG_HASH, Phase::Progressing, "RollingOut"));
    let outdated = object(UID, 100, 1, status_of(1, 8, Phase::Ready, "ReplicasReady"));
    let judge = |object: &InferenceServiceView, _: &InferenceServiceStatus| match object.meta.name.as_str() {
        "on-its-way" => Standing::RolledOut,
        _ => Standing::Outdated { replicas: 1 },
    };
    controller.index = Index::new(Box::new(judge));
    list(&mut controller, [named(rolled_out, "on-its-way"), named(outdated, "b")]);
    list_children(
        &mut controller,
        ChildKind::Deployment,
        ["on-its-way", "b"].map(|name| Meta { name: name.into(), ..child(50, 1, UID) }),
    );
    list_children(
        &mut controller,
        ChildKind::Service,
        ["on-its-way", "b"].map(|name| Meta { name: name.into(), ..child(60, 0, UID) }),
    );
    controller.roll_out();
    assert_eq!((controller.index.rollout().waiting(), controller.index.rollout().under_way()), (1, 1));
}

/// Or else two would be down by two changes, of which the second one is wrong too.
#[tokio::test(start_paused = true)]
async fn after_a_restart_one_that_an_earlier_change_has_taken_down_goes_first_and_is_waited_for() {
    let mut controller = controller();
    let judge = |object: &InferenceServiceView, _: &InferenceServiceStatus| match object.meta.name.as_str() {
        "taken-down" => Standing::TakenDown { replicas: 2 },
        _ => Standing::Outdated { replicas: 1 },
    };
    controller.index = Index::new(Box::new(judge));
    let down = object(UID, 100, 1, status_of(1, 8, Phase::Degraded, "ProgressDeadlineExceeded"));
    let well = object(UID, 100, 1, status_of(1, 8, Phase::Ready, "ReplicasReady"));
    list(&mut controller, [named(down, "taken-down"), named(well, "b")]);
    let children = |version| ["taken-down", "b"].map(|name| Meta { name: name.into(), ..child(version, 1, UID) });
    list_children(&mut controller, ChildKind::Deployment, children(50));
    list_children(&mut controller, ChildKind::Service, children(60));
    controller.roll_out();
    let first = controller.queue.pop(Instant::now()).expect("the first");
    assert_eq!(controller.index.get(first).map(|record| controller.index.name(record)), Some("taken-down"));
    work_on(&mut controller, first, Action::AwaitChange, Phase::Degraded);
    controller.roll_out();
    assert!(controller.queue.is_empty());
    assert_eq!(controller.index.rollout().halted_by(), Some(first));
}

/// Nothing is reconciled in it any more.
#[tokio::test(start_paused = true)]
async fn one_whose_namespace_goes_away_holds_up_nobody() {
    let mut controller = restarted(&["a", "b"]);
    controller.roll_out();
    let first = controller.queue.pop(Instant::now()).expect("the first");
    controller.index.namespace_terminates(first);
    controller.roll_out();
    assert_eq!((controller.index.rollout().under_way(), controller.index.rollout().waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_has_no_replicas_is_brought_up_to_date_at_once() {
    let mut controller = controller();
    controller.index = Index::new(Box::new(|_, _| Standing::Outdated { replicas: 0 }));
    list(&mut controller, [ready(100, 1)]);
    list_children(&mut controller, ChildKind::Deployment, [child(DEPLOYMENT_VERSION, 1, UID)]);
    list_children(&mut controller, ChildKind::Service, [child(SERVICE_VERSION, 0, UID)]);
    assert_eq!((controller.queue.len(), controller.index.rollout().waiting()), (1, 0));
    let slot = controller.queue.pop(Instant::now()).expect("queued");
    assert_eq!(controller.index.get(slot).expect("there").state(), State::Busy);
}
