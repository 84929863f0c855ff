//! Objects made to do harm: by number, by size, by their claims, by their text.

use futures::{StreamExt, stream};
use inference_operator::api::{InferenceService, Phase};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::fixture::{ready, spec};
use crate::support::shell::apply;
use crate::support::stability_check::GROWTH_OF_MANY;
use crate::support::{Fixture, Operator, StabilityCheck, audit, eventually, kubectl};

/// Services, half of them with the operator's labels. One in five has a Deployment, which costs the control plane
/// more.
const STRANGERS: usize = 2000;

/// Bytes; 72 kB were measured. Remembering 200 objects of each kind that the operator's watches report would take
/// more.
const GROWTH_BY_STRANGERS: u64 = 200 << 10;

/// The requests for the whole life of a good neighbor, and a few more reads on a slow machine.
const NEIGHBOUR: usize = 12;

fn labels(number: usize) -> Value {
    if number.is_multiple_of(2) {
        json!({"app.kubernetes.io/managed-by": "inference-operator",
               "ai.example.com/inferenceservice": format!("stranger-{number}")})
    } else {
        json!({"app": "stranger"})
    }
}

/// Paused and without an address, so that they are load for the operator and not for the control plane.
fn stranger_deployment(number: usize) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": format!("stranger-{number}"), "labels": labels(number)},
        "spec": {
            "paused": true, "replicas": 0, "selector": {"matchLabels": {"app": "stranger"}},
            "template": {"metadata": {"labels": {"app": "stranger"}},
                         "spec": {"containers": [{"name": "server", "image": "example.com/theirs"}]}}
        }
    }))
    .expect("a Deployment")
}

fn stranger_service(number: usize) -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": format!("stranger-{number}"), "labels": labels(number)},
        "spec": {"type": "ExternalName", "externalName": "example.com"}
    }))
    .expect("a Service")
}

#[tokio::test]
async fn strangers_by_the_thousand_cost_nothing_whatever_labels_they_carry() {
    let fixture = Fixture::new("strangers").await;
    let check = StabilityCheck::of(Operator::start("strangers", &[]).await).await.may_grow_by(GROWTH_BY_STRANGERS);
    let create = |number: usize| {
        let (deployments, services) = (fixture.deployments.clone(), fixture.services.clone());
        async move {
            let parameters = PostParams::default();
            if number % 10 < 2 {
                deployments.create(&parameters, &stranger_deployment(number)).await.expect("created");
            }
            services.create(&parameters, &stranger_service(number)).await.expect("created");
        }
    };
    stream::iter(0..STRANGERS).map(create).buffer_unordered(8).collect::<()>().await;
    let operator = check.ends_well(&fixture, NEIGHBOUR).await;
    let bytes = operator.resident_bytes().await;
    operator.kill();

    // They are listed too.
    let operator = Operator::start("strangers", &[]).await;
    let listed = operator.resident_bytes().await;
    println!("{} kB after the list, {} before", listed >> 10, bytes >> 10);
    assert!(listed < bytes + GROWTH_BY_STRANGERS, "{listed} bytes after the list, {bytes} before");
    let all = (DeleteParams::default(), ListParams::default());
    fixture.deployments.delete_collection(&all.0, &all.1).await.expect("deleted");
    fixture.services.delete_collection(&all.0, &all.1).await.expect("deleted");
    fixture.clean_up().await;
}

/// A Deployment that claims to be owned by the InferenceService. `app`: the label of its selector.
fn claimant(name: &str, owner: &InferenceService, controller: bool, app: &str) -> Deployment {
    let name_of_owner = owner.metadata.name.as_deref().expect("a name");
    let uid = owner.metadata.uid.as_deref().expect("a uid");
    let selector = json!({app: name});
    serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "inference-operator"},
            "ownerReferences": [{"apiVersion": "ai.example.com/v1", "kind": "InferenceService", "name": name_of_owner,
                                 "uid": uid, "controller": controller}]
        },
        "spec": {
            "replicas": 0, "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector},
                         "spec": {"containers": [{"name": "server", "image": "example.com/theirs"}]}}
        }
    }))
    .expect("a Deployment")
}

