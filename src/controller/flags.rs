//! Flags of a record that cause no reconcile. Used by record.rs and index.rs.

use crate::model::ChildKind;

bitflags::bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u16 {
        const IN_FLIGHT = 1;
        /// Deleted while in flight: removed when the reconcile finishes.
        const GONE = 1 << 1;
        /// Has a deletionTimestamp: its children belong to the garbage collector.
        const DELETING = 1 << 2;
        /// Contained in the list that is being read or was read last; one flag for each kind.
        const LISTED = 1 << 3;
        const DEPLOYMENT_LISTED = 1 << 4;
        const SERVICE_LISTED = 1 << 5;
        /// A list that ended in flight did not contain the Service being created: not there yet, or deleted again?
        const MISSED = 1 << 6;
        /// Of the failures in a row, one that the status could not report is in the log.
        const LOGGED = 1 << 7;
        /// The reconcile in flight only looks at what is missing replicas: it changes nothing about a rollout.
        const LOOKING = 1 << 8;
        /// No watch has shown this child since the record was made, and no list was to come that would have; one flag for each
        /// kind.
        const DEPLOYMENT_UNSEEN = 1 << 9;
        const SERVICE_UNSEEN = 1 << 10;
        const UNSEEN = Self::DEPLOYMENT_UNSEEN.bits() | Self::SERVICE_UNSEEN.bits();
        const ALL_LISTED = Self::LISTED.bits() | Self::DEPLOYMENT_LISTED.bits() | Self::SERVICE_LISTED.bits();
    }
}

/// The flag for a child of this kind that no watch has shown.
pub fn unseen(kind: ChildKind) -> Flags {
    match kind {
        ChildKind::Deployment => Flags::DEPLOYMENT_UNSEEN,
        ChildKind::Service => Flags::SERVICE_UNSEEN,
    }
}

/// The flag for a list of these children.
pub fn listed(kind: ChildKind) -> Flags {
    match kind {
        ChildKind::Deployment => Flags::DEPLOYMENT_LISTED,
        ChildKind::Service => Flags::SERVICE_LISTED,
    }
}
