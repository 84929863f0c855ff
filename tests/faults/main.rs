//! The operator as released, against a real API server with faults on the way, which the tests' own proxy injects;
//! and against fake API servers. scripts/test.sh starts the control plane and runs this.

#![allow(clippy::expect_used)]

#[path = "../cluster/support/mod.rs"]
#[allow(dead_code, unused_imports)] // the cluster tests use all of them
mod support;

mod actions;
mod budget;
mod certificates;
mod fake_api_server;
mod line;
mod lines;
mod listener;
mod log;
mod past;
mod proxy;
mod seed;
mod setup;
mod snapshot;

mod broken_watches;
mod chaos;
mod hostile;
mod kills;
mod outages;
mod restored;
mod rotation;
mod weak_tls;
