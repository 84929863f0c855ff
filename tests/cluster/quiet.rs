//! Nothing is written without a change, and little after one: counted in the API server's audit log.

use std::collections::BTreeMap;
use std::time::Duration;

use inference_operator::api::Phase;

use crate::support::{Fixture, Operator, Request, audit, eventually, kubectl};

const COUNT: usize = 200;

fn summary(requests: &[Request]) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry((request.verb.clone(), request.resource.clone())).or_default() += 1;
    }
    counts
}

fn count(requests: &[&Request], verb: &str, resource: &str) -> usize {
    requests.iter().filter(|request| request.is(verb, resource)).count()
}

#[tokio::test]
async fn creation_idling_and_restart_cost_what_they_must() {
    let fixture = Fixture::new("quiet").await;
    let operator = Operator::start("quiet", &[]).await;

    let mark = audit::mark();
    for number in 0..COUNT {
        fixture.create(&format!("demo-{number}"), i32::from(number % 10 == 0) * 2).await;
    }
    fixture.until_all(COUNT, Phase::Ready).await;
    let created = audit::since(mark);
    println!("creation of {COUNT}: {:?}", summary(&created));
    for number in 0..COUNT {
        let name = format!("demo-{number}");
        let own: Vec<&Request> = created.iter().filter(|request| request.name == name).collect();
        assert_eq!(count(&own, "patch", "deployments"), 1, "{own:?}");
        assert_eq!(count(&own, "create", "services"), 1, "{own:?}");
        assert_eq!(count(&own, "patch", "services"), 0, "{own:?}");
        assert!(count(&own, "patch", "inferenceservices/status") <= 2, "{own:?}");
        // One before the Deployment is created, and one after it has progressed; more if it progresses slowly.
        assert!(own.iter().filter(|request| request.verb == "get").count() <= 5, "{own:?}");
    }
    assert!(created.iter().all(|request| !request.is("create", "events")), "nothing went wrong, so no Event");

    idles(&fixture).await;

    // A Deployment that changes after its status was written may be read once at the restart.
    let (status, _) = operator.stop();
    assert!(status.success());
    let mark = audit::mark();
    let operator = Operator::start("quiet", &[]).await;
    let changed_since = changed_since_status(&fixture).await;
    eventually("the operator has looked at what changed", || async {
        let requests = audit::since(mark);
        let mut read: Vec<&str> =
            requests.iter().filter(|request| request.verb == "get").map(|request| request.name.as_str()).collect();
        read.sort_unstable();
        if read == changed_since { Ok(()) } else { Err(format!("{read:?} of {changed_since:?}")) }
    })
    .await;
    operator.settled().await;
    let restarted = audit::since(mark);
    println!("restart with {COUNT}: {:?}", summary(&restarted));
    assert!(restarted.iter().all(|request| !request.is_write()), "{restarted:?}");
    let reads = restarted.iter().filter(|request| request.verb == "get").count();
    assert_eq!(reads, changed_since.len(), "{restarted:?}");
    fixture.clean_up().await;
}

/// The names of the Deployments that have changed since the status was written, sorted.
pub async fn changed_since_status(fixture: &Fixture) -> Vec<String> {
    let parameters = kube::api::ListParams::default();
    let deployments = fixture.deployments.list_metadata(&parameters).await.expect("a list");
    let versions: BTreeMap<_, _> = deployments
        .items
        .into_iter()
        .map(|object| (object.metadata.name.clone(), object.metadata.resource_version))
        .collect();
    let objects = fixture.inference_services.list(&parameters).await.expect("a list");
    let changed = objects.items.into_iter().filter_map(|object| {
        let stamp = object.status.and_then(|status| status.observed)?.deployment_resource_version;
        if versions.get(&object.metadata.name) == Some(&stamp) { None } else { object.metadata.name }
    });
    let mut changed: Vec<String> = changed.collect();
    changed.sort_unstable();
    changed
}

/// A minute without changes: no request except renewed watches.
async fn idles(fixture: &Fixture) {
    // The cluster's own last changes of the Deployments may be read first.
    let before = kubectl(&["-n", &fixture.namespace, "get", "deployments", "-o", "name"]).lines().count();
    assert_eq!(before, COUNT);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mark = audit::mark();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let requests = audit::since(mark);
    assert!(requests.iter().all(|request| request.verb == "watch"), "{requests:?}");
}
