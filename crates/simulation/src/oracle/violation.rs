//! What must not be and was: each with a short name of its own, by which the seeds are counted. Used by everything that
//! looks; `TOLERATE=early-degraded,older-spec` leaves names out.

use std::fmt;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// `Degraded` for replicas that are on their way.
    EarlyDegraded,
    /// A Warning Event for the same.
    EarlyWarning,
    /// `Degraded` or `Failed` for an obstacle that is not there.
    FalseObstacle,
    /// `Ready` without ever having run with this spec.
    FalseReady,
    /// `Ready` for more than a minute after it was so.
    StaleReady,
    /// An obstacle that lasts is not named within a minute.
    SilentObstacle,
    /// The status speaks of an older spec for more than a minute.
    StaleStatus,
    /// A Deployment got the spec of an older generation than one that it had.
    OlderSpec,
    /// More Events for one object than client-go would let through.
    TooManyEvents,
    /// Requests about a namespace that goes away.
    DyingNamespace,
    /// Requests at full speed, without a pause.
    Storm,
    /// kstatus says Current before it has run with the latest spec.
    EarlyCurrent,
    /// kstatus says Failed, and the user has nothing to mend.
    FalseFailed,
    /// Something was written that is not the operator's to write.
    ForeignWrite,
    /// A request that the simulated API server does not know.
    UnknownRequest,
    /// After faults stopped something did not come to match its spec.
    NotSettled,
    /// The same, and it is a child that it may adopt.
    NotAdopted,
    /// At rest something was asked for or written.
    NotQuiet,
    /// More was written than there was reason for.
    OverBudget,
    /// What is remembered at rest is not what there is.
    Memory,
}

impl Name {
    pub fn as_str(self) -> &'static str {
        match self {
            Name::EarlyDegraded => "early-degraded",
            Name::EarlyWarning => "early-warning",
            Name::FalseObstacle => "false-obstacle",
            Name::FalseReady => "false-ready",
            Name::StaleReady => "stale-ready",
            Name::SilentObstacle => "silent-obstacle",
            Name::StaleStatus => "stale-status",
            Name::OlderSpec => "older-spec",
            Name::TooManyEvents => "too-many-events",
            Name::DyingNamespace => "dying-namespace",
            Name::Storm => "storm",
            Name::EarlyCurrent => "early-current",
            Name::FalseFailed => "false-failed",
            Name::ForeignWrite => "foreign-write",
            Name::UnknownRequest => "unknown-request",
            Name::NotSettled => "not-settled",
            Name::NotAdopted => "not-adopted",
            Name::NotQuiet => "not-quiet",
            Name::OverBudget => "over-budget",
            Name::Memory => "memory",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub name: Name,
    /// Since the run began.
    pub at: Duration,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:10.3} {}: {}", self.at.as_secs_f64(), self.name.as_str(), self.what)
    }
}

/// Is this one left out of what a seed fails by?
pub fn is_tolerated(name: Name) -> bool {
    std::env::var("TOLERATE").is_ok_and(|names| names.split(',').any(|one| one == name.as_str()))
}
