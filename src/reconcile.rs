//! One InferenceService from start to end: read, plan, validate, build, apply, status. Called by the
//! controller with what the index knows; knows WHAT is to be done and never WHEN.

pub mod apply;
mod children;
mod config_hash;
pub mod deployment;
pub mod event;
pub mod plan;
pub mod service;
pub mod status;
pub mod validate;

use std::sync::Arc;

use serde_json::Value;

use crate::api::Phase;
use crate::error::{Error, Remedy};
use crate::kubernetes::resource::Resource;
use crate::model::Dirty;
use crate::model::view::{DeploymentView, InferenceServiceView, PartialService, RawSpec, ServiceView};
use crate::model::{Action, Outcome, Summary, Task};
use crate::settings::Settings;
use apply::Precondition;
use children::{Child, Children};
pub use config_hash::config_hash;
use plan::{CONTESTED_AFTER, Plan, Step};
use status::{Assessment, LoadWait, Subject};

/// What every reconcile is handed.
pub struct Context {
    pub client: kube::Client,
    pub settings: Settings,
    /// See `config_hash`.
    pub config_hash: u64,
    /// Seconds since the epoch; handed in, so that a test can own the clock.
    pub now: fn() -> u32,
    pub events: event::Limit,
}

impl Context {
    pub fn new(client: kube::Client, settings: Settings, now: fn() -> u32) -> Arc<Self> {
        let events = event::Limit::default();
        Arc::new(Context { client, config_hash: config_hash(&settings), settings, now, events })
    }
}

/// Brings one InferenceService to its spec. An error is one that time resolves and that the status
/// does not speak of, yet.
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
    // Apart, because it decides nothing.
    if let Some(reported) = children.reported {
        report(context, &task, &reported).await;
    }
    result
}

async fn converge(context: &Context, task: &mut Task, children: &mut Children) -> Result<Outcome, Error> {
    if apply_unread(context, task, children).await? {
        return update_status(context, task, children).await;
    }
    let desired = if task.dirty.contains(Dirty::SERVICE) {
        service::desired(&task.namespace, &task.name, task.uid, &context.settings.server)
    } else {
        Value::Null
    };
    let mut service = None;
    if plan::is_of_service_alone(task) {
        service = read_service(context, task, children).await?;
        if matches!(plan::service_step(task, service.as_ref(), &desired), Ok(Step::Leave)) {
            return Ok(Outcome { versions: children.versions(task, false), ..Outcome::unchanged(task) });
        }
    }
    let fields = if plan::is_rollout_check(task) { DeploymentView::LEAN } else { DeploymentView::FIELDS };
    children.deployment = apply::get_part::<DeploymentView>(&context.client, task, fields).await?.into();
    // One after the other: both at once would need twice the connections.
    if task.dirty.contains(Dirty::SERVICE) && !plan::is_new(task) && service.is_none() {
        service = read_service(context, task, children).await?;
    }
    let plan = Plan::new(task, children.deployment.found(), service.as_ref(), &desired);
    if !plan.is_idle() {
        let spec = spec(context, task, plan.reads_spec).await?;
        // It may be another one than was known.
        let plan = Plan::new(task, children.deployment.found(), service.as_ref(), &desired);
        let Settings { catalog, server, .. } = &context.settings;
        let spec = validate::decode(&spec)?;
        let valid = validate::validate(&task.namespace, &task.name, task.uid, &spec, catalog)?;
        // Where one of the names is taken, neither child is written: both steps come before both writes.
        let (deployment_step, service_step) = (plan.deployment?, plan.service?);
        apply_service(context, task, children, service_step, &desired, service).await?;
        apply_deployment(context, task, children, deployment_step, deployment::build(&valid, server)).await?;
        require_replicas(task, children, spec.replicas)?;
    }
    update_status(context, task, children).await
}

async fn read_service(context: &Context, task: &Task, children: &mut Children) -> Result<Option<ServiceView>, Error> {
    let service = apply::get::<ServiceView>(&context.client, task).await?;
    children.service = service.as_ref().map(|child| child.meta.clone()).into();
    Ok(service)
}

