//! The operator as a process: the edge build, with a ServiceAccount token.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::audit::{self, Request};
use super::port::{free_port, get};
use super::shell::{kubectl, signal, variable};
use super::wait::eventually;

pub struct Operator {
    child: Child,
    pub folder: PathBuf,
    port: u16,
}

impl Operator {
    /// Starts it, with its own folder for token and log. Does not wait for anything.
    pub fn spawn(name: &str, arguments: &[&str]) -> Operator {
        let token = kubectl(&["create", "token", "-n", "inference-operator", "inference-operator"]);
        Operator::spawn_with_token(name, &token, arguments)
    }

    pub fn spawn_with_token(name: &str, token: &str, arguments: &[&str]) -> Operator {
        let ca = fs::read_to_string(variable("CA")).expect("the CA");
        Operator::spawn_at(name, token, &variable("APISERVER_PORT"), &ca, arguments)
    }

    /// With an API server of the test's own, at `port` of this machine.
    pub fn spawn_at(name: &str, token: &str, port: &str, ca: &str, arguments: &[&str]) -> Operator {
        let folder = std::env::temp_dir().join(format!("inference-operator-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("ca.crt"), ca).expect("the CA");
        fs::write(folder.join("token"), token).expect("the token");
        let log = fs::File::create(folder.join("log")).expect("a log");
        let telemetry = free_port();
        let child = Command::new(variable("OPERATOR"))
            .args(["--telemetry-address", &format!("127.0.0.1:{telemetry}")])
            .args(["--service-account", folder.to_str().expect("UTF-8")])
            .args(arguments)
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", port)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the operator starts: scripts/test.sh sets OPERATOR to its path");
        Operator { child, folder, port: telemetry }
    }

    /// Starts it and waits until its watches are in sync.
    pub async fn start(name: &str, arguments: &[&str]) -> Operator {
        let operator = Operator::spawn(name, arguments);
        operator.ready().await;
        operator
    }

    /// Starts it and waits until it has nothing more to do. Returns its requests, too.
    #[allow(dead_code)] // tests/faults/ does not use it
    pub async fn start_and_settle(name: &str, arguments: &[&str]) -> (Operator, Vec<Request>) {
        let mark = audit::mark();
        let operator = Operator::start(name, arguments).await;
        operator.rolled_out().await;
        operator.settled().await;
        (operator, audit::since(mark))
    }

    pub async fn ready(&self) {
        eventually("the operator is ready", || async {
            match self.get("/readyz").await {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}; log:\n{}", self.log())),
            }
        })
        .await;
    }

    /// Waits until nothing is queued.
    pub async fn settled(&self) {
        eventually("the queue is empty", || async {
            let (_, text) = self.get("/metrics").await.map_err(|error| error.to_string())?;
            let depth = text.lines().find_map(|line| line.strip_prefix("workqueue_depth{name=\"inferenceservice\"} "));
            if depth == Some("0") { Ok(()) } else { Err(format!("workqueue_depth is {depth:?}")) }
        })
        .await;
    }

    /// Waits until no InferenceService waits for its turn in a rollout, or is on its way.
    #[allow(dead_code)] // tests/faults/ does not use it
    pub async fn rolled_out(&self) {
        eventually("the rollout is over", || async {
            let waiting = self.metric("inference_operator_rollout_pending").await;
            let under_way = self.metric("inference_operator_rollout_in_progress").await;
            if waiting + under_way > 0.0 { Err(format!("{waiting} {under_way}")) } else { Ok(()) }
        })
        .await;
    }

    /// The peak of its resident memory so far, in kB.
    #[allow(dead_code)] // tests/faults/ uses it
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("a log")
    }

    pub fn lines_with(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// GET on the telemetry port: code and body.
    pub async fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        get(self.port, path).await
    }

    /// Of its telemetry port.
    #[allow(dead_code)] // tests/faults/ does not use it
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_none()
    }

    /// The sum of all values of one metric, over all labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await.expect("served");
        let told = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        told.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bytes of a process
    pub async fn resident_bytes(&self) -> u64 {
        self.metric("process_resident_memory_bytes").await as u64
    }

    /// Stops the process: it receives nothing until it continues.
    #[allow(dead_code)] // tests/faults/ uses it
    pub fn pause(&self) {
        signal("STOP", self.child.id());
    }

    #[allow(dead_code)]
    pub fn go_on(&self) {
        signal("CONT", self.child.id());
    }

    /// SIGTERM; returns the exit status and the time until the exit.
    pub fn stop(mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        signal("TERM", self.child.id());
        (self.child.wait().expect("it ends"), began.elapsed())
    }

    /// SIGKILL, like a power cut.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the operator's log ---\n{}", self.log());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
