//! What of the settings shows in children and status, as one number. Called once at start-up; pure.

use std::hash::Hasher;

use serde_json::json;

use super::validate::Valid;
use super::{deployment, service};
use crate::api::InferenceServiceSpec;
use crate::model::uid::Uid;
use crate::settings::Settings;

/// A hash over all that the settings put into children and status: over the children of one
/// InferenceService of each GPU type. Anything that would build other children changes it, be it a
/// flag or a new release, and then every InferenceService is brought up to date once. Pure.
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
