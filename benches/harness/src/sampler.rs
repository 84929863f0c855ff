//! A thread that looks at the operator's memory again and again, for the curve over time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::operator::Operator;
use crate::process::Memory;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Since the round's first start of the operator.
    pub seconds: f64,
    pub rss_bytes: u64,
    pub anonymous_bytes: Option<u64>,
}

type Probe = Box<dyn Fn() -> Option<Memory> + Send>;

#[derive(Default)]
struct Shared {
    probe: Option<Probe>,
    samples: Vec<Sample>,
    is_over: bool,
}

pub struct Sampler {
    began: Instant,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Looks at nothing before `attach`.
    pub fn begin(interval: Duration) -> Sampler {
        let (began, shared) = (Instant::now(), Arc::new(Mutex::new(Shared::default())));
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || sample(began, &shared, interval)
        });
        Sampler { began, shared, thread: Some(thread) }
    }

    pub fn attach(&self, operator: &Operator) {
        lock(&self.shared).probe = Some(operator.memory_probe());
    }

    /// Looks at nothing until the next `attach`. Looking holds the process's memory map for
    /// milliseconds if it is large, which must not show in a latency.
    pub fn pause(&self) {
        lock(&self.shared).probe = None;
    }

    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn take(&self) -> Vec<Sample> {
        std::mem::take(&mut lock(&self.shared).samples)
    }

    /// The largest sample at or after `since` seconds.
    pub fn most_since(&self, since: f64) -> Option<u64> {
        let shared = lock(&self.shared);
        shared.samples.iter().filter(|sample| sample.seconds >= since).map(|sample| sample.rss_bytes).max()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        lock(&self.shared).is_over = true;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn sample(began: Instant, shared: &Mutex<Shared>, interval: Duration) {
    loop {
        {
            let mut shared = lock(shared);
            if shared.is_over {
                return;
            }
            if let Some(memory) = shared.probe.as_ref().and_then(|probe| probe()) {
                shared.samples.push(Sample {
                    seconds: (began.elapsed().as_secs_f64() * 100.0).round() / 100.0,
                    rss_bytes: memory.rss_bytes,
                    anonymous_bytes: memory.anonymous_bytes,
                });
            }
        }
        std::thread::park_timeout(interval);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
