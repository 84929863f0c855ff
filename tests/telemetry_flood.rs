//! The telemetry port of the program itself under thousands of connections: its memory and its file
//! descriptors stay what they were, and it does not panic.

#![cfg(target_os = "linux")] // what a process holds is read from /proc
#![allow(clippy::expect_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// At the same time. Without a bound each costs 10 kB and more.
const CONNECTIONS: usize = 2000;

/// Of the unoptimized build, which the tests run.
const MOST_GROWTH_KB: u64 = 2048;

/// The eight that are open, and as many that are on their way out.
const MOST_FILES: usize = 16;

const DEADLINE: Duration = Duration::from_secs(60);

/// The program, waiting for an API server that is not there.
struct Operator {
    process: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Operator {
    fn start() -> Operator {
        let folder = std::env::temp_dir().join(format!("inference-operator-flood-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let kubeconfig = folder.join("kubeconfig");
        fs::write(&kubeconfig, KUBECONFIG).expect("written");
        // Given back at once, and taken by the operator.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let process = Command::new(env!("CARGO_BIN_EXE_inference-operator"))
            .env_clear()
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--telemetry-address={free}"))
            .stderr(fs::File::create(folder.join("log")).expect("a log"))
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        let operator = Operator { process, address: free, folder };
        let begun = Instant::now();
        while TcpStream::connect(free).is_err() {
            assert!(begun.elapsed() < DEADLINE, "it does not listen: {}", operator.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        operator
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("its log")
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("set");
        stream
    }

    fn ask(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        answer
    }

    /// The most memory that it ever had in kB.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim_end_matches("kB").trim().parse().expect("kB")
    }

    fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("it runs").count()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const KUBECONFIG: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "none",
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "users": [{"name": "none", "user": {}}]}"#;

/// How many sockets this process may open, with some to spare.
fn allowed() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit");
    let limit: usize = line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(1024);
    limit.saturating_sub(100).min(CONNECTIONS)
}

#[test]
fn thousands_of_connections_cost_neither_memory_nor_file_descriptors() {
    let operator = Operator::start();
    for _ in 0..20 {
        operator.ask("/metrics");
    }
    let (peak, files) = (operator.peak(), operator.files());
    let half = vec![b'x'; 4000];
    for sent in [
        &b""[..],
        b"GET /livez HTTP/1.1\r\nX: ",
        &half,
        b"\0\x01\x02\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nf",
    ] {
        let mut crowd = Vec::new();
        for number in 0..allowed() {
            let mut stream = operator.connect();
            // Who was thrown out before is no matter.
            let _ = stream.write_all(sent);
            crowd.push(stream);
            // More would not find room in the kernel's queue, and try again after a second.
            if number % 50 == 0 {
                operator.ask("/livez");
                let more = operator.files().saturating_sub(files);
                assert!(more <= MOST_FILES, "{more} more file descriptors");
            }
        }
        operator.ask("/metrics");
    }
    let growth = operator.peak() - peak;
    println!("{growth} kB more than the {peak} kB before, with {} at once, five times", allowed());
    assert!(growth <= MOST_GROWTH_KB, "{growth} kB");
    let begun = Instant::now();
    while operator.files() > files {
        assert!(begun.elapsed() < DEADLINE, "{} file descriptors and not {files}", operator.files());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!operator.log().contains("panicked"), "{}", operator.log());
}
