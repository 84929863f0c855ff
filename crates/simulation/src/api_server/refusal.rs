//! An error of the simulated API server. Made by the datastore and the outages, written as a `Status` by the server.

/// An error response of the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    /// The reason of the only entry in details.causes.
    pub cause: Option<&'static str>,
}

pub fn refusal(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, reason, message: message.into(), cause: None }
}

/// The cause in details.causes of a rejected creation in a terminating namespace.
pub const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";
