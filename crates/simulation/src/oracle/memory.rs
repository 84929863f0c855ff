//! Does an idle operator remember exactly the objects that exist? Called by the simulation with the operator's counts
//! when it ends; pure.

use inference_operator::api::Phase;
use inference_operator::controller::Memory;

use crate::api_server::{Kind, Store};

/// None if it does.
pub fn violation(store: &Store, memory: &Memory) -> Option<String> {
    let mut expected =
        Memory { inference_services: 0, phases: Default::default(), name_bytes: 0, specs: 0, queued: 0, in_flight: 0 };
    for (key, object) in store.of_kind(Kind::InferenceService) {
        expected.inference_services += 1;
        expected.name_bytes += key.name.len();
        let said = Phase::ALL.iter().position(|phase| object["status"]["phase"] == phase.as_str());
        expected.phases[said.unwrap_or_default()] += 1;
    }
    // A watch from a version that the restored datastore has reached again, by other writes, does not report objects
    // that the restore removed. The operator lists once a day, and a run is shorter.
    let is_missed = store.missed.iter().any(|key| key.kind == Kind::InferenceService);
    if is_missed && (memory.specs, memory.queued, memory.in_flight) == (0, 0, 0) {
        return None;
    }
    // What waits for its pods is looked at from time to time.
    let waiting = expected.phases[Phase::Progressing as usize] + expected.phases[Phase::Degraded as usize];
    expected.queued = memory.queued.min(usize::try_from(waiting).unwrap_or(0));
    (*memory != expected).then(|| format!("there is {expected:?}, and an operator remembers {memory:?}"))
}
