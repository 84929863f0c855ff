//! One reconcile of one InferenceService, from start to end: read, plan, validate, build, apply, status. Called by
//! the controller with the state from the index; decides WHAT to do and never WHEN.

pub mod apply;
pub mod arguments;
pub mod cause;
mod children;
pub mod deployment;
pub mod event;
mod fields;
mod hashes;
pub mod instances;
mod list_pods;
pub mod merge;
pub mod plan;
pub mod pod;
pub mod pod_security;
pub mod service;
pub mod status;
mod update_status;
pub mod validate;
mod yielding;

use std::num::NonZeroU64;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{InferenceServiceSpec, ServiceSettings};
use crate::error::Error;
use crate::kubernetes::refusal::{describe, is_of_fields};
use crate::model::hashes::ANNOTATION as HASHES;
use crate::model::instance::ANNOTATION as INSTANCE;
use crate::model::view::{DeploymentView, InferenceServiceView, PartialService, RawSpec, ServiceView};
use crate::model::{ChildKind, Dirty, Hashes, Outcome, Summary, Task};
use crate::settings::Settings;
use crate::time::{Timestamp, Utc};
use apply::Precondition;
use children::{Child, Children};
pub use hashes::{config_hash, judge};
use instances::Instances;
use plan::{Plan, Reads, Step};
use service::Desired;
use update_status::{pause, refuse, report, update_status};
use validate::Valid;
use yielding::{Said, Turn};

/// The dependencies of every reconcile.
pub struct Context {
    pub client: kube::Client,
    pub settings: Settings,
    /// See `config_hash`.
    pub config_hash: u64,
    /// Injected, so that a test can control the clock.
    pub now: fn() -> Timestamp,
    pub events: Arc<event::Limit>,
    pub instances: Arc<Instances>,
}

impl Context {
    /// `started`: the time of the process's start.
    pub fn new(client: kube::Client, settings: Settings, now: fn() -> Timestamp, started: Utc) -> Arc<Self> {
        let (events, instances) = (Arc::default(), Arc::new(Instances::new(started)));
        Arc::new(Context { client, config_hash: config_hash(&settings), settings, now, events, instances })
    }

    /// The same with other settings.
    pub fn with_settings(&self, settings: Settings) -> Arc<Self> {
        let (client, now) = (self.client.clone(), self.now);
        let (events, instances) = (self.events.clone(), self.instances.clone());
        Arc::new(Context { client, config_hash: config_hash(&settings), settings, now, events, instances })
    }
}

/// Reconciles one InferenceService with its spec. Returns an error only for a failure that resolves with time and
/// that the status does not report yet.
pub async fn reconcile(context: &Context, mut task: Task) -> Result<Outcome, Error> {
    let deadline = context.settings.deadline;
    let mut children = Children::default();
    let late = |_| Error::Timeout(deadline);
    let converged = tokio::time::timeout(deadline, converge(context, &mut task, &mut children)).await;
    let result = match converged.map_err(late).flatten() {
        Err(error) if error.is_reported(task.failures) => {
            let reported = tokio::time::timeout(deadline, refuse(context, &task, &mut children, error)).await;
            reported.map_err(late).flatten()
        }
        result => result,
    };
    // Separate, because a report never affects the result.
    if let Some(reported) = children.reported {
        report(context, &task, &reported).await;
    }
    result
}

