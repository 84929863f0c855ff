//! A user who may only write InferenceServices tries to gain more: through every field, by names and labels, by a
//! forged status or owner, by finalizers; namespaces.rs tries other namespaces. SECURITY.md has the results as a
//! table.

mod fields;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use inference_operator::api::{InferenceService, InferenceServiceStatus, Phase};
use inference_operator::model::{Abnormal, ObservedVersions};
use inference_operator::reconcile::deployment;
use inference_operator::reconcile::status::{self, Assessment, Replicas, Subject};
use inference_operator::time::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, CustomResourceExt};
use serde_json::{Value, json};

use self::fields::{FIELDS, REFUSED};
use crate::support::fixture::spec;
use crate::support::shell::{apply, kubectl_fails, variable};
use crate::support::{Fixture, Operator, Temporary, audit, eventually, kubectl};

/// A user who may do everything with InferenceServices in one namespace, including their status, and nothing else.
pub fn user(namespace: &str) -> String {
    let metadata = json!({"name": "user", "namespace": namespace});
    apply(&[
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [
            {"apiGroups": ["ai.example.com"], "resources": ["*"], "verbs": ["*"]}]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "user"},
               "subjects": [{"kind": "ServiceAccount", "name": "user", "namespace": namespace}]}),
    ]);
    let user = format!("--as=system:serviceaccount:{namespace}:user");
    until_it_can(namespace, &user);
    user
}

/// A new Role takes a moment to become effective.
fn until_it_can(namespace: &str, user: &str) {
    for _ in 0..100 {
        let can = ["-n", namespace, user, "auth", "can-i", "patch", "inferenceservices.ai.example.com"];
        if Command::new(variable("KUBECTL")).args(can).output().expect("kubectl runs").status.success() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the user has no rights");
}

/// The user applies an InferenceService with this metadata and spec.
fn applies(fixture: &Fixture, user: &str, metadata: &Value, spec: &Value) {
    let object =
        json!({"apiVersion": "ai.example.com/v1", "kind": "InferenceService", "metadata": metadata, "spec": spec});
    let file = Temporary::new(&object.to_string());
    kubectl(&[user, "-n", &fixture.namespace, "apply", "--server-side", "-f", file.path()]);
}

/// The Deployment, and the Service in it, without the fields that always differ.
async fn shape(fixture: &Fixture, name: &str) -> Value {
    let service = fixture.services.get(name).await.expect("a Service");
    let service = json!({
        "metadata": {"labels": service.metadata.labels, "annotations": service.metadata.annotations},
        "spec": {
            "type": service.spec.as_ref().and_then(|spec| spec.type_.as_ref()),
            "selector": service.spec.as_ref().and_then(|spec| spec.selector.as_ref()),
            "ports": service.spec.as_ref().and_then(|spec| spec.ports.as_ref()),
            "externalIPs": service.spec.as_ref().and_then(|spec| spec.external_ips.as_ref()),
            "externalName": service.spec.as_ref().and_then(|spec| spec.external_name.as_ref())
        }
    });
    let mut object = fixture.deployments.get(name).await.expect("a Deployment");
    object.status = None;
    object.metadata.managed_fields = None;
    object.metadata.annotations = None; // the Deployment controller's
    object.metadata.uid = None;
    object.metadata.resource_version = None;
    object.metadata.generation = None;
    object.metadata.creation_timestamp = None;
    let mut object = serde_json::to_value(&object).expect("JSON");
    object["service"] = service;
    let text = object.to_string().replace(&format!("\"{name}\""), "\"NAME\"");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    value["metadata"]["ownerReferences"][0]["uid"] = json!("UID");
    value
}

/// The paths at which two values differ.
fn differences(one: &Value, two: &Value, path: &str, found: &mut Vec<String>) {
    match (one, two) {
        (Value::Object(one), Value::Object(two)) => {
            for key in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
                let (one, two) = (one.get(key).unwrap_or(&Value::Null), two.get(key).unwrap_or(&Value::Null));
                differences(one, two, &format!("{path}/{key}"), found);
            }
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            for (number, (one, two)) in one.iter().zip(two).enumerate() {
                differences(one, two, &format!("{path}/{number}"), found);
            }
        }
        _ if one == two => {}
        _ => found.push(path.to_owned()),
    }
}

