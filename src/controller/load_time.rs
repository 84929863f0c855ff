//! A load time in one byte, because each record has one.

use std::time::Duration;

/// Seconds up to two minutes, then minutes, rounded up; default: not known. The longest are taken for 129 minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadTime(u8);

/// Up to here it is seconds.
const SECONDS: u8 = 128;

/// The first number above stands for three minutes.
const OFFSET: u8 = SECONDS - 2;

const SECONDS_A_MINUTE: u64 = 60;

impl LoadTime {
    pub fn new(time: Duration) -> LoadTime {
        let seconds = u8::try_from(time.as_secs()).ok().filter(|seconds| *seconds <= SECONDS);
        let minutes = || u8::try_from(time.as_secs().div_ceil(SECONDS_A_MINUTE)).unwrap_or(u8::MAX);
        LoadTime(seconds.map_or_else(|| OFFSET.saturating_add(minutes()), |seconds| seconds.max(1)))
    }

    /// None: not known.
    pub fn get(self) -> Option<Duration> {
        let seconds = match self.0.checked_sub(OFFSET).filter(|_| self.0 > SECONDS) {
            Some(minutes) => u64::from(minutes) * SECONDS_A_MINUTE,
            None => self.0.into(),
        };
        Some(Duration::from_secs(seconds)).filter(|_| self.0 > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_time_is_never_taken_for_a_shorter_one_and_for_a_minute_more_at_most() {
        assert_eq!(LoadTime::default().get(), None);
        for seconds in 1..=129 * 60 {
            let kept = LoadTime::new(Duration::from_secs(seconds)).get().expect("known").as_secs();
            let most = if seconds <= 128 { 0 } else { 59 };
            assert!((seconds..=seconds + most).contains(&kept), "{seconds}: {kept}");
        }
        assert_eq!(LoadTime::new(Duration::from_secs(86_400)).get(), Some(Duration::from_secs(129 * 60)));
        assert!(LoadTime::new(Duration::ZERO).get().is_some());
    }
}
