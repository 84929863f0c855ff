//! A cluster to measure on, and what may be done to its control plane. Made for a round, ended with
//! it; must never end or change a cluster that it did not make.

mod local;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};

use crate::command;
use crate::operator;
use crate::settings::{Mode, Settings, Target};

pub use local::remove_stale;

/// How one gets at the API server.
pub struct Access {
    pub client: Client,
    pub host: String,
    pub port: u16,
    /// A file with the cluster's CA.
    pub ca: PathBuf,
    pub kubectl: PathBuf,
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    /// None: it cannot be read from here.
    pub audit_log: Option<PathBuf>,
}

pub struct Cluster {
    pub access: Access,
    keeper: Keeper,
}

/// Who ends it.
enum Keeper {
    Local(local::Local),
    /// bench.sh does, after all rounds.
    Kind,
    Node,
    /// Its owner does.
    Nobody,
}

impl Cluster {
    /// `folder`: for files that belong to it. Returns when it is ready.
    pub async fn up(settings: &Settings, folder: &Path) -> Result<Cluster> {
        std::fs::create_dir_all(folder)?;
        match &settings.plan.target {
            Target::Local => {
                let local = local::Local::up(&settings.repository, settings.plan.mode == Mode::Soak)?;
                let found = local.found()?;
                let client = client(Some(&found.kubeconfig), None).await?.0;
                let access = Access {
                    client,
                    host: found.host,
                    port: found.port,
                    ca: found.ca,
                    kubectl: found.kubectl,
                    kubeconfig: Some(found.kubeconfig),
                    context: None,
                    audit_log: Some(found.audit_log),
                };
                Ok(Cluster { access, keeper: Keeper::Local(local) })
            }
            // kind.sh and node.sh say in the environment how one gets there.
            Target::Kind | Target::Node => {
                let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
                let access = access_of(path("KUBECONFIG"), None, folder, path("AUDIT_LOG")).await?;
                let keeper = if settings.plan.target == Target::Kind { Keeper::Kind } else { Keeper::Node };
                Ok(Cluster { access, keeper })
            }
            Target::Context(name) => {
                let audit_log = settings.audit_log.clone();
                let access = access_of(settings.kubeconfig.clone(), Some(name.clone()), folder, audit_log).await?;
                Ok(Cluster { access, keeper: Keeper::Nobody })
            }
        }
    }

    /// For good. False: this cluster's controller-manager is not ours to stop.
    pub fn stop_controller_manager(&self) -> Result<bool> {
        match &self.keeper {
            Keeper::Local(local) => local.stop("controller-manager").map(|()| true),
            Keeper::Kind | Keeper::Node | Keeper::Nobody => Ok(false),
        }
    }

    /// Makes an image of a program and makes it known to the nodes.
    pub fn load_image(&self, image: &str, binary: &Path, folder: &Path) -> Result<()> {
        let load = match &self.keeper {
            Keeper::Kind => ["kind", "load", "image-archive"],
            Keeper::Node => ["ctr", "images", "import"],
            Keeper::Local(_) | Keeper::Nobody => return Ok(()),
        };
        let archive = operator::image_archive(image, binary, folder)?;
        command::output(Command::new(load[0]).args(&load[1..]).arg(archive)).map(drop)
    }

    /// Its processes on this machine, as far as they are known.
    pub fn pids(&self) -> Vec<u32> {
        match &self.keeper {
            Keeper::Local(local) => local.pids(),
            Keeper::Kind | Keeper::Node | Keeper::Nobody => Vec::new(),
        }
    }

    /// For the next round there is another one.
    pub fn is_kept(&self) -> bool {
        matches!(self.keeper, Keeper::Local(_))
    }
}

impl Access {
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        command::output(self.kubectl_command().args(arguments))
    }

    pub fn apply(&self, manifest: &str) -> Result<()> {
        let mut command = self.kubectl_command();
        command.args(["apply", "--server-side", "--force-conflicts", "-f", "-"]);
        command::output_with_input(&mut command, manifest).map(drop)
    }

    fn kubectl_command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        if let Some(context) = &self.context {
            command.arg("--context").arg(context);
        }
        command
    }
}

/// What a kubeconfig says; the CA is what the cluster itself gives to every namespace.
async fn access_of(
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    folder: &Path,
    audit_log: Option<PathBuf>,
) -> Result<Access> {
    let (client, url) = client(kubeconfig.as_deref(), context.as_deref()).await?;
    let ca = folder.join("cluster-ca.crt");
    let published = Api::<ConfigMap>::namespaced(client.clone(), "kube-system").get("kube-root-ca.crt").await;
    let published = published.context("the cluster does not answer, or not to this user")?;
    let certificate = published.data.and_then(|mut data| data.remove("ca.crt"));
    std::fs::write(&ca, certificate.context("ConfigMap kube-system/kube-root-ca.crt has no ca.crt")?)?;
    Ok(Access {
        client,
        host: url.host().context("the kubeconfig's server has no host")?.to_owned(),
        port: url.port_u16().unwrap_or(443),
        ca,
        kubectl: std::env::var_os("KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from),
        kubeconfig,
        context,
        audit_log,
    })
}

async fn client(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<(Client, http::Uri)> {
    let read = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(read.context("no kubeconfig")?, &options).await;
    let config = config.with_context(|| format!("kubeconfig: no context {}", context.unwrap_or("chosen")))?;
    let url = config.cluster_url.clone();
    Ok((Client::try_from(config)?, url))
}
