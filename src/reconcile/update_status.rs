//! Last step of reconcile: computes the status, and writes it if it differs from the current one. Called with the
//! children as they were read or written.

use std::num::NonZeroU16;

use super::cause::Told;
use super::children::{Child, Children};
use super::plan::{self, StatusStep, Urgency};
use super::status::{self, Assessment, LoadWait, Replicas, Subject};
use super::yielding::Said;
use super::{Context, apply, deployment, event, hashes, list_pods, read_owner, service};
use crate::api::Phase;
use crate::error::{Error, Remedy};
use crate::model::view::{DeploymentView, InferenceServiceView};
use crate::model::{Action, Dirty, Hashes, Instance, Outcome, Summary, Task};
use crate::time::Timestamp;

/// Reports how far the Deployment is.
pub async fn update_status(context: &Context, task: &Task, children: &mut Children) -> Result<Outcome, Error> {
    // It may have lost its owner reference between the apply and now.
    let owned = children.deployment.found().filter(|child| child.meta.is_controlled_by(task.uid));
    let deployment = owned.ok_or(Error::Gone)?;
    let (wrote, repaired, now) = (children.wrote, children.repair.is_some(), (context.now)());
    let outcome = Outcome { versions: children.versions(task, true), repaired, ..Outcome::unchanged(task) };
    if let Some(action) = plan::status_waits(task, deployment, wrote, repaired, now) {
        return Ok(Outcome { action, ..outcome });
    }
    let before = plan::before(task, deployment);
    let wait = load_wait(before.as_ref(), deployment, now);
    let endpoint = endpoint(context, task);
    let instance = deployment.meta.instance.clone();
    let subject = subject(task, &endpoint, deployment.hashes, instance.as_ref());
    let mut last_load = task.last_load;
    let assessment = match &children.repair {
        Some(repair) if plan::is_contested(task, repaired) => {
            let who = repair.managers.as_ref().map(|managers| managers.other.as_deref());
            status::contested(repair.kind, who, &subject)
        }
        _ => {
            let (said, load) = ask_pods(context, task, deployment, wait, &subject).await?;
            last_load = load.or(last_load);
            said
        }
    };
    let action = plan::follow_up(task, deployment, repaired, &assessment, wait);
    let replicas = Replicas::of(deployment);
    // A spec that is acted on again was judged by the hashes in the status, which an apply that wrote nothing may leave
    // behind: another process has written the Deployment, and was killed.
    let is_again = task.dirty.contains(Dirty::SPEC) && task.summary.is_some_and(|before| before.is_current);
    let must_write = wrote || is_again || task.dirty.contains(Dirty::STATUS);
    let urgency = if must_write { Urgency::Always } else { plan::urgency(&assessment, wait) };
    let news = News { subject: Subject { last_load, ..subject }, assessment, replicas, before, urgency };
    write_status(context, task, children, news, Outcome { last_load, action, ..outcome }).await
}

/// How far this Deployment is, as far as its own status tells.
pub fn assess(context: &Context, task: &Task, deployment: &DeploymentView) -> Assessment {
    let endpoint = endpoint(context, task);
    let wait = load_wait(plan::before(task, deployment).as_ref(), deployment, (context.now)());
    status::assess(deployment, wait, &Told::Nothing, &subject(task, &endpoint, deployment.hashes, None))
}

/// The same with what its pods tell, if replicas have been missing for a while. With the time that the newest one has taken
/// to load.
async fn ask_pods(
    context: &Context,
    task: &Task,
    deployment: &DeploymentView,
    wait: LoadWait,
    subject: &Subject<'_>,
) -> Result<(Assessment, Option<NonZeroU16>), Error> {
    let said = status::assess(deployment, wait, &Told::Nothing, subject);
    if !plan::asks_pods(&said, wait) {
        return Ok((said, None));
    }
    let now = (context.now)();
    let since = Timestamp(now.0.saturating_sub(u32::try_from(wait.missing.as_secs()).unwrap_or(u32::MAX)));
    let (told, load) = match list_pods::ask(context, task, since).await.map_err(Error::from) {
        // What is said without them must not wait for an answer that does not come.
        Err(error) if error.is_reported(task.failures) => (Told::Nothing, None),
        asked => asked?,
    };
    Ok((status::assess(deployment, wait, &told, subject), load))
}

/// `before`: see `plan::before`.
fn load_wait(before: Option<&Summary>, deployment: &DeploymentView, now: Timestamp) -> LoadWait {
    LoadWait::new(before, deployment::load_time(deployment), now)
}

