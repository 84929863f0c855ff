//! The operator's telemetry: log, metrics, and the port for metrics and probes.

pub mod http;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod process;
