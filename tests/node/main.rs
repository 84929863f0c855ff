//! The promises on a real node: the image that people load, by the manifests that they apply, under a real
//! kubelet with real pods. scripts/test.sh runs this inside of scripts/node.sh.

#![allow(clippy::expect_used)]

#[path = "../cluster/support/mod.rs"]
#[allow(dead_code, unused_imports)] // the cluster tests use all of it
mod support;

/// What the program promises to live within. The manifest's own limit leaves room for what starts a container.
const LIMIT: &str = "8Mi";

mod installed;
mod node;

// A lane of its own.
mod engine;
// Run in this order, one at a time: the thousands stay.
mod administrator;
mod causes;
mod install;
mod serving;
#[path = "../kind/starts.rs"]
mod starts;
mod thousands;
