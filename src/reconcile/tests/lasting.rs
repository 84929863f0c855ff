//! Lasting obstacles of any kind, and how the status reports them.

use super::requests::{STATUS, as_it_was, context, found, new, none, object, posted, service, written, written_phase};
use serde_json::json;

use super::*;
use crate::testing::fake_api_server::Reply;
use crate::testing::fixtures::OTHER_UID;
use crate::time::Timestamp;

fn at_the_third_try(task: Task) -> Task {
    Task { failures: 2, ..task }
}

fn line<'a>(asked: &'a [String], path: &str) -> &'a str {
    asked.iter().find(|line| line.contains(path)).map_or("", String::as_str)
}

#[tokio::test(start_paused = true)]
async fn whatever_is_there_still_at_the_third_try_is_told_in_the_servers_words() {
    for code in [401, 404, 409, 429, 500, 503] {
        let edited = || found(|it| it["metadata"]["generation"] = json!(2));
        let (twice, _) = context([edited(), object(|_| {}), Reply::refusal(code, "failed calling webhook")]);
        assert!(reconcile(&twice, Task { failures: 1, ..task(Dirty::ROLLOUT) }).await.is_err(), "{code}");
        let replies = [edited(), object(|_| {}), Reply::refusal(code, "failed calling webhook"), written(), posted()];
        let (thrice, asked) = context(replies);
        let outcome = reconcile(&thrice, at_the_third_try(task(Dirty::ROLLOUT))).await.expect("told");
        assert!(matches!(outcome.action, Action::Rejected(_)), "and tried again");
        let asked = asked.take();
        assert_eq!(written_phase(&asked), Some("Degraded"), "{code}");
        let said = line(&asked, STATUS);
        assert!(
            said.contains(&format!("failed calling webhook ({code})")) && said.contains("ApiServerRefused"),
            "{said}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_is_said_to_be_as_it_was() {
    for (ready, expected) in [(2, "Degraded"), (0, "Pending")] {
        let status: fn(&mut Value) =
            if ready > 0 { |it| it["status"]["readyReplicas"] = json!(2) } else { |it| it["status"] = json!({}) };
        let (context, asked) = context([Reply::refusal(403, "no rights"), object(status), written(), posted()]);
        reconcile(&context, task(Dirty::ROLLOUT)).await.expect("told");
        let asked = asked.take();
        assert_eq!(written_phase(&asked), Some(expected));
        assert!(line(&asked, STATUS).contains(&format!("\"readyReplicas\":{ready}")), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_goes_is_told_and_that_of_a_predecessor_too() {
    for change in [
        |it: &mut Value| it["metadata"]["deletionTimestamp"] = json!("x"),
        |it: &mut Value| it["metadata"]["ownerReferences"][0]["uid"] = json!(crate::testing::fixtures::OTHER_UID),
    ] {
        let (reported, asked) = context([found(change), object(|_| {}), written(), posted()]);
        let outcome = reconcile(&reported, at_the_third_try(task(Dirty::DEPLOYMENT))).await.expect("told");
        assert!(matches!(outcome.action, Action::Rejected(Error::Terminating { .. })));
        let asked = asked.take();
        assert!(line(&asked, STATUS).contains("is being deleted"), "{asked:?}");
        assert_ne!(written_phase(&asked), Some("Ready"));
    }
}

/// A policy removes our owner reference: nothing then shows that the child is ours.
#[tokio::test(start_paused = true)]
async fn what_is_nobodys_as_soon_as_it_is_written_is_told() {
    let stripped = || found(|it| it["metadata"]["ownerReferences"] = json!([]));
    let (context, asked) = context([none(), service(), stripped(), written(), posted()]);
    let outcome = reconcile(&context, new()).await.expect("told");
    assert!(matches!(outcome.action, Action::Rejected(Error::NameTaken { .. })), "{outcome:?}");
    assert_eq!(written_phase(&asked.take()), Some("Failed"));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_namespace_that_goes() {
    let refusal = Reply::refusal_because(403, "because it is being terminated", "NamespaceTerminating");
    let (context, asked) = context([none(), refusal]);
    let error = reconcile(&context, at_the_third_try(new())).await.expect_err("silent");
    assert!(error.is_of_a_namespace_that_goes() && asked.take().len() == 2);
}

/// A webhook fixes the number of replicas: then Ready would not mean the number that was asked for.
#[tokio::test(start_paused = true)]
async fn ready_is_about_what_the_inference_service_asks_for() {
    let held = || found(|it| it["spec"]["replicas"] = json!(3));
    let (look, asked) = context([none(), service(), held(), written(), posted()]);
    let outcome = reconcile(&look, new()).await.expect("told");
    assert!(
        matches!(outcome.action, Action::Rejected(Error::ReplicasOverridden { asked: 1, found: 3, .. })),
        "{outcome:?}"
    );
    assert!(line(&asked.take(), STATUS).contains("ReplicasOverridden"));
    // Also if only the spec has changed.
    let (unread, asked) = context([held(), written(), posted()]);
    reconcile(&unread, task(Dirty::SPEC)).await.expect("told");
    assert_eq!(written_phase(&asked.take()), Some("Degraded"));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_fought_over_says_with_whom_until_that_is_over() {
    let edited = || {
        found(|it| {
            it["metadata"]["generation"] = json!(2);
            it["metadata"]["managedFields"] =
                json!([{"manager": "kube-controller-manager", "operation": "Update", "subresource": "scale"}]);
        })
    };
    let repaired = || found(|it| it["metadata"]["resourceVersion"] = json!("52"));
    let contested = |repairs| Task { repairs, ..task(Dirty::ROLLOUT | Dirty::EDIT) };
    let (fourth, asked) = context([edited(), object(|_| {}), repaired(), written()]);
    let outcome = reconcile(&fourth, contested(3)).await.expect("done");
    assert!(outcome.repaired && !line(&asked.take(), STATUS).contains("Contested"));
    let (fifth, asked) = context([edited(), object(|_| {}), repaired(), written(), posted()]);
    let outcome = reconcile(&fifth, contested(4)).await.expect("done");
    let asked = asked.take();
    assert!(outcome.repaired && line(&asked, STATUS).contains("HorizontalPodAutoscaler"), "{asked:?}");
    assert!(matches!(outcome.action, Action::Recheck(Dirty::COUNT)), "and looked at when that may be over");
    let said = |ago: u16| {
        let before = outcome.summary.map(|before| Summary { written: before.written - ago, ..before });
        Task { summary: before, ..contested(5) }
    };
    let (between, asked) = context([as_it_was()]);
    let still = reconcile(&between, said(29)).await.expect("done");
    assert!(
        still.written.is_none() && asked.take().len() == 1 && matches!(still.action, Action::Recheck(Dirty::COUNT)),
        "it stays said"
    );
    let (after, asked) = context([as_it_was(), written()]);
    reconcile(&after, said(30)).await.expect("done");
    assert_eq!(written_phase(&asked.take()), Some("Ready"));
}

/// Restarts and changed settings do not matter: the time is recorded in the status.
#[tokio::test(start_paused = true)]
async fn replicas_that_stay_away_are_missed_after_the_load_time_and_a_look_is_due_before() {
    let missing = || {
        found(|it| {
            it["spec"] = json!({"replicas": 1, "progressDeadlineSeconds": 610});
            it["status"]["availableReplicas"] = json!(0);
            it["status"]["readyReplicas"] = json!(0);
            it["status"]["conditions"] =
                json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
        })
    };
    let (first, _) = context(vec![missing(), written()]);
    let said = reconcile(&first, task(Dirty::STATUS)).await.expect("done").summary.expect("a summary");
    assert_eq!((said.phase, said.abnormal_since), (Phase::Progressing, Timestamp(1000)));
    for (since, dirty, expected, due) in [
        (995, Dirty::ROLLOUT, None, 6),
        (990, Dirty::DUE, Some("Degraded"), 11),
        (990, Dirty::SPEC | Dirty::DEPLOYMENT, Some("Degraded"), 11),
        (990, Dirty::STATUS, Some("Progressing"), 11),
        (2000, Dirty::DUE, None, 11),
    ] {
        let mut replies = vec![missing()];
        if dirty.contains(Dirty::SPEC) {
            replies.push(missing());
        }
        replies.extend([written(), posted()]);
        let (context, asked) = context(replies);
        let said = Summary { abnormal_since: Timestamp(since), ..said };
        let outcome = reconcile(&context, Task { summary: Some(said), ..task(dirty) }).await.expect("done");
        let asked = asked.take();
        assert_eq!(written_phase(&asked), expected, "{since} {dirty:?}: {asked:?}");
        let after = if let Action::RequeueAfter(_, after) = outcome.action { after.as_secs() } else { 0 };
        assert_eq!(after, due, "{since} {dirty:?}");
    }
}

/// The replicas of a foreign Deployment are not this InferenceService's.
#[tokio::test(start_paused = true)]
async fn ready_replicas_of_somebody_elses_deployment_are_not_counted() {
    let foreign = found(|it| {
        it["metadata"]["ownerReferences"][0] =
            json!({"apiVersion": "a/v1", "kind": "Other", "name": "demo", "uid": OTHER_UID, "controller": true});
    });
    let (context, asked) = context([foreign, object(|_| {}), written(), posted()]);
    reconcile(&context, task(Dirty::DEPLOYMENT)).await.expect("told");
    let asked = asked.take();
    assert_eq!(written_phase(&asked), Some("Failed"));
    assert!(line(&asked, STATUS).contains("\"readyReplicas\":0"), "{asked:?}");
}

/// Only a failed test of the uid leads to a read of the current owner of the name.
#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_written_costs_no_read() {
    for code in [409, 500] {
        let (context, asked) = context([as_it_was(), Reply::refusal(code, "no"), object(|_| {})]);
        let said = Task { summary: Some(Summary { checksum: 7, ..summary(Phase::Degraded) }), ..task(Dirty::ROLLOUT) };
        assert!(reconcile(&context, said).await.is_err(), "{code}");
        assert_eq!(asked.take().len(), 2, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_its_schema_refuses_is_no_sign_that_somebody_else_has_the_name() {
    let of_another: fn(&mut Value) = |it| it["metadata"]["uid"] = json!(OTHER_UID);
    for (code, owner, is_gone) in
        [(422, Some(of_another), true), (422, Some::<fn(&mut Value)>(|_| {}), false), (500, None, false)]
    {
        let replies = [as_it_was(), Reply::refusal(code, "no")].into_iter().chain(owner.map(object));
        let (context, _) = context(replies);
        let error = reconcile(&context, task(Dirty::ROLLOUT)).await.expect_err("refused");
        assert_eq!(matches!(error, Error::Gone), is_gone, "{error}");
    }
}
