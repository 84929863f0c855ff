//! A Kubernetes cluster in memory, on a paused clock, for the tests that need one: the API server with its faults, the
//! controllers that an InferenceService depends on, and what must hold of an operator that works there. All chance
//! comes from one seed. Used by tests/simulation/, tests/differential/ and tests/faults/, and by tests/cluster/ for what
//! kstatus says; must never be part of what ships.

#![forbid(unsafe_code)]

pub mod api_server;
pub mod chance;
pub mod clock;
pub mod cluster;
pub mod operator;
pub mod oracle;
