//! Marks of a record that ask for no work, and the two kinds of children that it has. Used by record.rs and index.rs.

use crate::model::Dirty;

bitflags::bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u8 {
        const IN_FLIGHT = 1;
        /// Deleted while in flight: removed when that is finished.
        const GONE = 1 << 1;
        /// Has a deletionTimestamp: its children belong to the garbage collector.
        const DELETING = 1 << 2;
        /// Named by the list that is being read or was read last; one mark a kind.
        const LISTED = 1 << 3;
        const DEPLOYMENT_LISTED = 1 << 4;
        const SERVICE_LISTED = 1 << 5;
        /// A list that ended in flight did not name the Service that is being made: was it not there yet, or gone again?
        const MISSED = 1 << 6;
        const ALL_LISTED = Self::LISTED.bits() | Self::DEPLOYMENT_LISTED.bits() | Self::SERVICE_LISTED.bits();
    }
}

/// The two kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    Deployment,
    Service,
}

impl ChildKind {
    pub fn dirty(self) -> Dirty {
        match self {
            ChildKind::Deployment => Dirty::DEPLOYMENT,
            ChildKind::Service => Dirty::SERVICE,
        }
    }

    pub fn listed(self) -> Flags {
        match self {
            ChildKind::Deployment => Flags::DEPLOYMENT_LISTED,
            ChildKind::Service => Flags::SERVICE_LISTED,
        }
    }
}
