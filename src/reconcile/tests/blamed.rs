//! Whose fault is it that the API server refuses a Deployment: the user's, who has put parts of a pod into the spec, or
//! one that time resolves?

use serde_json::json;

use super::requests::{DEPLOYMENT, as_it_was, context, path, posted, written};
use super::*;
use crate::testing::fake_api_server::Reply;

fn of_fields(message: &str) -> Reply {
    Reply::refusal_of_field(422, message, "spec.template.spec.volumes")
}

/// What is said of a spec with a part of a pod, or without one, after these replies to the apply and what follows; and
/// the requests up to the status.
async fn said(has_part: bool, replies: Vec<Reply>) -> (String, Vec<String>) {
    let part = if has_part { json!([{"name": "A", "value": "1"}]) } else { Value::Null };
    let spec = RawSpec::from(&json!({"model": "m", "gpuType": "A100", "env": part}));
    let first = if has_part { vec![as_it_was()] } else { Vec::new() };
    let (context, asked) = context(first.into_iter().chain(replies).chain([written(), posted()]));
    let task = Task { spec: Some(spec), failures: 9, ..task(Dirty::SPEC | Dirty::DEPLOYMENT) };
    let said = match reconcile(&context, task).await.expect("told").action {
        Action::Rejected(error) => format!("{} {error}", error.reason()),
        action => format!("{action:?}"),
    };
    (said, asked.take().iter().map(|line| path(line)).collect())
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_says_of_a_field_is_the_users_to_mend() {
    let (told, asked) = said(true, vec![of_fields("two volumes of one name")]).await;
    assert_eq!(told, "InvalidPod the pod that the spec asks for is invalid: two volumes of one name (422)");
    assert!(!asked.iter().any(|line| line.starts_with("POST /apis/apps")), "nothing is left to ask: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_api_server_is_told_from_a_users_by_asking_once_more() {
    let fault = || Reply::refusal(500, "failed to create typed patch object");
    for (answer, expected) in [
        (Reply::refusal(400, "unknown field \"a\""), "InvalidPod"),
        (of_fields("a bad value"), "InvalidPod"),
        (Reply::refusal(422, "a webhook says no"), "ApiServerRefused"),
        (Reply::refusal(403, "no right"), "ApiServerRefused"),
        (Reply::refusal(500, "down"), "ApiServerRefused"),
        (as_it_was(), "ApiServerRefused"),
    ] {
        let (told, asked) = said(true, vec![fault(), answer]).await;
        assert!(told.starts_with(expected), "{told}");
        let dry_run = DEPLOYMENT.trim_end_matches("/demo");
        assert_eq!(asked[2], format!("POST {dry_run}"), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_user_can_have_made_no_mistake_nobody_asks() {
    for code in [403, 500] {
        let replies = vec![as_it_was(), Reply::refusal(code, "no")];
        let (told, asked) = said(false, replies).await;
        assert!(told.starts_with("ApiServerRefused"), "{told}");
        assert!(!asked.iter().any(|line| line.starts_with("POST /apis/apps")), "{asked:?}");
    }
    let (told, asked) = said(true, vec![Reply::refusal(403, "quota")]).await;
    assert!(told.starts_with("ApiServerRefused"), "{told}");
    assert!(!asked.iter().any(|line| line.starts_with("POST /apis/apps")), "a refusal is no fault: {asked:?}");
}
