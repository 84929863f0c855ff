//! The properties that must hold despite all faults: at every moment, checked on requests and statuses as they
//! arrive, and at the end, once faults have stopped. Called by the API server and the runs; must never change what it
//! judges.

pub mod budget;
pub mod catalog;
pub mod disturbances;
pub mod end_state;
pub mod invariants;
pub mod kstatus;
pub mod leaders;
pub mod memory;
pub mod obstacles;
pub mod ownership;
pub mod pauses;
pub mod rollout;
pub mod status;
pub mod violation;
