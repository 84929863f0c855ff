//! A delay in one byte, because each record has one.

use std::time::Duration;

/// Seconds, rounded up to a multiple of two; the longest is kept as 508. Default: none is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delay(u8);

const STEP: u64 = 2;

impl Delay {
    pub fn new(time: Duration) -> Delay {
        let steps = time.as_secs().div_ceil(STEP).max(1);
        Delay(u8::try_from(steps).unwrap_or(u8::MAX - 1))
    }

    /// None: not known.
    pub fn get(self) -> Option<Duration> {
        Some(Duration::from_secs(u64::from(self.0) * STEP)).filter(|_| self.0 > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_never_taken_for_a_shorter_one_and_for_a_second_more_at_most() {
        assert_eq!(Delay::default().get(), None);
        for seconds in 1..=508 {
            let kept = Delay::new(Duration::from_secs(seconds)).get().expect("known").as_secs();
            assert!((seconds..=seconds + 1).contains(&kept), "{seconds}: {kept}");
        }
        assert_eq!(Delay::new(Duration::from_secs(86_400)).get(), Some(Duration::from_secs(508)));
        assert_eq!(Delay::new(Duration::ZERO).get(), Some(Duration::from_secs(2)));
    }
}
