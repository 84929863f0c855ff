//! However often other clients change what they may change, the operator's requests, Events and log lines stay few.
//! Counted in the API server's audit log.

use std::time::{Duration, Instant};

use inference_operator::api::Phase;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::fixture::ready;
use crate::support::recorder;
use crate::support::shell::apply;
use crate::support::wait::within;
use crate::support::{Fixture, Operator, Recorder, Request, audit, eventually};

/// As in client-go's EventCorrelator: a burst for each object, and one more every five minutes.
const BURST: usize = 25;

fn count(requests: &[Request], verb: &str, resource: &str) -> usize {
    requests.iter().filter(|request| request.is(verb, resource)).count()
}

#[tokio::test]
async fn a_spec_that_is_wrong_in_other_ways_again_and_again_has_as_many_events_as_client_go_allows() {
    let fixture = Fixture::new("toggled").await;
    let operator = Operator::start("toggled", &[]).await;
    fixture.create("other", 0).await;
    fixture.until("other", Phase::Ready).await;
    fixture.create("demo", 0).await;
    fixture.until("demo", Phase::Ready).await;
    let mark = audit::mark();
    for number in 0..60 {
        // Wait until each is reported; otherwise it would be no burst.
        let wrong = ["T4", "P100"][number % 2];
        fixture.change("demo", json!({"gpuType": wrong})).await;
        fixture.until_said("demo", Phase::Failed, "InvalidGpuType", &format!("invalid GPU type: {wrong} ")).await;
    }
    operator.settled().await;
    let events = count(&audit::since(mark), "create", "events");
    let lines = operator.lines_with("invalid GPU type");
    println!("{events} Events of 60 changes, {lines} lines");
    assert!(events <= BURST + 1 && lines <= BURST + 1, "{events} Events, {lines} lines");
    assert!(events >= 2, "what is said is said: {events} Events");
    // The limit is per object: other objects have their own.
    let mark = audit::mark();
    fixture.change("other", json!({"gpuType": "T4"})).await;
    fixture.until("other", Phase::Failed).await;
    operator.settled().await;
    assert_eq!(count(&audit::since(mark), "create", "events"), 1);
    fixture.change("demo", json!({"gpuType": "L40S"})).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}

/// Deployments of a stranger that count against a quota.
async fn strangers(fixture: &Fixture, many: usize) {
    let labels = json!({"app": "stranger"});
    for number in 0..many {
        let stranger: Deployment = serde_json::from_value(json!({
            "metadata": {"name": format!("stranger-{number}")},
            "spec": {"paused": true, "replicas": 0, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "example.com/theirs"}]}}}
        }))
        .expect("a Deployment");
        fixture.deployments.create(&PostParams::default(), &stranger).await.expect("created");
    }
}

#[tokio::test]
async fn a_refusal_of_which_only_the_numbers_change_is_written_once_a_minute_at_most() {
    let fixture = Fixture::new("numbers").await;
    let quota = |hard: usize| {
        apply(&[json!({"apiVersion": "v1", "kind": "ResourceQuota",
                       "metadata": {"name": "few", "namespace": fixture.namespace},
                       "spec": {"hard": {"count/deployments.apps": hard.to_string()}}})]);
    };
    strangers(&fixture, 9).await;
    quota(9);
    let quotas =
        Api::<k8s_openapi::api::core::v1::ResourceQuota>::namespaced(fixture.client.clone(), &fixture.namespace);
    eventually("the quota counts", || async {
        let used = quotas.get("few").await.expect("there").status.and_then(|status| status.used).unwrap_or_default();
        if used.values().any(|used| used.0 == "9") { Ok(()) } else { Err(format!("{used:?}")) }
    })
    .await;
    let _operator = Operator::start("numbers", &[]).await;
    fixture.create("demo", 0).await;
    let mark = audit::mark();
    fixture.until_said("demo", Phase::Pending, "ApiServerRefused", "exceeded quota: few").await;
    let began = Instant::now();
    for number in 0.. {
        quota(1 + number % 9);
        tokio::time::sleep(Duration::from_millis(300)).await;
        if began.elapsed() > Duration::from_secs(15) {
            break;
        }
    }
    let requests = audit::since(mark);
    let tries = count(&requests, "patch", "deployments");
    let told = count(&audit::about("demo", mark), "patch", "inferenceservices/status");
    println!("{tries} tries, {told} statuses, {} Events", count(&requests, "create", "events"));
    assert!(tries >= 3, "it is tried again, and each answer has other numbers: {requests:?}");
    assert!(told <= 1, "the first is from before: {requests:?}");
    assert!(count(&requests, "create", "events") <= 1, "{requests:?}");
    quotas.delete("few", &DeleteParams::default()).await.expect("deleted");
    fixture.until("demo", Phase::Ready).await;
    // The fixture waits until no Deployment is left.
    fixture.deployments.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("deleted");
    fixture.clean_up().await;
}

