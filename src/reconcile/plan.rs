//! The decision table for one InferenceService: which objects to read, what to do with each child, what to do with
//! the status. Called by reconcile; pure: sends no requests.

use std::num::NonZeroU64;
use std::time::Duration;

use serde_json::Value;

use super::apply::Precondition;
use super::service::Desired;
use super::status::{self, Assessment, LoadWait, READY_COUNT_INTERVAL};
use crate::api::Phase;
use crate::error::Error;
use crate::model::view::{DeploymentView, Managers, Meta, ServiceView};
use crate::model::{Action, ChildKind, Dirty, ObservedVersions, Summary, Task};
use crate::time::Timestamp;

/// After so long without the missing replicas, their pods are asked why. Scheduling and starting take seconds.
pub const PODS_AFTER: Duration = Duration::from_secs(20);

/// For so long the Deployment controller may be late before the status says so.
const UNSEEN: Duration = Duration::from_secs(10);

/// The longest time between two looks at the pods.
pub const LONGEST_LOOK: Duration = Duration::from_secs(300);

/// This many recent repairs are no accident.
pub const CONTESTED_AFTER: u8 = 5;

// === what to read ===

/// Which children must be read before anything is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// None: only the spec has changed, and the watch has reported the Deployment at this resourceVersion.
    Nothing(NonZeroU64),
    Deployment,
    Both,
    /// The Service first; the Deployment only if there is something to do.
    ServiceFirst,
}

pub fn reads(task: &Task) -> Reads {
    if let Some(version) = known_from_watch(task) {
        Reads::Nothing(version)
    } else if is_of_service_alone(task) {
        Reads::ServiceFirst
    } else if task.dirty.contains(Dirty::SERVICE) && !is_new(task) {
        Reads::Both
    } else {
        Reads::Deployment
    }
}

/// The marks to act on. While a spec is rejected, no child is created or repaired; the postponed work is due once the
/// spec is corrected. Any reconcile may read the corrected spec before the watch reports it, whatever the marks are.
pub fn due(dirty: Dirty, versions: &ObservedVersions) -> Dirty {
    let was_refused = versions.service.is_none() || versions.deployment_revision.is_none();
    let is_written = dirty.contains(Dirty::STATUS) && !dirty.contains(Dirty::SPEC);
    if was_refused && !is_written { dirty | Dirty::SERVICE } else { dirty }
}

/// The Deployment's resourceVersion, if only the spec and the Deployment's status have changed since it was read: the
/// watch has reported it, and a read would add nothing. A Deployment of another revision does not count: another
/// operator may have built it from a later spec than the one at hand.
fn known_from_watch(task: &Task) -> Option<NonZeroU64> {
    let quiet_reads = Dirty::ROLLOUT | Dirty::LOOK;
    let others = task.dirty.difference(Dirty::SPEC | quiet_reads);
    let is_due = task.dirty.contains(Dirty::SPEC) && others.is_empty() && task.versions.service.is_some();
    let is_due = is_due && task.service_port.is_none();
    task.versions.deployment.filter(|_| is_due)
}

/// Is the Service the only thing to check? Then nothing else is read if our fields are unchanged, unless the status
/// reports a rejection, which is over by then.
fn is_of_service_alone(task: &Task) -> bool {
    let is_well = task.summary.is_some_and(|before| matches!(before.phase, Phase::Ready | Phase::Progressing));
    task.dirty == Dirty::SERVICE && is_well && task.service_port.is_none()
}

/// Can the Service be judged by the name alone?
pub fn service_needs_spec(task: &Task) -> bool {
    task.service_port.is_some() && task.dirty.contains(Dirty::SERVICE)
}

/// True if this InferenceService was never reconciled. Its Service is created without a read, because a POST never
/// changes an existing object.
fn is_new(task: &Task) -> bool {
    task.summary.is_none() && task.versions == ObservedVersions::default()
}

// === what to do with each child ===

/// What to do with a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Unchanged since the last apply.
    Leave,
    /// Create without a read, by a request that never changes an existing object.
    Create,
    Apply(Precondition),
    /// The child has our labels and no controller: an earlier InferenceService of this name left it behind, or it was
    /// restored without its owner reference. Kubernetes' own controllers adopt such objects; see
    /// `ControllerRefManager`.
    Adopt(Precondition),
}

