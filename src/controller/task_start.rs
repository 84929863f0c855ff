//! What is remembered of a task while its reconcile runs. Made by the controller, read by the record when it is finished.

use crate::model::uid::Uid;
use crate::model::{Dirty, ObservedVersions, Task};

/// The state of a task at its start, kept until it is finished.
#[derive(Clone, Copy, Debug)]
pub struct TaskStart {
    pub uid: Uid,
    pub generation: u32,
    pub dirty: Dirty,
    pub versions: ObservedVersions,
}

impl From<&Task> for TaskStart {
    fn from(task: &Task) -> Self {
        TaskStart { uid: task.uid, generation: task.generation, dirty: task.dirty, versions: task.versions }
    }
}
