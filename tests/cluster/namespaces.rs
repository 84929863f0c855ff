//! A user who may do everything with InferenceServices in one namespace can do nothing in another: not directly, not
//! by using the same name, not by an owner in another namespace. SECURITY.md has the results as a table.

use inference_operator::api::{InferenceService, Phase};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::escalation::user;
use crate::support::fixture::spec;
use crate::support::shell::{apply, kubectl_fails};
use crate::support::{Fixture, Operator, Temporary, eventually, kubectl};

/// A second namespace, in which the user has no permissions. Deleted when dropped.
struct Other {
    name: String,
    inference_services: Api<InferenceService>,
    deployments: Api<Deployment>,
    services: Api<Service>,
}

impl Other {
    fn new(client: &Client, name: String) -> Other {
        apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})]);
        Other {
            inference_services: Api::namespaced(client.clone(), &name),
            deployments: Api::namespaced(client.clone(), &name),
            services: Api::namespaced(client.clone(), &name),
            name,
        }
    }

    /// With an InferenceService that is Ready.
    fn with(client: &Client, name: String, served: &str) -> Other {
        let other = Other::new(client, name);
        apply(&[object(&other.name, &json!({"name": served}))]);
        let served = format!("isvc/{served}");
        kubectl(&["-n", &other.name, "wait", &served, "--for=jsonpath={.status.phase}=Ready", "--timeout=60s"]);
        other
    }

    /// An InferenceService and its children, as they must stay: their identity and their spec.
    async fn all_of(&self, name: &str) -> Value {
        let one = self.inference_services.get(name).await.expect("there");
        let deployment = self.deployments.get(name).await.expect("there");
        let service = self.services.get(name).await.expect("there");
        json!([
            [one.metadata.uid, one.metadata.generation, one.metadata.labels, one.metadata.owner_references, one.spec],
            [deployment.metadata.uid, deployment.metadata.generation, deployment.metadata.labels],
            [deployment.metadata.owner_references, deployment.spec],
            [service.metadata.uid, service.metadata.labels, service.metadata.owner_references, service.spec],
        ])
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = std::process::Command::new(crate::support::shell::variable("KUBECTL"))
            .args(["delete", "namespace", &self.name, "--ignore-not-found", "--wait=false"])
            .output();
    }
}

fn object(namespace: &str, metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    metadata["namespace"] = json!(namespace);
    json!({"apiVersion": "ai.example.com/v1", "kind": "InferenceService", "metadata": metadata, "spec": spec("m", 0, "L40S")})
}

