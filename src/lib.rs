//! inference-operator: turns each InferenceService into a Deployment and a Service and keeps its status true.
//! ARCHITECTURE.md shows the path of data through these modules.

#![forbid(unsafe_code)]

pub mod accept;
pub mod api;
pub mod catalog;
pub mod controller;
pub mod error;
pub mod kubernetes;
pub mod model;
pub mod reconcile;
pub mod settings;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod time;
