//! What a round consists of, one file a phase, in the order in which they are run.

pub mod bulky;
pub mod changes;
pub mod create;
pub mod noise;
pub mod restart;
pub mod scale;
pub mod settled;
pub mod soak;
pub mod start;
