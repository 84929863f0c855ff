//! What the controller hands to reconcile, and what it gets back to remember.

use crate::controller::reasons::Reasons;
use crate::error::{Error, Remedy};
use crate::projection::{InferenceService, RawSpec};
use crate::reconcile::status::{Stamps, Summary};
use crate::uid::Uid;

/// What the fleet knows about one InferenceService when work on it begins.
#[derive(Clone, Debug)]
pub struct Task {
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub generation: u32,
    pub reasons: Reasons,
    /// Attempts that have failed in a row.
    pub failures: u8,
    /// Repairs of late.
    pub repairs: u8,
    pub stamps: Stamps,
    /// What the status says; None: nothing that can be relied on.
    pub summary: Option<Summary>,
    /// The spec, where the fleet still has it.
    pub spec: Option<RawSpec>,
}

/// What was done, for the fleet to remember.
#[derive(Debug)]
pub struct Done {
    /// The generation of the spec that was acted on.
    pub generation: u32,
    pub stamps: Stamps,
    pub summary: Option<Summary>,
    /// The answer to the status write, where there was one.
    pub written: Option<Box<InferenceService>>,
    /// What somebody else had changed was changed back.
    pub repaired: bool,
    pub next: Next,
}

#[derive(Debug)]
pub enum Next {
    /// Nothing is left to do until something changes.
    Settled,
    /// The Deployment controller is about to change the Deployment: look then, and write the
    /// status once and not twice.
    Look,
    /// Only the number of ready replicas in the status lags: see `status::can_wait`.
    Count,
    /// Look when the time is over that a model has to load: no watch will tell.
    Due,
    /// The error is in the status; try again as its remedy says.
    Refused(Error),
}

impl Done {
    /// Nothing was written, and nothing is to come.
    pub fn unchanged(task: &Task) -> Done {
        Done {
            generation: task.generation,
            stamps: task.stamps,
            summary: task.summary,
            written: None,
            repaired: false,
            next: Next::Settled,
        }
    }
}

/// The values of controller-runtime's label `result`.
pub fn outcome(result: &Result<Done, Error>) -> &'static str {
    match result {
        Ok(Done { next: Next::Settled, .. }) => "success",
        Ok(Done { next: Next::Look | Next::Count | Next::Due, .. }) => "requeue_after",
        Ok(Done { next: Next::Refused(error), .. }) if error.remedy() == Remedy::User => "success",
        Ok(Done { next: Next::Refused(_), .. }) | Err(_) => "error",
    }
}
