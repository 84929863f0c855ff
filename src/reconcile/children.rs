//! What one reconcile knows of the children: what was read, then what was written. Kept by reconcile; must never ask for
//! anything itself.

use super::Task;
use super::apply::Known;
use super::plan::Step;
use super::status::{Assessment, Stamps};
use crate::controller::reasons::Reasons;
use crate::projection::{Deployment, Identity, Managers};

#[derive(Default)]
pub struct Children {
    pub deployment: Child<Deployment>,
    pub service: Child<Identity>,
    /// One of them was changed by this reconcile.
    pub wrote: bool,
    pub repair: Option<Repair>,
    /// What the status has just been made to say, and did not say before.
    pub told: Option<Assessment>,
}

#[derive(Default)]
pub enum Child<T> {
    #[default]
    Unread,
    Absent,
    Found(T),
}

impl<T> Child<T> {
    pub fn found(&self) -> Option<&T> {
        if let Child::Found(child) = self { Some(child) } else { None }
    }
}

impl<T> From<Option<T>> for Child<T> {
    fn from(read: Option<T>) -> Self {
        read.map_or(Child::Absent, Child::Found)
    }
}

/// Which child was not as it was left, and who wrote it last. None: it was gone.
pub struct Repair {
    pub kind: &'static str,
    pub managers: Option<Managers>,
}

impl Children {
    /// Keeps account of a child that was applied. `managers`: of the one that was there before.
    pub fn note(
        &mut self,
        kind: &'static str,
        task: &Task,
        step: Step,
        applied: &Identity,
        managers: Option<Managers>,
    ) {
        let is_same = matches!(step, Step::Apply(Known::ResourceVersion(at)) if at == applied.resource_version);
        let was_known = if kind == "Service" { task.stamps.service != 0 } else { task.stamps.deployment != 0 };
        let is_repair = was_known && !task.reasons.contains(Reasons::SPEC);
        if is_same {
            return;
        }
        self.wrote = true;
        if is_repair {
            self.repair = Some(Repair { kind, managers });
        }
    }

    /// What was not read is as it was. `applied`: the Deployment is as the spec has it; else it has to be applied still.
    pub fn stamps(&self, task: &Task, applied: bool) -> Stamps {
        let mut stamps = task.stamps;
        match &self.deployment {
            Child::Unread => {}
            Child::Found(child) if child.identity.is_controlled_by(task.uid) => {
                stamps.deployment = child.identity.resource_version;
                // Where whose its fields are was not read, they are as they were.
                let is_lean = child.managers.applied == 0 && child.identity.revision() == stamps.deployment_revision;
                if applied && !is_lean {
                    stamps.deployment_revision = child.identity.revision();
                    stamps.deployment_fields = child.managers.applied;
                }
            }
            Child::Found(_) | Child::Absent => stamps = Stamps { service: stamps.service, ..Stamps::default() },
        }
        match &self.service {
            Child::Unread => {}
            Child::Found(child) if child.is_controlled_by(task.uid) => stamps.service = child.resource_version,
            Child::Found(_) | Child::Absent => stamps.service = 0,
        }
        stamps
    }
}
