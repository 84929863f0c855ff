//! The types that controller and reconcile exchange: what is known of an InferenceService, what to do, what was done.
//! Pure; must never do I/O.

pub mod child;
pub mod dirty;
pub mod hashes;
pub mod instance;
pub mod labels;
pub mod status;
pub mod task;
pub mod uid;
pub mod view;

pub use child::ChildKind;
pub use dirty::Dirty;
pub use hashes::Hashes;
pub use instance::Instance;
pub use status::{Abnormal, ObservedVersions, Reached, Summary};
pub use task::{Action, Outcome, Task};
