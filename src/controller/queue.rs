//! The work queue: keys, once each, due now or later. Owned by the controller; pure; costs nothing for settled
//! InferenceServices and owns no timer.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use crate::controller::index::Slot;

#[derive(Default)]
pub struct Queue {
    order: BTreeSet<(Instant, Slot)>,
    due: HashMap<Slot, Instant>,
}

impl Queue {
    /// Queues a key; a key that is already queued keeps the earlier of both times.
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
            // Free the memory after a burst.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
