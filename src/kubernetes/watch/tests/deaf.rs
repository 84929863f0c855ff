//! Watches that miss some or all events: each relists on its own, soon, and never at full speed.

use super::*;

/// The requests of the watch within this time, and the number of events that they brought.
async fn within(watch: &mut Watch<Meta>, asked: &Asked, time: Duration) -> (Vec<String>, usize) {
    let (mut count, end) = (0, Instant::now() + time);
    while tokio::time::timeout_at(end, watch.next()).await.is_ok() {
        count += 1;
    }
    (requests(asked), count)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn hours(hours: u64) -> Duration {
    minutes(60 * hours)
}

fn of(requests: &[String], what: &str) -> usize {
    requests.iter().filter(|request| request.starts_with(what)).count()
}

/// Like an API server that does not have the requested version.
fn silent() -> Reply {
    Reply::parts([Pause(hours(10))])
}

/// What the server sends in this many minutes without changes.
fn bookmarks(minutes: u64) -> impl Iterator<Item = Part> {
    (0..minutes).flat_map(|minute| [seconds(60), bookmark(10 + minute / 10)])
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_says_nothing_for_three_minutes_lists_again() {
    let (mut watch, asked) = watching([seconds(181), added("a", 10)], [listed([added("b", 11)])]).await;
    let began = Instant::now();
    assert_eq!(events(&mut watch).await, ["begin", "end", "applied b"]);
    assert_eq!((requests(&asked), began.elapsed().as_secs()), (vec!["list".into()], 180));
}

/// The watch is cut and reopened after the server's datastore was restored to an earlier copy.
#[tokio::test(start_paused = true)]
async fn a_watch_at_a_version_from_the_future_lists_again() {
    let (mut watch, asked) = watching([added("a", 10), seconds(60), Broken], [silent(), listed([])]).await;
    assert_eq!(next(&mut watch).await, "applied a");
    let began = Instant::now();
    assert_eq!(events(&mut watch).await, ["begin", "end"]);
    assert_eq!(requests(&asked), ["watch 10", "list"]);
    assert_eq!(began.elapsed(), minutes(3), "counted from what was heard last, not from when it was opened");
}

/// An event makes a watch healthy again; being open for three minutes does not.
#[tokio::test(start_paused = true)]
async fn silence_is_no_sign_that_a_watch_is_well_again() {
    let (heard, _guard) = listen();
    let broken = || Reply::parts([Broken]);
    let (mut watch, _) = watching([Broken], [broken(), broken(), listed([Pause(hours(10))]), listed([])]).await;
    assert_eq!(events(&mut watch).await, ["begin", "end", "begin", "end"]);
    assert_eq!(heard.take(), ["WARN waiting for the API server: connection reset by peer"]);
}

#[tokio::test(start_paused = true)]
async fn silence_that_lists_do_not_end_is_borne_with_ever_fewer_of_them() {
    let silent_list = || listed([Pause(hours(10))]);
    let replies = [silent_list(), silent(), silent_list(), silent(), silent(), silent(), silent_list()];
    let (mut watch, asked) = watching([Pause(hours(10))], replies).await;
    let (requests, _) = within(&mut watch, &asked, minutes(3 + 6 + 12 + 1)).await;
    assert_eq!(requests, ["list", "watch 9", "list", "watch 9", "watch 9", "watch 9", "list"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_hears_bookmarks_asks_for_nothing_until_the_day_is_over() {
    let (mut watch, asked) = watching(bookmarks(1500), [listed(bookmarks(1500))]).await;
    assert_eq!(within(&mut watch, &asked, hours(18)).await.0, [] as [&str; 0]);
    assert_eq!(within(&mut watch, &asked, hours(6)).await.0, ["list"]);
    assert_eq!(within(&mut watch, &asked, hours(17)).await.0, [] as [&str; 0]);
}

#[tokio::test(start_paused = true)]
async fn two_watches_do_not_list_at_the_same_time_of_day() {
    let relist = async |seed| {
        let (client, _) = fake_api_server::client([listed(bookmarks(1500)), listed([])]);
        let mut watch = Watch::<Meta>::new(
            client,
            Kind::of::<PartialService>(),
            None,
            Selector::everything(),
            seed,
            Arc::default(),
        );
        let began = Instant::now();
        assert_eq!(events(&mut watch).await, ["begin", "end", "begin"]);
        began.elapsed()
    };
    assert!(relist(1).await.abs_diff(relist(2).await) > minutes(1));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_goes_back_lists_again_and_is_not_believed() {
    for line in [added("b", 9), bookmark(9), line("DELETED", &object("b", 9)), line("MODIFIED", &object("b", 9))] {
        let (mut watch, asked) = watching([added("a", 10), line], [listed([added("b", 11)])]).await;
        assert_eq!(events(&mut watch).await, ["applied a", "begin", "end", "applied b"]);
        assert_eq!(requests(&asked), ["list"]);
    }
    // A repeated version means that nothing happened; it is not a step back.
    let (mut watch, asked) = watching([added("a", 10), bookmark(10), bookmark(10), added("b", 11)], []).await;
    assert_eq!(events(&mut watch).await, ["applied a", "applied b"]);
    assert_eq!(requests(&asked), [] as [&str; 0]);
}

/// A server that was unavailable may return with a different history.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_refused_lists_again_whatever_the_code() {
    for code in [400, 401, 403, 404, 410, 422, 500, 503, 504] {
        let (mut watch, asked) = watching([seconds(5)], [Reply::refusal(code, "no"), listed([])]).await;
        assert_eq!(events(&mut watch).await, ["begin", "end"]);
        assert_eq!(requests(&asked), ["watch 9", "list"], "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_is_not_asked_for_a_list_at_once() {
    let (mut watch, asked) = watching([seconds(5)], [Reply::busy("1"), Reply::parts([added("a", 10)])]).await;
    assert_eq!(next(&mut watch).await, "applied a");
    assert_eq!(requests(&asked), ["watch 9", "watch 9"]);
    let (mut watch, asked) =
        watching([seconds(5)], [Reply::busy("1"), Reply::busy("1"), Reply::busy("1"), listed([])]).await;
    assert_eq!(events(&mut watch).await, ["begin", "end"]);
    assert_eq!(requests(&asked), ["watch 9", "watch 9", "watch 9", "list"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_three_times_at_one_version_lists_again_whatever_it_says() {
    let after = |time: u64, part: Part| Reply::parts([seconds(time), part]);
    // Even after minutes, if the server reports an error.
    for (what, failing) in [
        ("500", &(|| after(0, error(500))) as &dyn Fn() -> Reply),
        ("504", &|| after(30, error(504))),
        ("no line", &|| after(0, Text("{}".into()))),
        ("cut at once", &|| after(1, Broken)),
    ] {
        let (mut watch, asked) = watching([seconds(5)], [failing(), failing(), failing(), listed([])]).await;
        assert_eq!(events(&mut watch).await, ["begin", "end"], "{what}");
        let requests = requests(&asked);
        assert_eq!((requests.last().map(String::as_str), of(&requests, "list")), (Some("list"), 1), "{what}");
        assert!(requests.len() <= 4, "{what}: {requests:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_lists_are_well_and_no_watch_is_the_server_is_asked_once_a_minute() {
    let (client, asked) = fake_api_server::client_of(|line| match line {
        line if line.contains("sendInitialEvents") => listed([error(500)]),
        _ => Reply::refusal(504, "Too large resource version"),
    });
    let mut watch =
        Watch::<Meta>::new(client, Kind::of::<PartialService>(), None, Selector::everything(), 1, Arc::default());
    let (requests, events) = within(&mut watch, &asked, hours(1)).await;
    let lists = of(&requests, "list");
    assert!((60..=140).contains(&lists) && requests.len() <= lists + 3, "{lists} lists of {} requests", requests.len());
    assert_eq!(events, 2 * lists, "each tells all that there is");
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_that_fails_twice_is_read_in_pages_until_the_day_is_over() {
    let page = || Reply::object(&json!({"items": [], "metadata": {"resourceVersion": "9"}}));
    let endless = || Reply::parts((0..100).flat_map(|number| [seconds(10), added("a", number + 1)]));
    for (what, failing) in [
        ("an error", &(|| Reply::parts([error(500)])) as &dyn Fn() -> Reply),
        ("it ends early", &|| Reply::parts([])),
        ("it breaks", &|| Reply::parts([added("a", 1), Broken])),
        ("bookmarks alone", &|| Reply::parts((0..100).flat_map(|_| [seconds(60), bookmark(10)]))),
        ("it has no end", &endless),
    ] {
        let watch_of_a_day = Reply::parts(bookmarks(1500));
        let (mut watch, asked) = watch([failing(), failing(), page(), watch_of_a_day, listed(bookmarks(1500))]);
        let (requests, _) = within(&mut watch, &asked, minutes(11)).await;
        assert_eq!(requests, ["list", "list", "page ", "watch 9"], "{what}");
        assert_eq!(within(&mut watch, &asked, hours(17)).await.0, [] as [&str; 0], "{what}");
        assert_eq!(within(&mut watch, &asked, hours(8)).await.0, ["list"], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_every_twenty_seconds_goes_on_at_once_and_nothing_is_said_of_it() {
    let (heard, _guard) = listen();
    let cut = |_| Reply::parts([seconds(20), Broken]);
    let event = Reply::parts([added("a", 10)]);
    let (mut watch, asked) = watching([seconds(20), Broken], (0..4).map(cut).chain([event])).await;
    let began = Instant::now();
    assert_eq!(next(&mut watch).await, "applied a");
    assert_eq!((requests(&asked).len(), began.elapsed().as_secs()), (5, 100));
    assert_eq!(heard.take(), [] as [&str; 0]);
}

/// The watch never lives long enough to receive a bookmark.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_every_twenty_seconds_for_hours_lists_ever_more_rarely() {
    let list = || listed([seconds(20), Broken]);
    let (client, asked) = fake_api_server::client_of(move |line| match line {
        line if line.contains("sendInitialEvents") => list(),
        _ => Reply::parts([seconds(20), Broken]),
    });
    let mut watch =
        Watch::<Meta>::new(client, Kind::of::<PartialService>(), None, Selector::everything(), 1, Arc::default());
    let (requests, _) = within(&mut watch, &asked, hours(12)).await;
    let (lists, watches) = (of(&requests, "list"), of(&requests, "watch"));
    assert!((15..=20).contains(&lists), "{lists} lists");
    assert_eq!(lists + watches, 12 * 180, "each is opened again at once");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cuts_at_once_is_not_called_without_a_pause() {
    let cut = |_| Reply::parts([Broken]);
    let (mut watch, asked) = watching([Broken], (0..1000).map(cut)).await;
    let (requests, _) = within(&mut watch, &asked, minutes(10)).await;
    // The waits double from a quarter of a second to ten seconds.
    assert!((60..=130).contains(&requests.len()), "{}", requests.len());
}

/// Otherwise the backoff in such a network would grow with each failure, for days.
#[tokio::test(start_paused = true)]
async fn failures_are_forgotten_when_a_watch_was_open_for_a_while() {
    let cut_after = |time| Reply::parts([seconds(time), Broken]);
    let replies = [cut_after(0), cut_after(20), cut_after(0), Reply::parts([added("a", 10)])];
    let (mut watch, _) = watching([Broken], replies).await;
    let began = Instant::now();
    assert_eq!(next(&mut watch).await, "applied a");
    // At most half a second, one second, and half a second again.
    let waited = began.elapsed().saturating_sub(Duration::from_secs(20));
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_watch_hears_is_noted() {
    let (client, _) = fake_api_server::client([listed(bookmarks(10))]);
    let metrics = Arc::new(Metrics::default());
    let mut watch =
        Watch::<Meta>::new(client, Kind::of::<PartialService>(), None, Selector::everything(), 1, metrics.clone());
    let line = |seconds: u64| format!("last_heard_seconds{{resource=\"services\"}} {seconds}\n");
    tokio::time::advance(minutes(1)).await;
    assert!(metrics.text().contains(&line(60)), "{}", metrics.text());
    assert_eq!(events(&mut watch).await, ["begin", "end"]);
    assert!(metrics.text().contains(&line(0)));
    assert!(tokio::time::timeout(minutes(9) + Duration::from_secs(7), watch.next()).await.is_err());
    assert!(metrics.text().contains(&line(7)), "{}", metrics.text());
}
