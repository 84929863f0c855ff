//! The table of decisions for one InferenceService: what to read, what to do with each child, what to do about the
//! status. Called by reconcile; pure: asks nobody and writes nothing.

use std::num::NonZeroU64;

use serde_json::Value;

use super::apply::Precondition;
use super::status::{self, READY_COUNT_INTERVAL};
use crate::api::Phase;
use crate::error::Error;
use crate::model::view::{DeploymentView, Managers, Meta, ServiceView};
use crate::model::{Action, ChildKind, Dirty, ObservedVersions, Summary, Task};
use crate::time::Timestamp;

/// So many repairs of late are no accident.
pub const CONTESTED_AFTER: u8 = 5;

// === what to read ===

/// Which children have to be read before anything is decided about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// None: only the spec has changed, and the watch has shown the Deployment at this resourceVersion.
    Nothing(NonZeroU64),
    Deployment,
    Both,
    /// The Service; and the Deployment, where something is to be done with that.
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

/// What is due where these marks are: while a spec is refused nothing is made or repaired, and what was put off is due
/// when it is corrected. Whatever the marks, the spec is read again and may be found so, before its watch tells.
pub fn due(dirty: Dirty, versions: &ObservedVersions) -> Dirty {
    let was_refused = versions.service.is_none() || versions.deployment_revision.is_none();
    let is_written = dirty.contains(Dirty::STATUS) && !dirty.contains(Dirty::SPEC);
    if was_refused && !is_written { dirty | Dirty::SERVICE } else { dirty }
}

/// The Deployment's resourceVersion where nothing but the spec has changed since it was read, unless it is its
/// status: the watch has shown it, and a read would tell nothing more. One of another revision is none of these: it may
/// have been built from a later spec than the one at hand, by another operator.
fn known_from_watch(task: &Task) -> Option<NonZeroU64> {
    let quiet_reads = Dirty::ROLLOUT | Dirty::COUNT | Dirty::DUE;
    let others = task.dirty.difference(Dirty::SPEC | quiet_reads);
    let is_due = task.dirty.contains(Dirty::SPEC) && others.is_empty() && task.versions.service.is_some();
    task.versions.deployment.filter(|_| is_due)
}

/// Is the Service all that is to be looked at? Then nothing else is read where nothing of ours has changed, unless the
/// status speaks of a refusal, which is over then.
fn is_of_service_alone(task: &Task) -> bool {
    let is_well = task.summary.is_some_and(|before| matches!(before.phase, Phase::Ready | Phase::Progressing));
    task.dirty == Dirty::SERVICE && is_well
}

/// Nothing was ever done for it. Its Service is made without a look, because a POST never changes what is there.
fn is_new(task: &Task) -> bool {
    task.summary.is_none() && task.versions == ObservedVersions::default()
}

// === what to do with each child ===

/// What to do with a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is as it was left, or nobody has touched it.
    Leave,
    /// Made without a look, by a request that never changes what is there.
    Create,
    Apply(Precondition),
    /// It has our labels and no controller: it was left behind by an InferenceService of this name, or put back
    /// without its owner. Kubernetes' own controllers take such a one over; see `ControllerRefManager`.
    Adopt(Precondition),
}

/// What to do with the children; an error is one that keeps the child from being written.
#[derive(Debug)]
pub struct Plan {
    pub deployment: Result<Step, Error>,
    pub service: Result<Step, Error>,
    /// The spec has to be read, for the one at hand may be older than what the Deployment was built from.
    pub reads_spec: bool,
}

impl Plan {
    /// `deployment`, `service`: as they were read; None: not there, or, of a Service, not looked for.
    pub fn new(
        task: &Task,
        deployment: Option<&DeploymentView>,
        service: Option<&ServiceView>,
        desired_service: &Value,
    ) -> Plan {
        let deployment_step = deployment_step(task, deployment);
        let service_step = service_step(task, service, desired_service);
        let adopts = [&deployment_step, &service_step].into_iter().any(|step| matches!(step, Ok(Step::Adopt(_))));
        let was_known = task.versions.deployment.is_some();
        let is_strange = deployment.map_or(was_known, |deployment| !is_as_left(&task.versions, deployment));
        Plan { deployment: deployment_step, service: service_step, reads_spec: adopts || is_strange }
    }

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

/// Its fields depend on the name alone, and so on nothing that has to be read.
pub fn service_step(task: &Task, found: Option<&ServiceView>, desired: &Value) -> Result<Step, Error> {
    if !task.dirty.contains(Dirty::SERVICE) {
        return Ok(Step::Leave);
    }
    if is_new(task) && found.is_none() {
        return Ok(Step::Create);
    }
    let step = require_owned(ChildKind::Service, task, found.map(|child| &child.meta))?;
    let is_right = found.is_some_and(|child| child.meta.labels.complete && is_built(&child.spec, &desired["spec"]));
    Ok(if is_right && matches!(step, Step::Apply(_)) { Step::Leave } else { step })
}

/// Is it what the spec builds, and has each of our fields the value that was applied last? Labels and annotations of others raise a Deployment's
/// generation too; then the API server's own account of the fields tells.
pub fn is_as_left(versions: &ObservedVersions, deployment: &DeploymentView) -> bool {
    let meta = &deployment.meta;
    let applied = deployment.managers.applied;
    // A label that a policy takes as it is written is not among the fields, and is not missed.
    let is_complete = match (versions.deployment_fields, applied) {
        (Some(left), Some(applied)) => left == applied,
        _ => meta.labels.complete,
    };
    meta.labels.managed && !meta.deleting && is_complete && is_same_spec(versions, deployment)
}

/// Does it run what it ran then?
fn is_same_spec(versions: &ObservedVersions, deployment: &DeploymentView) -> bool {
    let Managers { applied, touched, .. } = deployment.managers;
    let same_fields = touched && applied.is_some() && versions.deployment_fields == applied;
    same_fields || deployment.meta.revision() == versions.deployment_revision
}

/// What was written is ours, unless something on the way has made it nobody's.
pub fn require_controlled(kind: ChildKind, task: &Task, child: &Meta) -> Result<(), Error> {
    match require_owned(kind, task, Some(child))? {
        Step::Adopt(_) => {
            let (kind, namespace, name) = (kind.as_str(), task.namespace.clone(), task.name.clone());
            Err(Error::NameTaken { kind, namespace, name, owner: "has no controller".into() })
        }
        _ => Ok(()),
    }
}

/// What may be written of a child that was looked for: this InferenceService controls it, or it is not there, or it is
/// there for it. Anything else of that name is not ours to change.
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
        // Of an InferenceService that had this name before: the garbage collector is on its way.
        None if owner.name == task.name => Err(Error::Terminating { kind, namespace, name }),
        foreign => {
            let owner_kind = foreign.as_deref().unwrap_or(crate::api::KIND);
            let owner = format!("is controlled by {owner_kind} {}", owner.name);
            Err(Error::NameTaken { kind, namespace, name, owner })
        }
    }
}