/// What to do with the children; an error keeps that child from being written.
#[derive(Debug)]
pub struct Plan {
    pub deployment: Result<Step, Error>,
    pub service: Result<Step, Error>,
    /// The spec must be read again: the one at hand may be older than the one that the Deployment was built from.
    pub reads_spec: bool,
}

impl Plan {
    /// `deployment`, `service`: as read. None: it does not exist or, for a Service, was not read.
    pub fn new(
        task: &Task,
        deployment: Option<&DeploymentView>,
        service: Option<&ServiceView>,
        desired_service: &Desired,
    ) -> Plan {
        let deployment_step = deployment_step(task, deployment);
        let service_step = service_step(task, service, desired_service);
        let adopts = [&deployment_step, &service_step].into_iter().any(|step| matches!(step, Ok(Step::Adopt(_))));
        let was_known = task.versions.deployment.is_some();
        let is_strange = deployment.map_or(was_known, |deployment| !is_as_left(&task.versions, deployment));
        Plan { deployment: deployment_step, service: service_step, reads_spec: adopts || is_strange }
    }

    /// Is there nothing to do to the children, whatever the spec says?
    pub fn is_idle(&self) -> bool {
        matches!((&self.deployment, &self.service), (Ok(Step::Leave), Ok(Step::Leave)))
    }
}

fn deployment_step(task: &Task, found: Option<&DeploymentView>) -> Result<Step, Error> {
    let step = require_owned(ChildKind::Deployment, task, found.map(|child| &child.meta))?;
    let Some(found) = found.filter(|_| matches!(step, Step::Apply(_))) else { return Ok(step) };
    let is_wanted = task.dirty.contains(Dirty::SPEC) || !is_as_left(&task.versions, found);
    Ok(if is_wanted { step } else { Step::Leave })
}

/// Needs no spec where neither this one nor the one before sets `spec.service`: the Service's fields depend on the name
/// alone.
pub fn service_step(task: &Task, found: Option<&ServiceView>, desired: &Desired) -> Result<Step, Error> {
    if !task.dirty.contains(Dirty::SERVICE) {
        return Ok(Step::Leave);
    }
    if is_new(task) && found.is_none() && desired.port.is_none() {
        return Ok(Step::Create);
    }
    let step = require_owned(ChildKind::Service, task, found.map(|child| &child.meta))?;
    // What the spec has set is applied, so that what it no longer sets goes away.
    let is_plain = task.service_port.is_none() && desired.port.is_none();
    let is_right = is_plain
        && found.is_some_and(|child| child.meta.labels.complete && is_built(&child.spec, &desired.object["spec"]));
    Ok(if is_right && matches!(step, Step::Apply(_)) { Step::Leave } else { step })
}

/// Does the Deployment match the spec, with each of our fields at the value applied last? Labels and annotations of
/// others raise a Deployment's generation too; in that case managedFields decides.
pub fn is_as_left(versions: &ObservedVersions, deployment: &DeploymentView) -> bool {
    let meta = &deployment.meta;
    let applied = deployment.managers.applied;
    // A label that a policy strips on each write is not in managedFields, and does not count as missing.
    let is_complete = match (versions.deployment_fields, applied) {
        (Some(left), Some(applied)) => left == applied,
        _ => meta.labels.complete,
    };
    meta.labels.managed && !meta.deleting && is_complete && is_same_spec(versions, deployment)
}

/// Is the Deployment's spec the one that was observed last?
fn is_same_spec(versions: &ObservedVersions, deployment: &DeploymentView) -> bool {
    let Managers { applied, touched, .. } = deployment.managers;
    let same_fields = touched && applied.is_some() && versions.deployment_fields == applied;
    same_fields || deployment.meta.revision() == versions.deployment_revision
}

/// Checks an applied child: it is ours, unless an admission webhook removed the owner reference.
pub fn require_controlled(kind: ChildKind, task: &Task, child: &Meta) -> Result<(), Error> {
    match require_owned(kind, task, Some(child))? {
        Step::Adopt(_) => {
            let (kind, namespace, name) = (kind.as_str(), task.namespace.clone(), task.name.clone());
            Err(Error::NameTaken { kind, namespace, name, owner: "has no controller".into() })
        }
        _ => Ok(()),
    }
}

