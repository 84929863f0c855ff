//! Why the simulated API server does not do what it was asked. Made by the datastore and the outages, written as a
//! `Status` by the server.

/// Why the API server does not do what it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    /// The reason of the one in details.causes.
    pub cause: Option<&'static str>,
}

pub fn refusal(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, reason, message: message.into(), cause: None }
}

/// In details.causes of a refusal to make anything in a namespace that goes away.
pub const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";
