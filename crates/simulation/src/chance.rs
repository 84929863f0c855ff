//! All randomness of one run, drawn from its seed. Used by everything in the simulation; nothing else may be random,
//! so that the seed alone reproduces a failure.

use std::time::Duration;

use inference_operator::kubernetes::backoff::Jitter;

pub struct Chance(Jitter);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        // Neighboring seeds must not start with similar numbers.
        let mut jitter = Jitter::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d);
        for _ in 0..8 {
            jitter.draw();
        }
        Chance(jitter)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0.draw() % end.max(1)
    }

    /// True in `rate` of 1000 cases.
    pub fn per_mille(&mut self, rate: u64) -> bool {
        self.below(1000) < rate
    }

    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let position = usize::try_from(self.below(list.len() as u64)).unwrap_or(0);
        list.get(position)
    }

    pub fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(longest.as_millis()).unwrap_or(u64::MAX)))
    }
}
