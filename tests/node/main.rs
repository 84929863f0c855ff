//! The promises on a real node: the image that people load, by the manifests that they apply, under a real
//! kubelet with real pods. scripts/test.sh runs this inside of scripts/node.sh.

#![allow(clippy::expect_used)]

#[path = "../cluster/support/mod.rs"]
#[allow(dead_code, unused_imports)] // the cluster tests use all of it
mod support;

mod installed;
mod node;

// A lane of its own.
mod engine;
// Run in this order, one at a time: the thousands stay.
mod administrator;
mod causes;
mod install;
mod serving;
mod thousands;
