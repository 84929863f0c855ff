//! An operator as a process of this machine, with the credentials that a pod would have.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Launch, NAMESPACE};
use crate::cluster::Access;
use crate::command;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Process {
    child: Child,
    pub pid: u32,
    port: u16,
    log: PathBuf,
}

impl Process {
    pub fn start(launch: &Launch, binary: &Path, access: &Access) -> Result<Process> {
        let account = launch.folder.join("service-account");
        fs::create_dir_all(&account)?;
        fs::copy(&access.ca, account.join("ca.crt")).context("the cluster's CA")?;
        let token = access.kubectl(&["create", "token", "-n", NAMESPACE, NAMESPACE, "--duration=24h"])?;
        fs::write(account.join("token"), token.trim())?;
        fs::write(account.join("namespace"), NAMESPACE)?;
        let port = free_port()?;
        let log = launch.folder.join("operator.log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = Command::new(binary);
        command
            .args(["--telemetry-address", &format!("127.0.0.1:{port}")])
            .arg("--service-account")
            .arg(&account)
            .env_clear()
            .env("KUBERNETES_SERVICE_HOST", &access.host)
            .env("KUBERNETES_SERVICE_PORT", access.port.to_string())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Ctrl-C is for the harness, which then ends what it has begun.
            .process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        Ok(Process { pid: child.id(), child, port, log })
    }

    pub fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        bail!("the operator has ended ({status}); its log {} ends with:\n{}", self.log.display(), lines.join("\n"))
    }

    pub fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&([127, 0, 0, 1], self.port).into(), Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        // 1.0, so that nobody sends in chunks or keeps the connection.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let code = answer.split(' ').nth(1).unwrap_or_default();
        ensure!(code == "200", "{path} answered {code}");
        Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    pub fn stop(mut self) -> Result<()> {
        command::output(Command::new("kill").args(["-TERM", &self.pid.to_string()]))?;
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                bail!("the operator did not end within {} s of SIGTERM", PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
