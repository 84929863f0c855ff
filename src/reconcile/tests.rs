//! Reconcile of one InferenceService: the decisions are tested as tables here, the requests in the modules below.

mod blamed;
mod built;
mod bulky;
mod healed;
mod lasting;
mod over;
mod owner;
mod paused;
mod pods;
mod refused;
mod requests;
mod shaped;
mod stripped;
mod unknown;
mod unposted;
mod yields;

use serde_json::{Value, json};

use super::cause::Told;
use super::status::{LoadWait, Replicas, Subject};
use super::*;
use crate::api::Phase;
use crate::model::{Abnormal, Action, Reached};
use crate::settings::PodPolicy;
use crate::testing::fixtures::{STAMPS, UID};

/// A task for ns/demo, which was reconciled before; the index has its spec.
pub fn task(dirty: Dirty) -> Task {
    let spec = json!({"model": "m", "gpuType": "A100"});
    Task {
        namespace: "ns".into(),
        name: "demo".into(),
        uid: UID.parse().expect("a uid"),
        generation: 1,
        dirty,
        failures: 0,
        repairs: 0,
        versions: STAMPS,
        service_port: None,
        last_load: None,
        released: false,
        summary: Some(summary(Phase::Ready)),
        spec: Some(RawSpec::from(&spec)),
    }
}

pub fn summary(phase: Phase) -> Summary {
    let reached = if matches!(phase, Phase::Ready | Phase::Degraded) { Reached::Ready } else { Reached::Nothing };
    let abnormal = Abnormal::Reconciling;
    let is_ready = phase == Phase::Ready;
    Summary { checksum: 1, phase, abnormal, is_current: true, is_ready, reached, written: 990, ..Summary::default() }
}

/// As the API server sends it: observed by its controller, ready, owned by this InferenceService, unchanged since the
/// last read.
pub fn deployment_json() -> Value {
    json!({
        "metadata": {
            "namespace": "ns", "name": "demo", "uid": "00000000-0000-0000-0000-000000000000", "resourceVersion": "51",
            "generation": 1, "labels": crate::model::labels::labels("demo"),
            "ownerReferences": [{"apiVersion": "ai.example.com/v1", "kind": "InferenceService", "name": "demo", "uid": UID, "controller": true}]
        },
        "spec": {"replicas": 1, "progressDeadlineSeconds": 2400},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    })
}

/// The same, with a change.
pub fn deployment(change: fn(&mut Value)) -> DeploymentView {
    let mut object = deployment_json();
    change(&mut object);
    serde_json::from_value(object).expect("a Deployment")
}

#[test]
fn each_setting_that_shows_in_a_child_or_a_status_is_another_configuration() {
    let changes: [fn(&mut Settings); 9] = [
        |_| {},
        |settings| settings.catalog.change_default_engine(|engine| engine.image.push('x')),
        |settings| settings.catalog.change_default_engine(|engine| engine.port += 1),
        |settings| {
            let retain = |argument: &String| !argument.contains("maxBatchSize");
            settings.catalog.change_default_engine(|engine| engine.arguments.retain(retain));
        },
        |settings| settings.catalog.change_default_engine(|engine| engine.cpu_image = None),
        |settings| settings.pods.load_time *= 2,
        |settings| settings.pods.policy = PodPolicy::Closed,
        |settings| settings.pods.host_paths.push("/models".into()),
        |settings| settings.cluster_domain.push('x'),
    ];
    let configurations = changes.map(|change| {
        let mut settings = Settings::default();
        change(&mut settings);
        config_hash(&settings)
    });
    for (position, one) in configurations.iter().enumerate() {
        assert!(!configurations[..position].contains(one), "{configurations:?}");
    }
    let quiet = Settings { concurrency: 1, telemetry_address: None, ..Settings::default() };
    assert_eq!(config_hash(&quiet), configurations[0], "what shows nowhere changes nothing");
}
