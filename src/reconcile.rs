//! One InferenceService from start to end: look, validate, build, apply, status. Called by the
//! controller with what the fleet knows; knows WHAT is to be done and never WHEN.

pub mod apply;
pub mod deployment;
pub mod service;
pub mod status;
pub mod validate;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{InferenceServiceSpec, Phase};
use crate::controller::reasons::Reasons;
use crate::error::{Error, Remedy};
use crate::projection::{Deployment, Identity, InferenceService, Service};
use crate::settings::Settings;
use crate::telemetry::events;
use crate::uid::Uid;
use apply::Known;
use status::{Assessment, Stamps, Subject, Summary};

/// What every reconcile is handed.
pub struct Context {
    pub client: kube::Client,
    pub settings: Settings,
    /// See `configuration`.
    pub configuration: u64,
    /// Seconds since the epoch; handed in, so that a test can own the clock.
    pub now: fn() -> u32,
}

impl Context {
    pub fn new(client: kube::Client, settings: Settings, now: fn() -> u32) -> Arc<Self> {
        Arc::new(Context { client, configuration: configuration(&settings), settings, now })
    }
}

/// A spec, or why it cannot be understood.
pub type Spec = Result<InferenceServiceSpec, String>;

/// What the fleet knows about one InferenceService when work on it begins.
#[derive(Clone, Debug)]
pub struct Task {
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub generation: u32,
    pub reasons: Reasons,
    pub stamps: Stamps,
    /// What the status says; None: nothing that can be relied on.
    pub summary: Option<Summary>,
    /// The spec, where the fleet still has it.
    pub spec: Option<Spec>,
}

/// What was done, for the fleet to remember.
#[derive(Debug)]
pub struct Done {
    /// The generation of the spec that was acted on.
    pub generation: u32,
    pub stamps: Stamps,
    pub summary: Option<Summary>,
    /// The answer to the status write, where there was one.
    pub written: Option<Box<InferenceService>>,
    pub next: Next,
}

#[derive(Debug)]
pub enum Next {
    /// Nothing is left to do until something changes.
    Settled,
    /// The Deployment controller is about to change the Deployment: look then, and write the
    /// status once and not twice.
    Look,
    /// Only the number of ready replicas in the status lags: see `status::can_wait`.
    Count,
    /// The error is in the status; try again as its remedy says.
    Refused(Error),
}

/// Brings one InferenceService to its spec. An error is one that time mends and that the status
/// does not speak of.
pub async fn reconcile(context: &Context, task: Task) -> Result<Done, Error> {
    let deadline = context.settings.deadline;
    tokio::time::timeout(deadline, converge(context, task)).await.map_err(|_| Error::Timeout(deadline))?
}

async fn converge(context: &Context, mut task: Task) -> Result<Done, Error> {
    if let Some(children) = follow_watch(context, &mut task).await? {
        return conclude(context, &task, &children, None).await;
    }
    let mut children = look(context, &task).await?;
    let refusal = if must_apply(&task, &children) {
        let spec = dereference(context, &mut task).await?;
        match bring(context, &task, &spec, &mut children).await {
            Ok(()) => None,
            Err(error) if error.remedy() == Remedy::Time => return Err(error),
            Err(error) => Some(error),
        }
    } else {
        None
    };
    conclude(context, &task, &children, refusal).await
}

/// The children as they are now; a Service that nobody has touched is not read.
struct Children {
    deployment: Option<Deployment>,
    service: Option<Service>,
}

async fn look(context: &Context, task: &Task) -> Result<Children, Error> {
    let deployment = apply::get::<Deployment>(&context.client, task).await?;
    // One after the other: both at once would need twice the connections.
    let service = if task.reasons.contains(Reasons::SERVICE) && !is_new(task) {
        apply::get(&context.client, task).await?
    } else {
        None
    };
    Ok(Children { deployment, service })
}

/// Nothing was ever done for it. Its Service is made without a look, because a POST never changes what is
/// there. Pure.
fn is_new(task: &Task) -> bool {
    task.summary.is_none() && task.stamps == Stamps::default()
}

