//! What the metrics say, and what is in memory.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_turn_is_told_to_whoever_reads_the_metrics() {
    let (mut controller, _) = in_sync(ready(100, 1));
    see_deployment(&mut controller, 51, 2);
    controller.publish_metrics();
    let text = controller.metrics.text();
    for line in
        ["workqueue_depth{name=\"inferenceservice\"} 1", "inference_operator_inferenceservices{phase=\"Ready\"} 1"]
    {
        assert!(text.lines().any(|told| told == line), "{line}\n---\n{text}");
    }
    assert!(controller.metrics.in_sync());
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_what_there_is() {
    let mut controller = controller();
    let three = ["one", "three", "settled"].map(|name| named(object(UID, 100, 1, Value::Null), name));
    list(&mut controller, three);
    list_children(&mut controller, ChildKind::Deployment, []);
    list_children(&mut controller, ChildKind::Service, []);
    controller.observe_inference_service(Event::Apply(named(ready(101, 1), "settled")));
    controller.start();
    let phases = [2, 0, 1, 0, 0, 0];
    let expected = Memory { inference_services: 3, phases, name_bytes: 15, specs: 1, queued: 1, in_flight: 2 };
    assert_eq!(controller.memory(), expected);
    controller.observe_inference_service(Event::Delete(named(object(UID, 102, 1, Value::Null), "three")));
    controller.observe_inference_service(Event::Delete(named(object(UID, 102, 1, Value::Null), "settled")));
    while let Some(flight) = controller.in_flight.next().await {
        controller.finish(flight);
    }
    let phases = [1, 0, 0, 0, 0, 0];
    let left = controller.memory();
    assert_eq!(left, Memory { inference_services: 1, phases, name_bytes: 3, specs: 0, in_flight: 0, ..left.clone() });
}

#[tokio::test(start_paused = true)]
async fn each_reconcile_is_counted_by_its_outcome() {
    let outcome = |action| Ok(Outcome { action, ..crate::testing::fixtures::outcome(1, STAMPS, None) });
    let taken = Error::NameTaken { kind: "Service", namespace: "ns".into(), name: "demo".into(), owner: "x".into() };
    for (result, expected) in [
        (outcome(Action::AwaitChange), ReconcileResult::Success),
        (outcome(Action::Recheck(Dirty::STATUS)), ReconcileResult::RequeueAfter),
        (outcome(Action::Recheck(Dirty::COUNT)), ReconcileResult::RequeueAfter),
        (outcome(Action::RequeueAfter(Dirty::empty(), Duration::ZERO)), ReconcileResult::RequeueAfter),
        (outcome(Action::Rejected(Error::MissingField("model"))), ReconcileResult::Success),
        (outcome(Action::Rejected(taken)), ReconcileResult::Error),
        (Err(Error::Gone), ReconcileResult::Error),
    ] {
        assert_eq!(counted(&result), expected, "{result:?}");
    }
    let (mut controller, slot) = in_sync(ready(100, 1));
    see_deployment(&mut controller, 51, 2);
    work(&mut controller, slot, ObservedVersions { deployment: NonZeroU64::new(51), ..STAMPS }, Action::AwaitChange);
    let line = "controller_runtime_reconcile_total{controller=\"inferenceservice\",result=\"success\"} 1";
    assert!(controller.metrics.text().contains(line));
}
