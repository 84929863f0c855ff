//! Other instances of this operator: what an operator finds at its start, and what it does when it meets a newer one.

use super::*;
use crate::model::Instance;

/// Brought by an instance that started at this time, with a status of other settings.
fn brought(started: u64, name: &str) -> InferenceServiceView {
    let mut status = status_of(1, 8, Phase::Ready, "ReplicasReady");
    status["observed"]["instance"] = Instance::of_this_release(started).to_string().into();
    named(object(UID, 100, 1, status), name)
}

/// The tests' clock.
const STARTED: u64 = 1_000_000_000;

#[tokio::test(start_paused = true)]
async fn an_operator_that_starts_is_newer_than_all_that_the_first_list_names_and_not_than_what_comes_later() {
    let mut controller = controller();
    let instances = controller.context.instances.clone();
    list(&mut controller, [brought(STARTED + 5, "a"), brought(7, "b"), ready(100, 1)]);
    assert_eq!(instances.own().started, STARTED + 6);
    // Its process ended before it could write the status.
    let instance = Some(Instance::of_this_release(STARTED + 7));
    list_children(&mut controller, ChildKind::Deployment, [Meta { instance, ..child(50, 1, UID) }]);
    list_children(&mut controller, ChildKind::Service, []);
    assert_eq!(instances.own().started, STARTED + 8);
    list(&mut controller, [brought(STARTED + 9, "a")]);
    controller.observe_inference_service(Event::Apply(brought(STARTED + 9, "c")));
    assert_eq!(instances.own().started, STARTED + 8);
}

/// It rolls out its own settings.
#[tokio::test(start_paused = true)]
async fn an_operator_that_has_met_a_newer_one_ends_its_rollout_and_says_so_in_the_metrics() {
    let mut controller = controller();
    list(&mut controller, [brought(7, "a"), brought(7, "b")]);
    for (kind, version) in [(ChildKind::Deployment, DEPLOYMENT_VERSION), (ChildKind::Service, SERVICE_VERSION)] {
        let of = |name: &str| Meta { name: name.to_owned(), ..child(version, 1, UID) };
        list_children(&mut controller, kind, ["a", "b"].map(of));
    }
    assert_eq!(controller.index.rollout().waiting(), 2);
    let newer = Instance::of_this_release(STARTED + 1);
    assert!(controller.context.instances.meet(&newer, "ns", "other"));
    controller.roll_out();
    controller.publish_metrics();
    assert!(controller.index.rollout().is_over() && controller.queue.is_empty());
    let text = controller.metrics.text();
    assert!(text.contains("\ninference_operator_newer_instance 1\n"), "{text}");
}

/// The status does not report it, and the log has said it once.
#[tokio::test(start_paused = true)]
async fn what_is_left_to_a_newer_instance_is_tried_again_and_not_logged() {
    let (log, _guard) = crate::testing::log_capture::listen();
    let (mut controller, slot) = in_sync(ready(100, 1));
    for failures in 1..=9 {
        see_deployment(&mut controller, 50 + failures, 2);
        let task = controller.index.start(slot).expect("work");
        controller.finish((slot, TaskStart::from(&task), Duration::ZERO, Err(Error::LeftToNewer)));
        assert!(controller.queue.contains(slot));
    }
    assert_eq!(controller.index.get(slot).expect("there").failures, 9);
    let lines = log.take();
    assert!(!lines.iter().any(|line| line.contains("WARN")), "{lines:?}");
}