async fn converge(context: &Context, task: &mut Task, children: &mut Children) -> Result<Outcome, Error> {
    let reads = plan::reads(task);
    // What a newer instance has brought must not be overwritten unseen.
    if let Reads::Nothing(version) = reads
        && !context.instances.has_met_newer()
        && apply_unread(context, task, children, version).await?
    {
        return update_status(context, task, children).await;
    }
    let mut by_name =
        if task.dirty.contains(Dirty::SERVICE) { desired_service(task, None) } else { Desired::default() };
    let mut service = None;
    if reads == Reads::ServiceFirst {
        service = read_service(context, task, children).await?;
        if matches!(plan::service_step(task, service.as_ref(), &by_name), Ok(Step::Leave)) {
            return Ok(Outcome { versions: children.versions(task, false), ..Outcome::unchanged(task) });
        }
    }
    children.deployment = apply::get::<DeploymentView>(&context.client, task).await?.into();
    // Sequentially: reading both at once would need twice the connections.
    if reads == Reads::Both {
        service = read_service(context, task, children).await?;
    }
    let plan = Plan::new(task, children.deployment.found(), service.as_ref(), &by_name);
    let is_in_doubt = yielding::is_in_doubt(context, task, children);
    if plan.is_idle() && !plan::service_needs_spec(task) && !is_in_doubt {
        return update_status(context, task, children).await;
    }
    let (raw, said) = spec(context, task, plan.reads_spec || is_in_doubt).await?;
    match yielding::turn(context, task, children, &raw, said.as_ref()) {
        Turn::Own => {}
        Turn::Rest => return Ok(at_rest(task, children)),
        Turn::Wait => return Err(Error::LeftToNewer),
        Turn::StatusAlone => return update_status(context, task, children).await,
        Turn::TakeOver => {
            task.dirty |= Dirty::SPEC_AND_CHILDREN;
            by_name = desired_service(task, None);
            if matches!(children.service, Child::Unread) {
                service = read_service(context, task, children).await?;
            }
        }
    }
    apply_children(context, task, children, &raw, by_name, service).await
}

/// What a newer instance has brought is known from now on, and is no more than that: what the known status says was said
/// of the children before.
fn at_rest(task: &Task, children: &Children) -> Outcome {
    let summary = children.deployment.found().map_or(task.summary, |found| plan::before(task, found));
    Outcome { versions: children.versions(task, true), summary, ..Outcome::unchanged(task) }
}

/// `by_name`: the Service, where `spec.service` does not shape it; `service`: as it was read.
async fn apply_children(
    context: &Context,
    task: &mut Task,
    children: &mut Children,
    raw: &RawSpec,
    by_name: Desired,
    mut service: Option<ServiceView>,
) -> Result<Outcome, Error> {
    let inputs = hashes::inputs(context.config_hash, raw);
    children.inputs = Some(inputs);
    let spec = validate::decode(raw)?;
    if spec.paused {
        return pause(context, task, children).await;
    }
    let desired = reshape(context, task, children, &spec, by_name, &mut service).await?;
    // The spec may differ from the one in the index, so plan again.
    let plan = Plan::new(task, children.deployment.found(), service.as_ref(), &desired);
    let valid = validate::validate(&task.namespace, &task.name, task.uid, &spec, &context.settings.catalog)?;
    let deployment = deployment_of(context, task, inputs, &valid, children.deployment.found())?;
    // If one of the names is taken, neither child is written: both steps are checked before the first write.
    let (deployment_step, service_step) = (plan.deployment?, plan.service?);
    apply_service(context, task, children, service_step, &desired, service).await?;
    if task.dirty.contains(Dirty::SERVICE) {
        task.service_port = desired.port;
    }
    apply_deployment(context, task, children, deployment_step, deployment, &spec).await?;
    require_replicas(task, children, spec.replicas)?;
    update_status(context, task, children).await
}

fn desired_service(task: &Task, settings: Option<&ServiceSettings>) -> Desired {
    Desired::new(&task.namespace, &task.name, task.uid, settings)
}

/// The Service that this spec asks for. Where `spec.service` shapes it, or did, it is read if that was not done yet.
async fn reshape(
    context: &Context,
    task: &mut Task,
    children: &mut Children,
    spec: &InferenceServiceSpec,
    by_name: Desired,
    service: &mut Option<ServiceView>,
) -> Result<Desired, Error> {
    let is_looked_at = task.dirty.intersects(Dirty::SPEC | Dirty::SERVICE);
    if !is_looked_at || spec.service.is_none() && task.service_port.is_none() {
        return Ok(by_name);
    }
    task.dirty |= Dirty::SERVICE;
    if matches!(children.service, Child::Unread) {
        *service = read_service(context, task, children).await?;
    }
    Ok(desired_service(task, spec.service.as_ref()))
}

