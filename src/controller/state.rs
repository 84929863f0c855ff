//! Marks of a record that are no reasons for work, and the two kinds of children that it has. Used by record.rs and
//! fleet.rs.

use crate::controller::reasons::Reasons;

/// Marks that are not reasons for work, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State(u8);

impl State {
    pub const IN_FLIGHT: State = State(1);
    /// Deleted while in flight: removed when it lands.
    pub const GONE: State = State(1 << 1);
    /// Has a deletionTimestamp: its children belong to the garbage collector.
    pub const DELETING: State = State(1 << 2);
    /// Named by the list that is being read or was read last; one mark a kind.
    pub const LISTED: State = State(1 << 3);
    pub const DEPLOYMENT_LISTED: State = State(1 << 4);
    pub const SERVICE_LISTED: State = State(1 << 5);
    /// A list that ended in flight did not name the Service that is being made: was it not there yet, or gone again?
    pub const MISSED: State = State(1 << 6);
    pub const ALL_LISTED: State = State(0b11_1000);

    pub fn has(self, mark: State) -> bool {
        self.0 & mark.0 == mark.0
    }

    pub fn set(&mut self, mark: State, on: bool) {
        self.0 = if on { self.0 | mark.0 } else { self.0 & !mark.0 };
    }
}

/// The two kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    Deployment,
    Service,
}

impl ChildKind {
    pub fn reason(self) -> Reasons {
        match self {
            ChildKind::Deployment => Reasons::DEPLOYMENT,
            ChildKind::Service => Reasons::SERVICE,
        }
    }

    pub fn listed(self) -> State {
        match self {
            ChildKind::Deployment => State::DEPLOYMENT_LISTED,
            ChildKind::Service => State::SERVICE_LISTED,
        }
    }
}
