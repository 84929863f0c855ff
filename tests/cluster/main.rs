//! The operator's promises, tested on a real control plane with the release binary, a ServiceAccount token and the
//! real RBAC. scripts/test.sh starts the cluster and the tests.

#![allow(clippy::expect_used)]

mod adoption;
mod audience;
mod autoscaler;
mod bad_input;
mod bounded;
mod catalog;
mod catalog_absent;
mod catalog_halted;
mod catalog_refused;
mod catalog_rollout;
mod chart;
mod chart_release;
mod clients;
mod docs;
mod drift;
mod dry_run;
mod escalation;
mod exposed;
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
mod observability;
mod older_crd;
mod other_settings;
mod paused;
mod pod_security;
mod quiet;
mod rights;
mod rollout;
mod standby;
mod support;
mod telemetry;
mod two_operators;
mod unlucky;
