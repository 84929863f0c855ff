//! Many InferenceServices of two engines, and which of them has which image: for the tests of rollouts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use inference_operator::api::{InferenceServiceSpec, Phase};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;

use super::fixture::{Fixture, image, spec};
use super::operator::Operator;
use super::wait::within;

/// A hundred of them wait for a controller that everything goes through.
const PATIENCE: Duration = Duration::from_secs(180);

pub struct Fleet {
    pub fixture: Fixture,
    /// The names of those of vllm, the default engine; one of them has no replicas.
    pub of_vllm: BTreeSet<String>,
    count: usize,
}

impl Fleet {
    /// All are Ready, and no operator runs. Of more than a few of sglang the rest has no replicas: what the Deployment
    /// controller has to do for each of them takes most of the time of a test.
    pub async fn new(name: &str, of_vllm: usize, of_sglang: usize) -> Fleet {
        let fixture = Fixture::new(name).await;
        let operator = Operator::start(name, &[]).await;
        fixture.create("asleep", 0).await;
        for number in 1..of_vllm {
            fixture.create(&format!("vllm-{number}"), 1).await;
        }
        for number in 0..of_sglang {
            let engine = Some("sglang".to_owned());
            let spec = InferenceServiceSpec { engine, ..spec("m", i32::from(number < 10), "A100") };
            fixture.create_from(&format!("sglang-{number}"), spec).await;
        }
        let names = (1..of_vllm).map(|number| format!("vllm-{number}"));
        let of_vllm: BTreeSet<String> = names.chain(["asleep".to_owned()]).collect();
        let fleet = Fleet { fixture, count: of_vllm.len() + of_sglang, of_vllm };
        fleet.until_ready().await;
        operator.settled().await;
        fleet
    }

    pub async fn until_ready(&self) {
        self.fixture.until_all_within(PATIENCE, self.count, Phase::Ready).await;
    }

    /// The generation and the image of each Deployment, by name.
    pub async fn deployments(&self) -> BTreeMap<String, (i64, String)> {
        let list = self.fixture.deployments.list(&ListParams::default()).await.expect("a list");
        let version = |deployment: Deployment| {
            let generation = deployment.metadata.generation.expect("a generation");
            let image = image(&deployment).expect("an image").to_owned();
            (deployment.metadata.name.expect("a name"), (generation, image))
        };
        list.items.into_iter().map(version).collect()
    }

    pub async fn with_image(&self, image: &str) -> BTreeSet<String> {
        let deployments = self.deployments().await;
        deployments.into_iter().filter(|(_, (_, found))| found == image).map(|(name, _)| name).collect()
    }

    /// Waits until those of vllm have this image, and all are Ready.
    pub async fn until_rolled_out(&self, image: &str) {
        within(PATIENCE, "all have the image", || async {
            let found = self.with_image(image).await;
            if found == self.of_vllm { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        self.until_ready().await;
    }
}
