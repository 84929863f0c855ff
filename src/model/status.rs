//! What is kept in memory of a status that was written or read.

use std::num::{NonZeroU32, NonZeroU64};

use crate::api::Phase;
use crate::model::ChildKind;
use crate::time::Timestamp;

/// What is kept of a status after the write: enough to tell whether another one would differ, and since when its
/// conditions hold. 24 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // independent facts, a byte each
pub struct Summary {
    /// Over the whole status except times and versions.
    pub checksum: u64,
    pub phase: Phase,
    pub abnormal: Abnormal,
    /// The status is about the latest known generation of the spec.
    pub is_current: bool,
    /// The status says that the condition Ready is true.
    pub is_ready: bool,
    /// The status says that another client keeps changing a child.
    pub is_contested: bool,
    /// How far the replicas of this spec and these children have come at best.
    pub reached: Reached,
    /// The lower 16 bits of the time in seconds at which this process wrote it; 0: another process did.
    pub written: u16,
    /// Last transition of Ready.
    pub ready_since: Timestamp,
    /// When Reconciling, Stalled or Paused became true for this spec and these children.
    pub abnormal_since: Timestamp,
}

/// In the order in which it is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    #[default]
    Nothing,
    /// They should have been Ready long ago: from now on missing ones are not on their way.
    LoadTime,
    /// Missing ones were lost.
    Ready,
}

impl Summary {
    /// Are replicas missing that should come? Only their pods tell why they do not.
    pub fn waits_for_pods(&self) -> bool {
        matches!(self.phase, Phase::Progressing | Phase::Degraded)
    }

    /// What remains of it for another spec or other children: their waiting time starts again.
    pub fn of_others(self) -> Summary {
        Summary { abnormal_since: Timestamp::default(), reached: Reached::Nothing, ..self }
    }

    /// The same of children that were not seen to be Ready.
    pub fn never_ready(self) -> Summary {
        Summary { reached: Reached::Nothing, ..self }
    }

    /// The same if another client wrote it, about the known spec and children: how long they have waited is known
    /// better than from an old status, or from that of another operator.
    pub fn waiting_like(self, known: &Summary) -> Summary {
        let abnormal_since = self.abnormal_since.max(known.abnormal_since);
        Summary { abnormal_since, reached: known.reached, ..self }
    }
}

/// The condition next to Ready. kstatus wants at most one, and only while it is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Abnormal {
    #[default]
    None,
    Reconciling,
    Stalled,
    /// To kstatus nothing is abnormal then.
    Paused,
}

impl Abnormal {
    pub fn condition_type(self) -> Option<&'static str> {
        match self {
            Abnormal::None => None,
            Abnormal::Reconciling => Some("Reconciling"),
            Abnormal::Stalled => Some("Stalled"),
            Abnormal::Paused => Some("Paused"),
        }
    }
}

/// The resourceVersions that a status is computed from, and the Deployment's revision as of the last write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObservedVersions {
    /// None: no Deployment exists.
    pub deployment: Option<NonZeroU64>,
    /// See `Meta::revision`; None: the Deployment does not match the spec.
    pub deployment_revision: Option<NonZeroU32>,
    /// See `Managers::applied`; None: not known.
    pub deployment_fields: Option<NonZeroU32>,
    /// None: no Service exists.
    pub service: Option<NonZeroU64>,
}

impl ObservedVersions {
    /// A rejected spec builds no Deployment, so the existing one does not match it.
    pub fn of_no_spec(self) -> ObservedVersions {
        ObservedVersions { deployment_revision: None, deployment_fields: None, ..self }
    }

    pub fn of(&self, kind: ChildKind) -> Option<NonZeroU64> {
        match kind {
            ChildKind::Deployment => self.deployment,
            ChildKind::Service => self.service,
        }
    }

    pub fn of_mut(&mut self, kind: ChildKind) -> &mut Option<NonZeroU64> {
        match kind {
            ChildKind::Deployment => &mut self.deployment,
            ChildKind::Service => &mut self.service,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_another_spec_waits_anew_and_keeps_all_else() {
        let (phase, abnormal) = (Phase::Degraded, Abnormal::Stalled);
        let known =
            Summary { checksum: 1, phase, abnormal, written: 2, ready_since: Timestamp(3), ..Summary::default() };
        assert_eq!(Summary { reached: Reached::Ready, abnormal_since: Timestamp(4), ..known }.of_others(), known);
    }

    #[test]
    fn a_status_that_somebody_puts_back_makes_nothing_wait_for_longer() {
        let known = Summary { abnormal_since: Timestamp(90), ready_since: Timestamp(80), ..Summary::default() };
        let old = Summary {
            checksum: 1,
            abnormal_since: Timestamp(40),
            ready_since: Timestamp(30),
            reached: Reached::Ready,
            ..Summary::default()
        };
        assert_eq!(
            old.waiting_like(&known),
            Summary { abnormal_since: Timestamp(90), reached: Reached::Nothing, ..old }
        );
        assert_eq!(known.waiting_like(&old), Summary { reached: Reached::Ready, ..known });
    }

    #[test]
    fn where_the_spec_is_refused_the_children_are_known_and_not_what_it_builds() {
        let known = ObservedVersions {
            deployment: NonZeroU64::new(1),
            service: NonZeroU64::new(2),
            ..ObservedVersions::default()
        };
        let (deployment_revision, deployment_fields) = (NonZeroU32::new(3), NonZeroU32::new(4));
        assert_eq!(ObservedVersions { deployment_revision, deployment_fields, ..known }.of_no_spec(), known);
    }
}
