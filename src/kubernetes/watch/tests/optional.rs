//! A kind that the API server need not know.

use super::*;

fn optional(replies: impl IntoIterator<Item = Reply>) -> (Watch<Meta>, Asked) {
    let (watch, asked) = watch(replies);
    (watch.optional(), asked)
}

fn absent() -> Reply {
    Reply::refusal(404, "the server could not find the requested resource")
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_there_is_said_at_once_and_asked_for_again_within_a_minute() {
    let (heard, _guard) = listen();
    let (mut watch, asked) = optional([absent(), absent(), listed([added("a", 10)]), listed([])]);
    let begun = Instant::now();
    assert_eq!(next(&mut watch).await, "absent");
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(events(&mut watch).await, ["absent", "begin", "end", "applied a"]);
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(60) && took < Duration::from_secs(121), "{took:?}");
    assert_eq!(requests(&asked).len(), 3);
    assert_eq!(heard.take(), [] as [&str; 0], "nothing is wrong");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_goes_away_takes_its_objects_with_it() {
    let (mut watch, _) = optional([listed([Broken]), absent(), absent()]);
    assert_eq!(events(&mut watch).await, ["begin", "end", "absent", "absent"]);
}

/// For a moment an API server that starts knows of no right.
#[tokio::test(start_paused = true)]
async fn without_the_right_to_a_kind_that_is_said_after_some_tries_and_only_if_it_was_never_listed() {
    let (heard, _guard) = listen();
    let forbidden = || Reply::refusal(403, "no");
    let (mut watch, asked) = optional([forbidden(), forbidden(), forbidden(), forbidden(), listed([Broken])]);
    assert_eq!(next(&mut watch).await, "forbidden");
    assert_eq!(requests(&asked).len(), 4);
    let message = "WARN not permitted to list or watch services (apply k3s-manifests/rbac.yaml): no";
    assert_eq!(heard.take(), [message], "once");
    assert_eq!(events(&mut watch).await, ["begin", "end"]);

    let refusals = (0..9).map(|_| forbidden());
    let (mut watch, _) = optional([listed([Broken])].into_iter().chain(refusals).chain([listed([])]));
    assert_eq!(events(&mut watch).await, ["begin", "end", "begin", "end"], "it is what it was");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_has_to_be_there_is_waited_for() {
    let (mut watch, _) = watch([absent(), absent(), listed([])]);
    assert_eq!(events(&mut watch).await, ["begin", "end"]);
}
