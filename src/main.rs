//! Start-up and shutdown, nothing else.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use inference_operator::kubernetes::client;
use inference_operator::settings::{self, Invocation, Settings};
use inference_operator::telemetry::metrics::Metrics;
use inference_operator::time::{Timestamp, Utc};
use inference_operator::{controller, reconcile, telemetry};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::net::{TcpListener, UnixStream};
use tower::BoxError;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code for a wrong command line, as users of getopt expect.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    // A value that is not UTF-8 is invalid for every flag, and must be reported instead of ignored.
    let environment = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    match settings::parse(std::env::args_os().skip(1), environment) {
        Ok(Invocation::Run(settings)) => start(*settings),
        Ok(Invocation::PrintCatalog) => {
            print!("{}", settings::CATALOG);
            ExitCode::SUCCESS
        }
        Ok(Invocation::Help) => {
            print!("{}", settings::help());
            ExitCode::SUCCESS
        }
        Ok(Invocation::Version) => {
            println!("inference-operator {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("inference-operator: {problem}");
            ExitCode::from(WRONG_USAGE)
        }
    }
}

fn start(settings: Settings) -> ExitCode {
    telemetry::log::start(settings.log_levels.clone(), settings.log_format);
    let variables: Vec<String> = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    if let Some(names) = settings::unknown_variables(&variables) {
        tracing::warn!("unknown environment variables: {names}; --help lists the flags");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Spawned as a task, like those of the connections: tokio polls the system each time that it switches between a
    // task and the future of `block_on`, which was eight times for each response.
    let ended = runtime.block_on(async { tokio::spawn(run(settings)).await });
    match ended.map_err(Into::into).flatten() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!("cannot start: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> Result<(), BoxError> {
    let started = Utc::now();
    let metrics = Arc::new(Metrics::default());
    let (terminate, interrupt) = (signal(SIGTERM)?, signal(SIGINT)?);
    if let Some(address) = settings.telemetry_address {
        let listener = telemetry::listen::on(address, telemetry::listen::bind)
            .and_then(TcpListener::from_std)
            .map_err(|error| format!("telemetry address {address}: {error}"))?;
        tokio::spawn(telemetry::http::serve(listener, metrics.clone(), settings.resync));
    }
    let client = client::connect(&settings, metrics.clone()).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = settings.namespace.as_deref().unwrap_or("all"),
        gpu_types = settings.catalog.gpu_type_names(),
        "starting"
    );
    let context = reconcile::Context::new(client, settings, Timestamp::now, started);
    let shutdown = async move {
        let signal = tokio::select! {
            _ = terminate.readable() => "SIGTERM",
            _ = interrupt.readable() => "SIGINT",
        };
        tracing::info!("received {signal}, shutting down");
    };
    controller::run(context, metrics, seed(), shutdown).await;
    Ok(())
}

/// Becomes readable when the process gets the signal. Not tokio's own: it keeps a channel for each of 65 signals, which are
/// 24 kB of heap.
fn signal(number: i32) -> std::io::Result<UnixStream> {
    let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
    signal_hook::low_level::pipe::register(number, writer)?;
    reader.set_nonblocking(true)?;
    UnixStream::from_std(reader)
}

/// Operators that restart after the same power cut must not retry in step.
fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos()) << 32 | u64::from(std::process::id())
}
