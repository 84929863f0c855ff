//! The settings of the simulated operator, and what it would build from them and a catalogue. Used by everything that
//! needs to know what it would build.

use std::sync::LazyLock;
use std::time::Duration;

use inference_operator::accept::{decode as decode_catalog, lay_over};
use inference_operator::model::view::RawSpec;
use inference_operator::reconcile::validate::{decode, validate};
use inference_operator::reconcile::{config_hash, deployment, service};
use inference_operator::settings::{Pods, Settings};
use serde_json::Value;

use crate::api_server::{Key, Kind, Store};

/// The settings' load time of a model. Short, so that a run outlives it. No catalogue sets a longer one.
pub const LOAD: Duration = Duration::from_secs(300);

pub static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let settings = Settings::default();
    Settings { pods: Pods { load_time: LOAD, ..Pods::default() }, ..settings }
});

/// Computed once: the settings never change, and the computation takes longer than most simulated processes live.
pub static CONFIG_HASH: LazyLock<u64> = LazyLock::new(|| config_hash(&SETTINGS));

/// All that InferenceServices may have been built from: what is built in, and each catalogue that was ever there and can
/// be accepted.
#[derive(Default)]
pub struct Offers {
    /// With the settings that each catalogue's spec amounts to; None: it cannot be accepted.
    catalogs: Vec<(Value, Option<Settings>)>,
}

impl Offers {
    /// A catalogue was written.
    pub fn add(&mut self, spec: &Value) {
        if !self.catalogs.iter().any(|(known, _)| known == spec) {
            let decoded = decode_catalog(&RawSpec::from(spec));
            let settings = decoded.and_then(|spec| lay_over(&SETTINGS, &spec)).ok();
            self.catalogs.push((spec.clone(), settings));
        }
    }

    /// None: a catalogue of this spec cannot be accepted.
    pub fn of(&self, spec: &Value) -> Option<&Settings> {
        self.catalogs.iter().find(|(known, _)| known == spec)?.1.as_ref()
    }

    /// The settings with each catalogue that can be accepted, and without any.
    pub fn all(&self) -> impl Iterator<Item = &Settings> {
        let built_in: &Settings = &SETTINGS;
        std::iter::once(built_in).chain(self.catalogs.iter().filter_map(|(_, settings)| settings.as_ref()))
    }

    /// The child that this spec asks for, by each of the offers; None: that one rejects the spec.
    pub fn desired(&self, kind: Kind, key: &Key, uid: &str, spec: &Value) -> impl Iterator<Item = Option<Value>> {
        self.all().map(move |settings| desired(settings, kind, key, uid, spec))
    }

    /// Is there one of the offers by which this spec asks for such a child?
    pub fn any(&self, kind: Kind, key: &Key, uid: &str, spec: &Value, is_it: impl Fn(&Value) -> bool) -> bool {
        self.desired(kind, key, uid, spec).flatten().any(|desired| is_it(&desired))
    }

    /// Is there one that rejects this spec?
    pub fn may_reject(&self, key: &Key, uid: &str, spec: &Value) -> bool {
        self.desired(Kind::Deployment, key, uid, spec).any(|desired| desired.is_none())
    }
}

/// The child that this spec asks for with these settings; None: the spec is rejected.
pub fn desired(settings: &Settings, kind: Kind, key: &Key, uid: &str, spec: &Value) -> Option<Value> {
    let spec = decode(&RawSpec::from(spec)).ok()?;
    let valid = validate(&key.namespace, &key.name, uid.parse().ok()?, &spec, &settings.catalog).ok()?;
    Some(match kind {
        Kind::Service => service::build(&valid),
        _ => deployment::build(&valid, &settings.pods).ok()?,
    })
}

/// What an operator builds from, once it knows all that is there. None: there is a catalogue that cannot be accepted, and
/// nobody says which one was before; an operator that has seen that one knows it, and another changes nothing for the
/// administrator's sake.
pub fn in_force(store: &Store) -> Option<&Settings> {
    let Some(catalog) = store.get(&Key::catalog()) else { return Some(&SETTINGS) };
    let accepted = store.offers.of(&catalog["spec"]);
    accepted.or_else(|| store.offers.of(&catalog["status"]["accepted"]))
}