#[tokio::test]
async fn an_object_that_claims_to_be_ours_changes_nothing_but_what_it_claims() {
    let fixture = Fixture::new("claims").await;
    let mut owners = Vec::new();
    for name in ["owned", "named", "adopted", "other-selector"] {
        owners.push(fixture.create(name, 0).await);
    }
    let ours = "ai.example.com/inferenceservice";
    for theirs in [
        // An owner, but no controller.
        claimant("owned", &owners[0], false, ours),
        // Controlled by an InferenceService of another name.
        claimant("named", &owners[0], true, ours),
        // Given away by its creator: from now on it follows the spec.
        claimant("adopted", &owners[2], true, ours),
        // Given away, but cannot be changed to match the spec.
        claimant("other-selector", &owners[3], true, "app"),
        // A child whose name no InferenceService has.
        claimant("nobody", &owners[0], true, ours),
    ] {
        fixture.deployments.create(&PostParams::default(), &theirs).await.expect("created");
    }
    let theirs = ["owned", "named", "other-selector", "nobody"];
    let mut before = Vec::new();
    for name in theirs {
        before.push(fixture.deployments.get(name).await.expect("there").spec);
    }
    let check = StabilityCheck::of(Operator::start("claims", &[]).await).await;

    for (name, phase, reason, words) in [
        ("owned", Phase::Failed, "NameTaken", "owned exists and has no controller; delete it"),
        ("named", Phase::Failed, "NameTaken", "named exists and is controlled by InferenceService owned;"),
        ("other-selector", Phase::Pending, "ApiServerRefused", "field is immutable"),
    ] {
        let object = fixture.until(name, phase).await;
        let (_, said, message) = ready(&object);
        assert!(said == reason && message.contains(words), "{name}: {said}: {message}");
    }
    fixture.until("adopted", Phase::Ready).await;
    let adopted = fixture.deployments.get("adopted").await.expect("there");
    let pod = adopted.spec.and_then(|spec| spec.template.spec).expect("a pod");
    assert_ne!(pod.containers[0].image.as_deref(), Some("example.com/theirs"));
    for (name, before) in theirs.iter().zip(before) {
        assert_eq!(fixture.deployments.get(name).await.expect("there").spec, before, "{name}");
    }

    for name in ["owned", "named", "other-selector"] {
        fixture.deployments.delete(name, &DeleteParams::default()).await.expect("deleted");
    }
    for name in ["owned", "named", "other-selector"] {
        fixture.until(name, Phase::Ready).await;
    }
    // For each a read and a rejection, retried after a second or two, and so on.
    check.ends_well(&fixture, NEIGHBOUR + 4 * 30).await;
    fixture.clean_up().await;
}

/// Text with a special meaning for shells, templates, terminals, logs, YAML or Kubernetes itself.
const MODELS: &[&str] = &[
    "$(HOME)/$$(HOME)/$$$(HOME)/$/$$",
    "$(POD_NAME) ${HOME} `id` $(id) ; reboot # & | > /dev/null",
    "' \" \\ \\\\ \\n %s %n %00",
    "{model} {port} {maxBatchSize} {{.Values.x}} {% x %} <%= x %> @{x}",
    "a --trust-remote-code --port=1",
    "a\nb\r\n\tlevel=info msg=forged",
    "a\n---\n- &a *a !!binary | ? : yes no ~ 0x1f 1e3 null",
    "\u{1b}[31m\u{7}\u{8}\u{7f}\u{85}\u{2028}\u{2029}\u{feff}\u{fffd}\u{ffff}",
    "\u{202e}gnp.exe\u{202c} Zo\u{eb} e\u{301} \u{1f469}\u{200d}\u{1f4bb} \u{1d54f} \u{200b}x",
    "../../etc/passwd file:///etc/passwd http://169.254.169.254/",
];

#[tokio::test]
async fn a_model_of_any_text_reaches_its_pod_literally() {
    let fixture = Fixture::new("texts").await;
    let check = StabilityCheck::of(Operator::start("texts", &[]).await).await.may_grow_by(GROWTH_OF_MANY);
    let longest = "\u{1d54f}".repeat(1024);
    let models: Vec<&str> = MODELS.iter().copied().chain([longest.as_str()]).collect();
    for (number, model) in models.iter().enumerate() {
        fixture.create_from(&format!("demo-{number}"), spec(model, 1, "L40S")).await;
    }
    fixture.until_all(models.len(), Phase::Ready).await;
    let pods = Api::<Pod>::namespaced(fixture.client.clone(), &fixture.namespace);
    for (number, model) in models.iter().enumerate() {
        let selector = format!("ai.example.com/inferenceservice=demo-{number}");
        let found = pods.list(&ListParams::default().labels(&selector)).await.expect("a list");
        let container = &found.items[0].spec.as_ref().expect("a spec").containers[0];
        let arguments = container.args.clone().expect("arguments");
        // The kubelet turns $$ into $, and so finds no $(VARIABLE); tests/properties.rs tests this for any text.
        assert_eq!((&*arguments[0], arguments.len()), (&*model.replace('$', "$$"), 8), "{model:?}");
        assert!(container.env.is_none() && container.env_from.is_none());
        assert_eq!(container.command.as_deref().map(<[String]>::len), Some(2), "no shell");
    }
    check.ends_well(&fixture, NEIGHBOUR * (models.len() + 1)).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn the_longest_names_are_served() {
    // 63 characters, including what the fixture adds.
    let fixture = Fixture::new(&"n".repeat(63 - format!("-{}-00", std::process::id()).len())).await;
    let _operator = Operator::start("longest", &[]).await;
    let name = "m".repeat(63);
    fixture.create(&name, 1).await;
    let object = fixture.until(&name, Phase::Ready).await;
    let endpoint = object.status.and_then(|status| status.endpoint);
    assert_eq!(endpoint, Some(format!("http://{name}.{}.svc.cluster.local", fixture.namespace)));
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_gpu_type_of_any_text_is_refused_in_one_line_of_the_log() {
    let fixture = Fixture::new("lines").await;
    let check = StabilityCheck::of(Operator::start("lines", &[]).await).await;
    let types = ["T4\n2026-01-01T00:00:00.000000Z  INFO forged", "\u{1b}[2J\u{7}\r", "$(HOME)", "\u{1d54f}"];
    for (number, gpu_type) in types.iter().enumerate() {
        fixture.create_from(&format!("bad-{number}"), spec("m", 1, gpu_type)).await;
        let object = fixture.until(&format!("bad-{number}"), Phase::Failed).await;
        let words = format!("invalid GPU type: {gpu_type} (expected: A100, H100, L40S)");
        assert_eq!(ready(&object).2, words);
    }
    // Each is logged after its status was written.
    eventually("all are in the log", || async {
        let lines = check.operator.lines_with("invalid GPU type: ");
        if lines < types.len() { Err(format!("{lines} lines")) } else { Ok(()) }
    })
    .await;
    let log = check.operator.log();
    assert_eq!(check.operator.lines_with("invalid GPU type: "), types.len(), "{log}");
    let lines = log.lines().filter(|line| line.starts_with("2026-01-01") || line.contains(['\u{1b}', '\u{7}', '\r']));
    assert_eq!(lines.count(), 0, "{log}");
    // A read, a status, an Event.
    check.ends_well(&fixture, NEIGHBOUR + 4 * types.len()).await;
    fixture.clean_up().await;
}

/// Enough owners to make the operator give up reading them: see `prune::LIMIT`.
fn owners(namespace: &str) -> Value {
    let config_map = |number: usize| {
        let name = format!("{number:03}{}", "x".repeat(250));
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}})
    };
    apply(&(0..120).map(config_map).collect::<Vec<_>>());
    let listed = kubectl(&["-n", namespace, "get", "configmaps", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let reference = |object: &Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": object["metadata"]["name"],
               "uid": object["metadata"]["uid"]})
    };
    listed["items"].as_array().expect("a list").iter().map(reference).collect()
}

