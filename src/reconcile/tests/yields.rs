//! Children that a newer instance of the operator has brought: what the older one reads, and what it leaves undone.

use serde_json::json;

use super::requests::{DEPLOYMENT, SERVICES, STATUS, context, new, none, path, service, written, written_phase};
use super::yielding::{GONE_AFTER_FAILURES, NEW_AFTER_FAILURES};
use super::*;
use crate::model::Instance;
use crate::testing::fake_api_server::{Asked, Reply};

const OWNER: &str = "GET /apis/ai.example.com/v1/namespaces/ns/inferenceservices/demo";
/// Of other children than the test's settings build.
const OTHERS: &str = "0000000000000007-0000000000000008";
/// Its clock is far ahead.
const NEWER: &str = "2099-11-28T15:00:00.123456Z 9.9.9";

/// Changed since the last read, by an operator of this instance that builds this.
fn brought(instance: &str, hashes: &str) -> Value {
    let mut object = deployment_json();
    object["metadata"]["generation"] = json!(2);
    object["status"]["observedGeneration"] = json!(2);
    object["metadata"]["annotations"] = json!({"ai.example.com/hashes": hashes, "ai.example.com/instance": instance});
    object
}

fn by_newer() -> Reply {
    Reply::object(&brought(NEWER, OTHERS))
}

/// The InferenceService, with a status of this instance about generation 1.
fn owner(generation: u32, instance: &str) -> Reply {
    owner_in(Phase::Ready, generation, instance)
}

fn owner_in(phase: Phase, generation: u32, instance: &str) -> Reply {
    let (instance, hashes) = (instance.parse().ok(), OTHERS.parse().ok());
    let (namespace, name, endpoint) = ("ns", "demo", "http://demo");
    let subject = Subject {
        namespace,
        name,
        endpoint,
        generation: 1,
        service_port: None,
        last_load: None,
        hashes,
        instance: instance.as_ref(),
    };
    let assessment = status::Assessment::new(phase, Abnormal::None, "Reason", "said".into());
    let (status, _) =
        status::compose(assessment, Replicas { all: 1, ready: 1 }, STAMPS, &subject, None, crate::time::Timestamp(900));
    Reply::object(&json!({"metadata": {"namespace": "ns", "name": "demo", "uid": UID, "resourceVersion": "120",
        "generation": generation}, "spec": {"model": "m", "gpuType": "A100"}, "status": status}))
}

/// What this operator builds for the test's spec.
fn built(context: &Context) -> String {
    let task = task(Dirty::SPEC);
    let spec = task.spec.as_ref().expect("a spec");
    let (children, _) = hashes::builds(&context.settings, &task.namespace, &task.name, task.uid, spec);
    Hashes { inputs: 7, children, by_rollout: false }.to_string()
}

fn paths(asked: &Asked) -> Vec<String> {
    asked.take().iter().map(|line| path(line)).collect()
}

