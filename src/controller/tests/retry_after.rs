//! Requests of the API server to retry later, and those of a webhook.

use super::*;

#[tokio::test(start_paused = true)]
async fn where_the_api_server_asks_for_patience_nothing_is_asked_of_it() {
    for (retry_after, expected) in [("7", 7), ("7200", 60), ("Thu, 26 Nov 2026 23:00:00 GMT", 0)] {
        let mut controller = controller_of([Reply::busy(retry_after)]);
        let both = ["one", "two"].map(|name| named(object(UID, 100, 1, Value::Null), name));
        list(&mut controller, both);
        list_children(&mut controller, ChildKind::Deployment, []);
        list_children(&mut controller, ChildKind::Service, []);
        let slot = controller.queue.pop(Instant::now()).expect("queued");
        let task = controller.index.start(slot).expect("work");
        let start = TaskStart::from(&task);
        let result = reconcile(&controller.context, task).await;
        controller.finish((slot, start, Duration::ZERO, result));
        // The other InferenceService had no error, and waits too.
        let paused_until = Instant::now() + Duration::from_secs(expected);
        assert_eq!(controller.next_start(), Some(paused_until), "{retry_after}");
        controller.start();
        assert_eq!(controller.in_flight.is_empty(), expected > 0, "{retry_after}");
        tokio::time::sleep_until(paused_until).await;
        controller.start();
        assert!(!controller.in_flight.is_empty(), "{retry_after}");
    }
}

/// A webhook of one namespace asks for a delay (`details.retryAfterSeconds` of its response, then a header).
#[tokio::test(start_paused = true)]
async fn what_one_webhook_asks_for_holds_up_nobody_else() {
    for code in [400, 403, 500] {
        let (mut controller, slot) = in_sync(ready(100, 1));
        controller.observe_inference_service(Event::Apply(ready(101, 2)));
        assert_eq!(controller.queue.pop(Instant::now()), Some(slot));
        let task = controller.index.start(slot).expect("work");
        let details = kube::core::response::StatusDetails {
            retry_after_seconds: 60,
            ..serde_json::from_str("{}").expect("details")
        };
        let status = kube::core::Status { code, details: Some(details), ..kube::core::Status::default() };
        let refused = Err(Error::Kube(kube::Error::Api(status.into())));
        controller.finish((slot, TaskStart::from(&task), Duration::ZERO, refused));
        controller.observe_inference_service(Event::Apply(named(object(OTHER_UID, 102, 1, Value::Null), "neighbor")));
        let due = controller.next_start().expect("work");
        assert_eq!(due - Instant::now(), Duration::ZERO, "{code}");
    }
}
