//! The input that the controller passes to reconcile, and the outcome that it records.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::error::{Error, Remedy};
use crate::model::Dirty;
use crate::model::uid::Uid;
use crate::model::view::{InferenceServiceView, RawSpec};
use crate::model::{ObservedVersions, Summary};
use crate::telemetry::metrics::ReconcileResult;

/// What the index knows about one InferenceService when its reconcile starts.
#[derive(Clone, Debug)]
pub struct Task {
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub generation: u32,
    pub dirty: Dirty,
    /// Failed attempts in a row.
    pub failures: u8,
    /// Recent repairs.
    pub repairs: u8,
    pub versions: ObservedVersions,
    /// The port of the Service, if it was last built from `spec.service`.
    pub service_port: Option<NonZeroU16>,
    /// See `InferenceServiceStatus::last_load_seconds`.
    pub last_load: Option<NonZeroU16>,
    /// A rollout of other settings, or of another release, has come to it.
    pub released: bool,
    /// What the status says; None: nothing that can be trusted.
    pub summary: Option<Summary>,
    /// The spec, if the index still has it.
    pub spec: Option<RawSpec>,
}

/// What was done, for the index to record.
#[derive(Debug)]
pub struct Outcome {
    /// The generation of the spec that was acted on.
    pub generation: u32,
    pub versions: ObservedVersions,
    pub service_port: Option<NonZeroU16>,
    pub last_load: Option<NonZeroU16>,
    pub summary: Option<Summary>,
    /// The response to the status write, if there was one.
    pub written: Option<Box<InferenceServiceView>>,
    /// A change by another client was reverted.
    pub repaired: bool,
    pub action: Action,
}

/// What to do next.
#[derive(Debug)]
pub enum Action {
    /// Nothing, until something changes.
    AwaitChange,
    /// Requeue for these bits alone. STATUS: the Deployment controller is about to change the Deployment, and the
    /// status is written once instead of twice. COUNT: the number of ready replicas in the status may lag for a while.
    Recheck(Dirty),
    /// Requeue for these bits after so long, or for a change before that: no watch event marks the end of a model's load
    /// time, nor tells why a pod does not start.
    RequeueAfter(Dirty, Duration),
    /// The error is in the status; retry as its remedy says.
    Rejected(Error),
}

impl Action {
    /// What is left to do.
    pub fn dirty(&self) -> Dirty {
        match self {
            Action::Recheck(dirty) => *dirty,
            Action::RequeueAfter(dirty, _) => *dirty | Dirty::DUE,
            Action::AwaitChange | Action::Rejected(_) => Dirty::empty(),
        }
    }
}

impl Outcome {
    /// Nothing was written, and nothing is left to do.
    pub fn unchanged(task: &Task) -> Outcome {
        Outcome {
            generation: task.generation,
            versions: task.versions,
            service_port: task.service_port,
            last_load: task.last_load,
            summary: task.summary,
            written: None,
            repaired: false,
            action: Action::AwaitChange,
        }
    }
}

/// The result as the metrics count it.
pub fn counted(result: &Result<Outcome, Error>) -> ReconcileResult {
    match result {
        Ok(Outcome { action: Action::AwaitChange, .. }) => ReconcileResult::Success,
        Ok(Outcome { action: Action::Recheck(_) | Action::RequeueAfter(..), .. }) => ReconcileResult::RequeueAfter,
        Ok(Outcome { action: Action::Rejected(error), .. }) if error.remedy() == Remedy::User => {
            ReconcileResult::Success
        }
        Ok(Outcome { action: Action::Rejected(_), .. }) | Err(_) => ReconcileResult::Error,
    }
}
