//! The requests about the Lease, and what an answer changes.

use serde_json::json;

use super::*;
use crate::testing::fake_api_server::{self, Asked, Reply};
use crate::testing::log_capture::listen;

const NOW: Timestamp = Timestamp(1_800_000_000);
const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/ops/leases";

fn lease(version: u64, holder: Option<&str>) -> Value {
    let metadata = json!({"name": LEASE, "namespace": "ops", "resourceVersion": version.to_string()});
    json!({"metadata": metadata, "spec": {"holderIdentity": holder, "leaseTransitions": 3}})
}

fn event(version: u64, holder: Option<&str>) -> Event<InferenceServiceView> {
    Event::Apply(serde_json::from_value(lease(version, holder)).expect("an object"))
}

/// The list of the watch has shown no Lease.
fn election(replies: impl IntoIterator<Item = Reply>) -> (Election, Asked) {
    let (client, asked) = fake_api_server::client(replies);
    let instances = Arc::new(Instances::new(NOW.into()));
    let mut election = Election::new(client, "ops", "me".into(), || NOW, instances);
    election.observe(&Event::Init);
    election.observe(&Event::InitDone);
    (election, asked)
}

/// Verb, path and body of the only request since the last one.
fn only(asked: &Asked) -> (String, String, Value) {
    let asked = asked.take();
    let [line] = asked.as_slice() else { panic!("{asked:?}") };
    let mut parts = line.splitn(3, ' ');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (verb, path, body) = (part(), part(), part());
    (verb, path, serde_json::from_str(&body).unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_made_renewed_and_released() {
    let replies = [(5, Some("me")), (6, Some("me")), (7, None)];
    let (mut election, asked) = election(replies.map(|(version, holder)| Reply::object(&lease(version, holder))));
    assert!(!election.right().is_given());
    election.next().await;
    let (verb, path, body) = only(&asked);
    assert_eq!((&*verb, path), ("POST", format!("{PATH}?fieldManager=inference-operator")));
    assert_eq!((&body["apiVersion"], &body["kind"]), (&json!("coordination.k8s.io/v1"), &json!("Lease")));
    assert_eq!((&body["metadata"]["name"], &body["spec"]["holderIdentity"]), (&json!(LEASE), &json!("me")));
    let named = &body["metadata"]["annotations"]["ai.example.com/instance"];
    assert_eq!(named, &json!(election.instances.own().to_string()));
    assert!(election.right().is_given());
    let began = Instant::now();
    while asked.take().is_empty() {
        election.next().await;
    }
    assert_eq!(began.elapsed(), crate::kubernetes::lease::RENEW_EVERY);
    election.release().await;
    let (verb, path, body) = only(&asked);
    assert_eq!((&*verb, path), ("PATCH", format!("{PATH}/{LEASE}?fieldManager=inference-operator")));
    assert_eq!((&body["metadata"]["resourceVersion"], &body["spec"]["holderIdentity"]), (&json!("6"), &Value::Null));
    assert!(!election.right().is_given());
    election.release().await;
    assert!(asked.take().is_empty(), "it is not its own any more");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_one_has_made_meanwhile_is_read_and_left() {
    let (mut election, asked) =
        election([Reply::refusal(409, "already exists"), Reply::object(&lease(8, Some("other")))]);
    election.next().await;
    assert_eq!(asked.take().len(), 2);
    assert_eq!((election.right().is_given(), election.candidate().holder()), (false, Some("other")));
    let quiet = tokio::time::timeout(Duration::from_secs(44), election.next()).await;
    assert!(quiet.is_err() && asked.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_hear_that_it_has_the_lease_for_long_does_not_write() {
    let (mut election, asked) = election([Reply::object(&lease(5, Some("me"))), Reply::refusal(503, "busy")]);
    let (heard, _guard) = listen();
    election.next().await;
    let began = Instant::now();
    let hold = election.right();
    while election.right().is_given() {
        election.next().await;
    }
    assert_eq!(began.elapsed(), crate::kubernetes::lease::VALID);
    assert!(asked.take().len() > 2, "it tries again, also where there is no answer");
    let told = heard.take();
    assert_eq!(told.iter().filter(|entry| entry.contains("cannot take or renew")).count(), 1, "{told:?}");
    assert_eq!(hold.during(|| NOW, async { 1 }).await, None);
    assert_eq!(Right::Always.during(|| NOW, async { 1 }).await, Some(1));
    assert_eq!(Right::None.during(|| NOW, async { 1 }).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_watch_shows_who_has_it_and_when_it_is_gone() {
    let (mut election, asked) = election([Reply::object(&lease(5, Some("me")))]);
    election.next().await;
    asked.take();
    election.observe(&event(6, Some("other")));
    assert_eq!((election.right().is_given(), election.candidate().holder()), (false, Some("other")));
    election.observe(&Event::Init);
    election.observe(&Event::InitApply(serde_json::from_value(lease(4, Some("third"))).expect("an object")));
    election.observe(&Event::InitDone);
    assert_eq!(election.candidate().holder(), Some("third"), "a list is believed");
    election.observe(&Event::Delete(serde_json::from_value(lease(9, None)).expect("an object")));
    assert_eq!(election.candidate().holder(), None);
    // One whose spec cannot be read is nobody's, and is taken.
    election
        .observe(&Event::Apply(serde_json::from_value(json!({"metadata": {"resourceVersion": "10"}})).expect("one")));
    assert!(election.candidate().is_informed() && election.candidate().holder().is_none());
}