#[tokio::test]
async fn no_field_of_the_spec_reaches_more_of_a_pod_than_it_is_for() {
    let crd = serde_json::to_value(InferenceService::crd()).expect("JSON");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let there: BTreeSet<&str> = schema.as_object().expect("fields").keys().map(String::as_str).collect();
    let thought_about: BTreeSet<&str> = FIELDS.iter().map(|(field, ..)| *field).collect();
    assert_eq!(there, thought_about, "what may the new field reach? say it in FIELDS");

    let fixture = Fixture::new("fields").await;
    let user = user(&fixture.namespace);
    let _operator = Operator::start("fields", &[]).await;
    let plain = json!({"model": "m", "gpuType": "L40S", "replicas": 1});
    applies(&fixture, &user, &json!({"name": "plain"}), &plain);
    fixture.until_deployment("plain", "it is there", |_| Ok(())).await;
    let expected = shape(&fixture, "plain").await;
    for (field, values, places) in FIELDS {
        for (number, value) in values.iter().enumerate() {
            let name = format!("{}-{number}", field.to_lowercase());
            let mut spec = plain.clone();
            spec[field] = serde_json::from_str(value).expect("JSON");
            applies(&fixture, &user, &json!({"name": name}), &spec);
            fixture.until_deployment(&name, "it is there", |_| Ok(())).await;
            let mut found = Vec::new();
            differences(&expected, &shape(&fixture, &name).await, "", &mut found);
            assert!(!found.is_empty(), "{field}: {value} has no effect");
            let strayed: Vec<_> =
                found.iter().filter(|path| !places.iter().any(|place| path.starts_with(place))).collect();
            assert!(strayed.is_empty(), "{field}: {value} reaches {strayed:?}");
        }
    }
    for (number, (field, value, why)) in REFUSED.iter().enumerate() {
        let name = format!("refused-{number}");
        let mut spec = plain.clone();
        spec[field] = serde_json::from_str(value).expect("JSON");
        applies(&fixture, &user, &json!({"name": name}), &spec);
        fixture.until_refused(&name, why).await;
        assert!(fixture.deployments.get_opt(&name).await.expect("an answer").is_none(), "{value}");
    }
    // A field that the schema does not know is not even stored.
    let mut spec = plain;
    spec["command"] = json!(["evil"]);
    spec["hostNetwork"] = json!(true);
    let object = json!({"apiVersion": "ai.example.com/v1", "kind": "InferenceService",
                        "metadata": {"name": "unknown", "namespace": fixture.namespace}, "spec": spec});
    let file = Temporary::new(&object.to_string());
    kubectl(&[&user, "create", "--validate=ignore", "-f", file.path()]);
    let stored = kubectl(&[&user, "-n", &fixture.namespace, "get", "isvc/unknown", "-o", "json"]);
    assert!(!stored.contains("evil") && !stored.contains("hostNetwork"), "{stored}");
    fixture.clean_up().await;
}

#[tokio::test]
async fn rights_on_inference_services_give_none_on_what_is_made_of_them() {
    let fixture = Fixture::new("alone").await;
    let user = user(&fixture.namespace);
    let namespace = fixture.namespace.as_str();
    let _operator = Operator::start("alone", &[]).await;
    applies(&fixture, &user, &json!({"name": "demo"}), &json!({"model": "m", "gpuType": "L40S"}));
    fixture.until("demo", Phase::Ready).await;
    for refused in [
        &["-n", namespace, "get", "deployment/demo"][..],
        &["-n", namespace, "scale", "deployment/demo", "--replicas=9"],
        &["-n", namespace, "delete", "service/demo"],
        &["-n", namespace, "get", "pods"],
        &["-n", namespace, "exec", "deployment/demo", "--", "id"],
        &["-n", namespace, "get", "secrets"],
        &["-n", namespace, "create", "token", "default"],
        &["-n", "default", "get", "isvc"],
        &["get", "isvc", "--all-namespaces"],
    ] {
        let told = kubectl_fails(&[&[user.as_str()], refused].concat());
        assert!(told.contains("forbidden"), "{refused:?}: {told}");
    }
    // Nor does the pod expose any: no token, no privileges, no access to the node.
    let pods = Api::<Pod>::namespaced(fixture.client.clone(), namespace);
    let pod = pods.list(&ListParams::default()).await.expect("a list").items[0].spec.clone().expect("a spec");
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!((pod.host_network, pod.host_pid, pod.host_ipc), (None, None, None));
    assert!(pod.volumes.unwrap_or_default().is_empty() && pod.init_containers.is_none());
    assert_eq!(pod.service_account_name.as_deref(), Some("default"));
    let security = pod.containers[0].security_context.clone().expect("one");
    assert_eq!((security.allow_privilege_escalation, security.privileged), (Some(false), None));
    fixture.clean_up().await;
}

