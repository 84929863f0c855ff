//! What the status of an InferenceCatalog says: whether it is in force, and how far its rollout is. Written only when it
//! differs from what is there.

use serde_json::{Value, json};

use super::Refusal;
use crate::api::catalog::{ACCEPTED, ROLLOUT};
use crate::api::{Condition, InferenceCatalogStatus};
use crate::error::Error;
use crate::kubernetes::resource::Resource;
use crate::model::view::InferenceServiceView;
use crate::model::view::catalog::CatalogView;
use crate::reconcile::event::{self, Regarding};
use crate::reconcile::{Context, apply};
use crate::time::Timestamp;

/// The reason of the condition and of the Event.
const HALTED: &str = "RolloutHalted";

/// What there is to say.
pub struct News {
    /// Why the catalogue is not in force.
    pub refusal: Option<Refusal>,
    /// The spec that was accepted last, as JSON. None: none that is known, so what the status says stays.
    pub accepted: Option<String>,
    pub progress: Progress,
}

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Complete,
    InProgress,
    /// By this InferenceService. `status`: the checksum of its status; with another one there is another reason to tell.
    Halted {
        namespace: String,
        name: String,
        status: u64,
    },
}

/// Writes the status of the catalogue, if there is one and its status is another, and posts an Event about the
/// InferenceService that has halted the rollout. Returns whether anything was written.
pub async fn say(context: &Context, catalog: Option<&CatalogView>, news: &News) -> Result<bool, Error> {
    let halting = halting(context, &news.progress).await?;
    if let Some(catalog) = catalog {
        let before = catalog.status();
        let status = compose(context, catalog, news, halting.as_ref().map(|(_, why)| &**why), before.as_ref());
        if before.as_ref() == Some(&status) {
            return Ok(false);
        }
        write(context, catalog, &status, before.is_some(), news.accepted.as_deref()).await?;
    }
    if let Some((object, why)) = halting {
        let meta = &object.meta;
        let about =
            Regarding { namespace: &meta.namespace, name: &meta.name, uid: meta.uid, generation: meta.generation };
        if context.events.allow(meta.uid, (context.now)()) {
            event::warn(context, about, HALTED, &format!("others wait for it: {why}")).await;
        }
    }
    Ok(catalog.is_some())
}

/// The InferenceService that has halted the rollout, and why. None: none has, or it is gone.
async fn halting(context: &Context, progress: &Progress) -> Result<Option<(InferenceServiceView, String)>, Error> {
    let Progress::Halted { namespace, name, .. } = progress else { return Ok(None) };
    let object: Option<InferenceServiceView> = apply::get_of(&context.client, namespace, name).await?;
    Ok(object.map(|object| {
        let ready = object.status().and_then(|status| status.conditions.into_iter().find(|said| said.type_ == "Ready"));
        let why = ready.map_or_else(String::new, |ready| format!("{}: {}", ready.reason, ready.message));
        (object, why)
    }))
}

fn compose(
    context: &Context,
    catalog: &CatalogView,
    news: &News,
    why: Option<&str>,
    before: Option<&InferenceCatalogStatus>,
) -> InferenceCatalogStatus {
    let offered = &context.settings.catalog;
    let (is_accepted, reason, message) = match &news.refusal {
        None => (true, "Accepted", "it is in force".to_owned()),
        Some(refusal) => (false, refusal.reason, refusal.message.clone()),
    };
    let accepted = condition(ACCEPTED, is_accepted, reason, message, catalog, before, (context.now)());
    let (reason, message) = match &news.progress {
        Progress::Complete => ("Complete", "all InferenceServices are up to date".to_owned()),
        Progress::InProgress => {
            ("InProgress", "some InferenceServices wait for their turn, or are not Ready again".to_owned())
        }
        Progress::Halted { namespace, name, .. } => {
            let why = why.unwrap_or("it is not Ready");
            ("Halted", format!("{namespace}/{name} has not become Ready again; the others wait for it: {why}"))
        }
    };
    let is_complete = news.progress == Progress::Complete;
    let rollout = condition(ROLLOUT, is_complete, reason, message, catalog, before, (context.now)());
    InferenceCatalogStatus {
        observed_generation: catalog.0.meta.generation.into(),
        conditions: vec![accepted, rollout],
        engines: offered.engine_names(),
        gpu_types: offered.gpu_type_names(),
        accepted: None,
    }
}

/// A condition keeps its time while its status stays the same, as Kubernetes' API conventions have it.
fn condition(
    type_: &str,
    is_true: bool,
    reason: &str,
    message: String,
    catalog: &CatalogView,
    before: Option<&InferenceCatalogStatus>,
    now: Timestamp,
) -> Condition {
    let status = if is_true { "True" } else { "False" };
    let mut known = before.iter().flat_map(|before| &before.conditions);
    let since = known.find(|known| known.type_ == type_ && known.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(catalog.0.meta.generation.into()),
        last_transition_time: since.map_or(now, |known| known.last_transition_time),
    }
}

/// Writes the status of this very catalogue. `keeps`: it has one already, of which the catalogue that was accepted last
/// stays, unless that is known.
async fn write(
    context: &Context,
    catalog: &CatalogView,
    status: &InferenceCatalogStatus,
    keeps: bool,
    accepted: Option<&str>,
) -> Result<(), Error> {
    let mut patch = vec![json!({"op": "test", "path": "/metadata/uid", "value": catalog.0.meta.uid.to_string()})];
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Some(accepted) = accepted {
        value["accepted"] = serde_json::from_str(accepted).unwrap_or_default();
    }
    if keeps {
        let fields = value.as_object().into_iter().flatten();
        patch.extend(
            fields.map(|(field, value)| json!({"op": "add", "path": format!("/status/{field}"), "value": value})),
        );
    } else {
        patch.push(json!({"op": "add", "path": "/status", "value": value}));
    }
    let url = format!("{}/{}/status", CatalogView::path(Some(&catalog.0.meta.namespace)), catalog.0.meta.name);
    Ok(apply::patch_json(&context.client, &url, &Value::Array(patch)).await?)
}

#[cfg(test)]
mod tests;
