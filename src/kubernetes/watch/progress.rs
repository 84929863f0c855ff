//! The retry policy of a watch: backoff after failures, when to relist, and whether lists are streamed. Owned by the
//! watch; pure: the time and random numbers are passed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::kubernetes::backoff::backoff;

/// Backoff limit. Short, because an operator that waits for its CRD or its permissions should not keep people waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Backoff limit if lists succeed but no watch does: each retry costs the API server a list.
const LONGEST_WAIT_TO_LIST: Duration = Duration::from_secs(60);

/// A watch that is silent for this long may be deaf. API servers send a bookmark every minute, 122 s apart at most
/// (measured with etcd and kine, with and without label selector), but none to a watch from a version that they do not
/// have, such as after the datastore was restored to an earlier copy.
pub const SILENCE: Duration = Duration::from_secs(180);

/// How many times the interval to the next relist doubles while lists are followed by silence: up to 48 minutes. In
/// some networks no watch lives long enough to receive a bookmark.
const SILENCE_DOUBLES: u8 = 4;

/// Upper limit for all of the above: anything missed is found within a day. Jitter makes it up to a quarter earlier, so
/// that not all operators list at once.
const RELIST: Duration = Duration::from_secs(24 * 3600);

/// After this many consecutive failures the current approach does not work here, and a person may need to act.
const WARN_AFTER_FAILURES: u8 = 3;

/// Consecutive failures of streaming lists before lists are paged.
const FAILED_STREAMS: u8 = 2;

pub struct Progress {
    /// Consecutive failures. A completed list does not reset them: if every watch after it failed, retries would run at
    /// full speed.
    failures: u8,
    /// Lists completed since a watch last delivered something.
    lists: u8,
    was_listed: bool,
    failed_streams: u8,
    /// When a list or a watch last delivered something.
    since: Instant,
    relist: Instant,
}

impl Progress {
    pub fn new(now: Instant) -> Progress {
        Progress { failures: 0, lists: 0, was_listed: false, failed_streams: 0, since: now, relist: now + RELIST }
    }

    /// A watch delivered an event or a bookmark.
    pub fn told(&mut self, now: Instant) {
        (self.failures, self.lists, self.since) = (0, 0, now);
    }

    /// A watch was open for a while before it was cut.
    pub fn lived(&mut self) {
        self.failures = 0;
    }

    /// A list was completed. Returns whether it is the first since a watch delivered something.
    pub fn listed(&mut self, now: Instant, random: u64) -> bool {
        self.lists = self.lists.saturating_add(1);
        self.was_listed = true;
        self.since = now;
        self.relist = now + RELIST - RELIST / 4 * u32::try_from(random % 1000).unwrap_or(0) / 1000;
        self.lists == 1
    }

    /// Counts a failure and returns how long to wait.
    pub fn failed(&mut self, random: u64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        backoff(self.failures, if self.lists > 1 { LONGEST_WAIT_TO_LIST } else { LONGEST_WAIT }, random)
    }

    /// How long to wait until an optional kind is asked for again.
    pub fn absent(&mut self, random: u64) -> Duration {
        self.failures = WARN_AFTER_FAILURES;
        backoff(u8::MAX, LONGEST_WAIT_TO_LIST, random)
    }

    /// Was a list ever read?
    pub fn was_listed(&self) -> bool {
        self.was_listed
    }

    pub fn warns(&self) -> bool {
        self.failures >= WARN_AFTER_FAILURES
    }

    /// When a relist is due even though no watch required it.
    pub fn list_due(&self) -> Instant {
        let doubles = self.lists.saturating_sub(1).min(SILENCE_DOUBLES);
        self.relist.min(self.since + SILENCE * (1 << doubles))
    }

    // === streaming lists ===

    pub fn streams_lists(&self) -> bool {
        self.failed_streams < FAILED_STREAMS
    }

    pub fn stream_failed(&mut self) {
        self.failed_streams = self.failed_streams.saturating_add(1);
    }

    /// The API server does not support streaming lists.
    pub fn stream_refused(&mut self) {
        self.failed_streams = FAILED_STREAMS;
    }

    /// A paged list replaces a streaming list. Returns whether that is new.
    pub fn reads_pages(&mut self) -> bool {
        let is_new = self.failed_streams == FAILED_STREAMS;
        self.failed_streams = self.failed_streams.saturating_add(1);
        is_new
    }

    /// Streaming lists work, or are worth another try: pages are refused too, or a day has passed.
    pub fn try_streams(&mut self) {
        self.failed_streams = 0;
    }

    /// Whether the daily relist is due, which also retries streaming lists.
    pub fn is_relist(&self, now: Instant) -> bool {
        now >= self.relist
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_until_a_watch_tells_something_whatever_lists_do() {
        let now = Instant::now();
        let mut progress = Progress::new(now);
        let longest =
            |progress: &mut Progress| (0..20).map(|_| progress.failed(999)).max().unwrap_or_default().as_millis();
        assert_eq!(longest(&mut progress), 9995);
        assert!(progress.listed(now, 0));
        assert_eq!(progress.failed(999).as_millis(), 9995, "it has listed once");
        assert!(!progress.listed(now, 0));
        assert_eq!(progress.failed(999).as_millis(), 59_970, "each try costs a list");
        assert!(progress.warns());
        progress.told(now);
        assert!(!progress.warns());
        assert_eq!(progress.failed(0).as_millis(), 250);
    }

    #[test]
    fn a_list_is_due_after_three_silent_minutes_and_ever_more_rarely_where_it_helps_nothing() {
        let now = Instant::now();
        let mut progress = Progress::new(now);
        for minutes in [3, 6, 12, 24, 48, 48] {
            progress.listed(now, 0);
            assert_eq!(progress.list_due(), now + Duration::from_secs(minutes * 60));
        }
        progress.told(now + SILENCE);
        assert_eq!(progress.list_due(), now + 2 * SILENCE);
    }

    #[test]
    fn a_list_is_due_once_a_day_whatever_the_watch_tells() {
        let now = Instant::now();
        let mut progress = Progress::new(now);
        for (random, hours) in [(0, 24), (500, 21)] {
            progress.listed(now, random);
            let due = now + Duration::from_secs(hours * 3600);
            progress.told(due);
            assert_eq!(progress.list_due(), due);
            assert!(progress.is_relist(due) && !progress.is_relist(due - Duration::from_secs(1)));
        }
    }
}
