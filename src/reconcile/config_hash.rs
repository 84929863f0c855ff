//! One number for all settings that affect children and status. Called once at start-up; pure.

use std::hash::Hasher;

use serde_json::json;

use super::validate::Valid;
use super::{deployment, service};
use crate::api::InferenceServiceSpec;
use crate::model::uid::Uid;
use crate::settings::Settings;

/// Hashes all that the settings put into children and status, as the children of one InferenceService per GPU type.
/// Anything that would build different children changes the hash, be it a flag or a new release; then every
/// InferenceService is reconciled once. Pure.
pub fn config_hash(settings: &Settings) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    for gpu in settings.catalog.types() {
        for max_batch_size in [None, Some(1)] {
            let spec = InferenceServiceSpec { max_batch_size, ..InferenceServiceSpec::new("model", &gpu.name) };
            let valid = Valid { namespace: "namespace", name: "name", uid: Uid::default(), spec: &spec, gpu };
            let children = json!([
                deployment::build(&valid, &settings.server),
                service::build(&valid, &settings.server),
                service::endpoint("namespace", "name", settings),
                deployment::selector("name"),
            ]);
            hasher.write(children.to_string().as_bytes());
        }
    }
    hasher.finish()
}
