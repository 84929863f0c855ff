//! The promises on a cluster of several nodes, set up by kubeadm: the image that people load, by the commands and manifests
//! of the docs. scripts/test.sh runs this inside of scripts/kind.sh.

#![allow(clippy::expect_used)]

#[path = "../cluster/support/mod.rs"]
#[allow(dead_code, unused_imports)] // the cluster tests use all of it
mod support;

/// As the manifests have it: what starts a container may need more here than the program.
const LIMIT: &str = "32Mi";

#[path = "../node/installed.rs"]
#[allow(dead_code)] // the tests of a single node use all of it
mod installed;
mod node;

// Run in this order, one at a time.
mod docs;
#[path = "../node/install.rs"]
mod install;
mod nodes;
mod removal;
mod starts;