/// A selector is one value to the API server: what is added to it selects less.
fn is_built(found: &Value, desired: &Value) -> bool {
    found["selector"] == desired["selector"] && covers(found, desired)
}

/// Has `found` all that `desired` says? What `desired` does not name may be anything, and an array may have more: the
/// API server merges those of a Service by their keys.
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

/// What stays as it was for now: what to do in place of computing the status. `wrote`, `repaired`: what was done to the
/// children.
pub fn status_waits(
    task: &Task,
    deployment: &DeploymentView,
    wrote: bool,
    repaired: bool,
    now: Timestamp,
) -> Option<Action> {
    let is_unseen = deployment.status.observed_generation < deployment.meta.generation;
    if is_unseen && !task.dirty.contains(Dirty::STATUS) && !is_contested(task, repaired) {
        // What is as it was left is seen before long, and its watch tells; what was written is looked at.
        let is_looked_at = wrote || is_anew(task, deployment);
        return Some(if is_looked_at { Action::Recheck(Dirty::STATUS) } else { Action::AwaitChange });
    }
    // It is said who changes a child until that has been over for a while.
    let stays = |before: Summary| before.is_contested && is_recent(before.written, status::half(now));
    (!repaired && task.summary.is_some_and(stays)).then_some(Action::Recheck(Dirty::COUNT))
}

/// Has this been changed back so often that somebody else must want it otherwise?
pub fn is_contested(task: &Task, repaired: bool) -> bool {
    repaired && task.repairs.saturating_add(1) >= CONTESTED_AFTER
}

/// What the status said, as far as it still counts. `deployment`: as it is now.
pub fn before(task: &Task, deployment: &DeploymentView) -> Option<Summary> {
    if is_anew(task, deployment) { task.summary.map(Summary::of_others) } else { task.summary }
}

/// Does the status speak of another spec, or of other children, than there are now? `deployment`: as it is now.
fn is_anew(task: &Task, deployment: &DeploymentView) -> bool {
    task.dirty.contains(Dirty::STATUS)
        || !task.summary.is_some_and(|before| before.is_current)
        || !is_same_spec(&task.versions, deployment)
}

/// What is to come after a status of this phase, where no watch tells.
pub fn follow_up(task: &Task, deployment: &DeploymentView, repaired: bool, phase: Phase) -> Action {
    if is_contested(task, repaired) {
        Action::Recheck(Dirty::COUNT)
    } else if phase == Phase::Progressing && status::misses_replicas(deployment) {
        Action::Recheck(Dirty::DUE)
    } else {
        Action::AwaitChange
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusStep {
    /// It says so already.
    Keep,
    /// It can be said later, once for several changes.
    Later,
    Write,
}

/// `before`: see there. `must_write`: a child was written just now. Then the status is written even where it says the
/// same, because of its versions: a restart would otherwise take the child for one that somebody else has changed.
pub fn status_step(task: &Task, before: Option<&Summary>, after: &Summary, must_write: bool) -> StatusStep {
    if must_write {
        StatusStep::Write
    } else if can_wait(task, after) {
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

/// On the way to Ready the replicas come one by one, and the text of a refusal may change with each try: while spec and
/// phase stay, one write in `READY_COUNT_INTERVAL` is enough.
fn can_wait(task: &Task, after: &Summary) -> bool {
    task.summary.is_some_and(|before| {
        before.is_current
            && before.checksum != after.checksum
            && after.phase != Phase::Ready
            && (before.phase, before.abnormal) == (after.phase, after.abnormal)
            && is_recent(before.written, after.written)
    })
}

/// Less than `READY_COUNT_INTERVAL` ago, by the lower half of both times. A clock that was set back delays nothing.
fn is_recent(written: u16, now: u16) -> bool {
    written != 0 && u32::from(now.wrapping_sub(written)) < READY_COUNT_INTERVAL
}

#[cfg(test)]
mod tests;
