//! A kind cluster: created, given images, deleted when this is dropped. KIND and DOCKER name the
//! programs, so that tests can record what would be asked of them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Where a static pod's manifest lies, and where the kubelet does not look.
const MANIFEST: &str = "/etc/kubernetes/manifests/kube-controller-manager.yaml";
const ASIDE: &str = "/etc/kubernetes/kube-controller-manager.yaml";

pub struct Kind {
    programs: Programs,
    name: String,
    pub kubeconfig: PathBuf,
}

struct Programs {
    kind: OsString,
    docker: OsString,
}

pub fn kind_program() -> OsString {
    std::env::var_os("KIND").unwrap_or_else(|| "kind".into())
}

pub fn docker_program() -> OsString {
    std::env::var_os("DOCKER").unwrap_or_else(|| "docker".into())
}

impl Kind {
    /// `folder`: where its kubeconfig goes; the user's own is not touched.
    pub fn up(folder: &Path) -> Result<Kind> {
        Kind::up_with(Programs { kind: kind_program(), docker: docker_program() }, folder)
    }

    fn up_with(programs: Programs, folder: &Path) -> Result<Kind> {
        let name = format!("bench-{}", std::process::id());
        // A half-made cluster is deleted too: this is dropped when creating fails.
        let kind = Kind { programs, name, kubeconfig: folder.join("kubeconfig") };
        kind.kind(&["create", "cluster", "--name", &kind.name, "--wait", "180s"]).context("kind made no cluster")?;
        Ok(kind)
    }

    pub fn load_image(&self, image: &str) -> Result<()> {
        command::output(Command::new(&self.programs.kind).args(["load", "docker-image", image, "--name", &self.name]))
            .map(drop)
    }

    pub fn stop_controller_manager(&self) -> Result<()> {
        self.in_node(&["mv", MANIFEST, ASIDE])?;
        // The kubelet takes some seconds to see it.
        for _ in 0..60 {
            if self.in_node(&["pgrep", "kube-controller"]).is_err() {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        anyhow::bail!("the controller-manager of {} does not end", self.name)
    }

    fn in_node(&self, words: &[&str]) -> Result<()> {
        let node = format!("{}-control-plane", self.name);
        command::output(Command::new(&self.programs.docker).args(["exec", &node]).args(words)).map(drop)
    }

    fn kind(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.programs.kind);
        command::output(command.args(arguments).arg("--kubeconfig").arg(&self.kubeconfig)).map(drop)
    }
}

impl Drop for Kind {
    fn drop(&mut self) {
        if let Err(error) = self.kind(&["delete", "cluster", "--name", &self.name]) {
            eprintln!("bench: kind cluster {} could not be deleted: {error:#}", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that writes down how it was called; `docker exec NODE pgrep` finds nothing.
    fn recorder(folder: &Path, name: &str) -> OsString {
        let (path, record) = (folder.join(name), folder.join("record"));
        let script = format!("#!/bin/sh\necho \"{name} $*\" >>{}\n[ \"$3\" != pgrep ]\n", record.display());
        std::fs::write(&path, script).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        path.into()
    }

    #[test]
    fn a_kind_cluster_is_made_used_and_deleted() {
        let folder = std::env::temp_dir().join(format!("bench-kind-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let programs = Programs { kind: recorder(&folder, "kind"), docker: recorder(&folder, "docker") };
        let kind = Kind::up_with(programs, &folder).expect("up");
        kind.load_image("bench/ours:1").expect("loaded");
        kind.stop_controller_manager().expect("stopped");
        drop(kind);
        let (name, kubeconfig) = (format!("bench-{}", std::process::id()), folder.join("kubeconfig"));
        let expected = format!(
            "kind create cluster --name {name} --wait 180s --kubeconfig {kubeconfig}\n\
             kind load docker-image bench/ours:1 --name {name}\n\
             docker exec {name}-control-plane mv {MANIFEST} {ASIDE}\n\
             docker exec {name}-control-plane pgrep kube-controller\n\
             kind delete cluster --name {name} --kubeconfig {kubeconfig}\n",
            kubeconfig = kubeconfig.display()
        );
        assert_eq!(std::fs::read_to_string(folder.join("record")).expect("a record"), expected);
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
