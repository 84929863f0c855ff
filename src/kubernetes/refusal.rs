//! Describes, for a person, why the API server rejected a request or why it could not be reached. Used by error.rs and
//! by the watches; pure.

use std::borrow::Cow;
use std::time::Duration;

use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails};
use serde::Deserialize;

/// Cap on Retry-After: a proxy may have set it.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The API server's Retry-After: how long an overloaded server asks clients to wait.
pub fn retry_after(error: &kube::Error) -> Duration {
    let kube::Error::Api(status) = error else { return Duration::ZERO };
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    Duration::from_secs(seconds.into()).min(LONGEST_RETRY_AFTER)
}

/// Whether a create failed because its namespace is being deleted: the admission plugin NamespaceLifecycle names the
/// cause (`NamespaceTerminatingCause` of k8s.io/api/core/v1).
pub fn is_of_a_namespace_that_goes(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Does the API server's own validation say that the object can never be? It names the fields; an admission policy,
/// which answers with the same code, names none.
pub fn is_of_fields(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 422 && causes.any(|cause| !cause.field.is_empty())
}

/// kube's error without its layers: the API server's message, or why it could not be reached.
pub fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => {
            format!("{} ({})", status.message.chars().take(1024).collect::<String>(), status.code)
        }
        kube::Error::Api(status) => format!("the API server rejected the request without a message ({})", status.code),
        kube::Error::Service(error) => chain(&**error),
        kube::Error::HyperError(error) => chain(error),
        kube::Error::HttpError(error) => chain(error),
        kube::Error::SerdeError(error) => format!("cannot decode the response: {error}"),
        // Variants that only other uses of kube can produce.
        _ => "the request failed".to_owned(),
    }
}

/// An error with its causes, without links to a library's manual.
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

/// A `metav1.Status`. kube's own type decodes more than is ever read, which costs 9 kB of program.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct WireStatus<'a> {
    code: u16,
    message: String,
    reason: String,
    #[serde(borrow)]
    details: Option<WireDetails<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireDetails<'a> {
    /// null if there were too many causes to keep.
    #[serde(borrow)]
    causes: Option<Vec<WireCause<'a>>>,
}

#[derive(Deserialize)]
struct WireCause<'a> {
    #[serde(default, borrow)]
    reason: Cow<'a, str>,
    #[serde(default, borrow)]
    field: Cow<'a, str>,
}

impl From<WireStatus<'_>> for Status {
    fn from(wire: WireStatus<'_>) -> Self {
        let cause = |cause: WireCause| StatusCause {
            reason: cause.reason.into_owned(),
            message: String::new(),
            field: cause.field.into_owned(),
        };
        let causes = wire.details.and_then(|details| details.causes).into_iter().flatten().map(cause).collect();
        let (name, group, kind, uid) = Default::default();
        let details = Some(StatusDetails { name, group, kind, uid, causes, retry_after_seconds: 0 });
        Status { code: wire.code, message: wire.message, reason: wire.reason, details, ..Status::default() }
    }
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

    #[test]
    fn only_the_api_servers_own_validation_names_fields() {
        let of = |code: u16, causes: &str| {
            let wire = format!(r#"{{"code": {code}, "details": {{"causes": {causes}}}}}"#);
            let status: Status = serde_json::from_str::<WireStatus>(&wire).expect("a status").into();
            is_of_fields(&kube::Error::Api(status.boxed()))
        };
        assert!(of(422, r#"[{"reason": "FieldValueDuplicate", "field": "spec.template.spec.volumes[1].name"}]"#));
        // A ValidatingAdmissionPolicy.
        assert!(!of(422, r#"[{"message": "failed expression: false"}]"#));
        assert!(!of(422, "null"));
        assert!(!of(403, r#"[{"field": "spec"}]"#));
    }
}