/// A foreign change of a field that is not ours: the patch and its target.
struct Foreign {
    name: &'static str,
    resource: &'static str,
    patch: fn(usize) -> Value,
}

const FOREIGN: &[Foreign] = &[
    Foreign {
        name: "deployment-annotation",
        resource: "deployments",
        patch: |number| json!({"metadata": {"annotations": {"example.com/seen": number.to_string()}}}),
    },
    Foreign {
        name: "deployment-label",
        resource: "deployments",
        patch: |number| json!({"metadata": {"labels": {"example.com/seen": number.to_string()}}}),
    },
    Foreign {
        name: "deployment-field",
        resource: "deployments",
        patch: |number| {
            let policy = ["Always", "IfNotPresent"][number % 2];
            json!({"spec": {"template": {"spec": {"containers": [{"name": "server", "imagePullPolicy": policy}]}}}})
        },
    },
    Foreign {
        name: "service-annotation",
        resource: "services",
        patch: |number| json!({"metadata": {"annotations": {"example.com/seen": number.to_string()}}}),
    },
    Foreign {
        name: "service-label",
        resource: "services",
        patch: |number| json!({"metadata": {"labels": {"example.com/seen": number.to_string()}}}),
    },
    Foreign {
        name: "service-field",
        resource: "services",
        patch: |number| json!({"spec": {"sessionAffinity": (["ClientIP", "None"][number % 2])}}),
    },
];

