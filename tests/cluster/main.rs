//! The promises of the operator, tried on a real control plane with the binary that ships, a
//! ServiceAccount's own token and the real RBAC. scripts/test.sh starts both and runs this.

#![allow(clippy::expect_used)]

mod adoption;
mod audience;
mod bad_input;
mod bounded;
mod docs;
mod drift;
mod dry_run;
mod escalation;
mod faults;
mod foreign;
mod gpus;
mod hostile;
mod identity;
mod lasting;
mod lifecycle;
mod manifests;
mod moving;
mod namespaces;
mod older_crd;
mod quiet;
mod rights;
mod support;
mod telemetry;
mod unlucky;
