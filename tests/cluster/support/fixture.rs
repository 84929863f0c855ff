//! One test's part of the cluster: its own namespace, with the CRD and the RBAC in place, and no other test running.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use inference_operator::api::{InferenceService, InferenceServiceSpec, Phase};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

use super::MANIFESTS;
use super::shell::{kubectl, until_established};
use super::wait::{PATIENCE, eventually, within};

/// Tests count the operator's requests, so only one runs at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
static NUMBER: AtomicU32 = AtomicU32::new(0);

pub struct Fixture {
    pub namespace: String,
    pub client: Client,
    pub inference_services: Api<InferenceService>,
    pub deployments: Api<Deployment>,
    pub services: Api<Service>,
    _turn: MutexGuard<'static, ()>,
}

impl Fixture {
    /// `name`: for people who look at the cluster while tests run.
    pub async fn new(name: &str) -> Fixture {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Fixture::named(&format!("{name}-{}-{number}", std::process::id())).await
    }

    /// In a namespace of exactly this name; waits for the end of one that another test has used.
    pub async fn named(namespace: &str) -> Fixture {
        let turn = ONE_AT_A_TIME.lock().await;
        for file in ["namespace", "crd", "rbac"] {
            kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &format!("{MANIFESTS}/{file}.yaml")]);
        }
        for kind in ["inferenceservices", "inferencecatalogs"] {
            until_established(&format!("{kind}.ai.example.com"));
        }
        let client = Client::try_default().await.expect("KUBECONFIG");
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).expect("a namespace");
        let namespaces = Api::all(client.clone());
        eventually("the namespace is made", || async {
            namespaces.create(&PostParams::default(), &object).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        Fixture {
            inference_services: Api::namespaced(client.clone(), namespace),
            deployments: Api::namespaced(client.clone(), namespace),
            services: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
            client,
            _turn: turn,
        }
    }

    /// Deletes everything that the test created, so that it does not affect the next one's counts.
    pub async fn clean_up(&self) {
        self.inference_services
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .expect("deleted");
        eventually("all children are collected", || async {
            let left = self.deployments.list_metadata(&ListParams::default()).await.expect("a list").items.len();
            if left == 0 { Ok(()) } else { Err(format!("{left} Deployments left")) }
        })
        .await;
        Api::<Namespace>::all(self.client.clone())
            .delete(&self.namespace, &DeleteParams::background())
            .await
            .expect("deleted");
    }

    pub async fn create(&self, name: &str, replicas: i32) -> InferenceService {
        self.create_from(name, spec("demo/model", replicas, "L40S")).await
    }

    pub async fn create_from(&self, name: &str, spec: InferenceServiceSpec) -> InferenceService {
        let object = InferenceService::new(name, spec);
        self.inference_services.create(&PostParams::default(), &object).await.expect("created")
    }

    /// Merges into the spec, as a user's edit would.
    pub async fn change(&self, name: &str, spec: serde_json::Value) -> InferenceService {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.inference_services.patch(name, &PatchParams::default(), &patch).await.expect("patched")
    }

    /// Waits until the status is about the latest spec and has this phase.
    pub async fn until(&self, name: &str, phase: Phase) -> InferenceService {
        eventually(&format!("{name} is {phase:?}"), || async {
            let object = self.inference_services.get(name).await.map_err(|error| error.to_string())?;
            let status = object.status.clone().unwrap_or_default();
            if status.phase == phase && Some(status.observed_generation) == object.metadata.generation {
                return Ok(object);
            }
            Err(format!("{status:?}"))
        })
        .await
    }

    pub async fn until_all(&self, count: usize, phase: Phase) {
        self.until_all_within(PATIENCE, count, phase).await;
    }

    pub async fn until_all_within(&self, patience: Duration, count: usize, phase: Phase) {
        within(patience, &format!("all {count} are {phase:?}"), || async {
            let list = self.inference_services.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let there = list.items.iter().filter(|object| {
                object.status.as_ref().is_some_and(|status| {
                    status.phase == phase && Some(status.observed_generation) == object.metadata.generation
                })
            });
            let there = there.count();
            if there == count { Ok(()) } else { Err(format!("{there} are")) }
        })
        .await;
    }

    /// Waits until the condition Ready has this reason, and a message that contains `words`.
    pub async fn until_said(&self, name: &str, phase: Phase, reason: &str, words: &str) -> InferenceService {
        self.until_ready_condition(name, phase, words, |said| said == reason).await
    }

    /// Waits until it is Failed with a message that contains `words`.
    pub async fn until_refused(&self, name: &str, words: &str) -> InferenceService {
        self.until_ready_condition(name, Phase::Failed, words, |_| true).await
    }

    async fn until_ready_condition(
        &self,
        name: &str,
        phase: Phase,
        words: &str,
        is_reason: impl Fn(&str) -> bool,
    ) -> InferenceService {
        eventually(&format!("{name} is {phase:?} and says: {words}"), || async {
            let object = self.inference_services.get(name).await.map_err(|error| error.to_string())?;
            let status = object.status.as_ref().filter(|status| !status.conditions.is_empty()).ok_or("no condition")?;
            let (_, said, message) = ready(&object);
            if status.phase == phase && is_reason(&said) && message.contains(words) {
                return Ok(object);
            }
            Err(format!("{:?} {said}: {message}", status.phase))
        })
        .await
    }

    /// Waits until the Deployment satisfies `right`.
    pub async fn until_deployment(
        &self,
        name: &str,
        what: &str,
        right: impl Fn(&Deployment) -> Result<(), String>,
    ) -> Deployment {
        eventually(&format!("Deployment {name}: {what}"), || async {
            let object = self.deployments.get(name).await.map_err(|error| error.to_string())?;
            right(&object).map(|()| object)
        })
        .await
    }
}

/// Leftovers of a failed test must not affect the next one's counts.
impl Drop for Fixture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            leave(&self.namespace);
        }
    }
}

/// Deletes as much as possible: the API server itself may be what failed.
pub fn leave(namespace: &str) {
    let _ = std::process::Command::new(super::shell::variable("KUBECTL"))
        .args(["-n", namespace, "delete", "isvc", "--all", "--ignore-not-found", "--timeout=30s"])
        .output();
}

pub fn spec(model: &str, replicas: i32, gpu_type: &str) -> InferenceServiceSpec {
    InferenceServiceSpec { replicas, ..InferenceServiceSpec::new(model, gpu_type) }
}

/// Of its server.
pub fn image(deployment: &Deployment) -> Option<&str> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers[0].image.as_deref()
}

/// The condition Ready: status, reason and message.
pub fn ready(object: &InferenceService) -> (String, String, String) {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").expect("the condition Ready");
    (ready.status.clone(), ready.reason.clone(), ready.message.clone())
}
