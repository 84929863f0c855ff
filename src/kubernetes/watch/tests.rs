//! The events, requests, waits and log messages of a watch, given the responses of a server.

use Part::{Broken, Pause, Text};
use serde_json::{Value, json};

use super::*;
use crate::model::view::{Meta, PartialService};
use crate::testing::fake_api_server::{self, Asked, Part, Reply};
use crate::testing::log_capture::listen;

fn watch(replies: impl IntoIterator<Item = Reply>) -> (Watch<Meta>, Asked) {
    let (client, asked) = fake_api_server::client(replies);
    (Watch::new(client, Kind::of::<PartialService>(), None, Selector::everything(), 1, Arc::default()), asked)
}

/// The next event within a day, as a word and a name.
async fn next(watch: &mut Watch<Meta>) -> String {
    let event = tokio::time::timeout(Duration::from_secs(86_400), watch.next()).await;
    match event {
        Err(_) => "nothing".into(),
        Ok(Event::Init) => "begin".into(),
        Ok(Event::InitDone) => "end".into(),
        Ok(Event::InitApply(object)) => format!("listed {}", object.name),
        Ok(Event::Apply(object)) => format!("applied {}", object.name),
        Ok(Event::Delete(object)) => format!("deleted {}", object.name),
        Ok(Event::Absent) => "absent".into(),
        Ok(Event::Forbidden) => "forbidden".into(),
    }
}

/// The next `COUNT` events.
async fn events<const COUNT: usize>(watch: &mut Watch<Meta>) -> [String; COUNT] {
    let mut events = [const { String::new() }; COUNT];
    for event in &mut events {
        *event = next(watch).await;
    }
    events
}

/// The purpose of each request.
fn requests(asked: &Asked) -> Vec<String> {
    let value = |line: &str, name: &str| {
        let value = line.split(['?', '&', ' ']).find_map(|pair| pair.strip_prefix(name)).map(str::to_owned);
        value.unwrap_or_default()
    };
    let what = |line: &String| match line {
        line if line.contains("sendInitialEvents=true") => "list".to_owned(),
        line if line.contains("watch=true") => format!("watch {}", value(line, "resourceVersion=")),
        line => format!("page {}", value(line, "continue=")),
    };
    asked.take().iter().map(what).collect()
}

fn object(name: &str, version: u64) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": version.to_string()}})
}

