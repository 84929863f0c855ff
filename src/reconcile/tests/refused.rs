//! A status write that a webhook rejects.

use super::requests::{as_it_was, context, object};
use crate::testing::fake_api_server::Reply;

use super::*;

/// A webhook chooses its own status code, but its response lacks the causes that the API server's schema validation
/// adds.
#[tokio::test(start_paused = true)]
async fn a_status_that_a_webhook_refuses_with_422_is_not_taken_for_one_of_nobody() {
    let refused = || Reply::refusal(422, "admission webhook \"w\" denied the request: no");
    let (context, _) = context([as_it_was(), refused(), object(|_| {}), refused(), object(|_| {})]);
    let result = reconcile(&context, task(Dirty::STATUS)).await;
    assert!(!matches!(result, Err(Error::Gone)), "{result:?}");
}