fn failed(failures: u8, task: Task) -> Task {
    Task { failures, ..task }
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_instance_has_brought_is_left_and_costs_no_write() {
    let (context, asked) = context([by_newer(), owner(1, NEWER)]);
    let outcome = reconcile(&context, task(Dirty::ROLLOUT | Dirty::EDIT)).await.expect("at rest");
    assert_eq!(paths(&asked), [format!("GET {DEPLOYMENT}"), OWNER.to_owned()]);
    assert!(matches!(outcome.action, Action::AwaitChange));
    let known = task(Dirty::SPEC).summary.expect("a status");
    assert!(
        known.reached == Reached::Ready,
        "the replicas of the children before, and those of the newer one have to start first"
    );
    assert_eq!(outcome.summary, Some(known.of_others()));
    let revision = std::num::NonZeroU32::new(2);
    assert_eq!(outcome.versions, crate::model::ObservedVersions { deployment_revision: revision, ..outcome.versions });
    assert!(context.instances.has_met_newer());
}

#[tokio::test(start_paused = true)]
async fn a_changed_spec_is_left_to_the_newer_instance_until_it_is_taken_for_gone() {
    for failures in [0, 9, GONE_AFTER_FAILURES - 1] {
        let (context, asked) = context([by_newer(), owner(2, NEWER)]);
        let result = reconcile(&context, failed(failures, task(Dirty::SPEC | Dirty::DEPLOYMENT))).await;
        assert!(matches!(result, Err(Error::LeftToNewer)), "{result:?}");
        assert_eq!(paths(&asked), [format!("GET {DEPLOYMENT}"), OWNER.to_owned()], "and no status");
    }
    let own = Reply::object(&brought("1970-01-01T00:16:40.000000Z 0.1.0", OTHERS));
    // Its Service may be another one, too.
    let (context, asked) = context([by_newer(), owner(2, NEWER), service(), service(), own, written()]);
    let task = failed(GONE_AFTER_FAILURES, task(Dirty::SPEC | Dirty::DEPLOYMENT));
    reconcile(&context, task).await.expect("taken over");
    let lines = asked.take();
    assert!(lines.iter().any(|line| line.starts_with(&format!("PATCH {SERVICES}/demo"))), "{lines:?}");
    let apply = lines.iter().find(|line| line.starts_with(&format!("PATCH {DEPLOYMENT}"))).expect("an apply");
    assert!(apply.contains(&format!("\"ai.example.com/instance\":\"{}\"", context.instances.own())), "{apply}");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_the_newer_instance_leaves_out_of_date_is_written_and_the_children_are_left() {
    let said = || Task { summary: Some(summary(Phase::Degraded)), ..task(Dirty::ROLLOUT) };
    let owner = || owner_in(Phase::Degraded, 1, NEWER);
    let (waits, asked) = context([by_newer(), owner()]);
    assert!(matches!(reconcile(&waits, said()).await, Err(Error::LeftToNewer)));
    assert_eq!(asked.take().len(), 2);
    let (context, asked) = context([by_newer(), owner(), written()]);
    reconcile(&context, failed(GONE_AFTER_FAILURES, said())).await.expect("said");
    let lines = asked.take();
    assert_eq!(written_phase(&lines), Some("Ready"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("PATCH")).count(), 1, "{lines:?}");
    let said = lines.iter().find(|line| line.contains(STATUS)).expect("a status");
    assert!(said.contains(&format!("\"instance\":\"{NEWER}\"")), "it is the newer one that has brought them: {said}");
}

#[tokio::test(start_paused = true)]
async fn where_a_newer_instance_builds_the_same_all_goes_on_as_with_one_operator() {
    let (first, _) = context([]);
    let same = brought(NEWER, &built(&first));
    let replies = [Reply::object(&same), owner(1, NEWER), Reply::object(&same), written()];
    let (context, asked) = context(replies);
    let said = Task { summary: Some(summary(Phase::Degraded)), ..task(Dirty::ROLLOUT | Dirty::EDIT) };
    reconcile(&context, said).await.expect("done");
    let lines = asked.take();
    assert_eq!(written_phase(&lines), Some("Ready"), "{lines:?}");
    let apply = lines.iter().find(|line| line.starts_with(&format!("PATCH {DEPLOYMENT}"))).expect("an apply");
    assert!(apply.contains(NEWER) && apply.contains(&built(&first)), "and the annotations stay: {apply}");
}

/// An upgrade of an operator that wrote no instance writes none where the children stay the same.
#[tokio::test(start_paused = true)]
async fn where_the_children_stay_the_same_so_does_what_is_said_of_who_brought_them() {
    let (first, _) = context([]);
    let mut unsaid = brought(NEWER, &built(&first));
    unsaid["metadata"]["annotations"] = json!({"ai.example.com/hashes": built(&first)});
    let older = brought("1970-01-01T00:00:01.000000Z 0.0.1", &built(&first));
    for (object, expected) in [(unsaid, None), (older, Some("1970-01-01T00:00:01.000000Z 0.0.1"))] {
        let (context, asked) = context([Reply::object(&object), owner(1, NEWER), Reply::object(&object), written()]);
        reconcile(&context, task(Dirty::SPEC | Dirty::DEPLOYMENT)).await.expect("done");
        let lines = asked.take();
        let apply = lines.iter().find(|line| line.starts_with(&format!("PATCH {DEPLOYMENT}"))).expect("an apply");
        let said = apply.split("\"ai.example.com/instance\":\"").nth(1).and_then(|rest| rest.split('"').next());
        assert_eq!(said, expected, "{apply}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_instance_is_not_yielded_to() {
    for instance in ["1970-01-01T00:00:01.000000Z 9.9.9", "not an instance"] {
        let older = || Reply::object(&brought(instance, OTHERS));
        let (context, asked) = context([older(), owner(1, instance), older(), written()]);
        reconcile(&context, task(Dirty::ROLLOUT | Dirty::EDIT)).await.expect("done");
        assert!(paths(&asked).contains(&format!("PATCH {DEPLOYMENT}")), "{instance}");
        assert!(!context.instances.has_met_newer());
    }
}

/// Restored from another cluster, say, whose operator was started later.
#[tokio::test(start_paused = true)]
async fn children_to_adopt_are_adopted_whoever_brought_them() {
    let mut orphan = brought(NEWER, OTHERS);
    orphan["metadata"]["ownerReferences"] = json!([]);
    let (context, asked) = context([Reply::object(&orphan), owner(1, NEWER), by_newer(), written()]);
    reconcile(&context, task(Dirty::DEPLOYMENT)).await.expect("done");
    assert!(paths(&asked).contains(&format!("PATCH {DEPLOYMENT}")));
    assert!(!context.instances.has_met_newer());
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_gone_is_left_to_the_newer_instance_that_the_status_names() {
    let gone = |failures| failed(failures, task(Dirty::DEPLOYMENT));
    let (waits, asked) = context([none(), owner(1, NEWER)]);
    assert!(matches!(reconcile(&waits, gone(0)).await, Err(Error::LeftToNewer)));
    assert_eq!(paths(&asked), [format!("GET {DEPLOYMENT}"), OWNER.to_owned()]);
    let (context, asked) = context([none(), owner(1, NEWER), service(), service(), by_newer(), written()]);
    reconcile(&context, gone(GONE_AFTER_FAILURES)).await.expect("made");
    assert!(paths(&asked).contains(&format!("PATCH {DEPLOYMENT}")));
}

#[tokio::test(start_paused = true)]
async fn after_a_newer_instance_was_met_nothing_is_applied_unread_and_what_is_new_is_left_to_it_for_some_seconds() {
    let newer: Instance = NEWER.parse().expect("an instance");
    let (unread, asked) = context([by_newer(), written()]);
    reconcile(&unread, task(Dirty::SPEC)).await.expect("done");
    assert!(paths(&asked)[0].starts_with("PATCH"), "as long as none was met");
    let (read, asked) = context([by_newer(), owner(2, NEWER)]);
    read.instances.meet(&newer, "ns", "other");
    assert!(matches!(reconcile(&read, task(Dirty::SPEC)).await, Err(Error::LeftToNewer)));
    assert_eq!(paths(&asked), [format!("GET {DEPLOYMENT}"), OWNER.to_owned()]);

    let no_status = || super::requests::object(|_| {});
    let (waits, _) = context([none(), no_status()]);
    waits.instances.meet(&newer, "ns", "other");
    assert!(matches!(reconcile(&waits, failed(NEW_AFTER_FAILURES - 1, new())).await, Err(Error::LeftToNewer)));
    let (context, asked) = context([none(), no_status(), service(), by_newer(), written()]);
    context.instances.meet(&newer, "ns", "other");
    reconcile(&context, failed(NEW_AFTER_FAILURES, new())).await.expect("made");
    assert!(paths(&asked).contains(&format!("POST {SERVICES}")));
}

/// Or else the next process would not know that a rollout has brought them, which waits for them.
#[tokio::test(start_paused = true)]
async fn what_is_said_of_children_that_could_not_be_read_says_still_who_has_brought_them() {
    let (context, asked) = context([Reply::refusal(403, "no rights"), owner(1, NEWER), written(), none()]);
    reconcile(&context, task(Dirty::ROLLOUT)).await.expect("told");
    let lines = asked.take();
    let said = lines.iter().find(|line| line.contains(STATUS)).expect("a status");
    assert!(said.contains("ApiServerRefused") && said.contains(OTHERS) && said.contains(NEWER), "{said}");
}
