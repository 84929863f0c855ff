//! The operator as it ships, with all that can go wrong between it and a real API server: a proxy of the tests' own
//! does it. And API servers that are none. scripts/test.sh starts the control plane and runs this.

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
