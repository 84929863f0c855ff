//! Communication with the API server: requests and responses, watches, TLS, tokens. Used by controller and reconcile;
//! must never know what an InferenceService is.

pub mod backoff;
pub mod client;
pub mod lease;
pub mod prune;
pub mod refusal;
pub mod request;
pub mod resource;
pub mod selector;
pub mod tls;
pub mod token;
pub mod watch;
