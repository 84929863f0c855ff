//! When a reconcile starts: after which lists, how soon, how many at once, and what is logged about it.

mod catalog;
mod failing;
mod metrics;
mod newer;
mod retry_after;
mod rollout;
mod standby;

use serde_json::Value;
use std::num::NonZeroU64;

use super::schedule::*;
use super::*;
use crate::model::view::Meta;
use crate::model::{Dirty, ObservedVersions};
use crate::reconcile::event::Limit;
use crate::reconcile::instances::Instances;
use crate::settings::Settings;
use crate::telemetry::metrics::ReconcileResult;
use crate::testing::fake_api_server::{self, Reply};
use crate::testing::fixtures::{
    CONFIG_HASH, DEPLOYMENT_VERSION, OTHER_UID, SERVICE_VERSION, STAMPS, UID, child, judge, object, ready, status_of,
};
use crate::testing::log_capture::listen;
use crate::time::Timestamp;

/// A controller whose API server never responds.
fn controller() -> Controller {
    controller_of([])
}

/// A controller whose API server sends these replies, and then none.
fn controller_of(replies: impl IntoIterator<Item = Reply>) -> Controller {
    let (client, _) = fake_api_server::client(replies);
    let settings = Settings { concurrency: 2, ..Settings::default() };
    let (events, instances) = (Arc::<Limit>::default(), Arc::new(Instances::new(Timestamp(1000).into())));
    let context = Context { client, settings, config_hash: CONFIG_HASH, now: || Timestamp(1000), events, instances };
    let controller = Controller::new(Arc::new(context), Arc::default(), 1);
    Controller { index: Index::new(Box::new(judge)), ..controller }
}

fn list(controller: &mut Controller, objects: impl IntoIterator<Item = InferenceServiceView>) {
    controller.observe_inference_service(Event::Init);
    for object in objects {
        controller.observe_inference_service(Event::InitApply(object));
    }
    controller.observe_inference_service(Event::InitDone);
}

fn list_children(controller: &mut Controller, kind: ChildKind, children: impl IntoIterator<Item = Meta>) {
    controller.observe_child(kind, Event::Init);
    for meta in children {
        controller.observe_child(kind, Event::InitApply(meta));
    }
    controller.observe_child(kind, Event::InitDone);
    // In these tests the Services are always listed last.
    if kind == ChildKind::Service && !controller.in_sync {
        controller.start_work();
    }
}

/// After a restart: everything is listed, and the InferenceService matches its status.
fn in_sync(object: InferenceServiceView) -> (Controller, Slot) {
    let (controller, slot) = in_sync_or_due(object);
    assert!(controller.queue.is_empty());
    (controller, slot)
}

fn in_sync_or_due(object: InferenceServiceView) -> (Controller, Slot) {
    let mut controller = controller();
    list(&mut controller, [object]);
    list_children(&mut controller, ChildKind::Deployment, [child(DEPLOYMENT_VERSION, 1, UID)]);
    list_children(&mut controller, ChildKind::Service, [child(SERVICE_VERSION, 0, UID)]);
    let (slot, _) = controller.index.iter().next().expect("a record");
    (controller, slot)
}

/// The same for a rollout in progress, after the check of its load time.
fn started(object: InferenceServiceView) -> (Controller, Slot) {
    let (mut controller, slot) = in_sync_or_due(object);
    assert_eq!(wait(&controller), Some(Duration::from_secs(30)), "its load time is not known");
    work(&mut controller, slot, STAMPS, Action::AwaitChange);
    assert!(controller.queue.is_empty());
    (controller, slot)
}

fn named(mut object: InferenceServiceView, name: &str) -> InferenceServiceView {
    object.meta.name = name.into();
    object
}

fn see_deployment(controller: &mut Controller, version: u64, generation: u32) {
    controller.observe_child(ChildKind::Deployment, Event::Apply(child(version, generation, UID)));
}

/// Delay until the next queued key is due.
fn wait(controller: &Controller) -> Option<Duration> {
    controller.queue.next_due().map(|due| due - Instant::now())
}

