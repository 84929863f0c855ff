//! The index of a process that stands by: what the one that leads tells in each status is taken over.

use super::{Index, Slot, change};
use crate::controller::flags::Flags;
use crate::controller::record::Seen;
use crate::controller::spec_cache::SpecCache;
use crate::model::Dirty;
use crate::model::view::InferenceServiceView;

impl Index {
    /// From now on another process acts, and what it says of that is taken over; or no longer. Then each spec is read before
    /// it is acted on: the other process may have acted on a later one than this one has heard of.
    pub fn follow(&mut self, follows: bool) {
        self.follows = follows;
        self.specs = SpecCache::default();
    }

    /// One that is known, while another process acts on it.
    pub(super) fn observe_as_standby(&mut self, slot: Slot, object: InferenceServiceView, how: Seen) {
        let is_judged = self.is_being_judged() && how == Seen::Listed;
        let Index { records, counts, judge, .. } = self;
        let standing = change(records, counts, slot, |record| {
            record.flags.set(Flags::LISTED, true);
            let is_news = how.is_news(object.meta.version(), record.resource_version);
            (is_news || is_judged).then(|| record.follow(&object, &**judge))
        });
        if let Some(standing) = standing {
            let known = self.get(slot).map(|record| (!record.dirty.contains(Dirty::SPEC), record.phase()));
            let (waits, phase) = known.unwrap_or_default();
            self.rollout.remove(slot);
            self.place(slot, standing, waits, phase);
            self.keep_spec(slot, object.spec);
        }
    }
}
