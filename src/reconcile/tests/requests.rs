//! The requests to the API server, and the outcome of each response.

use std::num::NonZeroU64;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::model::ObservedVersions;
use crate::testing::fake_api_server::{self, Asked, Reply};
use crate::testing::fixtures::OTHER_UID;
use crate::time::Timestamp;

pub const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/ns/deployments/demo";
pub const SERVICES: &str = "/api/v1/namespaces/ns/services";
pub const STATUS: &str = "/apis/ai.example.com/v1/namespaces/ns/inferenceservices/demo/status";
pub const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/ns/events";

pub fn context(replies: impl IntoIterator<Item = Reply>) -> (Context, Asked) {
    let (client, asked) = fake_api_server::client(replies);
    let settings = Settings::default();
    let (config_hash, events) = (config_hash(&settings), Arc::default());
    let instances = Arc::new(Instances::new(Timestamp(1000).into()));
    (Context { client, config_hash, settings, now: || Timestamp(1000), events, instances }, asked)
}

/// One response each: an unchanged Deployment, the written status, an Event.
pub fn found(change: fn(&mut Value)) -> Reply {
    let mut object = deployment_json();
    change(&mut object);
    Reply::object(&object)
}

pub fn as_it_was() -> Reply {
    found(|_| {})
}

pub fn service() -> Reply {
    let mut object = deployment_json();
    object["metadata"]["resourceVersion"] = json!("61");
    Reply::object(&object)
}

/// The response to a GET, with the spec that the operator builds.
fn whole_service(change: fn(&mut Value)) -> Reply {
    let task = task(Dirty::SPEC_AND_CHILDREN);
    let mut object = Desired::new("ns", "demo", task.uid, None).object;
    object["metadata"]["resourceVersion"] = json!("61");
    change(&mut object);
    Reply::object(&object)
}

pub fn written() -> Reply {
    Reply::object(&json!({"metadata": {"name": "demo", "resourceVersion": "110"}, "spec": {}}))
}

pub fn none() -> Reply {
    Reply::refusal(404, "not found")
}

pub fn posted() -> Reply {
    Reply::object(&json!({}))
}

/// The requests as method and path, without query and body.
pub fn paths(asked: &Asked) -> Vec<String> {
    asked.take().iter().map(|line| path(line)).collect()
}

pub fn path(line: &str) -> String {
    line.split(['?', '{', '[']).next().unwrap_or_default().trim_end().to_owned()
}

pub fn written_phase(asked: &[String]) -> Option<&str> {
    let line = asked.iter().find(|line| line.contains(STATUS))?;
    Phase::ALL.iter().map(|phase| phase.as_str()).find(|phase| line.contains(&format!("\"phase\":\"{phase}\"")))
}

/// The InferenceService itself.
pub fn object(change: fn(&mut Value)) -> Reply {
    let mut object = json!({"metadata": {"namespace": "ns", "name": "demo", "uid": UID, "resourceVersion": "120",
        "generation": 1}, "spec": {"model": "m", "gpuType": "A100"}});
    change(&mut object);
    Reply::object(&object)
}

/// A task that was never reconciled.
pub fn new() -> Task {
    Task { summary: None, versions: ObservedVersions::default(), ..task(Dirty::SPEC_AND_CHILDREN) }
}

#[tokio::test(start_paused = true)]
async fn a_new_one_costs_a_look_two_writes_and_waits_for_the_deployment_controller() {
    let unseen = found(|it| it["status"] = json!({}));
    let (context, asked) = context([none(), service(), unseen]);
    let outcome = reconcile(&context, new()).await.expect("done");
    assert_eq!(paths(&asked), [format!("GET {DEPLOYMENT}"), format!("POST {SERVICES}"), format!("PATCH {DEPLOYMENT}")]);
    assert!(matches!(outcome.action, Action::Recheck(Dirty::STATUS)) && outcome.written.is_none());
    assert_eq!(
        outcome.versions,
        ObservedVersions { deployment: NonZeroU64::new(51), service: NonZeroU64::new(61), ..STAMPS }
    );
}

