//! Test doubles and fixtures for the unit tests.

pub mod fake_api_server;
pub mod fixtures;
pub mod log_capture;
