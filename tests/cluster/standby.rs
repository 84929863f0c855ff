//! Two operators of which one leads: who takes over, how soon, and what that costs.

use std::time::{Duration, Instant};

use inference_operator::api::Phase;
use serde_json::json;

use crate::quiet::changed_since_status;
use crate::support::{Fixture, Operator, Request, STANDBY, audit, eventually, kubectl};

const ELECT: [&str; 1] = ["--leader-elect"];
const LEADS: &str = "leader_election_master_status";

/// What an overlay gives for it; taken away again when dropped, with the Lease.
pub struct Rights;

impl Rights {
    pub fn give() -> Rights {
        kubectl(&["apply", "-f", &format!("{STANDBY}/lease.yaml")]);
        Rights
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        kubectl(&["delete", "-f", &format!("{STANDBY}/lease.yaml")]);
        kubectl(&["-n", "inference-operator", "delete", "lease", "inference-operator", "--ignore-not-found"]);
    }
}

async fn leads(operator: &Operator) -> bool {
    operator.metric(LEADS).await > 0.0
}

/// Waits until it leads; how long that took.
async fn takes_over(operator: &Operator, since: Instant) -> Duration {
    while !leads(operator).await {
        assert!(since.elapsed() < Duration::from_secs(90), "nobody leads\n{}", operator.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    since.elapsed()
}

fn is_of_lease(request: &Request) -> bool {
    request.resource == "leases"
}

/// The names of what was read one by one, and the writes.
fn others(requests: &[Request]) -> (Vec<String>, Vec<&Request>) {
    let others: Vec<&Request> = requests.iter().filter(|request| !is_of_lease(request)).collect();
    let mut read: Vec<String> =
        others.iter().filter(|request| request.verb == "get").map(|request| request.name.clone()).collect();
    read.sort_unstable();
    (read, others.into_iter().filter(|request| request.is_write()).collect())
}

/// Both start at once, and want to make the Lease.
async fn two() -> (Operator, Operator) {
    let (one, other) = (Operator::spawn("one", &ELECT), Operator::spawn("other", &ELECT));
    one.ready().await;
    other.ready().await;
    eventually("one of them leads", || async {
        let lead = [leads(&one).await, leads(&other).await];
        if lead[0] == lead[1] { Err(format!("{lead:?}")) } else { Ok(()) }
    })
    .await;
    if leads(&one).await { (one, other) } else { (other, one) }
}

#[tokio::test]
async fn a_standby_takes_over_within_a_minute_of_a_crash_and_at_once_after_an_orderly_end_and_writes_only_the_lease() {
    two_take_overs(100).await.clean_up().await;
}

/// A measurement: `--ignored standby`. It leaves them: so many cannot be deleted with one request.
#[tokio::test]
#[ignore = "it takes eight minutes"]
async fn with_five_thousand_it_is_the_same() {
    two_take_overs(5000).await;
}

/// From a leader that is killed, and from one that ends, with `count` InferenceServices of which ten have a replica.
async fn two_take_overs(count: usize) -> Fixture {
    let fixture = Fixture::new("standby").await;
    let _rights = Rights::give();
    let (leader, standby) = two().await;
    for number in 0..count {
        fixture.create(&format!("demo-{number}"), i32::from(number % (count / 10) == 0)).await;
    }
    fixture.until_all_within(Duration::from_secs(600), count, Phase::Ready).await;
    leader.settled().await;
    tokio::time::sleep(Duration::from_secs(16)).await;

    // At rest: one write of the Lease in 15 s, and nothing else.
    let mark = audit::mark();
    tokio::time::sleep(Duration::from_secs(46)).await;
    let requests = audit::since(mark);
    let renewals = requests.iter().filter(|request| request.is("patch", "leases")).count();
    assert!((2..=4).contains(&renewals), "{requests:?}");
    let rest: Vec<&Request> =
        requests.iter().filter(|request| request.verb != "watch" && !is_of_lease(request)).collect();
    assert!(
        rest.is_empty() && requests.iter().filter(|request| is_of_lease(request)).count() <= renewals + 2,
        "{requests:?}"
    );

    let memory = [leader.resident_bytes().await, standby.resident_bytes().await].map(|bytes| bytes / 1024);
    println!("standby: {count} InferenceServices, {} kB the one that leads, {} kB the other one", memory[0], memory[1]);
    let (mark, changed) = (audit::mark(), changed_since_status(&fixture).await);
    let killed = Instant::now();
    leader.kill();
    let took = takes_over(&standby, killed).await;
    println!("standby: {count} InferenceServices, it leads {:.1} s after SIGKILL", took.as_secs_f64());
    assert!(took < Duration::from_secs(60), "{took:?}");
    costs_no_more_than_a_restart(&standby, mark, &changed).await;

    // What changes from now on is acted on.
    let third = Operator::start("third", &ELECT).await;
    fixture.change("demo-0", json!({"maxBatchSize": 7})).await;
    fixture.until("demo-0", Phase::Ready).await;
    standby.settled().await;
    audit::is_quiet().await;
    let (mark, changed) = (audit::mark(), changed_since_status(&fixture).await);
    let ended = Instant::now();
    let (status, _) = standby.stop();
    assert!(status.success());
    let took = takes_over(&third, ended).await;
    println!("standby: it leads {:.1} s after SIGTERM", took.as_secs_f64());
    assert!(took < Duration::from_secs(5), "{took:?}");
    costs_no_more_than_a_restart(&third, mark, &changed).await;
    fixture
}

/// Of the take-over since then nothing was written but the Lease, and only these were read one by one.
async fn costs_no_more_than_a_restart(leader: &Operator, mark: audit::Mark, changed: &[String]) {
    leader.settled().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let requests = audit::since(mark);
    let (read, written) = others(&requests);
    assert!(written.is_empty(), "{written:?}");
    assert_eq!(read, changed);
}

/// An operator without the right waits, and says for what.
#[tokio::test]
async fn without_the_right_to_the_lease_nothing_is_done_and_that_is_said() {
    let fixture = Fixture::new("nolease").await;
    let operator = Operator::spawn("nolease", &ELECT);
    fixture.create("demo", 0).await;
    eventually("the log names the right", || async {
        let told = operator.lines_with("leases.coordination.k8s.io");
        if told > 0 { Ok(()) } else { Err(operator.log()) }
    })
    .await;
    let (code, body) = operator.get("/readyz").await.expect("served");
    assert_eq!(code, 503, "{body}");
    let object = fixture.inference_services.get("demo").await.expect("there");
    assert_eq!(object.status.map(|status| status.conditions.len()).unwrap_or_default(), 0);
    {
        let _rights = Rights::give();
        fixture.until("demo", Phase::Ready).await;
        assert_eq!(operator.stop().0.code(), Some(0));
    }
    fixture.clean_up().await;
}

/// Whoever may have lost the Lease writes no more, and begins anew.
#[tokio::test]
async fn one_that_stood_still_for_longer_than_the_lease_stands_by_and_leaves_all_to_the_other() {
    let fixture = Fixture::new("stood").await;
    let _rights = Rights::give();
    let (leader, standby) = two().await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    leader.pause();
    takes_over(&standby, Instant::now()).await;
    fixture.change("demo", json!({"maxBatchSize": 7})).await;
    fixture.until("demo", Phase::Ready).await;
    standby.settled().await;
    leader.go_on();
    eventually("it stands by", || async { if leads(&leader).await { Err(leader.log()) } else { Ok(()) } }).await;
    leader.ready().await;
    audit::is_quiet().await;
    assert!(leads(&standby).await);
    assert_eq!(leader.lines_with("standing by"), 1, "{}", leader.log());
    fixture.clean_up().await;
}
