//! The specs of what waits for its turn, packed, and only so many bytes of them. Kept by the fleet; must never
//! be relied on: a spec that is not here is read again when its turn comes.

use std::collections::BTreeMap;

use crate::controller::fleet::Slot;
use crate::reconcile::Spec;

/// What all of them may take. In a burst, each one that is kept saves a request: with 5,000 made at once all but
/// 1,000 or so.
const BYTES_KEPT: usize = 384 << 10;

/// What one takes beside its text: its part of a node of the tree, and of the allocator's rounding.
const OVERHEAD: usize = 48;

/// A tree and not a hash table, which doubles at once and has both its sizes in memory while it does.
#[derive(Default)]
pub struct Specs {
    texts: BTreeMap<Slot, Box<[u8]>>,
    bytes: usize,
}

impl Specs {
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Keeps the latest spec, if there is room. One that cannot be understood is rare, and not kept.
    pub fn keep(&mut self, slot: Slot, spec: Spec) {
        self.forget(slot);
        let Some(text) = spec.ok().and_then(|spec| serde_json::to_vec(&spec).ok()) else { return };
        let bytes = self.bytes + text.len() + OVERHEAD;
        if bytes <= BYTES_KEPT {
            self.bytes = bytes;
            self.texts.insert(slot, text.into());
        }
    }

    pub fn take(&mut self, slot: Slot) -> Option<Spec> {
        serde_json::from_slice(&self.forget(slot)?).ok().map(Ok)
    }

    pub fn forget(&mut self, slot: Slot) -> Option<Box<[u8]>> {
        let text = self.texts.remove(&slot)?;
        self.bytes -= text.len() + OVERHEAD;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::InferenceServiceSpec;

    fn spec(model: &str) -> InferenceServiceSpec {
        InferenceServiceSpec { model: model.into(), replicas: 3, gpu_type: "A100".into(), max_batch_size: Some(9) }
    }

    #[test]
    fn a_spec_is_handed_out_once_as_it_was_last_seen() {
        let mut specs = Specs::default();
        specs.keep(7, Ok(spec("before")));
        specs.keep(7, Ok(spec("\u{e9}\"\\\n")));
        assert_eq!(specs.take(7), Some(Ok(spec("\u{e9}\"\\\n"))));
        assert_eq!((specs.take(7), specs.bytes), (None, 0));
    }

    #[test]
    fn only_so_many_bytes_are_kept_and_what_goes_makes_room() {
        let mut specs = Specs::default();
        for slot in 0..10_000 {
            specs.keep(slot, Ok(spec(&"m".repeat(100))));
        }
        let count = specs.len();
        assert!(specs.bytes <= BYTES_KEPT && (1_000..5_000).contains(&count), "{count}");
        assert_eq!(specs.take(9_999), None);
        specs.forget(0);
        specs.keep(9_999, Ok(spec("m")));
        assert_eq!((specs.take(9_999), specs.len()), (Some(Ok(spec("m"))), count - 1));
    }

    #[test]
    fn a_spec_that_cannot_be_understood_takes_the_place_of_none() {
        let mut specs = Specs::default();
        specs.keep(1, Ok(spec("m")));
        assert!(!specs.is_empty());
        specs.keep(1, Err("no spec".into()));
        assert!(specs.is_empty() && specs.bytes == 0);
    }
}