/// Decides what may be written after a read: the child if this InferenceService controls it, if it does not exist, or
/// if it can be adopted. Any other object of that name must not be changed.
pub fn require_owned(kind: ChildKind, task: &Task, child: Option<&Meta>) -> Result<Step, Error> {
    let Some(child) = child else { return Ok(Step::Apply(Precondition::Absent)) };
    let known = Precondition::ResourceVersion(child.resource_version);
    let (kind, namespace, name) = (kind.as_str(), task.namespace.clone(), task.name.clone());
    let is_controlled = child.is_controlled_by(task.uid);
    let Some(owner) = child.controller.as_ref().filter(|_| !is_controlled) else {
        return match (is_controlled, child.labels.ours) {
            (false, false) => Err(Error::NameTaken { kind, namespace, name, owner: "has no controller".into() }),
            _ if child.deleting => Err(Error::Terminating { kind, namespace, name }),
            (true, _) => Ok(Step::Apply(known)),
            (false, true) => Ok(Step::Adopt(known)),
        };
    };
    match &owner.foreign_kind {
        // It belongs to an earlier InferenceService of this name: the garbage collector will delete it.
        None if owner.name == task.name => Err(Error::Terminating { kind, namespace, name }),
        foreign => {
            let owner_kind = foreign.as_deref().unwrap_or(crate::api::KIND);
            let owner = format!("is controlled by {owner_kind} {}", owner.name);
            Err(Error::NameTaken { kind, namespace, name, owner })
        }
    }
}

/// The API server treats a selector as one atomic value: an added label makes it select fewer pods.
fn is_built(found: &Value, desired: &Value) -> bool {
    found["selector"] == desired["selector"] && covers(found, desired)
}

/// Does `found` contain everything in `desired`? Fields that `desired` does not name may have any value, and an array
/// may have more elements: the API server merges a Service's lists by their keys.
fn covers(found: &Value, desired: &Value) -> bool {
    match (found, desired) {
        (Value::Object(found), Value::Object(desired)) => {
            desired.iter().all(|(name, desired)| found.get(name).is_some_and(|found| covers(found, desired)))
        }
        (Value::Array(found), Value::Array(desired)) => {
            desired.iter().all(|desired| found.iter().any(|found| covers(found, desired)))
        }
        _ => found == desired,
    }
}

// === what to do about the status ===

/// Should the status stay unchanged for now? Returns the action to take instead of computing it. `wrote`, `repaired`:
/// what was done to the children.
pub fn status_waits(
    task: &Task,
    deployment: &DeploymentView,
    wrote: bool,
    repaired: bool,
    now: Timestamp,
) -> Option<Action> {
    let is_unseen = deployment.status.observed_generation < deployment.meta.generation;
    let unseen = is_unseen && !is_contested(task, repaired);
    if unseen && !task.dirty.contains(Dirty::STATUS) {
        // The Deployment controller will soon observe an unchanged Deployment, and the watch reports that; one that
        // was written is checked again.
        let is_looked_at = wrote || is_anew(task, deployment);
        return Some(if is_looked_at { Action::Recheck(Dirty::STATUS) } else { Action::AwaitChange });
    }
    // A slow control plane: the watch will report it, and a status that says so would be one write more for each. Without
    // replicas the status has nothing to wait for.
    if unseen && !task.dirty.contains(Dirty::DUE) && !status::is_scaled_to_zero(deployment) {
        return Some(Action::RequeueAfter(Dirty::STATUS, UNSEEN));
    }
    // Contention stays in the status until it has been over for a while.
    let stays = |before: Summary| before.is_contested && is_recent(before.written, status::half(now));
    (!repaired && task.summary.is_some_and(stays)).then_some(Action::Recheck(Dirty::COUNT))
}

/// Was this child repaired so often that another client must be setting it on purpose?
pub fn is_contested(task: &Task, repaired: bool) -> bool {
    repaired && task.repairs.saturating_add(1) >= CONTESTED_AFTER
}

