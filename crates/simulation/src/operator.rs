//! What the simulated operator is run with. Used by whoever needs to know what it would build.

use std::sync::LazyLock;
use std::time::Duration;

use inference_operator::model::view::RawSpec;
use inference_operator::reconcile::validate::{decode, validate};
use inference_operator::reconcile::{config_hash, deployment, service};
use inference_operator::settings::{ModelServer, Settings};
use serde_json::Value;

use crate::api_server::{Key, Kind};

/// A model may take so long to load. Short, so that a run outlives it.
pub const LOAD: Duration = Duration::from_secs(300);

pub static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let settings = Settings::default();
    Settings { server: ModelServer { load_time: LOAD, ..settings.server.clone() }, ..settings }
});

/// Nothing of the settings changes, and to compute it takes longer than most of what a process lives through.
pub static CONFIG_HASH: LazyLock<u64> = LazyLock::new(|| config_hash(&SETTINGS));

/// The child that this spec asks for; None: the spec is refused.
pub fn desired(kind: Kind, key: &Key, uid: &str, spec: &Value) -> Option<Value> {
    let spec = decode(&RawSpec::from(spec)).ok()?;
    let valid = validate(&key.namespace, &key.name, uid.parse().ok()?, &spec, &SETTINGS.catalog).ok()?;
    Some(match kind {
        Kind::Service => service::build(&valid, &SETTINGS.server),
        _ => deployment::build(&valid, &SETTINGS.server),
    })
}
