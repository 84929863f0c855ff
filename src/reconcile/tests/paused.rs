//! `spec.paused`: the children are left as they are.

use serde_json::json;

use super::requests::{
    DEPLOYMENT, SERVICES, STATUS, as_it_was, context, found, new, none, object, path, service, written, written_phase,
};
use super::*;
use crate::testing::fake_api_server::Reply;

fn paused() -> Reply {
    object(|it| it["spec"]["paused"] = json!(true))
}

fn spec() -> RawSpec {
    RawSpec::from(&json!({"model": "other", "paused": true}))
}

fn said() -> Summary {
    Summary { abnormal: Abnormal::Paused, written: 0, ..summary(Phase::Paused) }
}

#[tokio::test(start_paused = true)]
async fn what_is_paused_is_read_and_told_and_not_written() {
    let edited = || found(|it| it["metadata"]["generation"] = json!(7));
    for (what, replies, task, expected) in [
        (
            "another spec",
            vec![as_it_was(), written()],
            Task { spec: Some(spec()), ..task(Dirty::SPEC) },
            vec![format!("GET {DEPLOYMENT}"), format!("PATCH {STATUS}")],
        ),
        (
            "a new one",
            vec![none(), written()],
            Task { spec: Some(spec()), ..new() },
            vec![format!("GET {DEPLOYMENT}"), format!("PATCH {STATUS}")],
        ),
        (
            "an edit of a child, by a person",
            vec![edited(), paused(), written()],
            Task { spec: None, versions: STAMPS.of_no_spec(), summary: Some(said()), ..task(Dirty::EDIT) },
            vec![
                format!("GET {DEPLOYMENT}"),
                "GET /apis/ai.example.com/v1/namespaces/ns/inferenceservices/demo".to_owned(),
                format!("PATCH {STATUS}"),
            ],
        ),
        (
            "a Service that is gone",
            vec![as_it_was(), none(), paused(), written()],
            Task { spec: None, versions: STAMPS.of_no_spec(), summary: Some(said()), ..task(Dirty::SERVICE) },
            vec![
                format!("GET {DEPLOYMENT}"),
                format!("GET {SERVICES}/demo"),
                "GET /apis/ai.example.com/v1/namespaces/ns/inferenceservices/demo".to_owned(),
                format!("PATCH {STATUS}"),
            ],
        ),
    ] {
        let (context, asked) = context(replies);
        let outcome = reconcile(&context, task).await.expect("done");
        let lines = asked.take();
        assert_eq!(written_phase(&lines), Some("Paused"), "{what}: {lines:?}");
        assert_eq!(lines.iter().map(|line| path(line)).collect::<Vec<_>>(), expected, "{what}");
        assert!(matches!(outcome.action, Action::AwaitChange), "{what}: {outcome:?}");
        assert_eq!(outcome.versions, outcome.versions.of_no_spec(), "{what}: all is applied when it goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_applies_both_children() {
    let (context, asked) = context([as_it_was(), service(), object(|_| {}), service(), as_it_was(), written()]);
    // As `Record::start` asks for it: with no known revision the Service is due as well.
    let due = plan::due(Dirty::SPEC, &STAMPS.of_no_spec());
    let summary = Some(Summary { is_current: false, ..said() });
    let task = Task { versions: STAMPS.of_no_spec(), summary, ..task(due) };
    let outcome = reconcile(&context, task).await.expect("done");
    assert_eq!(outcome.versions.deployment_revision, STAMPS.deployment_revision);
    let lines = asked.take();
    assert_eq!(written_phase(&lines), Some("Ready"));
    for child in [format!("PATCH {DEPLOYMENT}"), format!("PATCH {SERVICES}/demo")] {
        assert!(lines.iter().any(|line| line.starts_with(&child)), "{lines:?}");
    }
}

/// The watch would not report that it is ready no longer.
#[tokio::test(start_paused = true)]
async fn what_is_paused_is_not_said_to_be_ready_where_its_deployment_has_lost_the_label_of_the_watch() {
    const LABEL: &str = "app.kubernetes.io/managed-by";
    for (reply, is_ready) in [(as_it_was(), true), (found(|it| it["metadata"]["labels"][LABEL] = json!("x")), false)] {
        let (context, _) = context([reply, paused(), written()]);
        let task = Task { versions: STAMPS.of_no_spec(), summary: Some(said()), spec: None, ..task(Dirty::EDIT) };
        let outcome = reconcile(&context, task).await.expect("done");
        assert_eq!(outcome.summary.map(|said| said.is_ready), Some(is_ready));
    }
}