/// The previous status, as far as it is still valid. `deployment`: as it is now.
pub fn before(task: &Task, deployment: &DeploymentView) -> Option<Summary> {
    if is_anew(task, deployment) { task.summary.map(Summary::of_others) } else { task.summary }
}

/// Does the status describe another spec or other children than the current ones? `deployment`: as it is now.
pub fn is_anew(task: &Task, deployment: &DeploymentView) -> bool {
    task.dirty.contains(Dirty::STATUS)
        || !task.summary.is_some_and(|before| before.is_current)
        || !is_same_spec(&task.versions, deployment)
}

/// Are the pods to be asked for what this status does not say? Not while they may be starting as they should, and once more
/// when they have, to learn how long that took.
pub fn asks_pods(said: &Assessment, wait: LoadWait) -> bool {
    (said.is_of_pods || said.is_ready) && wait.missing >= PODS_AFTER
}

/// What to do after this status, if no watch will report the next change.
pub fn follow_up(
    task: &Task,
    deployment: &DeploymentView,
    repaired: bool,
    said: &Assessment,
    wait: LoadWait,
) -> Action {
    if is_contested(task, repaired) {
        return Action::Recheck(Dirty::COUNT);
    }
    // One second more, because times are whole seconds.
    let left = |end: Duration, waited: Duration| (end + Duration::from_secs(1)).saturating_sub(waited);
    // At growing distance: what lasted for an hour is unlikely to be another in the next minute.
    let again = wait.missing.min(LONGEST_LOOK);
    let look = || if wait.missing < PODS_AFTER { left(PODS_AFTER, wait.missing) } else { again };
    let pods = said.is_of_pods.then(look);
    let is_starting = said.phase == Phase::Progressing;
    let failure = (is_starting && status::failure(deployment).is_some()).then(|| left(status::LEFTOVER, wait.waited));
    let load = (is_starting && status::misses_replicas(deployment)).then(|| left(wait.load_time, wait.waited));
    let next = [pods, failure, load].into_iter().flatten().min();
    next.map_or(Action::AwaitChange, |time| Action::RequeueAfter(Dirty::empty(), time))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusStep {
    /// The status is up to date.
    Keep,
    /// The write can wait, and be one for several changes.
    Later,
    Write,
}

/// How soon a status is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A child was just written: also if only the versions differ. After a restart the child would otherwise look as if
    /// another client had changed it.
    Always,
    /// It says for the first time why replicas do not come.
    Now,
    Later,
}

/// How soon a status that was computed after this wait is to be written, if no child was.
pub fn urgency(said: &Assessment, wait: LoadWait) -> Urgency {
    if asks_pods(said, wait) && wait.missing < PODS_AFTER * 2 { Urgency::Now } else { Urgency::Later }
}

/// `before`: see there.
pub fn status_step(task: &Task, before: Option<&Summary>, after: &Summary, urgency: Urgency) -> StatusStep {
    if urgency == Urgency::Always {
        StatusStep::Write
    } else if urgency == Urgency::Later && can_wait(task, after) {
        StatusStep::Later
    } else if says(before, after) {
        StatusStep::Keep
    } else {
        StatusStep::Write
    }
}

/// Does the status say this already?
pub fn says(before: Option<&Summary>, after: &Summary) -> bool {
    before.is_some_and(|before| before.checksum == after.checksum)
}

/// During a rollout replicas become ready one by one, and an error message may change with each retry: while spec and
/// phase stay the same, one write per `READY_COUNT_INTERVAL` is enough.
fn can_wait(task: &Task, after: &Summary) -> bool {
    task.summary.is_some_and(|before| {
        before.is_current
            && before.checksum != after.checksum
            && after.phase != Phase::Ready
            && (before.phase, before.abnormal) == (after.phase, after.abnormal)
            && is_recent(before.written, after.written)
    })
}

/// Less than `READY_COUNT_INTERVAL` ago, by the lower halves of both times. A clock that was set back delays nothing.
fn is_recent(written: u16, now: u16) -> bool {
    written != 0 && u32::from(now.wrapping_sub(written)) < READY_COUNT_INTERVAL
}

#[cfg(test)]
mod tests;
