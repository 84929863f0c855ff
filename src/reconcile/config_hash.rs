//! One number for all settings that affect children and status. Called once at start-up; pure.

use std::hash::Hasher;

use serde_json::{Map, json};

use super::validate::validate;
use super::{deployment, service};
use crate::api::InferenceServiceSpec;
use crate::catalog::Catalog;
use crate::model::uid::Uid;
use crate::settings::Settings;

/// Hashes all that the settings put into children and status, as the children of one InferenceService for each GPU type
/// and each engine. Anything that would build different children changes the hash, be it a flag or a new release; then
/// every InferenceService is reconciled once. Pure.
pub fn config_hash(settings: &Settings) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    let service = json!([
        service::Desired::new("namespace", "name", Uid::default(), None).object,
        service::endpoint("namespace", "name", None, settings),
        deployment::selector("name"),
    ]);
    hasher.write(service.to_string().as_bytes());
    hasher.write(settings.pods.policy.as_str().as_bytes());
    hasher.write(settings.pods.host_paths.join(":").as_bytes());
    for spec in specs(&settings.catalog) {
        let valid = validate("namespace", "name", Uid::default(), &spec, &settings.catalog);
        let built = valid.and_then(|valid| deployment::build(&valid, &settings.pods));
        hasher.write(built.map_or_else(|error| error.to_string(), |built| built.to_string()).as_bytes());
    }
    hasher.finish()
}

/// Specs that together show all that a setting can change.
fn specs(catalog: &Catalog) -> impl Iterator<Item = InferenceServiceSpec> {
    let of_types = catalog.gpu_types().map(|gpu| InferenceServiceSpec::new("model", &gpu.name));
    let of_engines = catalog.engines().flat_map(|engine| {
        let spec = InferenceServiceSpec { engine: Some(engine.name.clone()), ..InferenceServiceSpec::of("model") };
        let source = || Some(Map::from_iter([("emptyDir".to_owned(), json!({}))]));
        let full = InferenceServiceSpec {
            max_batch_size: Some(1),
            gpu_count: Some(2),
            cache: source(),
            model_volume: source(),
            hugging_face_token_secret: Some(json!({"name": "secret"})),
            node_loss_seconds: Some(1),
            service_account_name: Some("account".to_owned()),
            ..spec.clone()
        };
        let file = InferenceServiceSpec { model: "/model".to_owned(), gpu_count: Some(0), ..spec.clone() };
        [spec, full, file]
    });
    of_types.chain(of_engines)
}
