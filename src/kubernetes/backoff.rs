//! Backoff with jitter. Used by the queue and by the watches; pure: the random number is passed in.

use std::time::Duration;

/// The wait after this many consecutive failures: doubles each time, up to `longest`. Jitter spreads it over its upper
/// half, so that what failed together does not retry together. `random`: any number.
pub fn backoff(failures: u8, longest: Duration, random: u64) -> Duration {
    let doubled = Duration::from_millis(500) * (1 << failures.saturating_sub(1).min(10));
    let whole = doubled.min(longest);
    whole / 2 + whole / 2 * u32::try_from(random % 1000).unwrap_or(0) / 1000
}

/// Random numbers for jitter, not for secrets: xorshift64*, deterministic for a seed.
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

    /// Otherwise a simulation seed that found a bug would no longer find it.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut jitter = Jitter::new(7);
        assert_eq!([(); 3].map(|()| jitter.draw()), [230_878_911_361_677, 261_290_450_182_813, 25_149_674_538_859]);
        assert_eq!(Jitter::new(6).draw(), Jitter::new(7).draw(), "0 would stay 0");
    }
}
