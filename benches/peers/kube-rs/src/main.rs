//! The operator as kube.rs teaches it: a `Controller` that watches whole objects, on tokio's
//! multi-threaded runtime.

mod api;
mod children;
mod controller;
mod metrics;
mod status;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use kube::{Client, Config};
use tracing_subscriber::EnvFilter;

/// Why an InferenceService could not be brought to its spec.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Kube(#[from] kube::Error),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("spec.{0} is missing")]
    MissingField(&'static str),
    #[error("invalid GPU type: {found} (expected: {expected})")]
    InvalidGpuType { found: String, expected: String },
    #[error("invalid spec: {0}")]
    InvalidSpec(String),
    #[error("{kind} {namespace}/{name} exists and {owner}; delete it, or give the InferenceService another name")]
    NameTaken { kind: String, namespace: String, name: String, owner: String },
}

impl Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Kube(_) | Error::Json(_) => "ApiServerRefused",
            Error::MissingField(_) => "MissingField",
            Error::InvalidGpuType { .. } => "InvalidGpuType",
            Error::InvalidSpec(_) => "InvalidSpec",
            Error::NameTaken { .. } => "NameTaken",
        }
    }
}

struct Settings {
    telemetry_address: SocketAddr,
    service_account: Option<PathBuf>,
    /// Reconciles at a time; 0: no limit, which is kube's default and, as its maintainers say, a trap.
    concurrency: u16,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new("info"))?;
    tracing_subscriber::fmt().compact().with_env_filter(filter).init();
    let settings = settings()?;

    let client = match settings.service_account {
        None => Client::try_default().await?,
        Some(folder) => Client::try_from(in_cluster(folder)?)?,
    };
    let metrics = metrics::Metrics::new();
    let listener = tokio::net::TcpListener::bind(settings.telemetry_address).await?;
    let server = axum::serve(listener, metrics::router(metrics.clone()));
    tokio::select! {
        () = controller::run(client, metrics, settings.concurrency) => Ok(()),
        result = server => Ok(result?),
    }
}

fn settings() -> anyhow::Result<Settings> {
    use lexopt::prelude::*;
    let mut settings =
        Settings { telemetry_address: ([0, 0, 0, 0], 8080).into(), service_account: None, concurrency: 8 };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("telemetry-address") => settings.telemetry_address = parser.value()?.parse()?,
            Long("service-account") => settings.service_account = Some(parser.value()?.into()),
            Long("concurrency") => settings.concurrency = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(settings)
}

/// `Config::incluster` with a ServiceAccount's folder of any name, because the bench runs the program
/// outside of a pod. The token is read again as it rotates.
fn in_cluster(folder: PathBuf) -> anyhow::Result<Config> {
    let variable = |name| std::env::var(name).with_context(|| format!("{name} must be set"));
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let mut config = Config::new(format!("https://{host}:{port}").parse()?);
    config.root_cert_file = Some(folder.join("ca.crt"));
    config.auth_info.token_file = Some(folder.join("token").to_string_lossy().into_owned());
    Ok(config)
}
