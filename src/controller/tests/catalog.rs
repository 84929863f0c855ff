//! A changed catalogue takes force once nothing is in flight, and until then nothing else starts.

use super::*;
use crate::api::InferenceCatalogSpec;
use crate::api::catalog::EngineEntry;

fn catalog(image: &str) -> InferenceServiceView {
    let engine = EngineEntry { name: "vllm".into(), image: image.into(), ..EngineEntry::default() };
    let spec = InferenceCatalogSpec { engines: vec![engine], ..InferenceCatalogSpec::default() };
    let meta = serde_json::json!({"name": "default", "namespace": "inference-operator", "uid": OTHER_UID,
        "resourceVersion": "9", "generation": 1});
    serde_json::from_value(serde_json::json!({"metadata": meta, "spec": spec})).expect("a catalogue")
}

async fn decide(controller: &mut Controller, object: InferenceServiceView) {
    controller.observe(Observation::Catalog(Event::Apply(object)));
    controller.offer();
    let done = controller.catalog.done().await;
    controller.catalog.finish(done);
    controller.offer();
}

#[tokio::test(start_paused = true)]
async fn a_changed_catalogue_waits_for_what_is_in_flight_and_nothing_starts_meanwhile() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    controller.observe(Observation::Catalog(Event::Absent));
    controller.offer();
    controller.observe_inference_service(Event::Apply(object(UID, 101, 2, serde_json::Value::Null)));
    controller.start();
    assert_eq!(controller.in_flight.len(), 1);
    decide(&mut controller, catalog("mine")).await;
    assert!(controller.catalog.is_waiting() && !controller.index.wants_list());
    controller.queue.push(slot, Instant::now());
    assert_eq!(controller.next_start(), None, "or else the loop would spin");
    controller.in_flight.clear();
    controller.offer();
    assert!(!controller.catalog.is_waiting() && controller.index.wants_list());
    assert_eq!(controller.context.settings.catalog.engine(None).expect("an engine").image, "mine");
    assert!(controller.next_start().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_catalogue_that_says_what_holds_already_judges_nobody() {
    let (mut controller, _) = in_sync(ready(100, 1));
    controller.context = Context::with_settings(&controller.context, controller.context.settings.clone());
    controller.catalog = crate::controller::catalog::Catalog::new(controller.context.clone());
    controller.observe(Observation::Catalog(Event::Absent));
    controller.offer();
    let nothing = InferenceCatalogSpec::default();
    let mut object = catalog("");
    object.spec = crate::model::view::RawSpec::from(&serde_json::to_value(nothing).expect("JSON"));
    decide(&mut controller, object).await;
    assert!(!controller.catalog.is_waiting() && !controller.index.wants_list());
}
