//! What an InferenceService costs in memory: counted, not felt. A budget here is only ever lowered.

#![allow(clippy::expect_used)]

#[path = "../benches/objects.rs"]
mod objects;

use bytes::Bytes;
use inference_operator::controller::index::{Index, Seen};
use inference_operator::controller::record::Record;
use inference_operator::kubernetes::prune::Pruner;
use inference_operator::kubernetes::resource::Resource;
use inference_operator::kubernetes::watch::line::Line;
use inference_operator::model::ChildKind;
use inference_operator::model::hashes::Standing;
use inference_operator::model::uid::Uid;
use inference_operator::model::view::{InferenceServiceView, Meta, PartialDeployment};
use inference_operator::reconcile::deployment;
use inference_operator::reconcile::validate::validate;
use inference_operator::settings::Settings;
use objects::{deployment_event, full_spec, inference_service_event, plain_spec, read};
use serde_json::Value;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Heap bytes of a settled InferenceService: record, name and index, as requested from the
/// allocator.
const BYTES_A_RECORD: usize = 122;

/// Allocations of asking a settled record whether there is anything to do.
const ALLOCATIONS_A_SETTLED_RECORD: u64 = 0;

/// Allocations of decoding a Deployment's event that brings no news.
const ALLOCATIONS_AN_EVENT: u64 = 10;

/// Allocations of building a Deployment: of the four fields that every InferenceService had once, and of one that sets
/// nearly all.
const ALLOCATIONS_A_PLAIN_POD: u64 = 280;
const ALLOCATIONS_A_FULL_POD: u64 = 630;

/// A power of two, where tables that double are at their fullest.
const COUNT: usize = 2048;

fn observe(index: &mut Index, number: usize) {
    let mut pruner = Pruner::new(InferenceServiceView::EVENT);
    let Line::Applied(object) = read(&mut pruner, inference_service_event(number)) else { unreachable!("ADDED") };
    index.observe(object, Seen::Listed).expect("a name");
}

/// Allocations of building the Deployment of this spec.
fn allocations_of_a_pod(spec: Value) -> u64 {
    let spec = serde_json::from_value(spec).expect("a spec");
    let settings = Settings::default();
    let valid = validate("models", "demo", Uid::default(), &spec, &settings.catalog).expect("valid");
    let before = dhat::HeapStats::get().total_blocks;
    deployment::build(&valid, &settings.pods).expect("built");
    dhat::HeapStats::get().total_blocks - before
}

#[test]
fn a_settled_inference_service_stays_within_its_budget() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let before = dhat::HeapStats::get().curr_bytes;
    let mut index = Index::new(Box::new(|_, _| Standing::UpToDate));
    for number in 0..COUNT {
        observe(&mut index, number);
    }
    let bytes = (dhat::HeapStats::get().curr_bytes - before).div_ceil(COUNT);
    println!("{bytes} heap bytes a settled InferenceService");
    assert!(index.iter().all(|(_, record)| record.is_settled()), "what is measured is settled");
    assert!(bytes <= BYTES_A_RECORD, "{bytes} bytes; the budget is {BYTES_A_RECORD}");

    let before = dhat::HeapStats::get().total_blocks;
    let settled = (0..1000).filter(|slot| index.get(*slot).is_some_and(Record::is_settled)).count();
    assert_eq!(settled, 1000);
    assert_eq!(dhat::HeapStats::get().total_blocks - before, ALLOCATIONS_A_SETTLED_RECORD);

    let events: Vec<Bytes> = (0..100).map(|number| deployment_event(number, 1000)).collect();
    let mut pruner = Pruner::new(PartialDeployment::EVENT);
    read::<Meta>(&mut pruner, deployment_event(100, 1000));
    let before = dhat::HeapStats::get();
    for event in events {
        let Line::Applied(child) = read::<Meta>(&mut pruner, event) else { unreachable!("MODIFIED") };
        assert_eq!(index.observe_child(ChildKind::Deployment, &child, Seen::Event), None);
    }
    let after = dhat::HeapStats::get();
    assert!(after.curr_bytes <= before.curr_bytes, "an event without news leaves nothing behind");
    let allocations = (after.total_blocks - before.total_blocks) / 100;
    println!("{allocations} allocations an event without news");
    assert!(allocations <= ALLOCATIONS_AN_EVENT, "{allocations}; the budget is {ALLOCATIONS_AN_EVENT}");

    for (name, spec, budget) in
        [("plain", plain_spec(), ALLOCATIONS_A_PLAIN_POD), ("full", full_spec(), ALLOCATIONS_A_FULL_POD)]
    {
        let allocations = allocations_of_a_pod(spec);
        println!("{allocations} allocations to build a {name} pod");
        assert!(allocations <= budget, "{name}: {allocations}; the budget is {budget}");
    }
}
