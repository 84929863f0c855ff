//! What the operator tells about itself: log, metrics, and the port for metrics and probes.

pub mod http;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod process;
