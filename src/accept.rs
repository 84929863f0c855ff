//! Is an InferenceCatalog accepted, and what holds then? Called by the controller when it has changed; decides by what
//! reconcile would build from it, so that a catalogue in force never surprises an InferenceService.

mod check;
pub mod say;

use std::time::Duration;

use crate::api::InferenceCatalogSpec;
use crate::api::catalog::{EngineEntry, GpuTypeEntry, NodeLabelEntry};
use crate::catalog::engine::{HEALTH_PATH, PORT};
use crate::catalog::gpu_type::NodeLabel;
use crate::catalog::{Engine, GpuType};
use crate::error::Error;
use crate::kubernetes::prune::LONGEST_VALUE;
use crate::model::view::RawSpec;
use crate::model::view::catalog::{AcceptedView, CatalogView};
use crate::reconcile::{Context, apply};
use crate::settings::Settings;

/// Why a catalogue is not accepted: the condition's reason, and a message with the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: &'static str,
    pub message: String,
}

impl Refusal {
    fn of_spec(path: &str, problem: impl std::fmt::Display) -> Refusal {
        Refusal { reason: "InvalidSpec", message: format!("spec.{path}: {problem}") }
    }
}

/// What was decided on a catalogue.
pub struct Verdict {
    pub accepted: Result<Settings, Refusal>,
    /// If it is refused: the settings with the last accepted one, if that was asked for and there is one.
    pub last: Option<Settings>,
}

/// Decides on this catalogue. `base`: with the settings that it is laid over. `is_first`: this process knows of no other
/// that was accepted. The error says why it could not be read which one was accepted last: without that there is nothing
/// to decide by.
pub async fn decide(base: &Context, catalog: &CatalogView, is_first: bool) -> Result<Verdict, Error> {
    let mut accepted = decode(&catalog.0.spec).and_then(|spec| Ok((lay_over(&base.settings, &spec)?, spec)));
    // What was accepted once is not asked for again.
    if let Ok((settings, spec)) = &accepted
        && !catalog.is_said_to_be_accepted()
        && let Some(refusal) = try_out(base, settings, spec, &catalog.0.meta.namespace).await
    {
        accepted = Err(refusal);
    }
    let accepted = accepted.map(|(settings, _)| settings);
    let last = if accepted.is_err() && is_first { last_accepted(base, catalog).await? } else { None };
    Ok(Verdict { accepted, last })
}

/// The settings with the catalogue that was accepted last, as its status has it.
async fn last_accepted(base: &Context, catalog: &CatalogView) -> Result<Option<Settings>, Error> {
    let meta = &catalog.0.meta;
    let deadline = base.settings.deadline;
    let read = tokio::time::timeout(deadline, apply::get_of(&base.client, &meta.namespace, &meta.name)).await;
    let read: Option<AcceptedView> = read.map_err(|_| Error::Timeout(deadline))??;
    let accepted = read.filter(|read| read.spec.text().is_some());
    Ok(accepted.and_then(|read| lay_over(&base.settings, &decode(&read.spec).ok()?).ok()))
}

/// Asks the API server about each fragment of a pod template, because it alone knows all fields. If it cannot say, the
/// fragment passes, and a rollout halts at the first pod that it spoils.
async fn try_out(base: &Context, settings: &Settings, spec: &InferenceCatalogSpec, namespace: &str) -> Option<Refusal> {
    let namespace = settings.namespace.as_deref().unwrap_or(namespace);
    for (path, deployment) in check::samples(settings, spec, namespace) {
        if let Some(fault) = apply::fault(&base.client, namespace, &deployment.ok()?).await {
            return Some(Refusal { reason: "InvalidPod", message: format!("spec.{path}: {fault}") });
        }
    }
    None
}

pub fn decode(raw: &RawSpec) -> Result<InferenceCatalogSpec, Refusal> {
    let text = raw.text().unwrap_or("{}");
    if let Ok(size) = text.parse::<usize>() {
        let message = format!("the spec has {size} bytes (expected: at most {LONGEST_VALUE})");
        return Err(Refusal { reason: "SpecTooLarge", message });
    }
    let undecoded = |problem: serde_json::Error| Refusal { reason: "InvalidSpec", message: format!("spec: {problem}") };
    serde_json::from_str(text).map_err(undecoded)
}

/// These settings with a catalogue laid over them.
pub fn lay_over(base: &Settings, spec: &InferenceCatalogSpec) -> Result<Settings, Refusal> {
    let mut settings = base.clone();
    check::entries(spec)?;
    for gpu in &spec.gpu_types {
        settings.catalog.put_gpu_type(gpu_type(gpu));
    }
    for entry in &spec.engines {
        settings.catalog.put_engine(engine(entry));
    }
    let defaults = &spec.defaults;
    if let Some(name) = &defaults.engine
        && !settings.catalog.prefer_engine(name)
    {
        let expected = settings.catalog.engine_names();
        return Err(Refusal::of_spec("defaults.engine", format!("there is no engine {name} (expected: {expected})")));
    }
    if let Some(resource) = &defaults.resource_name {
        settings.catalog.resource.clone_from(resource);
    }
    settings.pods.load_time = seconds(defaults.load_seconds).unwrap_or(settings.pods.load_time);
    settings.pods.template.clone_from(&defaults.template);
    if let Some(share) = &spec.rollout.max_unavailable {
        let text = share.as_str().map_or_else(|| share.to_string(), str::to_owned);
        let share = text.parse().map_err(|problem: String| Refusal::of_spec("rollout.maxUnavailable", problem))?;
        settings.max_unavailable = share;
    }
    for (path, built) in check::samples(&settings, spec, "namespace") {
        built.map_err(|problem| Refusal::of_spec(&path, problem))?;
    }
    Ok(settings)
}

fn seconds(seconds: Option<u32>) -> Option<Duration> {
    seconds.map(|seconds| Duration::from_secs(seconds.into()))
}

fn gpu_type(entry: &GpuTypeEntry) -> GpuType {
    let label = |label: &NodeLabelEntry| NodeLabel { key: label.key.clone(), values: label.values.clone() };
    GpuType {
        name: entry.name.clone(),
        labels: entry.node_labels.iter().map(label).collect(),
        resource: entry.resource_name.clone(),
        template: entry.template.clone(),
    }
}

fn engine(entry: &EngineEntry) -> Engine {
    Engine {
        name: entry.name.clone(),
        image: entry.image.clone(),
        cpu_image: entry.cpu_image.clone(),
        command: entry.command.clone(),
        arguments: entry.args.clone(),
        port: entry.port.unwrap_or(PORT),
        health_path: entry.health_path.clone().unwrap_or_else(|| HEALTH_PATH.to_owned()),
        load_time: seconds(entry.load_seconds),
        cache_variables: entry.cache_environment.clone().into_iter().collect(),
        template: entry.template.clone(),
    }
}
