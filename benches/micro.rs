//! Micro-benches: `cargo bench`. Times are for people; what must not grow is in tests/budgets.rs.

#![allow(clippy::expect_used)]

mod objects;

use bytes::Bytes;
use divan::{Bencher, black_box};
use inference_operator::api::InferenceServiceSpec;
use inference_operator::catalog::Catalog;
use inference_operator::controller::index::{Index, Seen};
use inference_operator::controller::queue::Queue;
use inference_operator::kubernetes::prune::Pruner;
use inference_operator::kubernetes::resource::Resource;
use inference_operator::kubernetes::watch::line::Line;
use inference_operator::model::hashes::Standing;
use inference_operator::model::view::{InferenceServiceView, Meta, PartialDeployment};
use inference_operator::reconcile::validate::validate;
use inference_operator::reconcile::{deployment, status};
use inference_operator::settings::Pods;
use objects::{deployment_event, inference_service_event, read};
use tokio::time::Instant;

fn main() {
    divan::main();
}

fn object(event: Bytes) -> InferenceServiceView {
    match read(&mut Pruner::new(InferenceServiceView::EVENT), event) {
        Line::Applied(object) => object,
        _ => unreachable!("an ADDED event"),
    }
}

#[divan::bench]
fn decode_an_inference_service_event(bencher: Bencher) {
    let (event, mut pruner) = (inference_service_event(1), Pruner::new(InferenceServiceView::EVENT));
    bencher.bench_local(|| read::<InferenceServiceView>(&mut pruner, black_box(event.clone())));
}

#[divan::bench]
fn decode_a_deployment_event(bencher: Bencher) {
    let (event, mut pruner) = (deployment_event(1, 1000), Pruner::new(PartialDeployment::EVENT));
    bencher.bench_local(|| read::<Meta>(&mut pruner, black_box(event.clone())));
}

/// What a megabyte that nobody reads costs.
#[divan::bench]
fn skip_a_megabyte(bencher: Bencher) {
    let event = Bytes::from(format!(r#"{{"type":"ADDED","object":{{"data":"{}"}}}}"#, "x".repeat(1 << 20)));
    let mut pruner = Pruner::new(PartialDeployment::EVENT);
    bencher.bench_local(|| pruner.advance(&mut black_box(event.clone())));
}

#[divan::bench]
fn read_a_status(bencher: Bencher) {
    let status = object(inference_service_event(1)).status().expect("a status");
    bencher.bench(|| status::parse(black_box(&status)).trusted);
}

#[divan::bench]
fn settled_predicate(bencher: Bencher) {
    let mut index = Index::new(Box::new(|_, _| Standing::UpToDate));
    let slot = index.observe(object(inference_service_event(1)), Seen::Listed).expect("a name");
    bencher
        .bench(|| index.get(black_box(slot)).is_some_and(inference_operator::controller::record::Record::is_settled));
}

/// From the spec's JSON to the Deployment, all layers merged.
fn build(bencher: Bencher, spec: &serde_json::Value) {
    let (catalog, pods) = (Catalog::default(), Pods::default());
    let (uid, text) = (objects::uid(1).parse().expect("a uid"), spec.to_string());
    bencher.bench(|| {
        let spec: InferenceServiceSpec = serde_json::from_str(black_box(&text)).expect("a spec");
        let valid = validate("models", "demo", uid, &spec, &catalog).expect("valid");
        deployment::build(&valid, &pods).expect("built")
    });
}

#[divan::bench]
fn build_a_plain_deployment(bencher: Bencher) {
    build(bencher, &objects::plain_spec());
}

#[divan::bench]
fn build_a_full_deployment(bencher: Bencher) {
    build(bencher, &objects::full_spec());
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
