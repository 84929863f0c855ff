//! Everything that can go wrong with one InferenceService, in words for the person who reads them.
//! Made by reconcile; decides by its kind alone whether time resolves it or the user must.

use std::time::Duration;

use crate::kubernetes::refusal::{describe, is_of_a_namespace_that_goes, retry_after};

/// The reasons of what is looked at again even where no watch shows a change: see `Remedy`.
pub const UNFINISHED: [&str; 8] = [
    API_SERVER_REFUSED,
    REQUEST_FAILED,
    NAME_TAKEN,
    TERMINATING,
    LABEL_TAKEN_AWAY,
    REPLICAS_OVERRIDDEN,
    CONTESTED,
    TIMEOUT,
];
const API_SERVER_REFUSED: &str = "ApiServerRefused";
const REQUEST_FAILED: &str = "RequestFailed";
const NAME_TAKEN: &str = "NameTaken";
const TERMINATING: &str = "Terminating";
const LABEL_TAKEN_AWAY: &str = "LabelTakenAway";
const REPLICAS_OVERRIDDEN: &str = "ReplicasOverridden";
pub const CONTESTED: &str = "Contested";
const TIMEOUT: &str = "Timeout";

/// Attempts that fail before the one whose error is told: what is over within a second is nobody's news.
pub const REPORTED_AFTER_FAILURES: u8 = 2;

/// Why an InferenceService could not be brought to its spec.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No `#[source]`: kube's own `Debug` and `Display` would link a YAML parser (69 kB).
    #[error("{}", describe(.0))]
    Kube(kube::Error),

    #[error("spec.{0} is missing")]
    MissingField(&'static str),

    #[error("invalid GPU type: {found} (expected: {expected})")]
    InvalidGpuType { found: String, expected: String },

    #[error("invalid spec: {0}")]
    InvalidSpec(String),

    #[error("the spec has {size} bytes, and this operator reads no more than {limit} (expected: a shorter spec)")]
    SpecTooLarge { size: usize, limit: usize },

    #[error(
        "invalid name: {0} (expected: at most 63 lower-case letters, digits and '-', starting with a letter and not \
         ending with '-', because the Service has the same name; and not kubernetes, which is the API server's)"
    )]
    InvalidName(String),

    /// An object of the child's name that this InferenceService does not control.
    #[error("{kind} {namespace}/{name} exists and {owner}; delete or rename it, or rename the InferenceService")]
    NameTaken { kind: &'static str, namespace: String, name: String, owner: String },

    /// A child that waits for its own deletion; it is created again when it is gone.
    #[error("{kind} {namespace}/{name} is being deleted; it is created again once it is gone")]
    Terminating { kind: &'static str, namespace: String, name: String },

    /// The watch does not show it, and so nothing would tell when it is ready.
    #[error(
        "Deployment {0}/{1} lost its label app.kubernetes.io/managed-by as it was written: an admission policy or webhook \
         of this cluster has to let it pass, because this operator sees no Deployment without it"
    )]
    LabelTakenAway(String, String),

    /// Something on the way to the datastore changes what is written: an admission webhook or policy.
    #[error(
        "spec.replicas is {asked}, and the Deployment {namespace}/{name} has {found} as soon as it is written: an admission \
         policy or webhook of this cluster holds it there"
    )]
    ReplicasOverridden { namespace: String, name: String, asked: i32, found: i32 },

    /// The InferenceService that was worked on is not there any more; a watch event will say so too.
    #[error("the InferenceService is gone")]
    Gone,

    #[error("timed out after {} s", .0.as_secs())]
    Timeout(Duration),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Error::Kube(error)
    }
}

impl Error {
    /// The condition's reason: one CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Kube(kube::Error::Api(_)) => API_SERVER_REFUSED,
            Error::Kube(_) => REQUEST_FAILED,
            Error::MissingField(_) => "MissingField",
            Error::InvalidGpuType { .. } => "InvalidGpuType",
            Error::InvalidSpec(_) => "InvalidSpec",
            Error::SpecTooLarge { .. } => "SpecTooLarge",
            Error::InvalidName(_) => "InvalidName",
            Error::NameTaken { .. } => NAME_TAKEN,
            Error::Terminating { .. } => TERMINATING,
            Error::LabelTakenAway(..) => LABEL_TAKEN_AWAY,
            Error::ReplicasOverridden { .. } => REPLICAS_OVERRIDDEN,
            Error::Gone => "Gone",
            Error::Timeout(_) => TIMEOUT,
        }
    }

    pub fn remedy(&self) -> Remedy {
        match self {
            Error::MissingField(_)
            | Error::InvalidGpuType { .. }
            | Error::InvalidSpec(_)
            | Error::SpecTooLarge { .. }
            | Error::InvalidName(_) => Remedy::User,
            Error::NameTaken { .. } | Error::LabelTakenAway(..) => Remedy::UserElsewhere,
            // 409 is a race that the next look settles, 404 a namespace or CRD that comes or goes, 401 a token that
            // is read again, 408 and 429 a server that is busy. What remains of the 4xx is a "no" with a reason that
            // the user should see: quota, admission, rights.
            Error::Kube(kube::Error::Api(status))
                if (400..500).contains(&status.code) && !matches!(status.code, 401 | 404 | 408 | 409 | 429) =>
            {
                Remedy::RetryAndReport
            }
            // As long as the own deadline is: no news would come for longer than it is true.
            Error::Timeout(_) | Error::ReplicasOverridden { .. } => Remedy::RetryAndReport,
            Error::Kube(_) | Error::Terminating { .. } | Error::Gone => Remedy::Time,
        }
    }

    /// Does the status speak of it? `failures`: attempts that have failed before this one. What lasts is told, whatever
    /// it is; but where the InferenceService or its namespace goes, there is nobody to tell.
    pub fn is_reported(&self, failures: u8) -> bool {
        let nobody_is_there = matches!(self, Error::Gone) || self.is_of_a_namespace_that_goes();
        !nobody_is_there && (self.remedy() != Remedy::Time || failures >= REPORTED_AFTER_FAILURES)
    }

    /// What all have to wait: an API server that has too much to do says so with these codes. Of any other it may be a
    /// webhook that asks, whose business the others are not.
    pub fn retry_after(&self) -> Duration {
        match self {
            Error::Kube(refusal @ kube::Error::Api(status)) if matches!(status.code, 429 | 503) => retry_after(refusal),
            _ => Duration::ZERO,
        }
    }

    /// A test of a patch failed, or somebody on the way does not like what it makes: both are 422.
    pub fn is_unprocessable(&self) -> bool {
        matches!(self, Error::Kube(kube::Error::Api(status)) if status.code == 422)
    }

    pub fn is_of_a_namespace_that_goes(&self) -> bool {
        matches!(self, Error::Kube(kube::Error::Api(status)) if is_of_a_namespace_that_goes(status))
    }
}

/// Who corrects an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The user, by changing the spec: wait for that.
    User,
    /// The user, but on an object that no watch shows: look again at a slow pace.
    UserElsewhere,
    /// Time; try again, and say in the status what the API server says.
    RetryAndReport,
    /// Time; try again, and say it where it lasts.
    Time,
}