/// Where only the spec has changed, the watches have shown the children as they are: the Deployment is
/// applied without a look, on condition that it still is at that resourceVersion. None: that is not
/// so, or the API server says no, and a look will tell why.
async fn follow_watch(context: &Context, task: &mut Task) -> Result<Option<Children>, Error> {
    let Some(version) = shown_by_watch(task) else { return Ok(None) };
    let spec = dereference(context, task).await?;
    let Settings { catalogue, server, .. } = &context.settings;
    let Ok(valid) = validate::validate(&task.namespace, &task.name, task.uid, &spec, catalogue) else {
        task.spec = Some(spec);
        return Ok(None);
    };
    let desired = deployment::build(&valid, server);
    match apply::apply::<Deployment>(&context.client, task, desired, Known::ResourceVersion(version)).await {
        Ok(deployment) => Ok(Some(Children { deployment: Some(deployment), service: None })),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) && status.code != 429 => {
            task.spec = Some(spec);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The Deployment's resourceVersion where nothing but the spec has changed since it was looked at,
/// unless it is its status. Pure.
fn shown_by_watch(task: &Task) -> Option<u64> {
    let others = task.reasons.without(Reasons::SPEC | Reasons::PROGRESS | Reasons::COUNT);
    let is_known = task.stamps.deployment != 0 && task.stamps.service != 0;
    (task.reasons.contains(Reasons::SPEC) && others.is_none() && is_known).then_some(task.stamps.deployment)
}

/// Has anything changed but the Deployment's status? Pure.
fn must_apply(task: &Task, children: &Children) -> bool {
    let accepted = |deployment: &Deployment| {
        let identity = &deployment.identity;
        identity.is_controlled_by(task.uid)
            && !identity.deleting
            && identity.revision() == task.stamps.deployment_revision
            && identity.managed_by.as_deref() == Some(deployment::MANAGED_BY)
    };
    task.reasons.contains(Reasons::SPEC)
        || task.reasons.contains(Reasons::SERVICE)
        // A spec that was refused is read again, for what may have changed around it.
        || task.summary.is_some_and(|summary| summary.phase == Phase::Failed) && !task.reasons.contains(Reasons::STATUS)
        || !children.deployment.as_ref().is_some_and(accepted)
}

/// The spec from the fleet, or read again.
async fn dereference(context: &Context, task: &mut Task) -> Result<Spec, Error> {
    if let Some(spec) = task.spec.take() {
        return Ok(spec);
    }
    let object = apply::get::<InferenceService>(&context.client, task).await?.ok_or(Error::Gone)?;
    if object.identity.uid != task.uid || object.identity.deleting {
        return Err(Error::Gone);
    }
    task.generation = object.identity.generation;
    Ok(object.spec)
}

/// Validate, build, apply: after it the children are as the spec says. Where one of the names is taken,
/// neither is made.
async fn bring(context: &Context, task: &Task, spec: &Spec, children: &mut Children) -> Result<(), Error> {
    let Settings { catalogue, server, .. } = &context.settings;
    let valid = validate::validate(&task.namespace, &task.name, task.uid, spec, catalogue)?;
    let known = own("Deployment", task, children.deployment.as_ref().map(|child| &child.identity))?;
    if task.reasons.contains(Reasons::SERVICE) {
        bring_service(context, task, &service::build(&valid, server), children).await?;
    }
    let desired = deployment::build(&valid, server);
    let applied: Deployment = apply::apply(&context.client, task, desired, known).await?;
    own("Deployment", task, Some(&applied.identity))?;
    let is_labelled = applied.identity.managed_by.as_deref() == Some(deployment::MANAGED_BY);
    children.deployment = Some(applied);
    if is_labelled { Ok(()) } else { Err(Error::LabelTakenAway(task.namespace.clone(), task.name.clone())) }
}

async fn bring_service(context: &Context, task: &Task, desired: &Value, children: &mut Children) -> Result<(), Error> {
    let client = &context.client;
    if is_new(task) {
        match apply::create::<Service>(client, task, desired).await {
            Ok(created) => {
                children.service = Some(created);
                return Ok(());
            }
            Err(kube::Error::Api(status)) if status.code == 409 => children.service = apply::get(client, task).await?,
            Err(error) => return Err(error.into()),
        }
    }
    let known = own("Service", task, children.service.as_ref().map(|child| &child.identity))?;
    let applied: Service = apply::apply(client, task, desired.clone(), known).await?;
    own("Service", task, Some(&applied.identity))?;
    children.service = Some(applied);
    Ok(())
}

/// What is known of a child that was looked for: this InferenceService controls it, or it is not there. Anything
/// else of that name is not ours to change. Pure.
fn own(kind: &'static str, task: &Task, child: Option<&Identity>) -> Result<Known, Error> {
    let Some(child) = child else { return Ok(Known::Absent) };
    let (namespace, name) = (task.namespace.clone(), task.name.clone());
    if child.is_controlled_by(task.uid) {
        return if child.deleting {
            Err(Error::Terminating { kind, namespace, name })
        } else {
            Ok(Known::ResourceVersion(child.resource_version))
        };
    }
    match &child.controller {
        // Of an InferenceService that had this name before: the garbage collector is on its way.
        Some(owner) if owner.kind == crate::api::KIND && owner.name == task.name => {
            Err(Error::Terminating { kind, namespace, name })
        }
        Some(owner) => {
            let owner = format!("is controlled by {} {}", owner.kind, owner.name);
            Err(Error::NameTaken { kind, namespace, name, owner })
        }
        None => Err(Error::NameTaken { kind, namespace, name, owner: "has no controller".into() }),
    }
}

/// Computes the status, and writes it where it differs from what it says already.
async fn conclude(context: &Context, task: &Task, children: &Children, refusal: Option<Error>) -> Result<Done, Error> {
    let own = |identity: &Identity| identity.is_controlled_by(task.uid);
    let deployment = children.deployment.as_ref().filter(|child| own(&child.identity));
    let service = children.service.as_ref().filter(|child| own(&child.identity));
    let mut stamps = stamps(task, deployment, service);
    if refusal.is_some() {
        // What was seen is not what was written: it has to be applied on still.
        stamps.deployment_revision = task.stamps.deployment_revision;
    }
    let ready_replicas = deployment.map_or(0, |deployment| deployment.status.ready_replicas);
    let endpoint = service::endpoint(&task.namespace, &task.name, &context.settings);
    let subject = Subject {
        namespace: &task.namespace,
        name: &task.name,
        endpoint: &endpoint,
        generation: task.generation,
        configuration: context.configuration,
    };
    let mut done =
        Done { generation: task.generation, stamps, summary: task.summary, written: None, next: Next::Settled };
    let assessment = match (&refusal, deployment) {
        (Some(error), _) => status::refuse(error, ready_replicas > 0),
        (None, Some(deployment)) => {
            let unseen = deployment.status.observed_generation < deployment.identity.generation;
            if unseen && !task.reasons.contains(Reasons::STATUS) {
                done.next = Next::Look;
                return Ok(done);
            }
            status::assess(deployment, was_ready(task, deployment), &subject)
        }
        // Taken away between the apply and now.
        (None, None) => return Err(Error::Gone),
    };
    let alarm = assessment.clone();
    let (status, summary) =
        status::compose(assessment, ready_replicas, stamps, &subject, task.summary.as_ref(), (context.now)());
    let stamps_moved = refusal.is_none() && stamps_moved(task, &stamps);
    if refusal.is_none() && !stamps_moved && can_wait(task, &summary) {
        done.next = Next::Count;
        return Ok(done);
    }
    if stamps_moved || task.summary.is_none_or(|before| before.checksum != summary.checksum) {
        let written = apply::write_status(&context.client, task, &status).await?;
        report(context, task, &alarm).await;
        done.written = Some(Box::new(written));
    }
    done.summary = Some(summary);
    done.next = refusal.map_or(Next::Settled, Next::Refused);
    Ok(done)
}

/// Was a child written, or taken over from somebody's edit, since the status was? Then the status
/// is written even where it says the same, because of its stamps: a restart would otherwise take the
/// child for drifted, and apply it again each time. Pure.
fn stamps_moved(task: &Task, stamps: &Stamps) -> bool {
    task.reasons.contains(Reasons::STATUS)
        || task.reasons.contains(Reasons::SERVICE)
        || task.stamps.deployment_revision != stamps.deployment_revision
}

/// Is the status of the same spec, and lags by so little that it can be written later? Pure.
fn can_wait(task: &Task, after: &Summary) -> bool {
    !task.reasons.contains(Reasons::SPEC)
        && task.summary.is_some_and(|before| before.checksum != after.checksum && status::can_wait(&before, after))
}

/// Has this spec been Ready with this Deployment? Pure.
fn was_ready(task: &Task, deployment: &Deployment) -> bool {
    !task.reasons.contains(Reasons::SPEC)
        && deployment.identity.revision() == task.stamps.deployment_revision
        && task.summary.is_some_and(|summary| matches!(summary.phase, Phase::Ready | Phase::Degraded))
}

/// What was not looked at is as it was.
fn stamps(task: &Task, deployment: Option<&Deployment>, service: Option<&Service>) -> Stamps {
    Stamps {
        deployment: deployment.map_or(0, |child| child.identity.resource_version),
        deployment_revision: deployment.map_or(0, |child| child.identity.revision()),
        service: match service {
            Some(child) => child.identity.resource_version,
            None if task.reasons.contains(Reasons::SERVICE) => 0,
            None => task.stamps.service,
        },
    }
}

/// Logs what a person should look at, and makes an Event of it. Only ever called after the status
/// was written, so that it is said once.
async fn report(context: &Context, task: &Task, assessment: &Assessment) {
    let Assessment { phase, reason, message, .. } = assessment;
    match phase {
        Phase::Failed | Phase::Degraded | Phase::Pending => {
            tracing::warn!(namespace = task.namespace, name = task.name, reason, "{message}");
            events::warn(context, task, assessment).await;
        }
        Phase::Ready | Phase::Progressing => {
            tracing::debug!(namespace = task.namespace, name = task.name, reason, "{message}");
        }
    }
}

/// A hash over all that the settings put into children and status: over the children of one
/// InferenceService of each GPU type. Anything that would build other children changes it, be it a
/// flag or a new release, and then every InferenceService is brought up to date once. Pure.
pub fn configuration(settings: &Settings) -> u64 {
    use std::hash::Hasher;
    let mut hasher = fnv::FnvHasher::default();
    for gpu in settings.catalogue.types() {
        for max_batch_size in [None, Some(1)] {
            let valid = validate::Valid {
                namespace: "namespace",
                name: "name",
                uid: Uid::default(),
                model: "model",
                replicas: 1,
                gpu,
                max_batch_size,
            };
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

#[cfg(test)]
mod tests;
