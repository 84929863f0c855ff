//! Every error of one InferenceService, with a message for its user. Returned by reconcile; whether time or the user
//! resolves an error must never depend on anything but its kind.

use std::time::Duration;

use crate::kubernetes::refusal::{describe, is_of_a_namespace_that_goes, retry_after};

/// Condition reasons that are checked again even if no watch shows a change: see `Remedy`.
pub const UNFINISHED: [&str; 9] = [
    INVALID_POD,
    API_SERVER_REFUSED,
    REQUEST_FAILED,
    NAME_TAKEN,
    TERMINATING,
    LABEL_TAKEN_AWAY,
    REPLICAS_OVERRIDDEN,
    CONTESTED,
    TIMEOUT,
];
const INVALID_POD: &str = "InvalidPod";
const API_SERVER_REFUSED: &str = "ApiServerRefused";
const REQUEST_FAILED: &str = "RequestFailed";
const NAME_TAKEN: &str = "NameTaken";
const TERMINATING: &str = "Terminating";
const LABEL_TAKEN_AWAY: &str = "LabelTakenAway";
const REPLICAS_OVERRIDDEN: &str = "ReplicasOverridden";
pub const CONTESTED: &str = "Contested";
const TIMEOUT: &str = "Timeout";

/// Failed attempts before the one whose error is reported: errors that are over within a second are of no interest.
pub const REPORTED_AFTER_FAILURES: u8 = 2;

