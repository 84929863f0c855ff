//! What the controller hands to reconcile, and what it gets back to remember.

use crate::error::{Error, Remedy};
use crate::model::Dirty;
use crate::model::uid::Uid;
use crate::model::view::{InferenceServiceView, RawSpec};
use crate::model::{ObservedVersions, Summary};
use crate::telemetry::metrics::ReconcileResult;

/// What the index knows about one InferenceService when work on it begins.
#[derive(Clone, Debug)]
pub struct Task {
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub generation: u32,
    pub dirty: Dirty,
    /// Attempts that have failed in a row.
    pub failures: u8,
    /// Repairs of late.
    pub repairs: u8,
    pub versions: ObservedVersions,
    /// What the status says; None: nothing that can be relied on.
    pub summary: Option<Summary>,
    /// The spec, where the index still has it.
    pub spec: Option<RawSpec>,
}

/// What was done, for the index to remember.
#[derive(Debug)]
pub struct Outcome {
    /// The generation of the spec that was acted on.
    pub generation: u32,
    pub versions: ObservedVersions,
    pub summary: Option<Summary>,
    /// The answer to the status write, where there was one.
    pub written: Option<Box<InferenceServiceView>>,
    /// What somebody else had changed was changed back.
    pub repaired: bool,
    pub action: Action,
}

/// What is to come of it.
#[derive(Debug)]
pub enum Action {
    /// Nothing is left to do until something changes.
    AwaitChange,
    /// Look again, at this alone. STATUS: the Deployment controller is about to change the Deployment, and the status is
    /// written once and not twice. COUNT: the number of ready replicas in the status may lag for a while. DUE: no watch
    /// tells when the time is over that a model has to load.
    Recheck(Dirty),
    /// The error is in the status; try again as its remedy says.
    Rejected(Error),
}

impl Action {
    /// What is left to do.
    pub fn dirty(&self) -> Dirty {
        match self {
            Action::Recheck(dirty) => *dirty,
            Action::AwaitChange | Action::Rejected(_) => Dirty::empty(),
        }
    }
}

impl Outcome {
    /// Nothing was written, and nothing is to come.
    pub fn unchanged(task: &Task) -> Outcome {
        Outcome {
            generation: task.generation,
            versions: task.versions,
            summary: task.summary,
            written: None,
            repaired: false,
            action: Action::AwaitChange,
        }
    }
}

/// How it ended, for who counts.
pub fn counted(result: &Result<Outcome, Error>) -> ReconcileResult {
    match result {
        Ok(Outcome { action: Action::AwaitChange, .. }) => ReconcileResult::Success,
        Ok(Outcome { action: Action::Recheck(_), .. }) => ReconcileResult::RequeueAfter,
        Ok(Outcome { action: Action::Rejected(error), .. }) if error.remedy() == Remedy::User => {
            ReconcileResult::Success
        }
        Ok(Outcome { action: Action::Rejected(_), .. }) | Err(_) => ReconcileResult::Error,
    }
}
