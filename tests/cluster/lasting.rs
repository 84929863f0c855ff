//! Every lasting obstacle is reported in the API server's own words, whatever its HTTP code, and recovery follows
//! soon after it ends.

use std::time::{Duration, Instant};

use inference_operator::api::Phase;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use simulation::oracle::kstatus::Verdict;

use crate::support::fixture::{ready, spec};
use crate::support::obstacle::{Objects, Stopped, this_namespace, until_in_force};
use crate::support::recorder::{self};
use crate::support::shell::{apply, variable};
use crate::support::{Fixture, Operator, Recorder, audit, eventually, kubectl};

/// The time until the third attempt, and some more on a busy machine. The promise is a minute, even if hundreds fail
/// together.
const TOLD: Duration = Duration::from_secs(20);

/// From the end of the obstacle to Ready: a retry within about ten seconds, and the pods.
const HEALED: Duration = Duration::from_secs(20);

/// A webhook whose Service does not exist, for the objects that match the condition (CEL).
fn webhook(fixture: &Fixture, name: &str, group: &str, resource: &str, condition: &str) -> Value {
    json!({
        "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
        "clientConfig": {"service": {"namespace": fixture.namespace, "name": "webhook-that-is-down"}},
        "namespaceSelector": this_namespace(fixture),
        "matchConditions": [{"name": "these", "expression": condition}],
        "rules": [{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resource]}]
    })
}

#[tokio::test]
async fn a_webhook_that_is_down_is_told_and_healed_within_seconds() {
    let fixture = Fixture::new("webhook").await;
    let _operator = Operator::start("webhook", &[]).await;
    for name in ["changed", "lost"] {
        fixture.create(name, 1).await;
        fixture.until(name, Phase::Ready).await;
    }
    let down = Objects::new(&[json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": fixture.namespace},
        "webhooks": [webhook(&fixture, "deployments.example.com", "apps", "deployments", "object.metadata.name != 'half'"),
                     webhook(&fixture, "services.example.com", "", "services", "object.metadata.name == 'half'")]
    })]);
    until_in_force(&fixture, "probe", "failed calling webhook").await;
    let changed = Recorder::of(&fixture, "changed").await;
    let mark = audit::mark();
    let began = Instant::now();
    for name in ["new", "half"] {
        fixture.create(name, 1).await;
    }
    fixture.change("changed", json!({"model": "second/model"})).await;
    kubectl(&["-n", &fixture.namespace, "delete", "deployment/lost"]);
    for (name, phase, webhook) in [
        ("new", Phase::Pending, "deployments.example.com"),
        // Here only the other child, the Service, is missing.
        ("half", Phase::Pending, "services.example.com"),
        ("lost", Phase::Pending, "deployments.example.com"),
        // The running replicas keep running.
        ("changed", Phase::Degraded, "deployments.example.com"),
    ] {
        let words = format!("failed calling webhook \"{webhook}\"");
        fixture.until_said(name, phase, "ApiServerRefused", &words).await;
        println!("{name}: told after {:.1} s", began.elapsed().as_secs_f32());
    }
    assert!(began.elapsed() < TOLD, "told after {:?}", began.elapsed());
    // The message stays the same on each retry: it is logged once.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for name in ["new", "half", "lost"] {
        let requests = audit::about(name, mark);
        let told = requests.iter().filter(|request| request.is("patch", "inferenceservices/status")).count();
        assert!(told <= 2, "{name}: {requests:?}");
    }
    recorder::all(&changed.until_now().await, "Current is only said of the spec before", |seen| {
        seen.kstatus() != Verdict::Current || seen.is_of_this_spec() && seen.phase() == "Ready"
    });
    drop(down);
    let began = Instant::now();
    fixture.until_all(4, Phase::Ready).await;
    println!("Ready {:.1} s after the webhook was gone", began.elapsed().as_secs_f32());
    assert!(began.elapsed() < HEALED, "healed after {:?}", began.elapsed());
    fixture.clean_up().await;
}

