//! Everything that can go wrong with one InferenceService, in words for the person who reads them.
//! Made by reconcile; decides by its kind alone whether time mends it or the user must.

use std::time::Duration;

pub const API_SERVER_REFUSED: &str = "ApiServerRefused";
pub const NAME_TAKEN: &str = "NameTaken";

/// Whatever is asked for: it may be somebody on the way who asks.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

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

    #[error(
        "invalid name: {0} (expected: at most 63 lower-case letters, digits and '-', starting with a letter and not \
         ending with '-', because the Service has the same name; and not kubernetes, which is the API server's)"
    )]
    InvalidName(String),

    /// An object of the child's name that this InferenceService does not control.
    #[error("{kind} {namespace}/{name} exists and {owner}; delete or rename it, or rename the InferenceService")]
    NameTaken { kind: &'static str, namespace: String, name: String, owner: String },

    /// A child that waits for its own deletion; it is made anew when it is gone.
    #[error("{kind} {namespace}/{name} is being deleted; it is made again when it is gone")]
    Terminating { kind: &'static str, namespace: String, name: String },

    /// The watch does not show it, and so nothing would tell when it is ready.
    #[error(
        "Deployment {0}/{1} lost its label app.kubernetes.io/managed-by as it was written: an admission policy or webhook \
         of this cluster has to let it pass, because this operator sees no Deployment without it"
    )]
    LabelTakenAway(String, String),

    /// The InferenceService that was worked on is not there any more; a watch event will say so too.
    #[error("the InferenceService is gone")]
    Gone,

    #[error("not finished within {} s", .0.as_secs())]
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
            Error::Kube(_) => API_SERVER_REFUSED,
            Error::MissingField(_) => "MissingField",
            Error::InvalidGpuType { .. } => "InvalidGpuType",
            Error::InvalidSpec(_) => "InvalidSpec",
            Error::InvalidName(_) => "InvalidName",
            Error::NameTaken { .. } => NAME_TAKEN,
            Error::Terminating { .. } => "Terminating",
            Error::LabelTakenAway(..) => "LabelTakenAway",
            Error::Gone => "Gone",
            Error::Timeout(_) => "Timeout",
        }
    }

    /// Somebody else was faster.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Kube(kube::Error::Api(status)) if status.code == 409)
    }

    pub fn remedy(&self) -> Remedy {
        match self {
            Error::MissingField(_) | Error::InvalidGpuType { .. } | Error::InvalidSpec(_) | Error::InvalidName(_) => {
                Remedy::User
            }
            Error::NameTaken { .. } | Error::LabelTakenAway(..) => Remedy::UserElsewhere,
            // 409 is a race that the next look settles, 404 a namespace or CRD that comes or goes,
            // 401 a token that is read again, 408 and 429 a server that is busy; a namespace that goes
            // away takes its InferenceServices along. What remains of the 4xx is a "no" with a reason
            // that the user should see: quota, admission, rights.
            Error::Kube(kube::Error::Api(status))
                if (400..500).contains(&status.code)
                    && !matches!(status.code, 401 | 404 | 408 | 409 | 429)
                    && !is_of_a_namespace_that_goes(status) =>
            {
                Remedy::TimeButTellTheUser
            }
            Error::Kube(_) | Error::Terminating { .. } | Error::Gone | Error::Timeout(_) => Remedy::Time,
        }
    }
}

/// What the API server asks for before anything is asked of it again, when it has too much to do.
pub fn patience(error: &kube::Error) -> Duration {
    let kube::Error::Api(status) = error else { return Duration::ZERO };
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    Duration::from_secs(seconds.into()).min(LONGEST_PATIENCE)
}

/// The reason would be in the Status's details, in words that are no clearer.
pub fn is_of_a_namespace_that_goes(status: &kube::core::Status) -> bool {
    status.code == 403 && status.message.ends_with("because it is being terminated")
}

/// Who mends an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The user, by changing the spec: wait for that.
    User,
    /// The user, but on an object that no watch shows: look again at a slow pace.
    UserElsewhere,
    /// Time; try again, and say in the status what the API server says.
    TimeButTellTheUser,
    /// Time; try again.
    Time,
}

/// kube's error without its layers: what the API server said, or why it could not be asked.
pub fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            format!("{} ({})", status.message.chars().take(1024).collect::<String>(), status.code)
        }
        kube::Error::Api(status) => format!("the API server says no, and not why ({})", status.code),
        kube::Error::Service(error) => chain(&**error),
        kube::Error::HyperError(error) => chain(error),
        kube::Error::HttpError(error) => chain(error),
        kube::Error::SerdeError(error) => format!("an answer that cannot be understood: {error}"),
        // Of what only other ways to use kube can meet.
        _ => "the request failed".to_owned(),
    }
}

/// An error with all that caused it, without links to a library's manual.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text.split(": https://docs.rs/").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_ends_is_told_without_a_link_to_a_manual() {
        let ended = std::io::Error::other("peer closed connection: https://docs.rs/rustls/latest/rustls/manual");
        let error = kube::Error::Service(Box::new(ended));
        assert_eq!(describe(&error), "peer closed connection");
    }
}
