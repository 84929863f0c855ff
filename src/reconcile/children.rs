//! The state of the children during one reconcile: first as read, then as written. Kept by reconcile; must never send
//! a request itself.

use super::apply::Precondition;
use super::plan::Step;
use super::status::Assessment;
use crate::model::ObservedVersions;
use crate::model::Task;
use crate::model::view::{DeploymentView, Managers, Meta};
use crate::model::{ChildKind, Dirty};

#[derive(Default)]
pub struct Children {
    pub deployment: Child<DeploymentView>,
    pub service: Child<Meta>,
    /// See `Hashes`, if a spec was read.
    pub inputs: Option<u64>,
    /// This reconcile changed at least one of them.
    pub wrote: bool,
    pub repair: Option<Repair>,
    /// The assessment that the status has just started to report.
    pub reported: Option<Assessment>,
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

/// A child that had changed since the last apply, and its field managers. None: it was deleted.
pub struct Repair {
    pub kind: ChildKind,
    pub managers: Option<Managers>,
}

impl Children {
    /// Records that a child was applied. `managers`: those of the object before the apply.
    pub fn note(&mut self, kind: ChildKind, task: &Task, step: Step, applied: &Meta, managers: Option<Managers>) {
        let is_same = matches!(step, Step::Apply(Precondition::ResourceVersion(at)) if at == applied.resource_version);
        let is_repair = task.versions.of(kind).is_some() && !task.dirty.contains(Dirty::SPEC);
        if is_same {
            return;
        }
        self.wrote = true;
        if is_repair {
            self.repair = Some(Repair { kind, managers });
        }
    }

    /// The versions to record in the status. An unread child keeps its recorded version. A child without the label
    /// that the watch selects by counts as absent: no list contains it, so each list would mark it again. `applied`:
    /// the Deployment matches the spec; otherwise it is still to be applied.
    pub fn versions(&self, task: &Task, applied: bool) -> ObservedVersions {
        let mut versions = task.versions;
        match &self.deployment {
            Child::Unread => {}
            Child::Found(child) if is_shown(&child.meta, task) => {
                versions.deployment = child.meta.version();
                if applied {
                    versions.deployment_revision = child.meta.revision();
                    versions.deployment_fields = child.managers.applied;
                }
            }
            Child::Found(_) | Child::Absent => {
                versions = ObservedVersions { service: versions.service, ..ObservedVersions::default() }
            }
        }
        match &self.service {
            Child::Unread => {}
            Child::Found(child) if is_shown(child, task) => versions.service = child.version(),
            Child::Found(_) | Child::Absent => versions.service = None,
        }
        versions
    }
}

/// Is it controlled by this InferenceService and selected by the watch?
fn is_shown(child: &Meta, task: &Task) -> bool {
    child.is_controlled_by(task.uid) && child.labels.managed
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use serde_json::json;

    use super::*;
    use crate::reconcile::tests::{deployment, task};
    use crate::testing::fixtures::{OTHER_UID, STAMPS};

    fn applied() -> Meta {
        deployment(|_| {}).meta
    }

    #[test]
    fn a_repair_is_of_a_child_that_was_known_and_of_no_other_spec() {
        let (deployment, service) =
            (ObservedVersions { service: None, ..STAMPS }, ObservedVersions { deployment: None, ..STAMPS });
        for (kind, versions, dirty, expected) in [
            (ChildKind::Deployment, deployment, Dirty::DEPLOYMENT, true),
            (ChildKind::Deployment, service, Dirty::DEPLOYMENT, false),
            (ChildKind::Deployment, deployment, Dirty::DEPLOYMENT | Dirty::SPEC, false),
            (ChildKind::Service, service, Dirty::SERVICE, true),
            (ChildKind::Service, deployment, Dirty::SERVICE, false),
            (ChildKind::Service, service, Dirty::SERVICE | Dirty::SPEC, false),
        ] {
            let mut children = Children::default();
            let task = Task { versions, ..task(dirty) };
            children.note(kind, &task, Step::Apply(Precondition::Absent), &applied(), None);
            assert_eq!(children.repair.map(|repair| repair.kind), expected.then_some(kind), "{dirty:?}");
            assert!(children.wrote);
        }
        let mut children = Children::default();
        let same = Step::Apply(Precondition::ResourceVersion(applied().resource_version));
        children.note(ChildKind::Deployment, &task(Dirty::DEPLOYMENT), same, &applied(), None);
        assert!(!children.wrote && children.repair.is_none(), "the write has changed nothing");
    }

    #[test]
    fn versions_are_of_what_was_read_and_is_ours() {
        let versions = |deployment: Child<DeploymentView>, service: Child<Meta>| {
            Children { deployment, service, ..Children::default() }.versions(&task(Dirty::SPEC_AND_CHILDREN), true)
        };
        assert_eq!(versions(Child::Unread, Child::Unread), STAMPS);
        assert_eq!(
            versions(Child::Absent, Child::Unread),
            ObservedVersions { service: NonZeroU64::new(60), ..Default::default() }
        );
        assert_eq!(versions(Child::Unread, Child::Absent), ObservedVersions { service: None, ..STAMPS });
        let foreign = || deployment(|it| it["metadata"]["ownerReferences"][0]["uid"] = json!(OTHER_UID));
        assert_eq!(versions(Child::Found(foreign()), Child::Unread), versions(Child::Absent, Child::Unread));
        assert_eq!(versions(Child::Unread, Child::Found(foreign().meta)), versions(Child::Unread, Child::Absent));
        let unseen = || deployment(|it| it["metadata"]["labels"] = json!({}));
        assert_eq!(versions(Child::Found(unseen()), Child::Unread), versions(Child::Absent, Child::Unread));
        assert_eq!(versions(Child::Unread, Child::Found(unseen().meta)), versions(Child::Unread, Child::Absent));
        assert_eq!(
            versions(Child::Unread, Child::Found(applied())),
            ObservedVersions { service: NonZeroU64::new(51), ..STAMPS }
        );
    }
}
