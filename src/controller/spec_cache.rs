//! The specs of InferenceServices that wait for their turn, packed, up to a limit in bytes. Owned by the index; must
//! never be relied on: a spec that is not here is read again when its turn comes.

use std::collections::BTreeMap;

use crate::controller::index::Slot;
use crate::model::view::RawSpec;

/// Limit for all specs together. In a burst, each spec that is kept saves a request: of 5,000 created at once, all but
/// 1,000 or so.
const BYTES_KEPT: usize = 384 << 10;

/// Bytes of a spec besides its text: its share of a tree node and of the allocator's rounding.
const OVERHEAD: usize = 48;

/// A tree, because a hash table doubles at once and holds both sizes in memory while it does.
#[derive(Default)]
pub struct SpecCache {
    specs: BTreeMap<Slot, RawSpec>,
    bytes: usize,
}

impl SpecCache {
    pub fn len(&self) -> usize {
        self.specs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// Keeps the latest spec, if there is room.
    pub fn keep(&mut self, slot: Slot, spec: RawSpec) {
        self.take(slot);
        let bytes = self.bytes + size(&spec);
        if bytes <= BYTES_KEPT {
            self.bytes = bytes;
            self.specs.insert(slot, spec);
        }
    }

    pub fn take(&mut self, slot: Slot) -> Option<RawSpec> {
        let spec = self.specs.remove(&slot)?;
        self.bytes -= size(&spec);
        Some(spec)
    }
}

fn size(spec: &RawSpec) -> usize {
    spec.text().map_or(0, str::len) + OVERHEAD
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(model: &str) -> RawSpec {
        RawSpec::from(&json!({"model": model, "gpuType": "A100"}))
    }

    fn taken(specs: &mut SpecCache, slot: Slot) -> Option<String> {
        specs.take(slot)?.text().map(str::to_owned)
    }

    #[test]
    fn a_spec_is_handed_out_once_as_it_was_last_seen() {
        let mut specs = SpecCache::default();
        specs.keep(7, spec("before"));
        specs.keep(7, spec("\u{e9}\"\\\n"));
        assert!(!specs.is_empty());
        assert_eq!(taken(&mut specs, 7).as_deref(), spec("\u{e9}\"\\\n").text());
        assert_eq!((taken(&mut specs, 7), specs.bytes, specs.is_empty()), (None, 0, true));
    }

    #[test]
    fn only_so_many_bytes_are_kept_and_what_goes_makes_room() {
        let mut specs = SpecCache::default();
        for slot in 0..10_000 {
            specs.keep(slot, spec(&"m".repeat(100)));
        }
        let count = specs.len();
        assert!(specs.bytes <= BYTES_KEPT && (1_000..5_000).contains(&count), "{count}");
        assert_eq!(taken(&mut specs, 9_999), None);
        specs.take(0);
        specs.keep(9_999, spec("m"));
        assert_eq!((taken(&mut specs, 9_999).as_deref(), specs.len()), (spec("m").text(), count - 1));
    }
}