/// Reports that the children are left as they are.
pub async fn pause(context: &Context, task: &Task, children: &mut Children) -> Result<Outcome, Error> {
    let versions = children.versions(task, false).of_no_spec();
    let endpoint = endpoint(context, task);
    let owned = children.deployment.found().filter(|child| child.meta.is_controlled_by(task.uid));
    let hashes = children.inputs.map(|inputs| Hashes { inputs, children: hashes::of_paused(), by_rollout: false });
    let own = context.instances.own();
    let news = News {
        subject: subject(task, &endpoint, hashes, hashes.map(|_| &own)),
        assessment: status::paused(owned),
        replicas: owned.map_or(Replicas::default(), Replicas::of),
        before: before(task),
        urgency: Urgency::Later,
    };
    write_status(context, task, children, news, Outcome { versions, ..Outcome::unchanged(task) }).await
}

/// Reports an error in the status.
pub async fn refuse(context: &Context, task: &Task, children: &mut Children, error: Error) -> Result<Outcome, Error> {
    let mut versions = children.versions(task, false);
    if error.remedy() == Remedy::User {
        versions = versions.of_no_spec();
    }
    let mut said = None;
    let replicas = match &children.deployment {
        Child::Found(child) if child.meta.is_controlled_by(task.uid) => Replicas::of(child),
        Child::Found(_) | Child::Absent => Replicas::default(),
        // The Deployment was not read, so what the status says of it stays. Without the hashes, the next process would not
        // know that it has come by a rollout, which waits for it.
        Child::Unread => match apply::get::<InferenceServiceView>(&context.client, task).await {
            Ok(Some(object)) => {
                said = Said::of(&object).filter(|said| said.is_trusted);
                let status = object.status().unwrap_or_default();
                Replicas { all: status.replicas.unwrap_or(status.ready_replicas), ready: status.ready_replicas }
            }
            Ok(None) => return Err(Error::Gone),
            Err(_) => return Err(error),
        },
    };
    let endpoint = endpoint(context, task);
    let refused = children.inputs.filter(|_| error.remedy() == Remedy::User);
    let found = children.deployment.found();
    let (hashes, instance) = match (refused, said) {
        (Some(inputs), _) => {
            let hashes = Hashes { inputs, children: hashes::of_refusal(&error), by_rollout: false };
            (Some(hashes), Some(context.instances.own()))
        }
        (None, Some(said)) => (said.hashes, said.instance),
        (None, None) => (found.and_then(|child| child.hashes), found.and_then(|child| child.meta.instance.clone())),
    };
    let subject = subject(task, &endpoint, hashes, instance.as_ref());
    let assessment = status::refuse(&error, replicas.ready > 0);
    // What the status says was said of the children before these.
    let is_of_others = found.is_some_and(|found| plan::is_anew(task, found));
    let before = before(task).map(|before| if is_of_others { before.never_ready() } else { before });
    let news = News { subject, assessment, replicas, before, urgency: Urgency::Later };
    let outcome = Outcome { versions, action: Action::Rejected(error), ..Outcome::unchanged(task) };
    write_status(context, task, children, news, outcome).await
}

/// The previous status, as far as it is still valid where no child is written.
fn before(task: &Task) -> Option<Summary> {
    task.summary.map(|before| if before.is_current { before } else { before.of_others() })
}

fn endpoint(context: &Context, task: &Task) -> String {
    service::endpoint(&task.namespace, &task.name, task.service_port, &context.settings)
}

fn subject<'a>(
    task: &'a Task,
    endpoint: &'a str,
    hashes: Option<Hashes>,
    instance: Option<&'a Instance>,
) -> Subject<'a> {
    Subject {
        namespace: &task.namespace,
        name: &task.name,
        endpoint,
        generation: task.generation,
        service_port: task.service_port,
        last_load: task.last_load,
        hashes,
        instance,
    }
}

/// The status to write.
struct News<'a> {
    subject: Subject<'a>,
    assessment: Assessment,
    replicas: Replicas,
    /// The previous status, as far as it is still valid.
    before: Option<Summary>,
    urgency: Urgency,
}

/// Writes the status, unless it is unchanged or the write can wait.
async fn write_status(
    context: &Context,
    task: &Task,
    children: &mut Children,
    news: News<'_>,
    mut outcome: Outcome,
) -> Result<Outcome, Error> {
    let News { subject, assessment, replicas, before, urgency } = news;
    let (before, reported) = (before.as_ref(), assessment.clone());
    let (status, summary) = status::compose(assessment, replicas, outcome.versions, &subject, before, (context.now)());
    match plan::status_step(task, before, &summary, urgency) {
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
pub async fn report(context: &Context, task: &Task, assessment: &Assessment) {
    let Assessment { phase, reason, message, .. } = assessment;
    let is_alarm = matches!(phase, Phase::Failed | Phase::Degraded | Phase::Pending);
    // The limit for Events applies to the log too: a flapping object must not fill it.
    if is_alarm && context.events.allow(task.uid, (context.now)()) {
        tracing::warn!(namespace = task.namespace, name = task.name, reason, "{message}");
        event::warn(context, task.into(), reason, message).await;
    } else {
        tracing::debug!(namespace = task.namespace, name = task.name, reason, "{message}");
    }
}
