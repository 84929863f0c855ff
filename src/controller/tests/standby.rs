//! To lead and to stand by.

use super::*;
use crate::controller::leadership::Change;
use crate::telemetry::metrics::Standing;
use serde_json::json;

/// A controller in an election, in sync, with an InferenceService that has something to do.
fn standby(replies: impl IntoIterator<Item = Reply>) -> Controller {
    let mut controller = controller_of(replies);
    let settings = Settings { leader_elect: true, ..controller.context.settings.clone() };
    controller.context = controller.context.with_settings(settings);
    controller.stand_for_election(7);
    list(&mut controller, [object(UID, 100, 1, Value::Null)]);
    list_children(&mut controller, ChildKind::Deployment, []);
    list_children(&mut controller, ChildKind::Service, []);
    controller
}

fn sees_lease(controller: &mut Controller, lease: Option<Value>) {
    let applied = lease.map(|lease| Event::InitApply(serde_json::from_value(lease).expect("one")));
    for event in [Event::Init].into_iter().chain(applied).chain([Event::InitDone]) {
        controller.observe(Observation::Lease(event));
    }
}

fn lease(version: u64, holder: &str) -> Value {
    json!({"metadata": {"resourceVersion": version.to_string()}, "spec": {"holderIdentity": holder}})
}

fn identity(controller: &Controller) -> String {
    let election = controller.election.as_ref().expect("an election");
    election.candidate().holder().expect("a holder").to_owned()
}

#[tokio::test(start_paused = true)]
async fn one_that_stands_by_starts_nothing_and_releases_nothing_until_it_leads() {
    let mut controller = standby([]);
    assert!(controller.in_sync && !controller.leads && controller.queue.is_empty());
    assert_eq!((controller.standing(), controller.is_informed()), (Standing::StandsBy, false));
    let mut of_other = lease(5, "other");
    let other = crate::model::Instance::of_this_release(9_000_000_000_000_000);
    of_other["metadata"]["annotations"] = json!({crate::model::instance::ANNOTATION: other.to_string()});
    sees_lease(&mut controller, Some(of_other));
    assert!(controller.is_informed());
    assert!(controller.context.instances.own() > other, "whoever leads next is newer");
    assert_eq!((controller.elect(), identity(&controller)), (Change::None, "other".into()));
    controller.observe_inference_service(Event::Apply(named(object(UID, 101, 1, Value::Null), "new")));
    controller.sweep();
    controller.start();
    assert!(controller.queue.is_empty() && controller.in_flight.is_empty() && controller.next_start().is_none());
}

#[tokio::test(start_paused = true)]
async fn who_leads_begins_with_what_is_left_to_do_and_who_loses_the_lease_with_nothing() {
    // The answer names this process, whose identity the test does not know before.
    let (client, _) = fake_api_server::client_of(|line| {
        let body: Value = line
            .split_once(' ')
            .and_then(|(_, rest)| serde_json::from_str(rest.split_once(' ')?.1).ok())
            .unwrap_or_default();
        let mut taken = lease(6, "");
        taken["spec"]["holderIdentity"] = body["spec"]["holderIdentity"].clone();
        Reply::object(&taken)
    });
    let mut controller = controller();
    let settings = Settings { leader_elect: true, ..controller.context.settings.clone() };
    let context = controller.context.with_settings(settings);
    controller.context = Arc::new(Context { client, ..Arc::into_inner(context).expect("no other") });
    controller.stand_for_election(7);
    list(&mut controller, [object(UID, 100, 1, Value::Null)]);
    list_children(&mut controller, ChildKind::Deployment, []);
    list_children(&mut controller, ChildKind::Service, []);
    sees_lease(&mut controller, None);
    controller.election.as_mut().expect("an election").next().await;
    assert_eq!((controller.elect(), controller.elect()), (Change::Leads, Change::None));
    assert_eq!((controller.standing(), controller.queue.len()), (Standing::Leads, 1));
    controller.start();
    assert_eq!(controller.in_flight.len(), 1);
    // It is somebody else's: nothing that is in flight goes on.
    controller.observe(Observation::Lease(Event::Apply(serde_json::from_value(lease(7, "other")).expect("one"))));
    assert_eq!((controller.right().is_given(), controller.elect()), (false, Change::BeginsAnew));
    assert!(controller.in_flight.is_empty() && controller.queue.is_empty() && controller.index.is_empty());
    assert!(!controller.in_sync, "all is listed again");
    controller.resign().await;
}
