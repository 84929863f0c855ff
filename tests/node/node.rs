//! The node itself, by scripts/node/inside.sh: these tests run in its namespaces.

use std::process::Command;

use crate::support::shell::variable;

pub fn stop(part: &str) {
    inside(&["stop", part]);
}

pub fn start(part: &str) {
    inside(&["start", part]);
}

/// As a power cut does: all parts and pods, those of the tests and the operator's among them, are killed at once. The
/// control plane goes on.
pub fn crash() {
    inside(&["crash"]);
}

/// Starts the parts, and nothing else.
pub fn boot() {
    inside(&["boot"]);
}

/// Runs this script of bash where the node's cgroups are.
pub fn shell(_node: &str, script: &str, arguments: &[&str]) -> String {
    let output = Command::new("bash").args(["-euc", script, "-"]).args(arguments).output().expect("bash runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `arguments`: the command, and what follows the node's folder.
fn inside(arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/node/inside.sh");
    let folder = format!("{}/{}.node", variable("INFERENCE_OPERATOR_RUN"), variable("NAME"));
    let (command, rest) = arguments.split_first().expect("a command");
    let output = Command::new(script).arg(command).arg(folder).args(rest).output().expect("inside.sh runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
