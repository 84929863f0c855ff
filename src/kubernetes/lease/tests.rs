//! Who may write, and what a candidate does next: by the Lease as it was seen, and by two clocks.

use super::*;

/// A clock that the tests never move: the other one decides.
const NOON: Timestamp = Timestamp(1_800_000_000);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn of(holder: &str) -> LeaseSpec {
    let holder_identity = Some(holder.to_owned()).filter(|holder| !holder.is_empty());
    LeaseSpec { holder_identity, lease_transitions: Some(4) }
}

/// A candidate that took the Lease in version 10 with a request sent at `began`.
fn leader(began: Instant) -> Candidate {
    let mut candidate = Candidate::new("me".into(), began);
    candidate.observe_none(began);
    candidate.answered(Answer::Written(10, of("me")), began, NOON, began + seconds(1));
    candidate
}

/// One that has seen somebody else's, in version 10.
fn standby(began: Instant) -> Candidate {
    let mut candidate = Candidate::new("me".into(), began);
    candidate.read(10, of("other"), began);
    candidate
}

fn holds(candidate: &Candidate, now: Instant) -> bool {
    candidate.term().hold(now, NOON).is_some()
}

#[test]
fn before_anything_is_known_nothing_is_done() {
    let candidate = Candidate::new("me".into(), Instant::now());
    assert!(candidate.next().is_none() && !candidate.is_informed() && candidate.holder().is_none());
}

#[test]
fn a_lease_that_nobody_has_is_taken_at_once() {
    let began = Instant::now();
    let mut candidate = Candidate::new("me".into(), began);
    candidate.observe_none(began);
    assert_eq!(candidate.next(), Some((began, Step::Create)));
    assert!(candidate.is_informed() && candidate.holder().is_none());
    for nobody in [of(""), LeaseSpec { holder_identity: Some(String::new()), ..of("") }] {
        let mut candidate = standby(began);
        candidate.observe(11, nobody, began + seconds(3));
        assert_eq!(candidate.next(), Some((began + seconds(3), Step::Take(11))));
        assert!(candidate.holder().is_none());
    }
}

#[test]
fn the_holder_renews_every_15_s_and_writes_for_30_s_from_the_request_on() {
    let began = Instant::now();
    let mut candidate = leader(began);
    assert_eq!((candidate.next(), candidate.holder()), (Some((began + RENEW_EVERY, Step::Renew(10))), Some("me")));
    assert!(holds(&candidate, began + seconds(29)) && !holds(&candidate, began + seconds(30)));
    let sent = began + seconds(15);
    candidate.answered(Answer::Written(11, of("me")), sent, NOON, sent + seconds(4));
    assert_eq!(candidate.next(), Some((sent + RENEW_EVERY, Step::Renew(11))));
    assert!(holds(&candidate, sent + seconds(29)) && !holds(&candidate, sent + seconds(30)));
}

/// A machine that sleeps stops one of its clocks, and the other may be set.
#[test]
fn a_hold_is_over_when_either_clock_says_so() {
    let began = Instant::now();
    let hold = Hold::since(began, NOON);
    for (what, passed, time, is_over) in [
        ("neither", 29, 29, false),
        ("the monotonic one", 30, 0, true),
        ("the other one", 0, 30, true),
        ("set back", 1, -3600, false),
    ] {
        let time = Timestamp(NOON.0.saturating_add_signed(time));
        assert_eq!(hold.is_over(began + seconds(passed), time), is_over, "{what}");
    }
    assert_eq!(hold.until(), began + VALID);
}

#[test]
fn somebody_elses_lease_is_taken_when_it_has_not_changed_for_45_s() {
    let began = Instant::now();
    let mut candidate = standby(began);
    assert_eq!(candidate.next(), Some((began + DURATION, Step::Take(10))));
    assert_eq!(candidate.holder(), Some("other"));
    candidate.observe(11, of("other"), began + seconds(15));
    assert_eq!(candidate.next(), Some((began + seconds(15) + DURATION, Step::Take(11))));
    // The same again is no sign of life, and neither is one from the past.
    for version in [11, 10] {
        candidate.observe(version, of("other"), began + seconds(20));
        assert_eq!(candidate.next(), Some((began + seconds(15) + DURATION, Step::Take(11))), "{version}");
    }
    candidate.read(11, of("other"), began + seconds(20));
    assert_eq!(candidate.next(), Some((began + seconds(15) + DURATION, Step::Take(11))));
}

