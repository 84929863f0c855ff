//! The cluster's nodes, which are containers of the docker engine that scripts/kind.sh has it on.

use std::process::Command;
use std::time::Duration;

use inference_operator::time::{Timestamp, Utc};

use crate::support::kubectl;
use crate::support::shell::variable;
use crate::support::wait::within;

/// A node that boots, and a control plane that comes back, on a busy machine.
pub const BOOT: Duration = Duration::from_secs(180);

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker runs");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// For a drop: when a test has failed, another panic would end all of them.
pub fn put_back(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    if !output.as_ref().is_ok_and(|output| output.status.success()) {
        println!("{program} {arguments:?}: {output:?}");
    }
}

/// Runs this script of bash on the node.
pub fn shell(node: &str, script: &str, arguments: &[&str]) -> String {
    let mut command = vec!["exec", node, "bash", "-euc", script, "-"];
    command.extend(arguments);
    docker(&command)
}

pub fn all() -> Vec<String> {
    names(&[])
}

pub fn workers() -> [String; 2] {
    names(&["-l", "!node-role.kubernetes.io/control-plane"]).try_into().expect("a cluster of three nodes")
}

pub fn control_plane() -> String {
    names(&["-l", "node-role.kubernetes.io/control-plane"]).swap_remove(0)
}

fn names(selector: &[&str]) -> Vec<String> {
    let mut arguments = vec!["get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"];
    arguments.extend(selector);
    kubectl(&arguments).split_whitespace().map(str::to_owned).collect()
}

/// Shut down and booted.
pub fn restart(node: &str) {
    docker(&["restart", node]);
}

/// A node that has lost power, until this is dropped.
pub struct Off(String);

impl Off {
    pub fn of(node: &str) -> Off {
        docker(&["kill", node]);
        Off(node.to_owned())
    }
}

impl Drop for Off {
    fn drop(&mut self) {
        put_back("docker", &["start", &self.0]);
    }
}

/// Nodes that take no new pods, until this is dropped.
pub struct Cordoned(Vec<String>);

impl Cordoned {
    /// The others.
    pub fn all_but(node: &str) -> Cordoned {
        let others = Cordoned(all().into_iter().filter(|name| name != node).collect());
        for other in &others.0 {
            kubectl(&["cordon", other]);
        }
        others
    }

    /// This one, and its pods are evicted.
    pub fn drained(node: &str) -> Cordoned {
        let drained = Cordoned(vec![node.to_owned()]);
        kubectl(&["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"]);
        drained
    }
}

impl Drop for Cordoned {
    fn drop(&mut self) {
        for node in &self.0 {
            put_back(&variable("KUBECTL"), &["uncordon", node]);
        }
    }
}

/// The time at which its condition Ready became `status`.
pub async fn until(node: &str, status: &str) -> Timestamp {
    within(BOOT, &format!("{node} is Ready: {status}"), || async {
        let fields = r#"{.status.conditions[?(@.type=="Ready")]['status', 'lastTransitionTime']}"#;
        let text = kubectl(&["get", "node", node, "-o", &format!("jsonpath={fields}")]);
        match text.split_once(' ') {
            Some((now, time)) if now == status => Ok(Utc::parse(time).expect("a time").into()),
            _ => Err(text),
        }
    })
    .await
}
