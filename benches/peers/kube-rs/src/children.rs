//! The Deployment and the Service of an InferenceService, field for field what src/reconcile/ of the
//! operator builds; and whether one that exists is as it should be.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, ContainerPort, HTTPGetAction, NodeAffinity, NodeSelector,
    NodeSelectorRequirement, NodeSelectorTerm, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecurityContext, Service, ServicePort, ServiceSpec, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;

use crate::api::{InferenceService, InferenceServiceSpec};
use crate::validate::GpuType;

const SELECTOR_LABEL: &str = "ai.example.com/inferenceservice";
const GPU_RESOURCE: &str = "nvidia.com/gpu";

const SERVER_IMAGE: &str = "vllm/vllm-openai:v0.11.0";
const SERVER_COMMAND: [&str; 3] = ["python3", "-m", "vllm.entrypoints.openai.api_server"];
const SERVER_PORT: i32 = 8000;
const SERVICE_PORT: i32 = 80;
const LOAD_SECONDS: i32 = 1800;
const PULL_SECONDS: i32 = 600;
const PROBE_PERIOD: i32 = 10;
const CLUSTER_DOMAIN: &str = "cluster.local";

pub fn deployment(isvc: &InferenceService, gpu: &GpuType) -> Deployment {
    let name = isvc.name_any();
    Deployment {
        metadata: metadata(isvc),
        spec: DeploymentSpec {
            replicas: Some(isvc.spec.replicas),
            // A surge pod would wait for ever on a node with one GPU.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(0)),
                    max_unavailable: Some(IntOrString::Int(1)),
                }),
            }),
            progress_deadline_seconds: Some(LOAD_SECONDS + PULL_SECONDS),
            selector: LabelSelector { match_labels: Some(pod_labels(&name)), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(&name)), ..ObjectMeta::default() }),
                spec: Some(pod(&isvc.spec, gpu)),
            },
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

pub fn service(isvc: &InferenceService) -> Service {
    Service {
        metadata: metadata(isvc),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(pod_labels(&isvc.name_any())),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port: SERVICE_PORT,
                target_port: Some(IntOrString::Int(SERVER_PORT)),
                protocol: Some("TCP".into()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

pub fn endpoint(isvc: &InferenceService) -> String {
    format!("http://{}.{}.svc.{CLUSTER_DOMAIN}", isvc.name_any(), isvc.namespace().unwrap_or_default())
}

pub fn selector(isvc: &InferenceService) -> String {
    format!("{SELECTOR_LABEL}={}", isvc.name_any())
}

/// Is everything that `desired` says in `found`? What the API server has added does not matter.
pub fn is_as_desired<K: Serialize>(found: &K, desired: &K) -> Result<bool, serde_json::Error> {
    Ok(contains(&serde_json::to_value(found)?, &serde_json::to_value(desired)?))
}

fn contains(found: &Value, desired: &Value) -> bool {
    match (found, desired) {
        (Value::Object(found), Value::Object(desired)) => {
            desired.iter().all(|(key, desired)| found.get(key).is_some_and(|found| contains(found, desired)))
        }
        (Value::Array(found), Value::Array(desired)) => {
            found.len() == desired.len() && found.iter().zip(desired).all(|(found, desired)| contains(found, desired))
        }
        (found, desired) => found == desired,
    }
}

fn metadata(isvc: &InferenceService) -> ObjectMeta {
    let name = isvc.name_any();
    ObjectMeta {
        labels: Some(labels(&name)),
        name: Some(name),
        namespace: isvc.namespace(),
        owner_references: isvc.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

fn pod_labels(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(SELECTOR_LABEL.into(), name.into())])
}

fn labels(name: &str) -> BTreeMap<String, String> {
    let mut labels = pod_labels(name);
    labels.insert("app.kubernetes.io/name".into(), "inference-server".into());
    labels.insert("app.kubernetes.io/instance".into(), name.into());
    labels.insert("app.kubernetes.io/component".into(), "model-server".into());
    labels.insert("app.kubernetes.io/managed-by".into(), "inference-operator".into());
    labels
}

fn pod(spec: &InferenceServiceSpec, gpu: &GpuType) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        affinity: Some(Affinity {
            node_affinity: Some(NodeAffinity {
                required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                    node_selector_terms: vec![NodeSelectorTerm {
                        match_expressions: Some(vec![NodeSelectorRequirement {
                            key: "nvidia.com/gpu.product".into(),
                            operator: "In".into(),
                            values: Some(gpu.node_label_values()),
                        }]),
                        ..NodeSelectorTerm::default()
                    }],
                }),
                ..NodeAffinity::default()
            }),
            ..Affinity::default()
        }),
        tolerations: Some(vec![Toleration {
            key: Some(GPU_RESOURCE.into()),
            operator: Some("Exists".into()),
            effect: Some("NoSchedule".into()),
            ..Toleration::default()
        }]),
        containers: vec![container(spec)],
        ..PodSpec::default()
    }
}

fn container(spec: &InferenceServiceSpec) -> Container {
    Container {
        name: "server".into(),
        image: Some(SERVER_IMAGE.into()),
        command: Some(SERVER_COMMAND.map(String::from).to_vec()),
        args: Some(arguments(spec)),
        ports: Some(vec![ContainerPort {
            name: Some("http".into()),
            container_port: SERVER_PORT,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        resources: Some(ResourceRequirements {
            limits: Some(BTreeMap::from([(GPU_RESOURCE.into(), Quantity("1".into()))])),
            ..ResourceRequirements::default()
        }),
        startup_probe: Some(Probe {
            failure_threshold: Some((LOAD_SECONDS + PROBE_PERIOD - 1) / PROBE_PERIOD),
            ..probe()
        }),
        readiness_probe: Some(probe()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn probe() -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/health".into()),
            port: IntOrString::String("http".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(PROBE_PERIOD),
        ..Probe::default()
    }
}

fn arguments(spec: &InferenceServiceSpec) -> Vec<String> {
    // Kubernetes expands $(NAME) in arguments, and turns $$ into $.
    let mut arguments = vec![format!("--model={}", spec.model.replace('$', "$$"))];
    arguments.extend(spec.max_batch_size.map(|size| format!("--max-num-seqs={size}")));
    arguments.push(format!("--port={SERVER_PORT}"));
    arguments
}
