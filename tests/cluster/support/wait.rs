//! Waits for a condition, and reports why it does not hold.

use std::future::Future;
use std::time::{Duration, Instant};

/// Long enough for a busy machine; usually it takes a fraction of that.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Retries until `attempt` succeeds and returns its value; at the time limit panics with its last error.
pub async fn eventually<T, F: Future<Output = Result<T, String>>>(what: &str, attempt: impl FnMut() -> F) -> T {
    within(PATIENCE, what, attempt).await
}

/// What one attempt takes counts as this at most: on a machine that stands still, nothing else had time either.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(1);

pub async fn within<T, F: Future<Output = Result<T, String>>>(
    patience: Duration,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let (first, mut waited) = (Instant::now(), Duration::ZERO);
    loop {
        let began = Instant::now();
        match attempt().await {
            Ok(value) => return value,
            Err(complaint) if waited > patience => {
                panic!("after {} s still not: {what}: {complaint}", first.elapsed().as_secs())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        waited += began.elapsed().min(LONGEST_ATTEMPT);
    }
}