#[test]
fn a_list_is_believed_though_it_goes_back_in_time() {
    let began = Instant::now();
    let mut candidate = standby(began);
    candidate.read(7, of("third"), began + seconds(5));
    assert_eq!(candidate.next(), Some((began + seconds(5) + DURATION, Step::Take(7))));
    assert_eq!(candidate.holder(), Some("third"));
}

#[test]
fn whoever_sees_that_another_one_holds_the_lease_writes_no_more() {
    let began = Instant::now();
    let mut candidate = leader(began);
    candidate.observe(11, of("other"), began + seconds(5));
    assert!(!holds(&candidate, began + seconds(5)));
    assert_eq!(candidate.next(), Some((began + seconds(5) + DURATION, Step::Take(11))));
    // Nor if its own request is answered after that.
    candidate.answered(Answer::Written(10, of("me")), began, NOON, began + seconds(6));
    assert!(!holds(&candidate, began + seconds(6)));
}

/// What was read may have been written long ago, and others have counted from then on.
#[test]
fn what_was_read_renews_nothing() {
    let began = Instant::now();
    let mut candidate = leader(began);
    let sent = began + seconds(16);
    candidate.answered(Answer::Read(12, of("me")), sent, NOON, sent + seconds(1));
    assert!(holds(&candidate, began + seconds(29)) && !holds(&candidate, began + seconds(30)));
    assert_eq!(candidate.next(), Some((sent + seconds(1) + RETRY, Step::Renew(12))));
    // One whose answer was lost renews what it reads before it writes.
    let mut candidate = standby(began);
    candidate.failed(began);
    candidate.read(12, of("me"), began);
    assert!(!holds(&candidate, began));
    assert_eq!(candidate.next(), Some((began + RETRY, Step::Renew(12))));
}

/// A datastore that was restored, or a person, may say so while another one acts.
#[test]
fn who_is_named_without_having_asked_waits_like_anybody() {
    let began = Instant::now();
    let mut candidate = standby(began);
    candidate.read(7, of("me"), began + seconds(5));
    assert_eq!(candidate.next(), Some((began + seconds(5) + DURATION, Step::Renew(7))));
    // Not so while it leads, whoever has changed something else.
    let mut candidate = leader(began);
    candidate.observe(11, of("me"), began + seconds(5));
    assert_eq!(candidate.next(), Some((began + RENEW_EVERY, Step::Renew(11))));
}

#[test]
fn what_was_lost_to_a_clock_that_was_set_is_renewed_at_once() {
    let began = Instant::now();
    let mut candidate = leader(began);
    assert!(candidate.term().hold(began, Timestamp(NOON.0 + 3600)).is_none());
    candidate.lose();
    assert!(!holds(&candidate, began + seconds(5)));
    let (at, step) = candidate.next().expect("a step");
    assert!(at <= began + seconds(5) && step == Step::Renew(10));
}

#[test]
fn what_failed_is_tried_again_soon() {
    let began = Instant::now();
    let mut candidate = leader(began);
    candidate.failed(began + seconds(17));
    assert_eq!(candidate.next(), Some((began + seconds(17) + RETRY, Step::Renew(10))));
    assert!(holds(&candidate, began + seconds(29)) && !holds(&candidate, began + seconds(30)));
}

#[test]
fn a_lease_that_was_deleted_is_made_anew_by_its_holder_and_by_others_when_it_would_have_been_over() {
    let began = Instant::now();
    let mut candidate = leader(began);
    candidate.observe_none(began + seconds(5));
    assert!(holds(&candidate, began + seconds(5)) && candidate.holder().is_none());
    let (at, step) = candidate.next().expect("a step");
    assert!(at <= began + seconds(5) && step == Step::Create);
    let mut candidate = standby(began);
    candidate.answered(Answer::Absent, began, NOON, began + seconds(5));
    assert_eq!(candidate.next(), Some((began + DURATION, Step::Create)));
    candidate.observe_none(began + seconds(9));
    assert_eq!(candidate.next(), Some((began + DURATION, Step::Create)));
    candidate.observe(13, of("other"), began + seconds(10));
    assert_eq!(candidate.next(), Some((began + seconds(10) + DURATION, Step::Take(13))));
}

