//! A local control plane: scripts/cluster.sh up, and down when this is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;
use crate::process;

const PREFIX: &str = "bench-";

pub struct Local {
    script: PathBuf,
    name: String,
    folder: PathBuf,
}

/// What its `env` file tells.
pub struct Found {
    pub kubeconfig: PathBuf,
    pub kubectl: PathBuf,
    pub host: String,
    pub port: u16,
    pub ca: PathBuf,
    pub audit_log: PathBuf,
}

impl Local {
    /// `is_whole`: with all controllers, and not only those that a bench needs.
    pub fn up(repository: &Path, is_whole: bool) -> Result<Local> {
        let mut local = Local {
            script: repository.join("scripts/cluster.sh"),
            name: format!("{PREFIX}{}", std::process::id()),
            folder: PathBuf::new(),
        };
        local.cluster(if is_whole { &["up"] } else { &["up", "--bench"] })?;
        let kubeconfig = local.cluster(&["kubeconfig"])?;
        let folder = Path::new(kubeconfig.trim()).parent();
        local.folder = PathBuf::from(folder.context("a kubeconfig outside of any folder")?);
        Ok(local)
    }

    pub fn found(&self) -> Result<Found> {
        // Written by bash for bash.
        let script = r#". "$1" && printf '%s\n' "$KUBECONFIG" "$KUBECTL" "$APISERVER_HOST" "$APISERVER_PORT" "$CA" "$AUDIT_LOG""#;
        let file = self.folder.join("env");
        let text = command::output(Command::new("bash").args(["-c", script, "bash"]).arg(&file))?;
        let mut lines = text.lines();
        let mut next = || lines.next().filter(|line| !line.is_empty()).context("the cluster's env file lacks a line");
        Ok(Found {
            kubeconfig: next()?.into(),
            kubectl: next()?.into(),
            host: next()?.to_owned(),
            port: next()?.parse()?,
            ca: next()?.into(),
            audit_log: next()?.into(),
        })
    }

    pub fn stop(&self, part: &str) -> Result<()> {
        self.cluster(&["stop", part]).map(drop)
    }

    pub fn pids(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(self.folder.join("pids")).into_iter().flatten().flatten();
        entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok()?.trim().parse().ok()).collect()
    }

    fn cluster(&self, arguments: &[&str]) -> Result<String> {
        command::output(Command::new(&self.script).args(arguments).args(["--name", &self.name]))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Err(error) = self.cluster(&["down"]) {
            eprintln!("bench: {} could not be ended: {error:#}", self.name);
        }
    }
}

/// Ends control planes of harnesses that were killed before they could.
pub fn remove_stale(repository: &Path) {
    let script = repository.join("scripts/cluster.sh");
    for name in stale() {
        eprintln!("bench: ending {name}, which an earlier bench left behind");
        let _ = command::output(Command::new(&script).args(["down", "--name", &name]));
    }
}

fn stale() -> Vec<String> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(folder) = std::env::var_os("INFERENCE_OPERATOR_RUN") {
        folders.push(folder.into());
    } else {
        let parent = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| "/tmp".into(), PathBuf::from);
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("inference-operator-"));
        folders.extend(ours.map(|entry| entry.path()));
    }
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| {
            let pid = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok());
            pid.is_some_and(|pid| !process::is_alive(pid))
        })
        .collect()
}