#[tokio::test(start_paused = true)]
async fn a_child_that_cannot_be_read_is_not_taken_for_one_that_is_not_there() {
    let (refused, asked) = context([Reply::refusal(500, "no")]);
    assert!(reconcile(&refused, new()).await.is_err());
    assert_eq!(asked.take().len(), 1);
    let (refused, asked) = context([Reply::refusal(403, "no"), none()]);
    assert!(matches!(reconcile(&refused, new()).await, Err(Error::Gone)));
    assert_eq!(asked.take().len(), 2, "and what the status says of it is asked");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_read_where_somebody_touched_it_and_applied_where_it_is_another() {
    let said = || Task { summary: Some(ready()), ..task(Dirty::SERVICE) };
    let annotated = whole_service(|it| it["metadata"]["annotations"] = json!({"a": "b"}));
    let (touched, asked) = context([annotated]);
    let outcome = reconcile(&touched, said()).await.expect("done");
    assert_eq!(paths(&asked), [format!("GET {SERVICES}/demo")]);
    assert!(!outcome.repaired && outcome.versions.service == NonZeroU64::new(61) && outcome.written.is_none());

    let edited = whole_service(|it| {
        it["spec"]["ports"] = json!([{"name": "theirs", "port": 9}]);
        it["metadata"]["resourceVersion"] = json!("60");
    });
    let (edited, asked) = context([edited, as_it_was(), service(), written()]);
    let outcome = reconcile(&edited, said()).await.expect("done");
    assert_eq!(
        paths(&asked),
        [
            format!("GET {SERVICES}/demo"),
            format!("GET {DEPLOYMENT}"),
            format!("PATCH {SERVICES}/demo"),
            format!("PATCH {STATUS}")
        ]
    );
    assert!(outcome.repaired && outcome.written.is_some());
}

/// The summary of a status that describes the unchanged Deployment.
fn ready() -> Summary {
    let found = deployment(|_| {});
    let endpoint = &*service::endpoint("ns", "demo", None, &Settings::default());
    let (namespace, name, generation, service_port, hashes) = ("ns", "demo", 1, None, None);
    let (last_load, instance) = (None, None);
    let subject = Subject { namespace, name, endpoint, generation, service_port, last_load, hashes, instance };
    let wait = LoadWait::new(None, Duration::from_secs(10), Timestamp(1000));
    let said = status::assess(&found, wait, &Told::Nothing, &subject);
    status::compose(said, Replicas::of(&found), STAMPS, &subject, None, Timestamp(900)).1
}

/// A spec that turns out to be newer is one more reason, and takes none away.
#[tokio::test(start_paused = true)]
async fn both_children_are_put_right_where_the_spec_is_another_too() {
    let drifted = found(|it| it["metadata"]["generation"] = json!(7));
    let edited = whole_service(|it| it["spec"]["selector"] = json!({}));
    let newer = object(|it| it["metadata"]["generation"] = json!(2));
    let (context, asked) = context([drifted, edited, newer, service(), as_it_was(), written()]);
    let task = Task { spec: None, ..task(Dirty::DEPLOYMENT | Dirty::SERVICE) };
    let outcome = reconcile(&context, task).await.expect("done");
    assert_eq!(outcome.generation, 2);
    let asked = paths(&asked);
    assert!(
        asked.contains(&format!("PATCH {SERVICES}/demo")) && asked.contains(&format!("PATCH {DEPLOYMENT}")),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn where_a_services_name_is_taken_it_is_read_and_nothing_is_made() {
    let taken = found(|it| {
        it["metadata"]["ownerReferences"] = json!([]);
        it["metadata"]["labels"] = json!({});
    });
    let (context, asked) = context([none(), Reply::refusal(409, "exists"), taken, written(), posted()]);
    let outcome = reconcile(&context, new()).await.expect("done");
    assert!(matches!(outcome.action, Action::Rejected(Error::NameTaken { .. })), "{outcome:?}");
    assert_eq!(
        paths(&asked),
        [
            format!("GET {DEPLOYMENT}"),
            format!("POST {SERVICES}"),
            format!("GET {SERVICES}/demo"),
            format!("PATCH {STATUS}"),
            format!("POST {EVENTS}")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn where_a_service_is_refused_nothing_else_is_made() {
    let (context, asked) = context([none(), Reply::refusal(403, "quota"), written(), posted()]);
    let outcome = reconcile(&context, new()).await.expect("done");
    assert!(matches!(outcome.action, Action::Rejected(Error::Kube(_))), "{outcome:?}");
    assert_eq!(
        paths(&asked),
        [format!("GET {DEPLOYMENT}"), format!("POST {SERVICES}"), format!("PATCH {STATUS}"), format!("POST {EVENTS}")]
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_spec_is_applied_at_the_resource_version_that_the_watch_has_shown() {
    let (context, asked) = context([as_it_was(), written()]);
    let outcome = reconcile(&context, task(Dirty::SPEC)).await.expect("done");
    let lines = asked.take();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with(&format!("PATCH {DEPLOYMENT}?fieldManager=inference-operator&force=true ")));
    assert!(lines[0].contains(r#""resourceVersion":"50""#), "{}", lines[0]);
    assert!(lines[1].starts_with(&format!("PATCH {STATUS}")));
    assert!(outcome.written.is_some() && matches!(outcome.action, Action::AwaitChange));
}

#[tokio::test(start_paused = true)]
async fn what_was_left_without_an_owner_is_taken_over_unless_its_owner_goes() {
    let left = || found(|it| it["metadata"]["ownerReferences"] = json!([]));
    let owner = STATUS.trim_end_matches("/status");
    let replies = [
        left(),
        object(|_| {}),
        Reply::refusal(409, "exists"),
        left(),
        object(|_| {}),
        service(),
        as_it_was(),
        written(),
    ];
    let (there, asked) = context(replies);
    let outcome = reconcile(&there, new()).await.expect("done");
    assert_eq!(
        paths(&asked),
        [
            format!("GET {DEPLOYMENT}"),
            format!("GET {owner}"),
            format!("POST {SERVICES}"),
            format!("GET {SERVICES}/demo"),
            format!("GET {owner}"),
            format!("PATCH {SERVICES}/demo"),
            format!("PATCH {DEPLOYMENT}"),
            format!("PATCH {STATUS}"),
        ]
    );
    assert!(!outcome.repaired && outcome.written.is_some());
    let (goes, asked) = context([left(), object(|it| it["metadata"]["deletionTimestamp"] = json!("x"))]);
    assert!(matches!(reconcile(&goes, new()).await, Err(Error::Gone)));
    assert_eq!(asked.take().len(), 2, "nothing is given to an owner that goes");
}

#[tokio::test(start_paused = true)]
async fn what_the_watch_has_shown_is_looked_at_where_the_api_server_says_no_and_not_where_it_is_busy() {
    for code in [429, 503] {
        let (busy, asked) = context([Reply::refusal(code, "busy")]);
        assert!(reconcile(&busy, task(Dirty::SPEC)).await.is_err());
        assert_eq!(asked.take().len(), 1, "{code}");
    }

    let (conflict, asked) = context([Reply::refusal(409, "modified"), as_it_was(), as_it_was(), written()]);
    reconcile(&conflict, task(Dirty::SPEC)).await.expect("done");
    let (get, apply, write) = (format!("GET {DEPLOYMENT}"), format!("PATCH {DEPLOYMENT}"), format!("PATCH {STATUS}"));
    assert_eq!(paths(&asked), [apply.clone(), get, apply, write]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_time_mends_is_tried_again_and_any_other_is_told_to_the_user() {
    for (code, serving, expected) in
        [(409, 1, None), (503, 1, None), (403, 1, Some("Degraded")), (403, 0, Some("Pending"))]
    {
        let is_ready: fn(&mut Value) = |it| it["metadata"]["generation"] = json!(2);
        let is_not: fn(&mut Value) = |it| {
            it["metadata"]["generation"] = json!(2);
            it["status"]["readyReplicas"] = json!(0);
        };
        let edited = found(if serving > 0 { is_ready } else { is_not });
        let (context, asked) = context([edited, object(|_| {}), Reply::refusal(code, "quota"), written(), posted()]);
        let outcome = reconcile(&context, task(Dirty::DEPLOYMENT)).await;
        let lines = asked.take();
        assert_eq!((outcome.is_ok(), written_phase(&lines)), (expected.is_some(), expected), "{code}");
        if let Ok(outcome) = outcome {
            assert_eq!(outcome.versions.deployment_revision, STAMPS.deployment_revision, "it is not as it was written");
            assert!(lines[4].contains(EVENTS) && lines[4].contains("quota"), "{lines:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_the_status_tells_already_is_not_written_again() {
    let edited = || found(|it| it["metadata"]["generation"] = json!(2));
    let (first, _) = context([edited(), object(|_| {}), Reply::refusal(403, "quota"), written(), posted()]);
    let summary = reconcile(&first, task(Dirty::DEPLOYMENT)).await.expect("done").summary;
    let again = |ago: u16| {
        let summary = summary.map(|said| Summary { written: 1000 - ago, ..said });
        Task { summary, ..task(Dirty::DEPLOYMENT) }
    };

    let (same, asked) = context([edited(), object(|_| {}), Reply::refusal(403, "quota")]);
    let outcome = reconcile(&same, again(60)).await.expect("done");
    assert!(outcome.written.is_none() && matches!(outcome.action, Action::Rejected(_)) && asked.take().len() == 3);

    // A changed message, which may come with each retry, is written at intervals.
    for (ago, expected) in [(29, false), (30, true)] {
        let replies = [edited(), object(|_| {}), Reply::refusal(403, "rights"), written(), posted()];
        let (other, _) = context(replies);
        let outcome = reconcile(&other, again(ago)).await.expect("done");
        assert_eq!(outcome.written.is_some(), expected, "after {ago} s");
        assert!(matches!(outcome.action, Action::Rejected(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_whose_label_is_taken_away_as_it_is_written_is_told_to_the_user() {
    let bare = found(|it| it["metadata"]["labels"] = json!({}));
    let (context, asked) = context([none(), service(), bare, written(), posted()]);
    let outcome = reconcile(&context, new()).await.expect("done");
    assert!(matches!(outcome.action, Action::Rejected(Error::LabelTakenAway(..))), "{outcome:?}");
    assert_eq!(written_phase(&asked.take()), Some("Failed"));
}

#[tokio::test(start_paused = true)]
async fn a_look_writes_only_what_is_new() {
    let (first, asked) = context([as_it_was(), written()]);
    let outcome = reconcile(&first, task(Dirty::ROLLOUT)).await.expect("done");
    assert_eq!(paths(&asked), [format!("GET {DEPLOYMENT}"), format!("PATCH {STATUS}")]);
    let (again, asked) = context([as_it_was()]);
    let task = Task { summary: outcome.summary, ..task(Dirty::ROLLOUT) };
    let outcome = reconcile(&again, task).await.expect("done");
    assert!(outcome.written.is_none() && matches!(outcome.action, Action::AwaitChange) && asked.take().len() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_deployment_controller_has_not_seen_is_waited_for_before_that_is_said() {
    let unseen = || found(|it| it["status"]["observedGeneration"] = json!(0));
    let (waits, asked) = context([unseen(), written()]);
    let outcome = reconcile(&waits, task(Dirty::SPEC)).await.expect("done");
    assert!(matches!(outcome.action, Action::Recheck(Dirty::STATUS)) && asked.take().len() == 1);
    // A Deployment that was only annotated will be observed, and then its watch reports that.
    let (annotated, asked) = context([unseen()]);
    let outcome = reconcile(&annotated, task(Dirty::ROLLOUT)).await.expect("done");
    assert!(matches!(outcome.action, Action::AwaitChange) && outcome.written.is_none() && asked.take().len() == 1);
    let (tells, asked) = context([unseen(), written()]);
    let outcome = reconcile(&tells, task(Dirty::STATUS)).await.expect("done");
    assert!(matches!(outcome.action, Action::RequeueAfter(Dirty::STATUS, _)) && asked.take().len() == 1, "once more");
    let (tells, asked) = context([unseen(), written()]);
    let outcome = reconcile(&tells, task(Dirty::STATUS | Dirty::DUE)).await.expect("done");
    assert!(matches!(outcome.action, Action::AwaitChange));
    assert_eq!(written_phase(&asked.take()), Some("Progressing"), "it lasts");
}

#[tokio::test(start_paused = true)]
async fn a_count_waits_where_no_child_was_written() {
    let one_of_two = || {
        found(|it| {
            it["spec"]["replicas"] = json!(2);
            it["status"]["replicas"] = json!(2);
            it["status"]["updatedReplicas"] = json!(2);
        })
    };
    let moving = |dirty| Task { summary: Some(summary(Phase::Progressing)), ..task(dirty) };
    let (waits, asked) = context([one_of_two()]);
    let outcome = reconcile(&waits, moving(Dirty::ROLLOUT)).await.expect("done");
    assert!(matches!(outcome.action, Action::Recheck(Dirty::COUNT)) && asked.take().len() == 1);
    let (writes, asked) = context([one_of_two(), written()]);
    let outcome = reconcile(&writes, moving(Dirty::ROLLOUT | Dirty::STATUS)).await.expect("done");
    assert!(matches!(outcome.action, Action::RequeueAfter(..)) && asked.take().len() == 2);
}

#[tokio::test(start_paused = true)]
async fn a_spec_is_read_again_where_the_fleet_has_none_and_never_that_of_a_successor() {
    let bare = || Task { spec: None, ..task(Dirty::SPEC) };
    let (reads, _) = context([object(|it| it["metadata"]["generation"] = json!(3)), as_it_was(), written()]);
    assert_eq!(reconcile(&reads, bare()).await.expect("done").generation, 3);
    let gone: [Reply; 3] = [
        none(),
        object(|it| it["metadata"]["uid"] = json!(OTHER_UID)),
        object(|it| it["metadata"]["deletionTimestamp"] = json!("x")),
    ];
    for reply in gone {
        let (context, asked) = context([reply]);
        assert!(matches!(reconcile(&context, bare()).await, Err(Error::Gone)));
        assert_eq!(asked.take().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_too_long_makes_room_for_others() {
    let (mut context, _) = context([]);
    context.settings.deadline = Duration::from_secs(5);
    let began = tokio::time::Instant::now();
    let error = reconcile(&context, task(Dirty::ROLLOUT)).await.expect_err("too late");
    assert_eq!((error.reason(), began.elapsed()), ("Timeout", Duration::from_secs(10)), "nor was there time to tell");
}