#[tokio::test]
async fn an_inference_service_of_a_megabyte_is_served_like_any_other_and_forgotten_when_it_is_deleted() {
    let fixture = Fixture::new("bulk").await;
    let labels: serde_json::Map<String, Value> = (0..1900)
        .map(|number| (format!("{}.example.com/{number:063}", "p".repeat(63)), json!("v".repeat(63))))
        .collect();
    // The second annotation ends a streaming list if it is in a bookmark.
    let annotations = json!({"bulk": "a".repeat(250_000), "k8s.io/initial-events-end": "true"});
    let metadata = [
        ("plain", json!({})),
        ("labels", json!({"labels": labels})),
        ("annotations", json!({"annotations": annotations})),
        ("owners", json!({"ownerReferences": owners(&fixture.namespace)})),
        ("later", json!({})),
    ];
    // 240 kB were measured; one of these objects is larger than the default limit.
    let check = StabilityCheck::of(Operator::start("bulk", &[]).await).await.may_grow_by(720 << 10);
    for (name, metadata) in &metadata {
        let mut object = serde_json::to_value(InferenceService::new(name, spec("m", 0, "L40S"))).expect("JSON");
        object["metadata"].as_object_mut().expect("an object").extend(metadata.as_object().expect("one").clone());
        let object = serde_json::from_value(object).expect("an InferenceService");
        fixture.inference_services.create(&PostParams::default(), &object).await.expect("created");
    }
    fixture.until_all(metadata.len(), Phase::Ready).await;

    // An existing InferenceService becomes as large, and a status of a megabyte is corrected.
    let patch = Patch::Merge(json!({"metadata": metadata[3].1}));
    fixture.inference_services.patch("later", &PatchParams::default(), &patch).await.expect("patched");
    let lie = json!({"status": {"endpoint": "http://evil".repeat(90_000)}});
    fixture.inference_services.patch_status("plain", &PatchParams::default(), &Patch::Merge(lie)).await.expect("told");
    eventually("the status is put right", || async {
        let object = fixture.inference_services.get("plain").await.map_err(|error| error.to_string())?;
        let endpoint = object.status.and_then(|status| status.endpoint).unwrap_or_default();
        if endpoint.len() < 100 { Ok(()) } else { Err(format!("{} bytes", endpoint.len())) }
    })
    .await;
    let operator = check.ends_well(&fixture, NEIGHBOUR * (metadata.len() + 2)).await;
    operator.kill();

    // A restart reads them all and has nothing to do.
    let mark = audit::mark();
    let operator = Operator::start("bulk", &[]).await;
    operator.settled().await;
    let requests = audit::since(mark);
    assert!(requests.iter().all(|request| !request.is_write()), "{requests:?}");
    fixture.clean_up().await;
    eventually("nothing is remembered of them", || async {
        let left = operator.metric("inference_operator_inferenceservices").await;
        if left == 0.0 { Ok(()) } else { Err(format!("{left} InferenceServices")) }
    })
    .await;
    assert_eq!(operator.lines_with("cannot be decoded"), 0, "{}", operator.log());
}