fn line(kind: &str, object: &Value) -> Part {
    Text(format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n"))
}

fn added(name: &str, version: u64) -> Part {
    line("ADDED", &object(name, version))
}

fn bookmark(version: u64) -> Part {
    line("BOOKMARK", &object("", version))
}

fn end_of_list(version: u64) -> Part {
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    line("BOOKMARK", &json!({"metadata": {"resourceVersion": version.to_string(), "annotations": annotations}}))
}

fn error(code: u16) -> Part {
    line("ERROR", &json!({"kind": "Status", "status": "Failure", "code": code, "message": "said", "reason": "Said"}))
}

fn seconds(seconds: u64) -> Part {
    Pause(Duration::from_secs(seconds))
}

/// A response with an empty list that continues as a watch.
fn listed(then: impl IntoIterator<Item = Part>) -> Reply {
    Reply::parts([end_of_list(9)].into_iter().chain(then))
}

/// A watch that has completed its list.
async fn watching(
    then: impl IntoIterator<Item = Part>,
    replies: impl IntoIterator<Item = Reply>,
) -> (Watch<Meta>, Asked) {
    let (mut watch, asked) = watch([listed(then)].into_iter().chain(replies));
    assert_eq!(events(&mut watch).await, ["begin", "end"]);
    assert_eq!(requests(&asked), ["list"]);
    (watch, asked)
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_goes_on_as_a_watch() {
    let list = [added("a", 3), bookmark(4), end_of_list(9), added("b", 10), line("DELETED", &object("a", 11))];
    let (mut watch, asked) = watch([Reply::parts(list)]);
    assert_eq!(events(&mut watch).await, ["begin", "listed a", "end", "applied b", "deleted a"]);
    assert_eq!(requests(&asked), ["list"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_streaming_lists_is_asked_for_pages_from_then_on() {
    let (heard, _guard) = listen();
    for code in [400, 422] {
        let page = |name: &str, token: &str| {
            let metadata = json!({"continue": token, "resourceVersion": "9"});
            Reply::object(&json!({"items": [object(name, 3)], "metadata": metadata}))
        };
        let expired = Reply::parts([error(410)]);
        let (mut watch, asked) =
            watch([Reply::refusal(code, "no"), page("a", "more"), page("b", ""), expired, page("c", "")]);
        let said = || heard.take().iter().filter(|line| line.contains("listing in pages")).count();
        assert_eq!(events(&mut watch).await, ["begin", "listed a", "listed b", "end"]);
        assert_eq!(said(), 1);
        assert_eq!(events(&mut watch).await, ["begin", "listed c", "end"]);
        assert_eq!(next(&mut watch).await, "nothing");
        assert_eq!(requests(&asked)[..6], ["list", "page ", "page more", "watch 9", "page ", "watch 9"]);
        assert_eq!(said(), 0, "once");
    }
}

#[tokio::test(start_paused = true)]
async fn another_refusal_is_no_sign_that_streaming_lists_are_missing() {
    let (mut refused, asked) = watch([Reply::refusal(403, "no"), listed([])]);
    assert_eq!(events(&mut refused).await, ["begin", "end"]);
    assert_eq!(requests(&asked), ["list", "list"]);
    let (mut watch, asked) = watching([seconds(5)], [Reply::refusal(422, "no"), listed([])]).await;
    assert_eq!(events(&mut watch).await, ["begin", "end"]);
    assert_eq!(requests(&asked), ["watch 9", "list"]);
}

/// For example, a proxy that rejects our requests.
#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_pages_too_is_not_taken_for_one_without_streaming_lists() {
    for code in [400, 422] {
        let (heard, _guard) = listen();
        let refusal = || Reply::refusal(code, "no");
        let (mut watch, asked) = watch([refusal(), refusal(), refusal(), Reply::refusal(503, "no"), listed([])]);
        assert_eq!(events(&mut watch).await, ["begin", "end"]);
        assert_eq!(requests(&asked), ["list", "page ", "list", "page ", "list"]);
        assert!(!heard.take().iter().any(|line| line.contains("streaming lists")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_it_was_cut() {
    for (what, parts, expected) in [
        ("it ends", vec![added("a", 10), seconds(5)], "watch 10"),
        ("it ends after a bookmark", vec![added("a", 10), bookmark(20), seconds(5)], "watch 20"),
        ("it breaks", vec![added("a", 10), Broken], "watch 10"),
        ("it breaks in a line", vec![added("a", 10), Text("{\"type\":".into())], "watch 10"),
        ("an error", vec![added("a", 10), error(500)], "watch 10"),
        ("no line", vec![added("a", 10), Text("{}".into())], "watch 10"),
    ] {
        let (mut watch, asked) = watching(parts, [Reply::parts([added("b", 30)])]).await;
        assert_eq!(events(&mut watch).await, ["applied a", "applied b"], "{what}");
        assert_eq!(requests(&asked), [expected], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_fell_behind_is_listed_again() {
    let (heard, _guard) = listen();
    let (mut told, asked) = watching([added("a", 10), error(410)], [listed([])]).await;
    assert_eq!(events(&mut told).await, ["applied a", "begin", "end"]);
    assert_eq!(requests(&asked), ["list"]);
    let (mut refused, asked) = watching([seconds(5)], [Reply::refusal(410, "gone"), listed([])]).await;
    assert_eq!(events(&mut refused).await, ["begin", "end"]);
    assert_eq!(requests(&asked), ["watch 9", "list"]);
    assert!(heard.take().is_empty(), "nobody has to do anything about it");
}

/// The annotation has a meaning only while listing.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_list_in_the_middle_of_a_watch_is_a_bookmark_like_any_other() {
    let (mut watch, asked) = watching([end_of_list(12), added("a", 13), seconds(60)], []).await;
    assert_eq!(next(&mut watch).await, "applied a");
    assert!(requests(&asked).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_has_missed_something_is_told_to_list_again() {
    let (mut watch, asked) = watching([added("a", 10), seconds(60), added("b", 11)], [listed([])]).await;
    assert_eq!(next(&mut watch).await, "applied a");
    watch.list_again();
    assert_eq!(events(&mut watch).await, ["begin", "end"]);
    assert_eq!(requests(&asked), ["list"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_begins_anew() {
    for parts in [vec![added("a", 3), Broken], vec![added("a", 3)], vec![added("a", 3), error(500)]] {
        let (mut watch, asked) = watch([Reply::parts(parts), listed([])]);
        assert_eq!(events(&mut watch).await, ["begin", "listed a", "begin", "end"]);
        assert_eq!(requests(&asked), ["list", "list"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_unclear_is_left_alone_and_said() {
    let (heard, _guard) = listen();
    let unclear = line("ADDED", &json!({"metadata": {"name": "bad", "resourceVersion": "x"}}));
    let (mut watch, _) = watch([Reply::parts([unclear, added("a", 3)])]);
    assert_eq!(events(&mut watch).await, ["begin", "listed a"]);
    let heard = heard.take();
    assert!(heard.len() == 1 && heard[0].starts_with("WARN skipping an object that cannot be decoded"), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_may_pause_for_half_a_minute_and_a_watch_for_three() {
    let streamed = || vec![seconds(29), added("a", 3), seconds(29), end_of_list(9)];
    let began = Instant::now();
    let (mut watch_list, asked) = watch([Reply::parts(streamed()), listed([])]);
    assert_eq!(events(&mut watch_list).await, ["begin", "listed a", "end"]);
    assert_eq!((requests(&asked).len(), began.elapsed().as_secs()), (1, 58));

    let text = |text: &str| Text(text.into());
    let (a, b) = (object("a", 3).to_string(), object("b", 3).to_string());
    let page = [text("{\"items\":["), seconds(29), text(&a), seconds(29), text(","), text(&b), seconds(29)];
    let end = text("],\"metadata\":{\"resourceVersion\":\"9\"}}");
    let (mut pages, asked) = watch([Reply::refusal(422, "no"), Reply::parts(page.into_iter().chain([end]))]);
    assert_eq!(events(&mut pages).await, ["begin", "listed a", "listed b", "end"]);
    assert_eq!(requests(&asked), ["list", "page "]);

    let changes = || vec![seconds(179), added("a", 10), seconds(179), added("b", 11), seconds(179)];
    let (mut changing, asked) = watching(changes(), []).await;
    let began = Instant::now();
    assert_eq!(events(&mut changing).await, ["applied a", "applied b"]);
    assert_eq!((requests(&asked).len(), began.elapsed().as_secs()), (0, 2 * 179));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_silent_for_longer_is_given_up() {
    let (mut list, asked) = watch([Reply::parts([seconds(31), end_of_list(8)]), listed([])]);
    let began = Instant::now();
    assert_eq!(events(&mut list).await, ["begin", "begin", "end"]);
    assert_eq!((requests(&asked).len(), began.elapsed().as_secs()), (2, 30));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_sooner_than_in_two_seconds_is_not_opened_again_at_once() {
    for (milliseconds, expected) in [(2000, 2000..=2000), (1999, 2249..=2499)] {
        let pause = Pause(Duration::from_millis(milliseconds));
        let (mut watch, _) = watching([pause], [Reply::parts([added("a", 10)])]).await;
        let began = Instant::now();
        assert_eq!(next(&mut watch).await, "applied a");
        let took = began.elapsed().as_millis();
        assert!(expected.contains(&took), "{milliseconds}: {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_waits_as_long_as_the_api_server_asks_for() {
    for (retry_after, expected) in [("0", 0), ("7", 7), ("3600", 60)] {
        let (mut watch, _) = watch([Reply::busy(retry_after), listed([])]);
        let began = Instant::now();
        assert_eq!(next(&mut watch).await, "begin");
        assert_eq!(began.elapsed().as_secs(), expected, "{retry_after}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_watch_waits_for_is_said_once_and_so_is_the_end_of_it() {
    let (heard, _guard) = listen();
    let refusals = [(403, "for 1 s"), (403, "for 2 s"), (404, ""), (404, ""), (500, "no")];
    let replies = refusals.map(|(code, message)| Reply::refusal(code, message)).into_iter().chain([listed([])]);
    let (mut watch, _) = watch(replies);
    assert_eq!(events(&mut watch).await, ["begin", "end"]);
    assert_eq!(
        heard.take(),
        [
            "WARN not permitted to list or watch services (apply k3s-manifests/rbac.yaml): for 1 s",
            "WARN waiting for the CRD: the API server does not know services (apply k3s-manifests/crd.yaml)",
            "WARN waiting for the API server: no (500)",
            "INFO watching",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_off_is_said_the_third_time_in_a_row() {
    let (heard, _guard) = listen();
    let broken = || Reply::parts([Broken]);
    let well = Reply::parts([added("a", 10), Broken]);
    let (mut watch, asked) =
        watching([Broken], [broken(), well, broken(), broken(), listed([bookmark(11), seconds(100)])]).await;
    assert_eq!(next(&mut watch).await, "applied a");
    assert_eq!(heard.take(), [] as [&str; 0], "twice is no news");
    assert_eq!(events(&mut watch).await, ["begin", "end"]);
    assert_eq!(requests(&asked)[2..], ["watch 10", "watch 10", "list"]);
    assert_eq!(heard.take(), ["WARN waiting for the API server: connection reset by peer", "INFO watching"]);
}

mod deaf;
mod optional;
