//! When an InferenceService that is not settled has its turn: at once, or after the delay that its dirty bits, its failures
//! and its repairs ask for.

use std::time::Duration;

use tokio::time::Instant;

use super::Controller;
use super::flags::Flags;
use super::index::Slot;
use super::record::Record;
use crate::kubernetes::backoff::backoff;
use crate::model::Dirty;
use crate::reconcile::status::READY_COUNT_INTERVAL;

/// Delay between a change of a Deployment and the read of it: the Deployment controller changes it several times in
/// a row.
pub(super) const SETTLE_DELAY: Duration = Duration::from_millis(500);

/// A read of the Deployment without a change to report doubles the delay of the next, at most this many times.
pub(super) const SETTLE_DOUBLINGS: u8 = 3;

pub(super) const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Backoff cap for recent failures: their cause may go away without an event.
pub(super) const SHORT_BACKOFF: Duration = Duration::from_secs(10);

/// From this many failures in a row (a quarter of an hour or less) the cap is `LONGEST_BACKOFF`.
pub(super) const LONG_FAILURES: u8 = 60;

/// Each failing InferenceService raises the cap by this much, so that all of them together retry 20 times a second, as
/// long as a cap of a minute is enough for that. So it is with the looks at those that are not Ready.
pub(super) const SHARE_OF_ONE: Duration = Duration::from_millis(50);

/// Interval at which one repair of the recent ones is forgotten.
pub(super) const REPAIR_FADES: Duration = Duration::from_secs(300);

impl Controller {
    /// Queues an InferenceService that is not settled, with the delay that its dirty bits ask for.
    pub(super) fn queue(&mut self, slot: Slot) {
        let Some(record) = self.index.get(slot) else { return };
        let may_start = self.in_sync && self.leads;
        if self.index.is_at_rest(record) || record.flags.contains(Flags::IN_FLIGHT) || !may_start {
            return;
        }
        let mut delay = wait(record);
        // Thousands that have lost the same node are not looked at in the same second.
        if record.dirty.intersects(Dirty::LOOK) && !delay.is_zero() {
            let others = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
            delay += spread(SHARE_OF_ONE.saturating_mul(others), self.jitter.draw());
        }
        if record.failures > 0 {
            let longest = longest_backoff(record.failures, self.index.counts().failing);
            delay = delay.max(backoff(record.failures, longest, self.jitter.draw()));
        }
        // Delays the reads of a Deployment too, because they repair the drift that they find.
        if record.repairs > 0 {
            delay = delay.max(backoff(record.repairs, LONGEST_BACKOFF, self.jitter.draw()));
        }
        self.queue.push(slot, Instant::now() + delay);
    }

    /// A safety net under all of the above: queues every InferenceService that is neither settled nor queued.
    pub(super) fn sweep(&mut self) {
        let fades = self.faded.elapsed().as_secs() / REPAIR_FADES.as_secs();
        if fades > 0 {
            self.faded = Instant::now();
            self.index.forget_repairs(u8::try_from(fades).unwrap_or(u8::MAX));
        }
        let lost: Vec<Slot> = self
            .index
            .iter()
            .filter(|(slot, record)| !self.index.is_at_rest(record) && !self.queue.contains(*slot))
            .map(|(slot, _)| slot)
            .collect();
        for slot in lost {
            self.queue(slot);
        }
    }
}

/// How long the pending work can wait.
fn wait(record: &Record) -> Duration {
    let quiet_reads = Dirty::ROLLOUT | Dirty::EDIT | Dirty::STATUS;
    if !record.dirty.difference(Dirty::LOOK | quiet_reads).is_empty() {
        return Duration::ZERO;
    }
    // Only the Deployment can have changed: let its controller finish.
    if !record.dirty.difference(Dirty::LOOK).is_empty() && record.dirty != Dirty::STATUS | Dirty::DUE {
        return SETTLE_DELAY * (1 << record.quiet_reads.min(SETTLE_DOUBLINGS));
    }
    if record.dirty.contains(Dirty::COUNT) {
        return Duration::from_secs(u64::from(READY_COUNT_INTERVAL));
    }
    // Not known after a restart.
    record.requeue_after.get().unwrap_or(Duration::from_secs(u64::from(READY_COUNT_INTERVAL)))
}

/// A part of this time, a minute at most. `random`: any number.
fn spread(time: Duration, random: u64) -> Duration {
    time.min(LONGEST_BACKOFF) * u32::try_from(random % 1000).unwrap_or(0) / 1000
}

/// Backoff cap after `failures` in a row of one InferenceService, while `failing` InferenceServices fail.
pub(super) fn longest_backoff(failures: u8, failing: u32) -> Duration {
    let longest = if failures < LONG_FAILURES { SHORT_BACKOFF } else { LONGEST_BACKOFF };
    longest.max(SHARE_OF_ONE * failing).min(LONGEST_BACKOFF)
}
