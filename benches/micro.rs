//! Micro-benches: `cargo bench`. Times are for people; what must not grow is in tests/budgets.rs.

#![allow(clippy::expect_used)]

mod objects;

use bytes::Bytes;
use divan::{Bencher, black_box};
use inference_operator::api::InferenceServiceSpec;
use inference_operator::controller::fleet::Fleet;
use inference_operator::controller::queue::Queue;
use inference_operator::controller::watch::line::Line;
use inference_operator::gpu::Catalogue;
use inference_operator::projection::{DeploymentMetadata, InferenceService, Kind};
use inference_operator::pruning::Pruner;
use inference_operator::reconcile::validate::Valid;
use inference_operator::reconcile::{deployment, status};
use inference_operator::settings::Settings;
use objects::{CONFIGURATION, deployment_event, inference_service_event, read};
use tokio::time::Instant;

fn main() {
    divan::main();
}

fn object(event: Bytes) -> InferenceService {
    match read(&mut Pruner::new(InferenceService::EVENT), event) {
        Line::Applied(object) => object,
        _ => unreachable!("an ADDED event"),
    }
}

#[divan::bench]
fn decode_an_inference_service_event(bencher: Bencher) {
    let (event, mut pruner) = (inference_service_event(1), Pruner::new(InferenceService::EVENT));
    bencher.bench_local(|| read::<InferenceService>(&mut pruner, black_box(event.clone())));
}

#[divan::bench]
fn decode_a_deployment_event(bencher: Bencher) {
    let (event, mut pruner) = (deployment_event(1, 1000), Pruner::new(DeploymentMetadata::EVENT));
    bencher.bench_local(|| read::<DeploymentMetadata>(&mut pruner, black_box(event.clone())));
}

/// What a megabyte that nobody reads costs.
#[divan::bench]
fn skip_a_megabyte(bencher: Bencher) {
    let event = Bytes::from(format!(r#"{{"type":"ADDED","object":{{"data":"{}"}}}}"#, "x".repeat(1 << 20)));
    let mut pruner = Pruner::new(DeploymentMetadata::EVENT);
    bencher.bench_local(|| pruner.advance(&mut black_box(event.clone())));
}

#[divan::bench]
fn read_a_status(bencher: Bencher) {
    let status = object(inference_service_event(1)).status().expect("a status");
    bencher.bench(|| status::read(black_box(&status), CONFIGURATION).trusted);
}

#[divan::bench]
fn settled_predicate(bencher: Bencher) {
    let mut fleet = Fleet::new(CONFIGURATION);
    let slot = fleet.observe(object(inference_service_event(1)), true).expect("a name");
    bencher
        .bench(|| fleet.get(black_box(slot)).is_some_and(inference_operator::controller::record::Record::is_settled));
}

#[divan::bench]
fn build_a_deployment(bencher: Bencher) {
    let (catalogue, server) = (Catalogue::default(), Settings::default().server);
    let gpu = catalogue.get("A100").expect("built in");
    let uid = objects::uid(1).parse().expect("a uid");
    let spec = InferenceServiceSpec::new("org/model", "A100");
    let valid = Valid { namespace: "models", name: "demo", uid, spec: &spec, gpu };
    bencher.bench(|| deployment::build(black_box(&valid), &server));
}

#[divan::bench(args = [1_000, 100_000])]
fn push_and_pop_at_so_many_keys(bencher: Bencher, keys: u32) {
    let now = Instant::now();
    let mut queue = Queue::default();
    for slot in 0..keys {
        queue.push(slot, now);
    }
    bencher.bench_local(|| {
        let slot = queue.pop(now).expect("a key");
        queue.push(slot, now);
    });
}
