//! Waiting for something to become true, with the reason why it is not.

use std::future::Future;
use std::time::{Duration, Instant};

/// Long enough for a busy machine; what is waited for comes in a fraction of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tries until `attempt` succeeds; fails with its last complaint. Returns its value.
pub async fn eventually<T, F: Future<Output = Result<T, String>>>(what: &str, attempt: impl FnMut() -> F) -> T {
    within(PATIENCE, what, attempt).await
}

pub async fn within<T, F: Future<Output = Result<T, String>>>(
    patience: Duration,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let began = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(complaint) if began.elapsed() > patience => {
                panic!("after {} s still not: {what}: {complaint}", patience.as_secs())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
