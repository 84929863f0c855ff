//! The lean types of an InferenceCatalog.

use serde::{Deserialize, Deserializer};

use super::wire::WireAccepted;
use super::{CODE, CONDITIONS, InferenceServiceView, MESSAGE, METADATA, REASON, RawSpec};
use crate::api;
use crate::api::catalog::{ACCEPTED, CATALOG_PLURAL, InferenceCatalogStatus};
use crate::kubernetes::prune::{Fields, Keep};
use crate::kubernetes::resource::Resource;

/// An InferenceCatalog from a list or a watch event. It has the parts of an InferenceService, and is watched as one: a
/// watch of another type would add 16 kB to the program.
#[derive(Clone, Debug)]
pub struct CatalogView(pub InferenceServiceView);

impl CatalogView {
    /// None: there is none, or none that can be decoded.
    pub fn status(&self) -> Option<InferenceCatalogStatus> {
        serde_json::from_str(self.0.status.as_deref()?.get()).ok()
    }

    /// Does its status say that this spec was accepted?
    pub fn is_said_to_be_accepted(&self) -> bool {
        let is_accepted = |status: InferenceCatalogStatus| {
            let mut conditions = status.conditions.iter();
            api::generation(status.observed_generation) == self.0.meta.generation
                && conditions.any(|condition| condition.type_ == ACCEPTED && condition.status == "True")
        };
        self.status().is_some_and(is_accepted)
    }
}

impl<'de> Deserialize<'de> for CatalogView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        InferenceServiceView::deserialize(deserializer).map(CatalogView)
    }
}

impl Resource for CatalogView {
    const GROUP: &'static str = api::GROUP;
    const VERSION: &'static str = api::VERSION;
    const PLURAL: &'static str = CATALOG_PLURAL;
    const FIELDS: Fields = &[
        ("metadata", METADATA),
        ("spec", Keep::WholeOrLength),
        (
            "status",
            Keep::Fields(&[
                ("observedGeneration", Keep::Whole),
                ("conditions", CONDITIONS),
                ("engines", Keep::Whole),
                ("gpuTypes", Keep::Whole),
            ]),
        ),
        CODE,
        MESSAGE,
        REASON,
    ];
}

/// The catalogue that was accepted last, from the status of an InferenceCatalog.
#[derive(Debug)]
pub struct AcceptedView {
    /// See `InferenceCatalogStatus::accepted`.
    pub spec: RawSpec,
}

impl Resource for AcceptedView {
    const GROUP: &'static str = CatalogView::GROUP;
    const VERSION: &'static str = CatalogView::VERSION;
    const PLURAL: &'static str = CatalogView::PLURAL;
    const FIELDS: Fields = &[("status", Keep::Fields(&[("accepted", Keep::WholeOrLength)]))];
}

impl<'de> Deserialize<'de> for AcceptedView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireAccepted::deserialize(deserializer)?;
        Ok(AcceptedView { spec: RawSpec(wire.status.and_then(|status| status.accepted)) })
    }
}
