//! One reconcile of one InferenceService, from start to end: read, plan, validate, build, apply, status. Called by
//! the controller with the state from the index; decides WHAT to do and never WHEN.

pub mod apply;
mod arguments;
mod children;
mod config_hash;
pub mod deployment;
pub mod event;
mod fields;
pub mod merge;
pub mod plan;
pub mod pod;
pub mod pod_security;
pub mod service;
pub mod status;
pub mod validate;

use std::num::NonZeroU64;
use std::sync::Arc;

use serde_json::Value;

use crate::api::{InferenceServiceSpec, Phase};
use crate::error::{Error, Remedy};
use crate::kubernetes::refusal::{describe, is_of_fields};
use crate::model::view::{DeploymentView, InferenceServiceView, PartialService, RawSpec, ServiceView};
use crate::model::{Action, ChildKind, Dirty, Outcome, Summary, Task};
use crate::settings::Settings;
use crate::time::Timestamp;
use apply::Precondition;
use children::{Child, Children};
pub use config_hash::config_hash;
use plan::{Plan, Reads, StatusStep, Step};
use status::{Assessment, LoadWait, Subject};

/// The dependencies of every reconcile.
pub struct Context {
    pub client: kube::Client,
    pub settings: Settings,
    /// See `config_hash`.
    pub config_hash: u64,
    /// Injected, so that a test can control the clock.
    pub now: fn() -> Timestamp,
    pub events: event::Limit,
}

