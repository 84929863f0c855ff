//! A reader who follows the pages: a shell runs each block marked `sh test=NAME` unchanged. Used by the tests of docs/, of the
//! chart and of the installation.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::shell::variable;
use super::{MANIFESTS, helm};

const PAGES: [&str; 5] =
    ["README.md", "docs/install-k3s.md", "docs/operating.md", "docs/status.md", "charts/inference-operator/README.md"];

/// The pages wait for up to 40 minutes. Nothing here is pulled or downloaded.
const PATIENCE: Duration = Duration::from_secs(300);

/// The marked blocks of all pages, by name.
pub fn blocks() -> Vec<(String, String)> {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |page| std::fs::read_to_string(format!("{root}/{page}")).expect("a page");
    let text: String = PAGES.map(read).concat();
    let marked = text.split("\n```sh test=").skip(1).filter_map(|rest| rest.split_once('\n'));
    marked.map(|(name, rest)| (name.to_owned(), rest.split("\n```").next().unwrap_or_default().to_owned())).collect()
}

pub struct Reader {
    /// Contains the manifests, as a checkout does.
    folder: PathBuf,
    /// What the pages use.
    namespace: &'static str,
}

impl Reader {
    pub fn new(namespace: &'static str) -> Reader {
        let folder = std::env::temp_dir().join(format!("inference-operator-docs-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("bin")).expect("a folder");
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).expect("a link");
        link(&variable("KUBECTL"), "bin/kubectl");
        link(MANIFESTS, "k3s-manifests");
        Reader { folder, namespace }
    }

    /// One who has helm too, and a copy of the chart, which a test may change.
    pub fn with_chart(namespace: &'static str) -> Reader {
        let reader = Reader::new(namespace);
        std::os::unix::fs::symlink(helm::program(), reader.folder.join("bin/helm")).expect("a link");
        std::fs::create_dir(reader.folder.join("charts")).expect("a folder");
        reader.copies_chart();
        reader
    }

    /// The chart as it is.
    pub fn copies_chart(&self) {
        let folder = self.folder.join("charts");
        let copied = Command::new("cp").args(["-r", helm::CHART]).arg(folder).status().expect("cp runs");
        assert!(copied.success(), "the chart is not copied");
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs the block of this name; returns its output.
    pub async fn types(&self, name: &str) -> String {
        let block = blocks().into_iter().find(|block| block.0 == name).expect("a block of that name").1;
        let path = format!("{}/bin:{}", self.folder.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = tokio::process::Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", &block])
            .current_dir(&self.folder)
            .env("PATH", path)
            .envs(helm::folders())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, shell.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{name} takes too long:\n{block}")).expect("bash runs");
        let (told, problem) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name}:\n{block}\n--- said\n{told}{problem}");
        println!("{name}: {told}{problem}");
        told.into_owned()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
        // The next test uses a namespace of the same name.
        if std::thread::panicking() {
            let delete = ["delete", "namespace", self.namespace, "--timeout=30s"];
            let _ = Command::new(variable("KUBECTL")).args(delete).output();
        }
    }
}
