//! The operator's requests through the proxy, and their results. Written by the proxy, read by the budget; pure.

use simulation::api_server::faults::Handling;
use simulation::api_server::{Key, Kind};

pub enum Entry {
    /// The operator was started.
    Start,
    /// All connections were cut.
    Cut,
    /// This list or watch starts at an earlier version.
    Past(String),
    /// This list ended late, and so shows an older state.
    Late(String),
    Asked(Asked),
}

pub struct Asked {
    /// None: a list, a watch or an Event.
    pub key: Option<Key>,
    /// Method and path.
    pub line: String,
    pub is_write: bool,
    pub handling: Handling,
    /// The API server's status code; None: it was not sent the request, or did not respond.
    pub code: Option<u16>,
}

impl Asked {
    /// The API server has written it, whether or not the operator received the response.
    pub fn wrote(&self) -> bool {
        self.is_write && self.code.is_some_and(|code| (200..300).contains(&code))
    }

    /// A problem that makes the operator retry; 409: another client was faster, as the Deployment controller can be.
    pub fn is_disturbance(&self) -> bool {
        self.handling != Handling::Served || self.code.is_none_or(|code| code >= 500 || matches!(code, 409 | 429))
    }

    pub fn is_of(&self, name: &str) -> bool {
        self.key.as_ref().is_some_and(|key| key.name == name)
    }

    /// The API server has created the object.
    pub fn made_kind(&self, kind: Kind) -> bool {
        self.wrote_kind(kind) && self.code == Some(201)
    }

    pub fn wrote_kind(&self, kind: Kind) -> bool {
        self.wrote() && self.key.as_ref().is_some_and(|key| key.kind == kind)
    }
}

impl Entry {
    /// After this the operator may, or must, see objects again.
    pub fn is_new_beginning(&self) -> bool {
        !matches!(self, Entry::Asked(_))
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Entry::Start => write!(formatter, "the operator is started"),
            Entry::Cut => write!(formatter, "all connections end"),
            Entry::Past(what) => write!(formatter, "from the past: {what}"),
            Entry::Late(what) => write!(formatter, "late: {what}"),
            Entry::Asked(Asked { line, handling, code, .. }) => write!(formatter, "{line}: {handling:?}, {code:?}"),
        }
    }
}