impl Context {
    pub fn new(client: kube::Client, settings: Settings, now: fn() -> Timestamp) -> Arc<Self> {
        let events = event::Limit::default();
        Arc::new(Context { client, config_hash: config_hash(&settings), settings, now, events })
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
    if let Reads::Nothing(version) = reads
        && apply_unread(context, task, children, version).await?
    {
        return update_status(context, task, children).await;
    }
    let desired = if task.dirty.contains(Dirty::SERVICE) {
        service::desired(&task.namespace, &task.name, task.uid)
    } else {
        Value::Null
    };
    let mut service = None;
    if reads == Reads::ServiceFirst {
        service = read_service(context, task, children).await?;
        if matches!(plan::service_step(task, service.as_ref(), &desired), Ok(Step::Leave)) {
            return Ok(Outcome { versions: children.versions(task, false), ..Outcome::unchanged(task) });
        }
    }
    children.deployment = apply::get::<DeploymentView>(&context.client, task).await?.into();
    // Sequentially: reading both at once would need twice the connections.
    if reads == Reads::Both {
        service = read_service(context, task, children).await?;
    }
    let plan = Plan::new(task, children.deployment.found(), service.as_ref(), &desired);
    if !plan.is_idle() {
        let spec = spec(context, task, plan.reads_spec).await?;
        // The spec may differ from the one in the index, so plan again.
        let plan = Plan::new(task, children.deployment.found(), service.as_ref(), &desired);
        let Settings { catalog, pods, .. } = &context.settings;
        let spec = validate::decode(&spec)?;
        let valid = validate::validate(&task.namespace, &task.name, task.uid, &spec, catalog)?;
        let deployment = deployment::build(&valid, pods)?;
        // If one of the names is taken, neither child is written: both steps are checked before the first write.
        let (deployment_step, service_step) = (plan.deployment?, plan.service?);
        apply_service(context, task, children, service_step, &desired, service).await?;
        apply_deployment(context, task, children, deployment_step, deployment, &spec).await?;
        require_replicas(task, children, spec.replicas)?;
    }
    update_status(context, task, children).await
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
    let raw = spec(context, task, false).await?;
    let Settings { catalog, pods, .. } = &context.settings;
    let spec = validate::decode(&raw);
    // What can be refused for a mistake of the user is better applied where that is looked into.
    let valid = spec.as_ref().ok().filter(|spec| !spec.passes_on()).and_then(|spec| {
        let valid = validate::validate(&task.namespace, &task.name, task.uid, spec, catalog).ok()?;
        Some((deployment::build(&valid, pods).ok()?, spec.replicas))
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

/// The spec from the index or, if there is none, from the API server: a GET reads the datastore and not the API
/// server's watch cache. `afresh`: always read it.
async fn spec(context: &Context, task: &mut Task, afresh: bool) -> Result<RawSpec, Error> {
    if let Some(spec) = task.spec.take().filter(|_| !afresh) {
        return Ok(spec);
    }
    let object = read_owner(context, task).await?;
    if object.meta.generation != task.generation {
        task.generation = object.meta.generation;
        task.dirty |= Dirty::SPEC;
        task.summary = task.summary.map(|before| Summary { is_current: false, ..before });
    }
    Ok(object.spec)
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
    desired: &Value,
    mut found: Option<ServiceView>,
) -> Result<(), Error> {
    let client = &context.client;
    if step == Step::Create {
        match apply::create::<PartialService>(client, task, desired).await {
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
    let (Step::Apply(known) | Step::Adopt(known)) = step else { return Ok(()) };
    let applied: PartialService = apply::apply(client, task, desired.clone(), known).await?;
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
        Some(asked) if status.code == 500 => apply::fault::<DeploymentView>(&context.client, task, &asked).await,
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

/// Computes the status, and writes it if it differs from the current one.
async fn update_status(context: &Context, task: &Task, children: &mut Children) -> Result<Outcome, Error> {
    // It may have lost its owner reference between the apply and now.
    let owned = children.deployment.found().filter(|child| child.meta.is_controlled_by(task.uid));
    let deployment = owned.ok_or(Error::Gone)?;
    let (wrote, repaired, now) = (children.wrote, children.repair.is_some(), (context.now)());
    let outcome = Outcome { versions: children.versions(task, true), repaired, ..Outcome::unchanged(task) };
    if let Some(action) = plan::status_waits(task, deployment, wrote, repaired, now) {
        return Ok(Outcome { action, ..outcome });
    }
    let before = plan::before(task, deployment);
    let endpoint = service::endpoint(&task.namespace, &task.name, &context.settings);
    let subject = subject(context, task, &endpoint);
    let assessment = match &children.repair {
        Some(repair) if plan::is_contested(task, repaired) => {
            let who = repair.managers.as_ref().map(|managers| managers.other.as_deref());
            status::contested(repair.kind, who, &subject)
        }
        _ => {
            let load_wait = LoadWait::new(before.as_ref(), context.settings.pods.load_time, now);
            status::assess(deployment, load_wait, &subject)
        }
    };
    let action = plan::follow_up(task, deployment, repaired, assessment.phase);
    let ready_replicas = deployment.status.ready_replicas;
    let must_write = wrote || task.dirty.contains(Dirty::STATUS);
    let news = News { subject, assessment, ready_replicas, before, must_write };
    write_status(context, task, children, news, Outcome { action, ..outcome }).await
}

/// Reports an error in the status.
async fn refuse(context: &Context, task: &Task, children: &mut Children, error: Error) -> Result<Outcome, Error> {
    let mut versions = children.versions(task, false);
    if error.remedy() == Remedy::User {
        versions = versions.of_no_spec();
    }
    let ready_replicas = match &children.deployment {
        Child::Found(child) if child.meta.is_controlled_by(task.uid) => child.status.ready_replicas,
        Child::Found(_) | Child::Absent => 0,
        // The Deployment was not read, so the count in the status stays.
        Child::Unread => match apply::get::<InferenceServiceView>(&context.client, task).await {
            Ok(Some(object)) => object.status().map_or(0, |status| status.ready_replicas),
            Ok(None) => return Err(Error::Gone),
            Err(_) => return Err(error),
        },
    };
    let endpoint = service::endpoint(&task.namespace, &task.name, &context.settings);
    let subject = subject(context, task, &endpoint);
    let assessment = status::refuse(&error, ready_replicas > 0);
    let before = task.summary.map(|before| if before.is_current { before } else { before.of_others() });
    let news = News { subject, assessment, ready_replicas, before, must_write: false };
    let outcome = Outcome { versions, action: Action::Rejected(error), ..Outcome::unchanged(task) };
    write_status(context, task, children, news, outcome).await
}

fn subject<'a>(context: &Context, task: &'a Task, endpoint: &'a str) -> Subject<'a> {
    Subject {
        namespace: &task.namespace,
        name: &task.name,
        endpoint,
        generation: task.generation,
        config_hash: context.config_hash,
    }
}

/// The status to write.
struct News<'a> {
    subject: Subject<'a>,
    assessment: Assessment,
    ready_replicas: i32,
    /// The previous status, as far as it is still valid.
    before: Option<Summary>,
    /// See `plan::status_step`.
    must_write: bool,
}

/// Writes the status, unless it is unchanged or the write can wait.
async fn write_status(
    context: &Context,
    task: &Task,
    children: &mut Children,
    news: News<'_>,
    mut outcome: Outcome,
) -> Result<Outcome, Error> {
    let News { subject, assessment, ready_replicas, before, must_write } = news;
    let (before, reported) = (before.as_ref(), assessment.clone());
    let (status, summary) =
        status::compose(assessment, ready_replicas, outcome.versions, &subject, before, (context.now)());
    match plan::status_step(task, before, &summary, must_write) {
        StatusStep::Keep => {}
        StatusStep::Later => {
            // An error that is retried anyway is reported by the retry.
            if !matches!(&outcome.action, Action::Rejected(error) if error.remedy() != Remedy::User) {
                outcome.action = Action::Recheck(Dirty::COUNT);
            }
            return Ok(outcome);
        }
        StatusStep::Write => {
            let written = match apply::write_status(&context.client, task, &status).await {
                Err(error) if error.is_unprocessable() => {
                    // Did the test of the uid fail? The status of another object of this name must not be written.
                    read_owner(context, task).await?;
                    return Err(error);
                }
                written => written?,
            };
            children.reported = Some(reported).filter(|_| !plan::says(before, &summary));
            outcome.written = Some(Box::new(written));
        }
    }
    outcome.summary = Some(summary);
    Ok(outcome)
}

/// Logs what a person should look at, and posts it as an Event. Called only after the status was written, so that it
/// is reported once.
async fn report(context: &Context, task: &Task, assessment: &Assessment) {
    let Assessment { phase, reason, message, .. } = assessment;
    let is_alarm = matches!(phase, Phase::Failed | Phase::Degraded | Phase::Pending);
    // The limit for Events applies to the log too: a flapping object must not fill it.
    if is_alarm && context.events.allow(task.uid, (context.now)()) {
        tracing::warn!(namespace = task.namespace, name = task.name, reason, "{message}");
        event::warn(context, task, assessment).await;
    } else {
        tracing::debug!(namespace = task.namespace, name = task.name, reason, "{message}");
    }
}

#[cfg(test)]
pub(crate) mod tests;
