//! A Kubernetes cluster in memory, on a paused clock, for tests: the API server with its faults, the controllers that
//! an InferenceService depends on, and the oracle that judges an operator working there. One seed decides all
//! randomness. Used by tests/simulation/, tests/differential/ and tests/faults/, and by tests/cluster/ for the
//! kstatus rules; must never be part of a release.

#![forbid(unsafe_code)]

pub mod api_server;
pub mod chance;
pub mod clock;
pub mod cluster;
pub mod operator;
pub mod oracle;