/// Why a reconcile could not bring an InferenceService to its spec.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No `#[source]`: kube's own `Debug` and `Display` would link a YAML parser (69 kB).
    #[error("{}", describe(.0))]
    Kube(kube::Error),

    #[error("spec.{0} is missing")]
    MissingField(&'static str),

    #[error("invalid GPU type: {found} (expected: {expected})")]
    InvalidGpuType { found: String, expected: String },

    #[error("invalid engine: {found} (expected: {expected})")]
    InvalidEngine { found: String, expected: String },

    #[error("invalid spec: {0}")]
    InvalidSpec(String),

    /// The API server says that the pod cannot be as the spec has it: a mistyped field, a name used twice, a bad value.
    #[error("the pod that the spec asks for is invalid: {0}")]
    InvalidPod(String),

    /// The pod that the spec asks for violates the administrator's policy.
    #[error("the pod is not allowed by the operator's pod policy {policy}: {violations}")]
    PodNotAllowed { policy: &'static str, violations: String },

    #[error("the spec has {size} bytes (expected: at most {limit})")]
    SpecTooLarge { size: usize, limit: usize },

    #[error(
        "invalid name: {0} (expected: a name that is valid for a Service, too, and not kubernetes: at most 63 lowercase \
         letters, digits and '-', starting with a letter and not ending with '-')"
    )]
    InvalidName(String),

    /// An object with the child's name that this InferenceService does not control.
    #[error("{kind} {namespace}/{name} exists and {owner}; delete it, or give the InferenceService another name")]
    NameTaken { kind: &'static str, namespace: String, name: String, owner: String },

    /// A child that is being deleted; it is created again when it is gone.
    #[error("{kind} {namespace}/{name} is being deleted; it is recreated once it is gone")]
    Terminating { kind: &'static str, namespace: String, name: String },

    /// The watch does not show it, so no event would tell when it is ready.
    #[error(
        "an admission policy or webhook removed the label app.kubernetes.io/managed-by from Deployment {0}/{1}; change \
         that policy or webhook to keep the label, by which this operator's watch selects Deployments"
    )]
    LabelTakenAway(String, String),

    /// An admission webhook or policy changes the object before it is stored.
    #[error(
        "spec.replicas is {asked}, but an admission policy or webhook sets {found} in Deployment {namespace}/{name}"
    )]
    ReplicasOverridden { namespace: String, name: String, asked: i32, found: i32 },

    /// The InferenceService no longer exists; a watch event will say so too.
    #[error("the InferenceService no longer exists")]
    Gone,

    /// A newer instance of this operator is about to do it, and to report it.
    #[error("left to a newer instance of this operator")]
    LeftToNewer,

    /// Nothing more was sent: another process may act on it.
    #[error("this instance of the operator no longer holds the Lease")]
    LeaseOver,

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
            Error::InvalidEngine { .. } => "InvalidEngine",
            Error::InvalidSpec(_) => "InvalidSpec",
            Error::InvalidPod(_) => INVALID_POD,
            Error::PodNotAllowed { .. } => "PodNotAllowed",
            Error::SpecTooLarge { .. } => "SpecTooLarge",
            Error::InvalidName(_) => "InvalidName",
            Error::NameTaken { .. } => NAME_TAKEN,
            Error::Terminating { .. } => TERMINATING,
            Error::LabelTakenAway(..) => LABEL_TAKEN_AWAY,
            Error::ReplicasOverridden { .. } => REPLICAS_OVERRIDDEN,
            Error::Gone => "Gone",
            Error::LeftToNewer => "LeftToNewer",
            Error::LeaseOver => "LeaseOver",
            Error::Timeout(_) => TIMEOUT,
        }
    }

    pub fn remedy(&self) -> Remedy {
        match self {
            Error::MissingField(_)
            | Error::InvalidGpuType { .. }
            | Error::InvalidEngine { .. }
            | Error::InvalidSpec(_)
            | Error::PodNotAllowed { .. }
            | Error::SpecTooLarge { .. }
            | Error::InvalidName(_) => Remedy::User,
            // Another version of the API server may see it otherwise.
            Error::InvalidPod(_) | Error::NameTaken { .. } | Error::LabelTakenAway(..) => Remedy::UserElsewhere,
            // 409 is a race that the next attempt settles, 404 a namespace or CRD that is created or deleted, 401 a
            // token that is read again, 408 and 429 a busy server. The other 4xx are rejections with a reason that
            // the user should see: quota, admission, permissions.
            Error::Kube(kube::Error::Api(status))
                if (400..500).contains(&status.code) && !matches!(status.code, 401 | 404 | 408 | 409 | 429) =>
            {
                Remedy::RetryAndReport
            }
            // Reported at once: our own deadline is so long that the status would be out of date for too long.
            Error::Timeout(_) | Error::ReplicasOverridden { .. } => Remedy::RetryAndReport,
            Error::Kube(_) | Error::Terminating { .. } | Error::Gone | Error::LeftToNewer | Error::LeaseOver => {
                Remedy::Time
            }
        }
    }

    /// Does the status report it? `failures`: failed attempts before this one. Any error that lasts is reported, unless
    /// the InferenceService or its namespace is going away: then nobody would read it. Or unless another instance
    /// reports.
    pub fn is_reported(&self, failures: u8) -> bool {
        let is_silent =
            matches!(self, Error::Gone | Error::LeftToNewer | Error::LeaseOver) || self.is_of_a_namespace_that_goes();
        !is_silent && (self.remedy() != Remedy::Time || failures >= REPORTED_AFTER_FAILURES)
    }

    /// How long all reconciles have to wait: an overloaded API server says so with these codes. With any other code it
    /// may be a webhook that asks, which must not delay other InferenceServices.
    pub fn retry_after(&self) -> Duration {
        match self {
            Error::Kube(refusal @ kube::Error::Api(status)) if matches!(status.code, 429 | 503) => retry_after(refusal),
            _ => Duration::ZERO,
        }
    }

    /// A `test` of a patch failed, or the patched object was rejected on the way: both are 422.
    pub fn is_unprocessable(&self) -> bool {
        matches!(self, Error::Kube(kube::Error::Api(status)) if status.code == 422)
    }

    pub fn is_of_a_namespace_that_goes(&self) -> bool {
        matches!(self, Error::Kube(kube::Error::Api(status)) if is_of_a_namespace_that_goes(status))
    }
}

/// Who resolves an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The user, by changing the spec: wait for that.
    User,
    /// The user, but on an object that no watch shows: retry at a slow pace.
    UserElsewhere,
    /// Time: retry, and report the API server's message in the status.
    RetryAndReport,
    /// Time: retry, and report it if it lasts.
    Time,
}
