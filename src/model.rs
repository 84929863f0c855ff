//! What passes between controller and reconcile: what is known of an InferenceService, what is to be done, what was done.
//! Pure; must never ask anybody.

pub mod child;
pub mod dirty;
pub mod labels;
pub mod status;
pub mod task;
pub mod uid;
pub mod view;

pub use child::ChildKind;
pub use dirty::Dirty;
pub use status::{Abnormal, ObservedVersions, Summary};
pub use task::{Action, Outcome, Task};