/// Waits until the operator has, or no longer has, this permission.
async fn until_it_can(verb: &str, resource: &str, can: bool) {
    eventually(&format!("whether it can {verb} {resource}: {can}"), || async {
        let who = "--as=system:serviceaccount:inference-operator:inference-operator";
        let output = std::process::Command::new(variable("KUBECTL"))
            .args(["auth", "can-i", verb, resource, who])
            .output()
            .expect("kubectl runs");
        if output.status.success() == can { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
}

#[tokio::test]
async fn a_read_that_is_forbidden_is_told_and_healed_within_seconds() {
    let fixture = Fixture::new("unread").await;
    let _operator = Operator::start("unread", &[]).await;
    fixture.create("lost", 1).await;
    fixture.until("lost", Phase::Ready).await;
    let rule = r#"[{"op":"test","path":"/rules/2/resources","value":["deployments"]},
                   {"op":"replace","path":"/rules/2/verbs","value":["list","watch","create","patch"]}]"#;
    kubectl(&["patch", "clusterrole/inference-operator", "--type=json", "-p", rule]);
    until_it_can("get", "deployments", false).await;
    let began = Instant::now();
    fixture.create("new", 1).await;
    kubectl(&["-n", &fixture.namespace, "delete", "deployment/lost"]);
    // The Deployment cannot be read, so only the previous number of replicas is known.
    for (name, phase) in [("new", Phase::Pending), ("lost", Phase::Degraded)] {
        let words = "cannot get resource \"deployments\"";
        let object = fixture.until_said(name, phase, "ApiServerRefused", words).await;
        println!("{name}: told after {:.1} s: {}", began.elapsed().as_secs_f32(), ready(&object).2);
    }
    assert!(began.elapsed() < TOLD, "told after {:?}", began.elapsed());
    let rbac = concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/rbac.yaml");
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", rbac]);
    until_it_can("get", "deployments", true).await;
    let began = Instant::now();
    fixture.until_all(2, Phase::Ready).await;
    println!("Ready {:.1} s after the permission was there", began.elapsed().as_secs_f32());
    assert!(began.elapsed() < HEALED, "healed after {:?}", began.elapsed());
    fixture.clean_up().await;
}

/// The status depends on this: the API server's code does not tell who can correct the problem.
#[tokio::test]
async fn a_field_that_does_not_exist_is_500_to_an_apply_and_400_to_a_strict_dry_run() {
    let fixture = Fixture::new("typing").await;
    let api = Api::<DynamicObject>::namespaced_with(
        fixture.client.clone(),
        &fixture.namespace,
        &kube::api::ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&()),
    );
    let labels = json!({"app": "demo"});
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "demo", "namespace": fixture.namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
            "containers": [{"name": "server", "image": "example.com/server"}], "conatiners": []}}}
    });
    let status = |error| match error {
        kube::Error::Api(status) => status,
        other => panic!("{other:?}"),
    };
    let applied = api.patch("demo", &PatchParams::apply("somebody").force(), &Patch::Apply(&object)).await;
    let refused = status(applied.expect_err("refused"));
    assert_eq!((refused.code, refused.reason.as_str()), (500, ""), "{refused:?}");
    assert!(refused.message.ends_with(".spec.template.spec.conatiners: field not declared in schema"), "{refused:?}");

    let path = format!("/apis/apps/v1/namespaces/{}/deployments?dryRun=All&fieldValidation=Strict", fixture.namespace);
    let request =
        http::Request::post(path).header("Content-Type", "application/json").body(object.to_string().into_bytes());
    let refused = status(fixture.client.request::<Value>(request.expect("a request")).await.expect_err("refused"));
    assert_eq!((refused.code, refused.reason.as_str()), (400, "BadRequest"), "{refused:?}");
    assert!(refused.message.contains(r#"unknown field "spec.template.spec.conatiners""#), "{refused:?}");
    fixture.clean_up().await;
}

/// The controller-manager empties a namespace in a second; that takes long if it is busy or if a finalizer blocks it.
/// Here it is stopped.
#[tokio::test]
async fn a_namespace_that_goes_away_while_it_is_filled_costs_one_line_and_few_requests() {
    const COUNT: usize = 60;
    /// The requests in flight: eight concurrent reconciles, each possibly at its read or first write, and the request
    /// that gets the rejection.
    const MOST: usize = 8 * 4;
    let fixture = Fixture::new("going").await;
    let going = format!("{}-away", fixture.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": going}});
    let object = |number: usize| {
        json!({"apiVersion": "ai.example.com/v1", "kind": "InferenceService",
               "metadata": {"name": format!("demo-{number}"), "namespace": going}, "spec": spec("m", 0, "L40S")})
    };
    let of_it = |mark| {
        let requests = audit::since(mark).into_iter();
        requests.filter(|request| request.namespace == going && request.verb != "watch").collect::<Vec<_>>()
    };
    apply(std::slice::from_ref(&namespace));
    apply(&(0..COUNT).map(object).collect::<Vec<_>>());
    let away = Stopped::part("controller-manager");
    kubectl(&["delete", "namespace", &going, "--wait=false"]);
    let mark = audit::mark();
    let operator = Operator::start("going", &[]).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    let requests = of_it(mark);
    println!("{} requests for {COUNT} in a namespace that goes", requests.len());
    assert_eq!(operator.lines_with(&going), 1, "{}", operator.log());
    assert!(requests.len() <= MOST, "{} requests: {requests:?}", requests.len());
    drop(away);
    kubectl(&["wait", "--for=delete", &format!("namespace/{going}"), "--timeout=60s"]);

    // The name can be used by another namespace, which is reconciled as usual.
    apply(&[namespace, object(0)]);
    kubectl(&["-n", &going, "wait", "isvc/demo-0", "--for=condition=Ready", "--timeout=30s"]);
    kubectl(&["delete", "namespace", &going, "--wait=false"]);
    fixture.create("neighbour", 0).await;
    fixture.until("neighbour", Phase::Ready).await;
    fixture.clean_up().await;
}