#[tokio::test]
async fn rights_in_one_namespace_give_none_in_another() {
    let fixture = Fixture::new("rights-here").await;
    let user = user(&fixture.namespace);
    let _operator = Operator::start("rights-here", &[]).await;
    let other = Other::with(&fixture.client, format!("{}-there", fixture.namespace), "demo");
    let before = other.all_of("demo").await;
    let there = other.name.as_str();
    let (new, same) =
        (object(there, &json!({"name": "new"})), object(there, &json!({"name": "demo", "labels": {"a": "b"}})));
    let (new, same) = (Temporary::new(&new.to_string()), Temporary::new(&same.to_string()));
    let lie = r#"{"status": {"phase": "Failed"}}"#;
    for refused in [
        &["create", "-f", new.path()][..],
        &["apply", "--server-side", "--force-conflicts", "-f", same.path()],
        &["-n", there, "patch", "isvc/demo", "--type=merge", "-p", r#"{"spec": {"replicas": 9}}"#],
        &["-n", there, "patch", "isvc/demo", "--type=merge", "--subresource=status", "-p", lie],
        &["-n", there, "scale", "isvc/demo", "--replicas=9"],
        &["-n", there, "delete", "isvc/demo"],
        &["-n", there, "get", "isvc/demo"],
    ] {
        let told = kubectl_fails(&[&[user.as_str()], refused].concat());
        assert!(told.contains("forbidden"), "{refused:?}: {told}");
    }
    assert_eq!(other.all_of("demo").await, before);
    assert!(other.inference_services.get_opt("new").await.expect("an answer").is_none());
    fixture.clean_up().await;
}

#[tokio::test]
async fn the_same_name_in_two_namespaces_is_two() {
    let fixture = Fixture::new("same").await;
    let _operator = Operator::start("same", &[]).await;
    let other = Other::with(&fixture.client, format!("{}-there", fixture.namespace), "demo");
    let theirs = other.inference_services.get("demo").await.expect("there");
    let before = other.all_of("demo").await;

    fixture.create_from("demo", spec("another/model", 1, "H100")).await;
    let ours = fixture.until("demo", Phase::Ready).await;
    let (deployment, service) = (fixture.deployments.get("demo").await, fixture.services.get("demo").await);
    let owners =
        [deployment.expect("there").metadata.owner_references, service.expect("there").metadata.owner_references];
    for owner in owners.into_iter().flatten().flatten() {
        assert_eq!(Some(owner.uid), ours.uid(), "each its own");
    }
    let endpoint =
        |object: &InferenceService| object.status.clone().and_then(|status| status.endpoint).expect("an endpoint");
    assert!(endpoint(&ours).contains(&format!("demo.{}.svc", fixture.namespace)), "{}", endpoint(&ours));
    assert!(endpoint(&theirs).contains(&format!("demo.{}.svc", other.name)), "{}", endpoint(&theirs));
    fixture.change("demo", json!({"maxBatchSize": 3, "gpuType": "A100"})).await;
    fixture.until("demo", Phase::Ready).await;
    assert_eq!(other.all_of("demo").await, before, "a change of one changes nothing of the other");

    fixture.inference_services.delete("demo", &DeleteParams::foreground()).await.expect("deleted");
    eventually("the children are gone", || async {
        let left = (fixture.deployments.get_opt("demo").await, fixture.services.get_opt("demo").await);
        if matches!(left, (Ok(None), Ok(None))) { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    assert_eq!(other.all_of("demo").await, before, "and what goes takes nothing of the other with it");
    // It is still reconciled, too.
    let patch = Patch::Merge(json!({"spec": {"model": "yet/another"}}));
    other.inference_services.patch("demo", &PatchParams::default(), &patch).await.expect("patched");
    eventually("the other one is served", || async {
        let deployment = other.deployments.get("demo").await.map_err(|error| error.to_string())?;
        if json!(deployment.spec).to_string().contains("yet/another") { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn an_owner_of_another_namespace_or_of_none_is_neither_followed_nor_harmed() {
    let fixture = Fixture::new("owners").await;
    let user = user(&fixture.namespace);
    let _operator = Operator::start("owners", &[]).await;
    let other = Other::with(&fixture.client, format!("{}-there", fixture.namespace), "victim");
    let before = other.all_of("victim").await;
    let victim = other.inference_services.get("victim").await.expect("there").uid();
    let namespace = Api::<Namespace>::all(fixture.client.clone()).get(&other.name).await.expect("there");
    let owned_by = |name: &str, api: &str, kind: &str, owner: &str, uid: Option<String>| {
        let owner = json!({"apiVersion": api, "kind": kind, "name": owner, "uid": uid,
                           "controller": true, "blockOwnerDeletion": true});
        let object = object(&fixture.namespace, &json!({"name": name, "ownerReferences": [owner]}));
        let file = Temporary::new(&object.to_string());
        kubectl(&[&user, "create", "-f", file.path()]);
    };

    // A cluster-scoped owner is valid: the InferenceService is reconciled as usual, and its children belong to it.
    owned_by("of-none", "v1", "Namespace", &other.name, namespace.uid());
    let object = fixture.until("of-none", Phase::Ready).await;
    let deployment = fixture.deployments.get("of-none").await.expect("there");
    let service = fixture.services.get("of-none").await.expect("there");
    for metadata in [deployment.metadata, service.metadata] {
        let owners = metadata.owner_references.unwrap_or_default();
        let owners: Vec<_> = owners.iter().map(|owner| (owner.kind.as_str(), Some(owner.uid.clone()))).collect();
        assert_eq!(owners, [("InferenceService", object.uid())]);
    }

    // To Kubernetes an owner in another namespace does not exist: the garbage collector deletes the dependent, and
    // the children created meanwhile.
    for name in ["of-another", "victim"] {
        owned_by(name, "ai.example.com/v1", "InferenceService", "victim", victim.clone());
        eventually(&format!("{name} is collected"), || async {
            let left = (
                fixture.inference_services.get_opt(name).await,
                fixture.deployments.get_opt(name).await,
                fixture.services.get_opt(name).await,
            );
            if matches!(left, (Ok(None), Ok(None), Ok(None))) { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }
    assert_eq!(other.all_of("victim").await, before);
    let now = Api::<Namespace>::all(fixture.client.clone()).get(&other.name).await.expect("there");
    assert_eq!(now.metadata.resource_version, namespace.metadata.resource_version);
    fixture.clean_up().await;
}