#[tokio::test]
async fn what_others_add_to_the_children_costs_a_read_at_most_and_is_no_contest() {
    const TIMES: usize = 20;
    let fixture = Fixture::new("annotated").await;
    let operator = Operator::start("annotated", &[]).await;
    for foreign in FOREIGN {
        // Without pods, which a changed template replaces: the resulting status changes are not tested here.
        fixture.create(foreign.name, 0).await;
    }
    fixture.until_all(FOREIGN.len(), Phase::Ready).await;
    audit::is_quiet().await;
    let mark = audit::mark();
    let parameters = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
    for number in 0..TIMES {
        for foreign in FOREIGN {
            let patch = Patch::Strategic((foreign.patch)(number));
            match foreign.resource {
                "deployments" => fixture.deployments.patch(foreign.name, &parameters, &patch).await.map(drop),
                _ => fixture.services.patch(foreign.name, &parameters, &patch).await.map(drop),
            }
            .expect("patched");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    audit::is_quiet().await;
    let mut wrong = Vec::new();
    for foreign in FOREIGN {
        let requests = audit::about(foreign.name, mark);
        let (reads, writes) =
            (count(&requests, "get", foreign.resource), requests.iter().filter(|it| it.is_write()).count());
        println!("{}: {} requests, {reads} reads, {writes} writes", foreign.name, requests.len());
        if writes > 0 || requests.len() > TIMES {
            wrong.push(format!("{}: {requests:?}", foreign.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(operator.lines_with("keeps changing"), 0, "{}", operator.log());
    assert_eq!(operator.lines_with(" WARN "), 0, "{}", operator.log());
    operator.kill();
    let mark = audit::mark();
    let operator = Operator::start("annotated", &[]).await;
    operator.settled().await;
    audit::is_quiet().await;
    let requests = audit::since(mark);
    assert!(requests.iter().all(|request| !request.is_write()), "a restart: {requests:?}");
    // A changed field of ours beside it is still repaired.
    let patch = Patch::Strategic(json!({"spec": {"replicas": 7}}));
    fixture.deployments.patch("deployment-field", &parameters, &patch).await.expect("patched");
    fixture
        .until_deployment("deployment-field", "0 replicas", |deployment| {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            if replicas == Some(0) { Ok(()) } else { Err(format!("{replicas:?}")) }
        })
        .await;
    fixture.clean_up().await;
}

/// Interferes under this field manager's name, until the test is satisfied.
async fn interfere(fixture: &Fixture, who: &str) {
    let parameters = PatchParams { field_manager: Some(who.into()), ..PatchParams::default() };
    match who {
        // Like the HPA controller, through the scale subresource.
        "kube-controller-manager" => {
            let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
            fixture.deployments.patch_scale("scaled", &parameters, &patch).await.map(drop)
        }
        "kubectl-edit" => {
            let patch = Patch::Strategic(json!({"spec": {"template": {"spec": {"containers": [
                {"name": "server", "image": "example.com/edited"}]}}}}));
            fixture.deployments.patch("edited", &parameters, &patch).await.map(drop)
        }
        _ => {
            let patch = Patch::Merge(json!({"spec": {"selector": {"app": "another"}}}));
            fixture.services.patch("selected", &parameters, &patch).await.map(drop)
        }
    }
    .expect("patched");
}

#[tokio::test]
async fn whoever_keeps_changing_a_child_is_named_in_the_condition() {
    const WHO: [(&str, &str); 3] =
        [("scaled", "kube-controller-manager"), ("edited", "kubectl-edit"), ("selected", "mesh-controller")];
    let fixture = Fixture::new("contested").await;
    let _operator = Operator::start("contested", &[]).await;
    for (name, _) in WHO {
        fixture.create(name, 0).await;
    }
    fixture.until_all(WHO.len(), Phase::Ready).await;
    let mut recorders = Vec::new();
    for (name, _) in WHO {
        recorders.push(Recorder::of(&fixture, name).await);
    }
    let mark = audit::mark();
    let began = Instant::now();
    let mut told: [Option<String>; 3] = [const { None }; 3];
    while told.iter().any(Option::is_none) {
        assert!(began.elapsed() < Duration::from_secs(60), "only these were told: {told:?}");
        for ((name, who), told) in WHO.iter().zip(&mut told) {
            interfere(&fixture, who).await;
            let object = fixture.inference_services.get(name).await.expect("there");
            let (_, reason, message) = ready(&object);
            if reason == "Contested" && told.is_none() {
                assert_eq!(object.status.expect("a status").phase, Phase::Degraded, "{name}");
                println!("{name}: {:.0} s: {message}", began.elapsed().as_secs_f32());
                *told = Some(message);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for ((name, who), told) in WHO.iter().zip(&told) {
        assert!(told.as_ref().is_some_and(|told| told.contains(who)), "{name}: {told:?}");
        let writes = audit::about(name, mark).iter().filter(|request| request.is_write()).count();
        // At most one write for each foreign one, and a status write for each of these.
        assert!(
            writes <= 2 * usize::try_from(began.elapsed().as_secs()).expect("small") + 10,
            "{name}: {writes} writes"
        );
    }
    let of_an_autoscaler = told[0].as_ref().is_some_and(|told| told.contains("HorizontalPodAutoscaler"));
    assert!(of_an_autoscaler, "{told:?}");
    // The status does not become Ready in between, when the change is reverted for a moment.
    for ((name, _), recorder) in WHO.iter().zip(&recorders) {
        let seen = recorder.until_now().await;
        let first = seen.iter().position(|seen| seen.phase() == "Degraded").expect("it was told");
        recorder::all(&seen[first..], &format!("{name} stays contested while it is"), |seen| {
            seen.phase() == "Degraded"
        });
    }

    // Once they stop, children and status match the specs again. No status stays wrong for longer than a minute.
    let began = Instant::now();
    within(Duration::from_secs(75), "nothing is contested any more", || async {
        let objects = fixture.inference_services.list(&ListParams::default()).await.expect("a list").items;
        let contested: Vec<_> = objects.iter().map(ready).filter(|(_, reason, _)| reason == "Contested").collect();
        if contested.is_empty() { Ok(()) } else { Err(format!("{contested:?}")) }
    })
    .await;
    fixture.until_all(WHO.len(), Phase::Ready).await;
    println!("Ready {:.0} s after they stopped", began.elapsed().as_secs_f32());
    for recorder in &recorders {
        let warnings = recorder.warnings().await;
        assert!(warnings.len() <= 2, "{warnings:?}");
    }
    let deployment = fixture.deployments.get("scaled").await.expect("there");
    assert_eq!(deployment.spec.and_then(|spec| spec.replicas), Some(0));
    let service = fixture.services.get("selected").await.expect("there");
    let selector = service.spec.and_then(|spec| spec.selector).unwrap_or_default();
    assert_eq!(selector.get("ai.example.com/inferenceservice").map(String::as_str), Some("selected"), "{selector:?}");
    fixture.clean_up().await;
}
