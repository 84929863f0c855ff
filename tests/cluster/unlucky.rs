//! Clusters that reject, change or remove what the operator writes, and a second operator started by mistake.

use inference_operator::api::Phase;
use serde_json::{Value, json};

use crate::support::fixture::spec;
use crate::support::obstacle::{json_patch, policy, until_in_force};
use crate::support::shell::apply;
use crate::support::stability_check::GROWTH_OF_MANY;
use crate::support::{Fixture, Operator, Request, StabilityCheck, audit, eventually, kubectl};

/// See hostile.rs.
const NEIGHBOUR: usize = 12;

fn count(requests: &[Request], name: &str, verb: &str, resource: &str) -> usize {
    requests.iter().filter(|request| request.name == name && request.is(verb, resource)).count()
}

#[tokio::test]
async fn a_namespace_that_goes_away_is_let_go() {
    const COUNT: usize = 15;
    let fixture = Fixture::new("going").await;
    let going = format!("{}-away", fixture.namespace);
    apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": going}})]);
    let object = |number: usize| {
        json!({"apiVersion": "ai.example.com/v1", "kind": "InferenceService",
               "metadata": {"name": format!("demo-{number}"), "namespace": going}, "spec": spec("m", 0, "L40S")})
    };
    let check = StabilityCheck::of(Operator::start("going", &[]).await).await.may_grow_by(GROWTH_OF_MANY);
    apply(&(0..COUNT).map(object).collect::<Vec<_>>());
    kubectl(&["-n", &going, "wait", "isvc", "--all", "--for=condition=Ready", "--timeout=60s"]);

    let mark = audit::mark();
    kubectl(&["delete", "namespace", &going, "--wait=false"]);
    eventually("all that is ours is gone", || async {
        let left = kubectl(&["-n", &going, "get", "isvc,deployments,services", "-o", "name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    audit::is_quiet().await;
    let requests = audit::since(mark);
    let made = requests.iter().filter(|request| request.verb != "get" && request.code == 201);
    assert_eq!(made.count(), 0, "nothing is made anew: {requests:?}");
    println!("{} requests for {COUNT} in a namespace that goes", requests.len());
    let told = requests.iter().filter(|request| request.is("create", "events") || request.resource.ends_with("status"));
    assert_eq!(told.count(), 0, "there is nobody to tell: {requests:?}");
    // Children may be deleted before their InferenceService: a read, the spec, an attempt, and all of that again a
    // little later.
    assert!(requests.len() <= COUNT * 15, "{requests:?}");
    let operator = check.ends_well(&fixture, NEIGHBOUR * (COUNT + 1) + COUNT * 15).await;
    fixture.clean_up().await;
    eventually("nothing is remembered of it", || async {
        let left = operator.metric("inference_operator_inferenceservices").await;
        if left == 0.0 { Ok(()) } else { Err(format!("{left} InferenceServices")) }
    })
    .await;
}

fn quota(fixture: &Fixture, hard: &Value) {
    apply(&[json!({"apiVersion": "v1", "kind": "ResourceQuota",
                   "metadata": {"name": "few", "namespace": fixture.namespace}, "spec": {"hard": hard}})]);
}

#[tokio::test]
async fn a_quota_that_refuses_the_children_is_said_and_healed_when_it_is_lifted() {
    let fixture = Fixture::new("quota").await;
    let check = StabilityCheck::of(Operator::start("quota", &[]).await).await;
    fixture.create("before", 0).await;
    fixture.until("before", Phase::Ready).await;
    quota(&fixture, &json!({"services": "1", "count/deployments.apps": "1"}));
    eventually("the quota counts", || async {
        let used = kubectl(&["-n", &fixture.namespace, "get", "resourcequota/few", "-o", "jsonpath={.status.used}"]);
        if used.contains(r#""services":"1""#) { Ok(()) } else { Err(used) }
    })
    .await;
    fixture.create("demo", 0).await;
    fixture.until_said("demo", Phase::Pending, "ApiServerRefused", "exceeded quota: few, requested: services=1").await;
    quota(&fixture, &json!({"services": "9", "count/deployments.apps": "1"}));
    let words = "exceeded quota: few, requested: count/deployments.apps=1";
    fixture.until_said("demo", Phase::Pending, "ApiServerRefused", words).await;
    // The existing InferenceService is still reconciled meanwhile.
    fixture.change("before", json!({"maxBatchSize": 7})).await;
    fixture.until("before", Phase::Ready).await;
    kubectl(&["-n", &fixture.namespace, "delete", "resourcequota/few"]);
    fixture.until("demo", Phase::Ready).await;
    check.ends_well(&fixture, NEIGHBOUR * 3 + 50).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_limit_range_changes_pods_and_nothing_of_ours() {
    let fixture = Fixture::new("limits").await;
    let range = |limit: Value| {
        apply(&[json!({"apiVersion": "v1", "kind": "LimitRange",
                       "metadata": {"name": "range", "namespace": fixture.namespace}, "spec": {"limits": [limit]}})]);
    };
    range(json!({"type": "Container", "default": {"memory": "1Gi"}, "defaultRequest": {"cpu": "1m"}}));
    let check = StabilityCheck::of(Operator::start("limits", &[]).await).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let requests = check.requests();
    assert_eq!(count(&requests, "demo", "patch", "deployments"), 1, "{requests:?}");
    let check = StabilityCheck::of(check.ends_well(&fixture, NEIGHBOUR * 2).await).await;

    range(json!({"type": "Container", "max": {"nvidia.com/gpu": "0"}}));
    fixture.create("refused", 1).await;
    fixture
        .until_said("refused", Phase::Degraded, "FailedCreate", "maximum nvidia.com/gpu usage per Container is 0")
        .await;
    assert!(check.requests().len() <= NEIGHBOUR * 3, "{:?}", check.requests());
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_policy_that_refuses_the_deployment_is_said_in_its_own_words() {
    let fixture = Fixture::new("refusing").await;
    let words = "only images of registry.example.com, says the platform team";
    let effect = json!({"validations": [{"message": words, "expression":
        "object.spec.template.spec.containers.all(c, c.image.startsWith('registry.example.com/'))"}]});
    let refusing = policy(&fixture, "Validating", "object.metadata.name != 'good-neighbour'", &effect);
    until_in_force(&fixture, "demo", words).await;
    let check = StabilityCheck::of(Operator::start("refusing", &[]).await).await;
    fixture.create("demo", 1).await;
    fixture.until_said("demo", Phase::Pending, "ApiServerRefused", words).await;
    let told = eventually("there is an Event", || async {
        let told = kubectl(&["-n", &fixture.namespace, "events", "--for=inferenceservice/demo"]);
        if told.contains(words) { Ok(told) } else { Err(told) }
    })
    .await;
    assert_eq!(told.matches("ApiServerRefused").count(), 1, "{told}");
    drop(refusing);
    fixture.until("demo", Phase::Ready).await;
    check.ends_well(&fixture, NEIGHBOUR * 2 + 50).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_policy_that_changes_what_was_written_is_not_fought() {
    let fixture = Fixture::new("changing").await;
    let effect = json_patch(
        r#"[JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image", value: "mirror.example.com/server"},
            JSONPatch{op: "add", path: "/metadata/labels/platform", value: "yes"},
            JSONPatch{op: "add", path: "/spec/template/metadata/labels/platform", value: "yes"}]"#,
    );
    let _policy = policy(&fixture, "Mutating", "object.metadata.name == 'demo'", &effect);
    until_in_force(&fixture, "demo", "mirror.example.com/server").await;
    let check = StabilityCheck::of(Operator::start("changing", &[]).await).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    fixture.change("demo", json!({"maxBatchSize": 7})).await;
    fixture.until("demo", Phase::Ready).await;
    audit::is_quiet().await;
    let deployment = fixture.deployments.get("demo").await.expect("there");
    let pod = deployment.spec.and_then(|spec| spec.template.spec).expect("a pod");
    assert_eq!(pod.containers[0].image.as_deref(), Some("mirror.example.com/server"));
    let requests = check.requests();
    assert_eq!(count(&requests, "demo", "patch", "deployments"), 2, "one for each spec: {requests:?}");
    assert_eq!(count(&requests, "demo", "create", "services"), 1, "{requests:?}");
    assert!(count(&requests, "demo", "patch", "inferenceservices/status") <= 4, "{requests:?}");
    check.ends_well(&fixture, NEIGHBOUR * 3).await.kill();

    let mark = audit::mark();
    let operator = Operator::start("changing", &[]).await;
    operator.settled().await;
    let requests = audit::since(mark);
    assert!(requests.iter().all(|request| !request.is_write()), "{requests:?}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_policy_that_takes_away_what_the_operator_needs_is_named() {
    let fixture = Fixture::new("taking").await;
    let label = json_patch(
        r#"[JSONPatch{op: "replace", path: "/metadata/labels/app.kubernetes.io~1managed-by", value: "platform"}]"#,
    );
    let with = "has(object.metadata.labels) && 'app.kubernetes.io/managed-by' in object.metadata.labels";
    let condition = format!("object.metadata.name == 'relabelled' && {with}");
    let _label = policy(&fixture, "Mutating", &condition, &label);
    let owner = json_patch(r#"[JSONPatch{op: "remove", path: "/metadata/ownerReferences"}]"#);
    let condition = "object.metadata.name == 'disowned' && has(object.metadata.ownerReferences)";
    let owner = policy(&fixture, "Mutating", condition, &owner);
    // Policies are loaded together: once the last one is in force, the others are too.
    let probe = json_patch(r#"[JSONPatch{op: "replace", path: "/spec/replicas", value: 5}]"#);
    let _probe = policy(&fixture, "Mutating", "object.metadata.name == 'probe'", &probe);
    until_in_force(&fixture, "probe", "\"replicas\": 5").await;
    let check = StabilityCheck::of(Operator::start("taking", &[]).await).await;
    fixture.create("relabelled", 1).await;
    fixture.create("disowned", 0).await;
    let words = "label app.kubernetes.io/managed-by";
    fixture.until_said("relabelled", Phase::Failed, "LabelTakenAway", words).await;
    fixture.until_said("disowned", Phase::Failed, "NameTaken", "disowned exists and has no controller").await;
    let requests = check.requests();
    // It has our labels and no controller, so each reconcile tries to adopt it, in vain and with growing backoff.
    let tries = count(&requests, "disowned", "patch", "deployments");
    assert!((1..=8).contains(&tries), "{requests:?}");
    drop(owner);
    // Once a later policy is in force, a deleted one is no longer.
    let probe = json_patch(r#"[JSONPatch{op: "replace", path: "/spec/replicas", value: 66}]"#);
    let _probe = policy(&fixture, "Mutating", "object.metadata.name == 'later'", &probe);
    until_in_force(&fixture, "later", "\"replicas\": 66").await;
    kubectl(&["-n", &fixture.namespace, "delete", "deployment/disowned"]);
    fixture.until("disowned", Phase::Ready).await;
    check.ends_well(&fixture, NEIGHBOUR * 3 + 60).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn two_operators_by_mistake_do_the_same_and_come_to_rest() {
    const COUNT: usize = 10;
    let fixture = Fixture::new("two").await;
    let twin = Operator::start("two-b", &[]).await;
    let check = StabilityCheck::of(Operator::start("two-a", &[]).await).await.may_grow_by(GROWTH_OF_MANY);
    for number in 0..COUNT {
        fixture.create(&format!("demo-{number}"), 1).await;
    }
    fixture.until_all(COUNT, Phase::Ready).await;
    check.operator.settled().await;
    twin.settled().await;
    audit::is_quiet().await;
    let requests = check.requests();
    let writes = requests.iter().filter(|request| request.is_write()).count();
    println!("{} requests, {writes} of them writes, for {COUNT} by two operators", requests.len());
    // Twice the budget of one operator, and twice again for their reactions to each other.
    assert!(writes <= COUNT * 4 * 4, "{requests:?}");
    check.ends_well(&fixture, NEIGHBOUR * (COUNT + 1) * 3).await;
    drop(twin);
    fixture.clean_up().await;
}