#[test]
fn a_lease_that_is_released_is_nobodys() {
    let began = Instant::now();
    let mut candidate = leader(began);
    let body = candidate.release(began + seconds(3), NOON).expect("held");
    assert_eq!(body["metadata"]["resourceVersion"], "10");
    assert!(body["spec"]["holderIdentity"].is_null() && body["spec"].get("holderIdentity").is_some());
    assert!(!holds(&candidate, began + seconds(3)));
    assert!(candidate.release(began + seconds(3), NOON).is_none());
    assert!(standby(began).release(began, NOON).is_none(), "it is not its own");
    assert!(leader(began).release(began + VALID, NOON).is_none(), "it may be somebody else's by now");
}

#[test]
fn a_lease_says_who_holds_it_since_when_and_how_often_that_has_changed() {
    let began = Instant::now();
    let time = Utc(Duration::from_micros(1_795_528_093_013_280));
    let mut candidate = Candidate::new("me".into(), began);
    let taken = |transitions: u32| {
        let time = "2026-11-24T13:48:13.013280Z";
        json!({
            "holderIdentity": "me", "leaseDurationSeconds": 45, "leaseTransitions": transitions,
            "acquireTime": time, "renewTime": time,
        })
    };
    assert_eq!(candidate.body(Step::Create, time), json!({"spec": taken(0)}));
    candidate.read(10, of("other"), began);
    let version = json!({"resourceVersion": "10"});
    assert_eq!(candidate.body(Step::Take(10), time), json!({"metadata": version, "spec": taken(5)}));
    let renewed = json!({"renewTime": "2026-11-24T13:48:13.013280Z"});
    assert_eq!(candidate.body(Step::Renew(10), time), json!({"metadata": version, "spec": renewed}));
}

fn term(since: Instant) -> Term {
    let term = Term::default();
    term.set(Some(Hold::since(since, NOON)));
    term
}

#[tokio::test(start_paused = true)]
async fn work_ends_with_the_hold() {
    let held = term(Instant::now());
    assert_eq!(held.during(|| NOON, async { 7 }).await, Some(7));
    let began = Instant::now();
    assert_eq!(held.during(|| NOON, std::future::pending::<()>()).await, None);
    assert_eq!(began.elapsed(), VALID);
    let over = held.during(|| NOON, async { unreachable!("it is not begun") });
    assert_eq!(over.await, None);
    let over = term(Instant::now());
    let over = over.during(|| Timestamp(NOON.0 + 30), async { unreachable!("it is not begun") });
    assert_eq!(over.await, None);
}

/// Or else what takes longer than the rest of one renewal would never be done, and never be reported.
#[tokio::test(start_paused = true)]
async fn a_renewal_lengthens_what_is_under_way() {
    let held = term(Instant::now());
    let slow = async {
        tokio::time::sleep(VALID + seconds(10)).await;
        7
    };
    let renews = async {
        tokio::time::sleep(RENEW_EVERY).await;
        held.set(Some(Hold::since(Instant::now(), NOON)));
    };
    let (done, ()) = tokio::join!(held.during(|| NOON, slow), renews);
    assert_eq!(done, Some(7));
    // One that is lost ends it.
    let began = Instant::now();
    held.set(Some(Hold::since(began, NOON)));
    let loses = async {
        tokio::time::sleep(RENEW_EVERY).await;
        held.set(None);
    };
    let ticks = async {
        loop {
            tokio::time::sleep(seconds(1)).await;
        }
    };
    let (done, ()) = tokio::join!(held.during(|| NOON, ticks), loses);
    assert_eq!(done, None::<()>);
    assert!(began.elapsed() <= RENEW_EVERY + seconds(1));
}

/// What the process waited for is there when it wakes up, and before any timer has told that it is late.
#[tokio::test(start_paused = true)]
async fn a_process_that_has_stood_still_sends_nothing_more() {
    let held = term(Instant::now());
    let (answered, answer) = tokio::sync::oneshot::channel::<()>();
    let mut work = Box::pin(held.during(|| NOON, async { answer.await.expect("an answer") }));
    assert!(futures::poll!(&mut work).is_pending());
    answered.send(()).expect("somebody waits");
    tokio::time::advance(VALID).await;
    assert_eq!(futures::poll!(&mut work), Poll::Ready(None));
}
