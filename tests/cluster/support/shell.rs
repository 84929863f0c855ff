//! Shell commands.

use std::process::{Command, Output};

/// A variable from the cluster's `env` file, passed on by scripts/test.sh.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run these tests with scripts/test.sh"))
}

fn output(arguments: &[&str]) -> Output {
    Command::new(variable("KUBECTL")).args(arguments).output().expect("kubectl runs")
}

/// Runs kubectl as cluster administrator; returns its standard output.
pub fn kubectl(arguments: &[&str]) -> String {
    let output = output(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Waits until the API server serves the kind of this CRD. Not by --for=condition=Established, which fails where there are
/// no conditions yet.
pub fn until_established(crd: &str) {
    let established = r#"--for=jsonpath={.status.conditions[?(@.type=="Established")].status}=True"#;
    kubectl(&["wait", established, &format!("crd/{crd}"), "--timeout=60s"]);
}

/// Runs kubectl, which must fail; returns its standard error.
pub fn kubectl_fails(arguments: &[&str]) -> String {
    let output = output(arguments);
    assert!(!output.status.success(), "kubectl {arguments:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Applies objects as cluster administrator.
pub fn apply(objects: &[serde_json::Value]) {
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let file = super::Temporary::new(&list.to_string());
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file.path()]);
}

/// Starts or stops a part of the control plane.
pub fn cluster(arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster.sh");
    let name = variable("CLUSTER_NAME");
    let output = Command::new(script).args(arguments).args(["--name", &name]).output().expect("cluster.sh runs");
    assert!(output.status.success(), "cluster.sh {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What the API server would say of these objects, `-f FILE` or `-k FOLDER`; a field that it does not know is an error.
pub fn dry_run(objects: [&str; 2]) -> String {
    let mut command = vec!["apply", "--dry-run=server", "--server-side", "--force-conflicts", "--validate=strict"];
    command.extend(objects);
    kubectl(&command)
}

/// The folder of a tool that scripts/control-plane/build.sh has built; if it is missing, it is built now.
pub fn built(tool: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/control-plane/build.sh");
    let output = Command::new(script).arg(tool).output().expect("build.sh runs");
    assert!(output.status.success(), "build.sh {tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Sends a signal to a process, by the name that kill accepts: bash's built-in, because a bare Debian has no other
/// kill.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("bash").args(["-c", &format!("kill -s {name} {pid}")]).status().expect("bash runs");
    assert!(status.success(), "kill -s {name} {pid}");
}
