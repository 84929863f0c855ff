//! The violations, each with a short name by which seeds are counted. Used by all checks;
//! `TOLERATE=early-degraded,older-spec` ignores names.

use std::fmt;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViolationKind {
    /// `Degraded` because of replicas that are still starting.
    EarlyDegraded,
    /// A Warning Event for the same.
    EarlyWarning,
    /// `Degraded` or `Failed` because of an obstacle that does not exist.
    FalseObstacle,
    /// `Ready` without ever having run with this spec.
    FalseReady,
    /// `Ready` for more than a minute after it stopped being true.
    StaleReady,
    /// A lasting obstacle is not named within a minute.
    SilentObstacle,
    /// The status describes an older spec for more than a minute.
    StaleStatus,
    /// A Deployment was set to an older generation of the spec than it had before.
    OlderSpec,
    /// More Events for one object than client-go allows.
    TooManyEvents,
    /// Requests about a terminating namespace.
    DyingNamespace,
    /// Requests at full speed, without a pause.
    Storm,
    /// kstatus reports Current before the latest spec has run.
    EarlyCurrent,
    /// kstatus reports Failed, although there is nothing for the user to correct.
    FalseFailed,
    /// `Paused`, of a spec that is not.
    FalsePaused,
    /// A child was written by a process that knows that it is paused.
    PausedWrite,
    /// A write by an operator that does not hold the Lease.
    TwoLeaders,
    /// A write to an object that is not the operator's.
    ForeignWrite,
    /// A request that the simulated API server does not know.
    UnknownRequest,
    /// A Deployment was built from what no accepted catalogue offers.
    NotOffered,
    /// A rollout has taken down more InferenceServices than are allowed at a time.
    TooManyDown,
    /// A rollout went on, although one that it had taken down did not become ready.
    HaltedGoesOn,
    /// At rest the status of the catalogue says what is not so.
    CatalogStatus,
    /// After faults stopped, an object did not converge to its spec.
    NotSettled,
    /// The same, for a child that the operator may adopt.
    NotAdopted,
    /// A request or a write at rest.
    NotQuiet,
    /// More writes than there were reasons for.
    OverBudget,
    /// At rest the operator's memory does not match the existing objects.
    Memory,
}

impl ViolationKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ViolationKind::EarlyDegraded => "early-degraded",
            ViolationKind::EarlyWarning => "early-warning",
            ViolationKind::FalseObstacle => "false-obstacle",
            ViolationKind::FalseReady => "false-ready",
            ViolationKind::StaleReady => "stale-ready",
            ViolationKind::SilentObstacle => "silent-obstacle",
            ViolationKind::StaleStatus => "stale-status",
            ViolationKind::OlderSpec => "older-spec",
            ViolationKind::TooManyEvents => "too-many-events",
            ViolationKind::DyingNamespace => "dying-namespace",
            ViolationKind::Storm => "storm",
            ViolationKind::EarlyCurrent => "early-current",
            ViolationKind::FalseFailed => "false-failed",
            ViolationKind::FalsePaused => "false-paused",
            ViolationKind::PausedWrite => "paused-write",
            ViolationKind::TwoLeaders => "two-leaders",
            ViolationKind::ForeignWrite => "foreign-write",
            ViolationKind::UnknownRequest => "unknown-request",
            ViolationKind::NotOffered => "not-offered",
            ViolationKind::TooManyDown => "too-many-down",
            ViolationKind::HaltedGoesOn => "halted-goes-on",
            ViolationKind::CatalogStatus => "catalog-status",
            ViolationKind::NotSettled => "not-settled",
            ViolationKind::NotAdopted => "not-adopted",
            ViolationKind::NotQuiet => "not-quiet",
            ViolationKind::OverBudget => "over-budget",
            ViolationKind::Memory => "memory",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub kind: ViolationKind,
    /// Since the run began.
    pub at: Duration,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:10.3} {}: {}", self.at.as_secs_f64(), self.kind.as_str(), self.what)
    }
}

/// Does `TOLERATE` ignore this violation?
pub fn is_tolerated(kind: ViolationKind) -> bool {
    std::env::var("TOLERATE").is_ok_and(|names| names.split(',').any(|one| one == kind.as_str()))
}
