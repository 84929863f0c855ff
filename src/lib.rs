//! inference-operator: turns each InferenceService into a Deployment and a Service and keeps its
//! status true. ARCHITECTURE.md shows the way that data takes through these modules.

#![forbid(unsafe_code)]

pub mod answer;
pub mod api;
pub mod client;
pub mod controller;
pub mod error;
#[cfg(test)]
mod fake_server;
pub mod gpu;
pub mod labels;
#[cfg(test)]
mod listener;
pub mod projection;
pub mod pruning;
pub mod reconcile;
pub mod settings;
pub mod telemetry;
pub mod uid;
pub mod utc;