async fn read_service(context: &Context, task: &Task, children: &mut Children) -> Result<Option<ServiceView>, Error> {
    let service = apply::get::<ServiceView>(&context.client, task).await?;
    children.service = service.as_ref().map(|child| child.meta.clone()).into();
    Ok(service)
}

/// Applies the Deployment without reading it first, with this resourceVersion as precondition. False: the
/// precondition failed or the API server rejected the request; a read will show why.
async fn apply_unread(
    context: &Context,
    task: &mut Task,
    children: &mut Children,
    version: NonZeroU64,
) -> Result<bool, Error> {
    let (raw, _) = spec(context, task, false).await?;
    let spec = validate::decode(&raw);
    // What can be refused for a mistake of the user is better applied where that is looked into, and what has a Service
    // of its own shape where that is applied too.
    let is_plain = |spec: &&InferenceServiceSpec| !spec.passes_on() && spec.service.is_none() && !spec.paused;
    let valid = spec.as_ref().ok().filter(is_plain).and_then(|spec| {
        let catalog = &context.settings.catalog;
        let valid = validate::validate(&task.namespace, &task.name, task.uid, spec, catalog).ok()?;
        let inputs = hashes::inputs(context.config_hash, &raw);
        Some((deployment_of(context, task, inputs, &valid, None).ok()?, spec.replicas))
    });
    let Some((desired, replicas)) = valid else {
        task.spec = Some(raw);
        return Ok(false);
    };
    match apply::apply::<DeploymentView>(&context.client, task, desired, Precondition::ResourceVersion(version.get()))
        .await
    {
        Ok(deployment) => {
            children.wrote = deployment.meta.version() != Some(version);
            children.deployment = Child::Found(deployment);
            require_replicas(task, children, replicas)?;
            Ok(true)
        }
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429 => {
            task.spec = Some(raw);
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// The desired Deployment, with the hashes of what this spec builds, and with who has built it.
fn deployment_of(
    context: &Context,
    task: &Task,
    inputs: u64,
    valid: &Valid,
    found: Option<&DeploymentView>,
) -> Result<Value, Error> {
    let mut deployment = deployment::build(valid, &context.settings.pods)?;
    let children = hashes::of_children(valid, &deployment);
    // Where the children stay as they are, so does all that is said of them: an apply that changes nothing writes nothing.
    let same = found.and_then(|found| Some((found.hashes?, found.meta.instance.clone())));
    let (hashes, instance) = same
        .filter(|(hashes, _)| hashes.children == children)
        .unwrap_or_else(|| (Hashes { inputs, children, by_rollout: task.released }, Some(context.instances.own())));
    let annotations = &mut deployment["metadata"]["annotations"];
    *annotations = json!({HASHES: hashes.to_string()});
    if let Some(instance) = instance {
        annotations[INSTANCE] = json!(instance.to_string());
    }
    Ok(deployment)
}

/// The spec from the index or, if there is none, from the API server: a GET reads the datastore and not the API
/// server's watch cache. With what the status says that was read on the way. `afresh`: always read.
async fn spec(context: &Context, task: &mut Task, afresh: bool) -> Result<(RawSpec, Option<Said>), Error> {
    if let Some(spec) = task.spec.take().filter(|_| !afresh) {
        return Ok((spec, None));
    }
    let object = read_owner(context, task).await?;
    if object.meta.generation != task.generation {
        task.generation = object.meta.generation;
        task.dirty |= Dirty::SPEC;
        task.summary = task.summary.map(|before| Summary { is_current: false, ..before });
    }
    let said = Said::of(&object);
    Ok((object.spec, said))
}

/// The InferenceService as it is in the datastore now.
async fn read_owner(context: &Context, task: &Task) -> Result<InferenceServiceView, Error> {
    let object = apply::get::<InferenceServiceView>(&context.client, task).await?.ok_or(Error::Gone)?;
    if object.meta.uid != task.uid || object.meta.deleting { Err(Error::Gone) } else { Ok(object) }
}

/// `found`: the Service as it was read.
async fn apply_service(
    context: &Context,
    task: &Task,
    children: &mut Children,
    mut step: Step,
    desired: &Desired,
    mut found: Option<ServiceView>,
) -> Result<(), Error> {
    let client = &context.client;
    if step == Step::Create {
        match apply::create::<PartialService>(client, task, &desired.object).await {
            Ok(created) => {
                children.service = Child::Found(created.meta);
                children.wrote = true;
                return Ok(());
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                found = apply::get::<ServiceView>(client, task).await?;
                let meta = found.as_ref().map(|child| &child.meta);
                children.service = meta.cloned().into();
                step = plan::require_owned(ChildKind::Service, task, meta)?;
                if matches!(step, Step::Adopt(_)) {
                    read_owner(context, task).await?;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    let (Step::Apply(mut known) | Step::Adopt(mut known)) = step else { return Ok(()) };
    let others = found.as_ref().map_or_else(Vec::new, |child| service::other_ports(&child.spec, &desired.object));
    if let (false, Precondition::ResourceVersion(version)) = (others.is_empty(), known) {
        let moved: PartialService = apply::replace_ports(client, task, version, &others, &desired.object).await?;
        known = Precondition::ResourceVersion(moved.meta.resource_version);
    }
    let applied: PartialService = apply::apply(client, task, desired.object.clone(), known).await?;
    plan::require_controlled(ChildKind::Service, task, &applied.meta)?;
    children.note(ChildKind::Service, task, step, &applied.meta, found.map(|child| child.managers));
    children.service = Child::Found(applied.meta);
    Ok(())
}

async fn apply_deployment(
    context: &Context,
    task: &Task,
    children: &mut Children,
    step: Step,
    desired: Value,
    spec: &InferenceServiceSpec,
) -> Result<(), Error> {
    let (Step::Apply(known) | Step::Adopt(known)) = step else { return Ok(()) };
    // In the other fields no mistake of the user is left for the API server to find.
    let asked = spec.passes_on().then(|| desired.clone());
    let applied: DeploymentView = match apply::apply(&context.client, task, desired, known).await {
        Ok(applied) => applied,
        Err(error) => return Err(blame(context, task, asked, error).await),
    };
    plan::require_controlled(ChildKind::Deployment, task, &applied.meta)?;
    let is_seen = applied.meta.labels.managed;
    let managers = children.deployment.found().map(|child| child.managers.clone());
    children.note(ChildKind::Deployment, task, step, &applied.meta, managers);
    children.deployment = Child::Found(applied);
    if is_seen { Ok(()) } else { Err(Error::LabelTakenAway(task.namespace.clone(), task.name.clone())) }
}

/// Whose fault is a refused apply of this Deployment, in which users have put parts of their own?
async fn blame(context: &Context, task: &Task, asked: Option<Value>, error: kube::Error) -> Error {
    let kube::Error::Api(status) = &error else { return error.into() };
    let fault = match asked {
        Some(_) if is_of_fields(&error) => Some(describe(&error)),
        Some(asked) if status.code == 500 => apply::fault(&context.client, &task.namespace, &asked).await,
        _ => None,
    };
    fault.map_or(error.into(), Error::InvalidPod)
}

/// An admission webhook may change the replicas: Ready must mean the number that the InferenceService asks for.
fn require_replicas(task: &Task, children: &Children, asked: i32) -> Result<(), Error> {
    let found = children.deployment.found().map_or(asked, |deployment| deployment.spec_replicas);
    if found == asked {
        return Ok(());
    }
    let (namespace, name) = (task.namespace.clone(), task.name.clone());
    Err(Error::ReplicasOverridden { namespace, name, asked, found })
}

#[cfg(test)]
pub(crate) mod tests;
