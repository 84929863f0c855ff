//! The settings of the simulated operator. Used by everything that needs to know what it would build.

use std::sync::LazyLock;
use std::time::Duration;

use inference_operator::model::view::RawSpec;
use inference_operator::reconcile::validate::{decode, validate};
use inference_operator::reconcile::{config_hash, deployment, service};
use inference_operator::settings::{Pods, Settings};
use serde_json::Value;

use crate::api_server::{Key, Kind};

/// The settings' load time of a model. Short, so that a run outlives it.
pub const LOAD: Duration = Duration::from_secs(300);

pub static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let settings = Settings::default();
    Settings { pods: Pods { load_time: LOAD, ..Pods::default() }, ..settings }
});

/// Computed once: the settings never change, and the computation takes longer than most simulated processes live.
pub static CONFIG_HASH: LazyLock<u64> = LazyLock::new(|| config_hash(&SETTINGS));

/// The child that this spec asks for; None: the spec is rejected.
pub fn desired(kind: Kind, key: &Key, uid: &str, spec: &Value) -> Option<Value> {
    let spec = decode(&RawSpec::from(spec)).ok()?;
    let valid = validate(&key.namespace, &key.name, uid.parse().ok()?, &spec, &SETTINGS.catalog).ok()?;
    Some(match kind {
        Kind::Service => service::build(&valid),
        _ => deployment::build(&valid, &SETTINGS.pods).ok()?,
    })
}