/// A reconcile that starts and finishes at once, with these versions.
fn work(controller: &mut Controller, slot: Slot, versions: ObservedVersions, action: Action) {
    assert_eq!(controller.queue.pop(Instant::now() + Duration::from_secs(3600)), Some(slot));
    let task = controller.index.start(slot).expect("work");
    let start = TaskStart::from(&task);
    let outcome = Outcome { versions, action, ..Outcome::unchanged(&task) };
    controller.finish((slot, start, Duration::ZERO, Ok(outcome)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_before_every_list_was_read() {
    let mut controller = controller();
    list(&mut controller, [object(UID, 100, 1, Value::Null), named(ready(100, 1), "settled")]);
    assert!(controller.queue.is_empty(), "the children are not listed");
    let settled = |version, generation| Meta { name: "settled".into(), ..child(version, generation, UID) };
    list_children(&mut controller, ChildKind::Deployment, [settled(DEPLOYMENT_VERSION, 1)]);
    assert!(controller.queue.is_empty(), "the Services are not listed");
    controller.observe_inference_service(Event::Apply(named(ready(101, 1), "believed")));
    let believed = Meta { name: "believed".into(), ..child(SERVICE_VERSION, 0, UID) };
    list_children(&mut controller, ChildKind::Service, [settled(SERVICE_VERSION, 0), believed]);
    assert_eq!((controller.queue.len(), wait(&controller)), (1, Some(Duration::ZERO)));
    // From now on no list would confirm a status.
    controller.observe_inference_service(Event::Apply(named(ready(102, 1), "looked-at")));
    assert_eq!(controller.queue.len(), 2);
}

/// The name of a change, and the change.
type Case = (&'static str, fn(&mut Controller));

#[tokio::test(start_paused = true)]
async fn a_child_that_goes_or_is_another_is_looked_at_at_once() {
    let cases: [Case; 3] = [
        ("deleted", |controller| {
            let meta = child(51, 1, UID);
            controller.observe_child(ChildKind::Deployment, Event::Delete(meta));
        }),
        ("another in a new list", |controller| {
            list_children(controller, ChildKind::Deployment, [child(51, 2, UID)]);
        }),
        ("not in a new list", |controller| list_children(controller, ChildKind::Deployment, [])),
    ];
    for (what, happens) in cases {
        let (mut controller, _) = in_sync(ready(100, 1));
        happens(&mut controller);
        assert_eq!((controller.queue.len(), wait(&controller)), (1, Some(Duration::ZERO)), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn looks_that_have_nothing_to_say_wait_longer_each_time() {
    let moving = object(UID, 100, 1, status_of(1, CONFIG_HASH, Phase::Progressing, "RollingOut"));
    let (mut controller, slot) = started(moving);
    let mut waits = Vec::new();
    for version in 51..56 {
        see_deployment(&mut controller, version, 1);
        waits.push(wait(&controller).expect("queued").as_millis());
        work(
            &mut controller,
            slot,
            ObservedVersions { deployment: NonZeroU64::new(version), ..STAMPS },
            Action::AwaitChange,
        );
        assert!(controller.queue.is_empty());
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 4000]);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_to_do_is_done_in_its_own_time() {
    let moving = || object(UID, 100, 1, status_of(1, CONFIG_HASH, Phase::Progressing, "RollingOut"));
    for (next, expected) in [
        (Action::Recheck(Dirty::STATUS), 500),
        (Action::Recheck(Dirty::COUNT), 30_000),
        (Action::RequeueAfter(Dirty::empty(), Duration::from_secs(300)), 300_000),
        (Action::RequeueAfter(Dirty::STATUS, Duration::from_secs(10)), 10_000),
        // Longer than what is remembered.
        (Action::RequeueAfter(Dirty::empty(), Duration::from_secs(86_400)), 508_000),
    ] {
        let (mut controller, slot) = in_sync(ready(100, 1));
        see_deployment(&mut controller, 51, 2);
        work(&mut controller, slot, ObservedVersions { deployment: NonZeroU64::new(51), ..STAMPS }, next);
        assert_eq!(wait(&controller), Some(Duration::from_millis(expected)));
    }
    // An edit is read soon, however many quiet reads came before.
    let (mut controller, slot) = started(moving());
    for version in 51..56 {
        see_deployment(&mut controller, version, 1);
        work(
            &mut controller,
            slot,
            ObservedVersions { deployment: NonZeroU64::new(version), ..STAMPS },
            Action::AwaitChange,
        );
    }
    see_deployment(&mut controller, 56, 2);
    assert_eq!(wait(&controller), Some(SETTLE_DELAY));
}

/// As after the loss of a node with many models.
#[tokio::test(start_paused = true)]
async fn looks_at_thousands_are_spread_over_a_minute_and_never_early() {
    let waiting = object(UID, 100, 1, status_of(1, CONFIG_HASH, Phase::Degraded, "ReplicasUnavailable"));
    for (count, latest) in [(1, 30), (100, 35), (3000, 90)] {
        let mut controller = controller();
        list(&mut controller, (0..count).map(|number| named(waiting.clone(), &format!("demo-{number}"))));
        for (kind, version) in [(ChildKind::Deployment, DEPLOYMENT_VERSION), (ChildKind::Service, SERVICE_VERSION)] {
            let generation = u32::from(kind == ChildKind::Deployment);
            let children =
                (0..count).map(|number| Meta { name: format!("demo-{number}"), ..child(version, generation, UID) });
            list_children(&mut controller, kind, children);
        }
        assert_eq!(controller.queue.len(), count);
        let began = Instant::now();
        let mut waits: Vec<Duration> = std::iter::from_fn(|| {
            let due = controller.queue.next_due()?;
            controller.queue.pop(due)?;
            Some(due - began)
        })
        .collect();
        waits.sort();
        let (first, last) = (waits.first().expect("queued"), waits.last().expect("queued"));
        assert!(*first >= Duration::from_secs(30), "{count}: {first:?}");
        assert!(*last <= Duration::from_secs(latest), "{count}: {last:?}");
        assert!(count < 3000 || *last > Duration::from_secs(60), "{count}: {last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_after_a_while_that_a_sweep_does_not_shorten() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    see_deployment(&mut controller, 51, 2);
    assert_eq!((controller.queue.pop(Instant::now() + SETTLE_DELAY), wait(&controller)), (Some(slot), None));
    let start = TaskStart::from(&controller.index.start(slot).expect("work"));
    see_deployment(&mut controller, 52, 3);
    assert!(controller.queue.is_empty(), "never twice at once");
    controller.sweep();
    assert!(controller.queue.is_empty(), "never twice at once");
    controller.finish((slot, start, Duration::ZERO, Err(Error::Gone)));
    let before = wait(&controller).expect("queued");
    assert!((250..=500).contains(&before.as_millis()), "{before:?}");
    for _ in 0..100 {
        controller.sweep();
    }
    assert_eq!(wait(&controller), Some(before));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_finds_what_was_lost() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    controller.sweep();
    assert!(controller.queue.is_empty(), "what is settled is left alone");
    controller.index.observe_child(ChildKind::Deployment, &child(51, 2, UID), Seen::Event);
    controller.sweep();
    assert_eq!(controller.queue.pop(Instant::now() + SETTLE_DELAY), Some(slot));
}

#[tokio::test(start_paused = true)]
async fn so_many_are_worked_on_at_once_and_no_more() {
    let (mut controller, _) = in_sync(ready(100, 1));
    assert_eq!(controller.next_start(), None, "nothing waits");
    for name in ["one", "two", "three"] {
        controller.observe_inference_service(Event::Apply(named(object(UID, 101, 1, Value::Null), name)));
    }
    assert_eq!(controller.next_start(), Some(Instant::now()));
    controller.start();
    assert_eq!((controller.in_flight.len(), controller.queue.len(), controller.next_start()), (2, 1, None));
    let flight = controller.in_flight.next().await.expect("too late");
    controller.finish(flight);
    assert!(controller.next_start().is_some());
    controller.start();
    assert_eq!(controller.in_flight.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_gets_time_to_land_and_no_more_than_that() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    see_deployment(&mut controller, 51, 2);
    let start = TaskStart::from(&controller.index.start(slot).expect("work"));
    for (takes, left, expected) in [(3, 0, 3), (60, 1, 4)] {
        controller.in_flight.push(Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(takes)).await;
            (slot, start, Duration::ZERO, Err(Error::Gone))
        }));
        let began = Instant::now();
        controller.drain().await;
        assert_eq!((controller.in_flight.len(), began.elapsed()), (left, Duration::from_secs(expected)));
    }
}

#[tokio::test(start_paused = true)]
async fn repairs_fade_by_time_and_not_by_the_pace_of_the_sweep() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    see_deployment(&mut controller, 51, 2);
    controller.queue.pop(Instant::now() + SETTLE_DELAY).expect("queued");
    let task = controller.index.start(slot).expect("work");
    let repaired = || Outcome { versions: STAMPS, repaired: true, ..Outcome::unchanged(&task) };
    for _ in 0..3 {
        controller.finish((slot, TaskStart::from(&task), Duration::ZERO, Ok(repaired())));
    }
    let repairs = |controller: &Controller| controller.index.get(slot).expect("a record").repairs;
    for _ in 0..100 {
        controller.sweep();
    }
    assert_eq!(repairs(&controller), 3);
    tokio::time::advance(REPAIR_FADES * 2).await;
    controller.sweep();
    assert_eq!(repairs(&controller), 1);
}

fn refused(code: u16) -> Error {
    let status = kube::core::Status { code, ..kube::core::Status::default() };
    Error::Kube(kube::Error::Api(status.boxed()))
}

/// Fails with this error; returns whether a warning was logged.
fn fails(controller: &mut Controller, slot: Slot, error: Error) -> bool {
    let (heard, _guard) = listen();
    controller.queue.pop(Instant::now() + Duration::from_secs(60)).expect("queued");
    let start = TaskStart::from(&controller.index.start(slot).expect("work"));
    controller.finish((slot, start, Duration::ZERO, Err(error)));
    heard.take().iter().any(|entry| entry.starts_with("WARN"))
}

#[tokio::test(start_paused = true)]
async fn in_a_namespace_that_goes_away_nothing_is_done_until_it_is_there_again() {
    let terminating = || {
        let cause = serde_json::json!({"code": 403, "details": {"causes": [{"reason": "NamespaceTerminating"}]}});
        let status: kube::core::Status = serde_json::from_value(cause).expect("a Status");
        Error::Kube(kube::Error::Api(status.boxed()))
    };
    let (mut controller, slot) = in_sync(ready(100, 1));
    controller.observe_inference_service(Event::Apply(named(object(UID, 101, 1, Value::Null), "other")));
    controller.queue.pop(Instant::now()).expect("queued");
    see_deployment(&mut controller, 51, 2);
    let (heard, _guard) = listen();
    assert!(!fails(&mut controller, slot, terminating()));
    assert_eq!(heard.take().len(), 0, "told to the listener above it");
    see_deployment(&mut controller, 52, 3);
    controller.observe_inference_service(Event::Apply(named(object(UID, 102, 2, Value::Null), "other")));
    controller.sweep();
    assert!(controller.queue.is_empty());
    // Recreated under the same name, with all its objects.
    controller.observe_inference_service(Event::Apply(object(OTHER_UID, 200, 1, Value::Null)));
    controller.sweep();
    assert_eq!(controller.queue.len(), 2);
}

#[test]
fn what_fails_together_is_tried_no_more_often_than_the_api_server_bears() {
    for (failures, failing, expected) in
        [(1, 1, 10), (59, 200, 10), (60, 1, 60), (u8::MAX, 1, 60), (1, 400, 20), (1, 1200, 60), (1, 100_000, 60)]
    {
        assert_eq!(longest_backoff(failures, failing), Duration::from_secs(expected), "{failures} {failing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crd_that_is_older_is_said_once() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    let (heard, _guard) = listen();
    let mut said = Vec::new();
    for version in 51..54 {
        see_deployment(&mut controller, version, 1);
        controller.queue.pop(Instant::now() + Duration::from_secs(60)).expect("queued");
        let task = controller.index.start(slot).expect("work");
        let mut cut = status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady");
        cut.as_object_mut().expect("a status").remove("observed");
        let written = Some(Box::new(object(UID, version + 100, 1, cut)));
        let versions = ObservedVersions { deployment: NonZeroU64::new(version), ..STAMPS };
        let outcome = Outcome { versions, written, ..Outcome::unchanged(&task) };
        controller.finish((slot, TaskStart::from(&task), Duration::ZERO, Ok(outcome)));
        said.push(heard.take().iter().filter(|entry| entry.contains("the CRD is older")).count());
    }
    assert_eq!((said, controller.queue.len()), (vec![1, 0, 0], 0));
}

/// Another controller keeps its own condition in the status, or is another instance of this one.
#[tokio::test(start_paused = true)]
async fn a_status_that_is_fought_over_is_put_right_ever_more_slowly() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    let mut waits = Vec::new();
    for version in (101..121).step_by(2) {
        let mut status = status_of(1, CONFIG_HASH, Phase::Ready, "ReplicasReady");
        status["readyReplicas"] = serde_json::json!(9);
        controller.observe_inference_service(Event::Apply(object(UID, version, 1, status)));
        waits.push(wait(&controller).expect("it is put right"));
        controller.queue.pop(Instant::now() + Duration::from_secs(3600));
        let task = controller.index.start(slot).expect("work");
        let outcome = crate::testing::fixtures::outcome(1, STAMPS, Some(ready(version + 1, 1)));
        controller.finish((slot, TaskStart::from(&task), Duration::ZERO, Ok(outcome)));
    }
    assert!(waits[9] > Duration::from_secs(1), "{waits:?}");
}
