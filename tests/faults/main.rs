//! The operator as it ships, with all that can go wrong between it and a real API server: a proxy of the tests' own
//! does it. And API servers that are none. scripts/test.sh starts the control plane and runs this.

#![allow(clippy::expect_used)]

#[path = "../simulation/chance.rs"]
mod chance;
#[path = "../simulation/clock.rs"]
#[allow(dead_code)] // the simulation uses all of them
mod clock;
#[path = "../simulation/faults.rs"]
#[allow(dead_code)]
mod faults;
#[path = "../simulation/lasting.rs"]
#[allow(dead_code)]
mod lasting;
#[path = "../simulation/question.rs"]
#[allow(dead_code)]
mod question;
#[path = "../simulation/store.rs"]
#[allow(dead_code)]
mod store;
#[path = "../cluster/support/mod.rs"]
#[allow(dead_code, unused_imports)] // the cluster tests use all of them
mod support;

mod budget;
mod certificates;
mod deeds;
mod impostor;
mod line;
mod lines;
mod listener;
mod log;
mod past;
mod proxy;
mod seed;
mod side;
mod snapshot;

mod chaos;
mod deaf;
mod hostile;
mod kills;
mod outages;
mod restored;
mod rotation;
mod weak_tls;
