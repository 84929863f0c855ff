//! What is to be worked on, and when: keys, once each, due now or later. Kept by the controller;
//! pure; costs nothing for what is settled and owns no timer.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::controller::fleet::Slot;

#[derive(Default)]
pub struct Queue {
    order: BTreeSet<(Instant, Slot)>,
    due: HashMap<Slot, Instant>,
}

impl Queue {
    /// Queues a key; one that is queued already keeps the earlier of both times.
    pub fn push(&mut self, slot: Slot, due: Instant) {
        if let Some(&known) = self.due.get(&slot) {
            if known <= due {
                return;
            }
            self.order.remove(&(known, slot));
        }
        self.order.insert((due, slot));
        self.due.insert(slot, due);
    }

    /// Takes the key that has been due for longest.
    pub fn pop(&mut self, now: Instant) -> Option<Slot> {
        let &(due, slot) = self.order.first()?;
        if due > now {
            return None;
        }
        self.order.pop_first();
        self.due.remove(&slot);
        if self.due.is_empty() {
            // A burst must not leave its table behind.
            self.due.shrink_to_fit();
        }
        Some(slot)
    }

    /// When the next key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.order.first().map(|&(due, _)| due)
    }

    pub fn contains(&self, slot: Slot) -> bool {
        self.due.contains_key(&slot)
    }

    pub fn len(&self) -> usize {
        self.due.len()
    }

    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

/// The wait after so many failures in a row: doubled each time, `longest` at most, spread over its
/// upper half so that what failed together does not come back together. `random`: any number.
pub fn backoff(failures: u8, longest: Duration, random: u64) -> Duration {
    let doubled = Duration::from_millis(500) * (1 << failures.saturating_sub(1).min(10));
    let whole = doubled.min(longest);
    whole / 2 + whole / 2 * u32::try_from(random % 1000).unwrap_or(0) / 1000
}

/// A source of spread, not of secrets: xorshift64*, the same for the same seed.
pub struct Jitter(u64);

impl Jitter {
    pub fn new(seed: u64) -> Jitter {
        Jitter(seed | 1)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_queued_once_and_keeps_its_earlier_time() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut queue = Queue::default();
        queue.push(1, later);
        queue.push(2, later + Duration::from_secs(1));
        queue.push(2, now);
        queue.push(2, later);
        assert_eq!((queue.len(), queue.next_due()), (2, Some(now)));
        assert!(queue.contains(1) && queue.contains(2) && !queue.contains(3) && !queue.is_empty());
        assert_eq!(queue.pop(now), Some(2));
        assert!(!queue.contains(2));
        assert_eq!(queue.pop(now), None);
        assert_eq!(queue.pop(later), Some(1));
        assert!(queue.is_empty() && queue.next_due().is_none());
    }

    #[test]
    fn what_is_due_longest_comes_first() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for slot in [3, 1, 2] {
            queue.push(slot, now + Duration::from_secs(u64::from(slot)));
        }
        let late = now + Duration::from_secs(9);
        assert_eq!([queue.pop(late), queue.pop(late), queue.pop(late)], [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn backoff_grows_to_its_longest_and_is_never_nothing() {
        let longest = Duration::from_secs(60);
        let mut jitter = Jitter::new(7);
        for failures in 1..=u8::MAX {
            let wait = backoff(failures, longest, jitter.draw());
            assert!(wait >= Duration::from_millis(250) && wait <= longest, "{failures}: {wait:?}");
        }
        for (failures, random, expected) in [
            (0, 0, 250),
            (1, 0, 250),
            (1, 500, 375),
            (1, 999, 499),
            (1, 1999, 499),
            (2, 0, 500),
            (3, 0, 1000),
            (7, 0, 16_000),
            (8, 0, 30_000),
            (u8::MAX, 999, 59_970),
        ] {
            let wait = backoff(failures, longest, random);
            assert_eq!(wait.as_millis(), expected, "{failures} failures, {random}");
        }
    }

    /// Or a seed of the simulation that found something would find it no longer.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut jitter = Jitter::new(7);
        assert_eq!([(); 3].map(|()| jitter.draw()), [230_878_911_361_677, 261_290_450_182_813, 25_149_674_538_859]);
        assert_eq!(Jitter::new(6).draw(), Jitter::new(7).draw(), "0 would stay 0");
    }
}