/// Where only the spec has changed, the watches have shown the children as they are: the Deployment is
/// applied without a look, on condition that it still is at that resourceVersion. False: that is not
/// so, or the API server says no, and a look will tell why.
async fn apply_unread(context: &Context, task: &mut Task, children: &mut Children) -> Result<bool, Error> {
    let Some(version) = plan::known_from_watch(task) else { return Ok(false) };
    let raw = spec(context, task, false).await?;
    let Settings { catalog, server, .. } = &context.settings;
    let spec = validate::decode(&raw);
    let valid = spec.as_ref().ok().and_then(|spec| {
        let valid = validate::validate(&task.namespace, &task.name, task.uid, spec, catalog).ok()?;
        Some((deployment::build(&valid, server), spec.replicas))
    });
    let Some((desired, replicas)) = valid else {
        task.spec = Some(raw);
        return Ok(false);
    };
    match apply::apply::<DeploymentView>(&context.client, task, desired, Precondition::ResourceVersion(version)).await {
        Ok(deployment) => {
            children.wrote = deployment.meta.resource_version != version;
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

/// The spec from the index, or read again, which is from the datastore and not from the API server's memory.
/// `afresh`: only that will do.
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

/// The InferenceService as the datastore has it now.
async fn read_owner(context: &Context, task: &Task) -> Result<InferenceServiceView, Error> {
    let object = apply::get::<InferenceServiceView>(&context.client, task).await?.ok_or(Error::Gone)?;
    if object.meta.uid != task.uid || object.meta.deleting { Err(Error::Gone) } else { Ok(object) }
}

/// `found`: as it was read.
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
                step = plan::require_owned("Service", task, meta)?;
                if matches!(step, Step::Adopt(_)) {
                    read_owner(context, task).await?;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    let (Step::Apply(known) | Step::Adopt(known)) = step else { return Ok(()) };
    let applied: PartialService = apply::apply(client, task, desired.clone(), known).await?;
    plan::require_controlled("Service", task, &applied.meta)?;
    children.note("Service", task, step, &applied.meta, found.map(|child| child.managers));
    children.service = Child::Found(applied.meta);
    Ok(())
}

async fn apply_deployment(
    context: &Context,
    task: &Task,
    children: &mut Children,
    step: Step,
    desired: Value,
) -> Result<(), Error> {
    let (Step::Apply(known) | Step::Adopt(known)) = step else { return Ok(()) };
    let applied: DeploymentView = apply::apply(&context.client, task, desired, known).await?;
    plan::require_controlled("Deployment", task, &applied.meta)?;
    let is_seen = applied.meta.labels.managed;
    let managers = children.deployment.found().map(|child| child.managers.clone());
    children.note("Deployment", task, step, &applied.meta, managers);
    children.deployment = Child::Found(applied);
    if is_seen { Ok(()) } else { Err(Error::LabelTakenAway(task.namespace.clone(), task.name.clone())) }
}

/// What is Ready is what the InferenceService asks for, and not what something on the way made of it.
fn require_replicas(task: &Task, children: &Children, asked: i32) -> Result<(), Error> {
    let found = children.deployment.found().map_or(asked, |deployment| deployment.spec_replicas);
    if found == asked {
        return Ok(());
    }
    let (namespace, name) = (task.namespace.clone(), task.name.clone());
    Err(Error::ReplicasOverridden { namespace, name, asked, found })
}

/// Computes the status, and writes it where it differs from what it says already.
async fn update_status(context: &Context, task: &Task, children: &mut Children) -> Result<Outcome, Error> {
    // Taken away between the apply and now.
    let owned = children.deployment.found().filter(|child| child.meta.is_controlled_by(task.uid));
    let deployment = owned.ok_or(Error::Gone)?;
    let versions = children.versions(task, true);
    let mut outcome = Outcome { versions, repaired: children.repair.is_some(), ..Outcome::unchanged(task) };
    let is_anew = plan::is_anew(task, deployment);
    let before = if is_anew { task.summary.map(Summary::of_others) } else { task.summary };
    let is_unseen = deployment.status.observed_generation < deployment.meta.generation;
    let is_contested = task.repairs.saturating_add(u8::from(outcome.repaired)) >= CONTESTED_AFTER;
    if is_unseen && !task.dirty.contains(Dirty::STATUS) && !is_contested {
        // What is as it was left is seen before long, and its watch tells; what was written is looked at.
        outcome.action = if is_anew || children.wrote { Action::Recheck(Dirty::STATUS) } else { Action::AwaitChange };
        return Ok(outcome);
    }
    let now = (context.now)();
    let endpoint = service::endpoint(&task.namespace, &task.name, &context.settings);
    let subject = subject(context, task, &endpoint);
    let load_seconds = context.settings.server.load_seconds;
    let load_wait = LoadWait::new(before.as_ref(), load_seconds, now);
    let assessment = match &children.repair {
        Some(repair) if is_contested => {
            let who = repair.managers.as_ref().and_then(|managers| managers.other.as_deref());
            status::contested(repair.kind, repair.managers.as_ref().map(|_| who), &subject)
        }
        None if task.summary.is_some_and(|before| status::stays_contested(&before, now)) => {
            outcome.action = Action::Recheck(Dirty::COUNT);
            return Ok(outcome);
        }
        _ => status::assess(deployment, load_wait, &subject),
    };
    if children.repair.is_some() && is_contested {
        outcome.action = Action::Recheck(Dirty::COUNT);
    } else if assessment.phase == Phase::Progressing && status::misses_replicas(deployment) {
        outcome.action = Action::Recheck(Dirty::DUE);
    }
    let ready = deployment.status.ready_replicas;
    let is_forced = children.wrote || task.dirty.contains(Dirty::STATUS);
    write(context, task, children, &subject, before.as_ref(), assessment, ready, is_forced, outcome).await
}

/// Says in the status what stands in the way.
async fn refuse(context: &Context, task: &Task, children: &mut Children, error: Error) -> Result<Outcome, Error> {
    let mut versions = children.versions(task, false);
    if error.remedy() == Remedy::User {
        versions = versions.of_no_spec();
    }
    let ready = match &children.deployment {
        Child::Found(child) if child.meta.is_controlled_by(task.uid) => child.status.ready_replicas,
        Child::Found(_) | Child::Absent => 0,
        // What could not be read is as it was.
        Child::Unread => match apply::get::<InferenceServiceView>(&context.client, task).await {
            Ok(Some(object)) => object.status().map_or(0, |status| status.ready_replicas),
            Ok(None) => return Err(Error::Gone),
            Err(_) => return Err(error),
        },
    };
    let endpoint = service::endpoint(&task.namespace, &task.name, &context.settings);
    let subject = subject(context, task, &endpoint);
    let assessment = status::refuse(&error, ready > 0);
    let before = task.summary.map(|before| if before.is_current { before } else { before.of_others() });
    let outcome = Outcome { versions, action: Action::Rejected(error), ..Outcome::unchanged(task) };
    write(context, task, children, &subject, before.as_ref(), assessment, ready, false, outcome).await
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

/// Writes the status, unless it says so already or can wait. `is_forced`: a child was written just now. Then the status
/// is written even where it says the same, because of its versions: a restart would otherwise take the child for one that
/// somebody else has changed.
#[allow(clippy::too_many_arguments)] // what both of its callers have come to
async fn write(
    context: &Context,
    task: &Task,
    children: &mut Children,
    subject: &Subject<'_>,
    before: Option<&Summary>,
    assessment: Assessment,
    ready_replicas: i32,
    is_forced: bool,
    mut outcome: Outcome,
) -> Result<Outcome, Error> {
    let reported = assessment.clone();
    let (status, summary) =
        status::compose(assessment, ready_replicas, outcome.versions, subject, before, (context.now)());
    if !is_forced && plan::can_wait(task, &summary) {
        // What is tried again anyway is told then.
        if !matches!(&outcome.action, Action::Rejected(error) if error.remedy() != Remedy::User) {
            outcome.action = Action::Recheck(Dirty::COUNT);
        }
        return Ok(outcome);
    }
    if is_forced || before.is_none_or(|before| before.checksum != summary.checksum) {
        let written = match apply::write_status(&context.client, task, &status).await {
            Err(error) if error.is_unprocessable() => {
                // Is it the uid? That of another one of this name is not to be written to.
                read_owner(context, task).await?;
                return Err(error);
            }
            written => written?,
        };
        children.reported = Some(reported).filter(|_| before.is_none_or(|before| before.checksum != summary.checksum));
        outcome.written = Some(Box::new(written));
    }
    outcome.summary = Some(summary);
    Ok(outcome)
}

/// Logs what a person should look at, and makes an Event of it. Only ever called after the status
/// was written, so that it is said once.
async fn report(context: &Context, task: &Task, assessment: &Assessment) {
    let Assessment { phase, reason, message, .. } = assessment;
    let is_alarm = matches!(phase, Phase::Failed | Phase::Degraded | Phase::Pending);
    // As often as an Event may be made: what somebody toggles fills no log either.
    if is_alarm && context.events.allow(task.uid, (context.now)()) {
        tracing::warn!(namespace = task.namespace, name = task.name, reason, "{message}");
        event::warn(context, task, assessment).await;
    } else {
        tracing::debug!(namespace = task.namespace, name = task.name, reason, "{message}");
    }
}

#[cfg(test)]
pub(crate) mod tests;