#[tokio::test]
async fn labels_annotations_owners_and_finalizers_of_an_inference_service_stay_its_own() {
    let fixture = Fixture::new("metadata").await;
    let user = user(&fixture.namespace);
    let _operator = Operator::start("metadata", &[]).await;
    let spec = json!({"model": "m", "gpuType": "L40S", "replicas": 0});
    applies(&fixture, &user, &json!({"name": "victim"}), &spec);
    fixture.until("victim", Phase::Ready).await;
    let victim = fixture.deployments.get("victim").await.expect("there");
    let forged = json!({
        "name": "demo",
        "labels": {"ai.example.com/inferenceservice": "victim", "app.kubernetes.io/managed-by": "inference-operator",
                   "pod-security.kubernetes.io/enforce": "privileged", "evil": "label"},
        "annotations": {"evil": "annotation", "container.apparmor.security.beta.kubernetes.io/server": "unconfined"},
        "finalizers": ["example.com/evil"],
        // As if it were the child of a Deployment.
        "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "victim", "uid": victim.metadata.uid,
             "controller": true, "blockOwnerDeletion": true}]
    });
    applies(&fixture, &user, &forged, &spec);
    let object = fixture.until("demo", Phase::Ready).await;
    let deployment = fixture.deployments.get("demo").await.expect("there");
    let service = fixture.services.get("demo").await.expect("there");
    for metadata in [&deployment.metadata, &service.metadata] {
        let owners = metadata.owner_references.clone().unwrap_or_default();
        assert_eq!(owners.len(), 1);
        assert_eq!(Some(&owners[0].uid), object.metadata.uid.as_ref());
        assert_eq!(metadata.finalizers, None);
    }
    let mut found = Vec::new();
    differences(&shape(&fixture, "victim").await, &shape(&fixture, "demo").await, "", &mut found);
    assert!(found.is_empty(), "{found:?}");
    let annotations = serde_json::to_string(&[deployment.metadata.annotations, service.metadata.annotations]);
    assert!(!annotations.expect("JSON").contains("evil"));

    // While the finalizer holds it, it is left alone: nothing is repaired or created.
    fixture.inference_services.delete("demo", &DeleteParams::default()).await.expect("deleted");
    let mark = audit::mark();
    kubectl(&["-n", &fixture.namespace, "delete", "deployment/demo", "service/demo"]);
    applies(&fixture, &user, &json!({"name": "later"}), &spec);
    fixture.until("later", Phase::Ready).await;
    let requests = audit::since(mark);
    assert!(requests.iter().all(|request| request.name != "demo"), "{requests:?}");
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    fixture.inference_services.patch("demo", &PatchParams::default(), &release).await.expect("patched");
    fixture.clean_up().await;
}

#[tokio::test]
async fn one_inference_service_gets_no_traffic_that_is_meant_for_another() {
    let fixture = Fixture::new("traffic").await;
    let user = user(&fixture.namespace);
    let _operator = Operator::start("traffic", &[]).await;
    let names = ["a", "ab", "a-b", "b"];
    for name in names {
        let metadata = json!({"name": name, "labels": {"ai.example.com/inferenceservice": "b"}});
        let spec = json!({"model": "x,ai.example.com/inferenceservice=b\n", "gpuType": "L40S", "replicas": 2});
        applies(&fixture, &user, &metadata, &spec);
    }
    fixture.until_all(names.len(), Phase::Ready).await;
    let pods = Api::<Pod>::namespaced(fixture.client.clone(), &fixture.namespace);
    let slices = Api::<EndpointSlice>::namespaced(fixture.client.clone(), &fixture.namespace);
    let mut all = BTreeMap::new();
    for name in names {
        let prefix = format!("{name}-");
        let targets = eventually(&format!("{name} has two endpoints"), || async {
            let parameters = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
            let found = slices.list(&parameters).await.map_err(|error| error.to_string())?;
            let endpoints = found.items.into_iter().flat_map(|slice| slice.endpoints);
            let targets: BTreeSet<String> = endpoints.filter_map(|endpoint| endpoint.target_ref?.name).collect();
            if targets.len() == 2 { Ok(targets) } else { Err(format!("{targets:?}")) }
        })
        .await;
        assert!(targets.iter().all(|pod| pod.starts_with(&prefix)), "{name}: {targets:?}");
        for pod in targets {
            let labels = pods.get(&pod).await.expect("a pod").metadata.labels.unwrap_or_default();
            assert_eq!(labels.get(deployment::SELECTOR_LABEL).map(String::as_str), Some(name));
            assert_eq!(all.insert(pod, name), None, "in one Service only");
        }
    }
    fixture.clean_up().await;
}

/// A status as the operator itself would write it, with false content.
fn forged(fixture: &Fixture, object: &InferenceService, generation: u32) -> InferenceServiceStatus {
    let observed = object.status.clone().and_then(|status| status.observed).unwrap_or_default();
    let version = |text: Option<String>| text.and_then(|text| text.parse().ok());
    let number = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok()?.try_into().ok());
    let versions = ObservedVersions {
        deployment: version(observed.deployment_resource_version),
        deployment_revision: number(observed.deployment_revision),
        deployment_fields: number(observed.deployment_fields),
        service: version(observed.service_resource_version),
    };
    let subject = Subject {
        namespace: &fixture.namespace,
        name: "demo",
        endpoint: "http://evil.example.com",
        generation,
        service_port: None,
        last_load: None,
        hashes: observed.hashes.and_then(|hashes| hashes.parse().ok()),
        instance: None,
    };
    let (phase, abnormal) = (Phase::Ready, Abnormal::None);
    let assessment = Assessment::new(phase, abnormal, "ReplicasReady", "99 of 99".into());
    status::compose(assessment, Replicas { all: 99, ready: 99 }, versions, &subject, None, Timestamp(1_800_000_000)).0
}

#[tokio::test]
async fn a_forged_status_moves_no_child_and_is_put_right() {
    let fixture = Fixture::new("forged").await;
    let operator = Operator::start("forged", &[]).await;
    fixture.create("demo", 1).await;
    let object = fixture.until("demo", Phase::Ready).await;
    let right = object.status.clone().expect("a status");
    let before = shape(&fixture, "demo").await;
    let until_right = async || {
        eventually("the status is put right", || async {
            let object = fixture.inference_services.get("demo").await.map_err(|error| error.to_string())?;
            let status = object.status.unwrap_or_default();
            // Of the newest spec: after the restart the status may be put right before the change below is served.
            let same = Some(status.observed_generation) == object.metadata.generation
                && (status.ready_replicas, &status.endpoint) == (right.ready_replicas, &right.endpoint);
            if same { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    };
    let forge = async |status: &InferenceServiceStatus| {
        let patch = Patch::Merge(json!({"status": status}));
        fixture.inference_services.patch_status("demo", &PatchParams::default(), &patch).await.expect("forged");
    };

    // With a valid checksum, and without.
    forge(&forged(&fixture, &object, 1)).await;
    until_right().await;
    forge(&InferenceServiceStatus { ready_replicas: 99, endpoint: Some("http://evil".into()), ..right.clone() }).await;
    until_right().await;

    // A status with a valid checksum, written while the operator is down, is believed until something changes: a user
    // who may write the status can only misreport their own InferenceService.
    let object = fixture.until("demo", Phase::Ready).await;
    operator.kill();
    forge(&forged(&fixture, &object, 1)).await;
    let operator = Operator::start("forged", &[]).await;
    operator.settled().await;
    assert_eq!(shape(&fixture, "demo").await, before);
    fixture.change("demo", json!({"replicas": 1, "maxBatchSize": 3})).await;
    until_right().await;
    let changed = shape(&fixture, "demo").await;
    assert_eq!(changed.pointer("/spec/template/spec/containers/0/args/3"), Some(&json!("--max-num-seqs=3")));
    fixture.clean_up().await;
}

#[tokio::test]
async fn no_name_stands_for_the_api_server_or_takes_a_service_that_is_there() {
    let fixture = Fixture::new("names").await;
    let user = user(&fixture.namespace);
    let _operator = Operator::start("names", &[]).await;
    // Pods of the namespace would get its address as KUBERNETES_SERVICE_HOST.
    let object = json!({"apiVersion": "ai.example.com/v1", "kind": "InferenceService",
                        "metadata": {"name": "kubernetes", "namespace": fixture.namespace},
                        "spec": {"model": "m", "gpuType": "L40S"}});
    let file = Temporary::new(&object.to_string());
    let told = kubectl_fails(&[&user, "create", "-f", file.path()]);
    assert!(told.contains("metadata.name must not be kubernetes"), "{told}");

    // Names that resolvers and programs look up are treated like any other, in their own namespace; foreign.rs tests
    // a Service that already exists.
    for name in ["localhost", "wpad", "metadata", "com", "default", "svc"] {
        let object = InferenceService::new(name, spec("m", 0, "L40S"));
        fixture.inference_services.create(&PostParams::default(), &object).await.expect("created");
    }
    fixture.until_all(6, Phase::Ready).await;
    for service in fixture.services.list(&ListParams::default()).await.expect("a list").items {
        let spec = service.spec.expect("a spec");
        let selector = spec.selector.expect("a selector");
        assert_eq!(selector.get(deployment::SELECTOR_LABEL), service.metadata.name.as_ref());
        assert_eq!((selector.len(), spec.type_.as_deref()), (1, Some("ClusterIP")));
        assert_eq!((spec.external_name, spec.external_ips), (None, None));
    }
    fixture.clean_up().await;
}
