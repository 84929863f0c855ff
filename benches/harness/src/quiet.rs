//! Waiting until an operator has nothing more to do, as seen from outside.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench::Bench;
use crate::operator::Operator;
use crate::prometheus::Page;

const POLL: Duration = Duration::from_millis(100);

/// CPU time within one poll that counts as being at work.
const AT_WORK: f64 = 0.01;

/// So long without request and without work is settled.
const SETTLED: Duration = Duration::from_secs(2);

/// Waits until the operator writes nothing for `quiet`; false: it went on for all of `patience`.
/// Where requests cannot be seen from moment to moment, it just waits for twice as long.
pub async fn until_no_writes(bench: &mut Bench<'_>, quiet: Duration, patience: Duration) -> Result<bool> {
    let (began, mut last) = (Instant::now(), Instant::now());
    loop {
        match bench.ledger.poll()? {
            Some((_, writes)) if writes > 0 => last = Instant::now(),
            Some(_) if last.elapsed() >= quiet => return Ok(true),
            None if began.elapsed() >= 2 * quiet => return Ok(true),
            _ if began.elapsed() >= patience => return Ok(false),
            _ => {}
        }
        bench.at("waiting until nothing is written any more", "")?;
        tokio::time::sleep(POLL).await;
    }
}

/// How a start ended.
pub struct Settled {
    /// From the start of the process to its last request or piece of work.
    pub seconds: Option<f64>,
    /// From the start of the process to its own word that all watches are in sync.
    pub in_sync_seconds: Option<f64>,
}

/// Waits until a process that was just started has worked through what was there: it asks for
/// nothing and does nothing for 2 s; or, because some look at everything again and again, it has
/// reconciled `count` and nothing waits. None: neither within `patience`.
pub async fn until_settled(bench: &mut Bench<'_>, activity: &str, count: usize, patience: Duration) -> Result<Settled> {
    let started = bench.operator()?.started;
    let (mut last_activity, mut in_sync_seconds) = (started.elapsed(), None);
    let mut cpu = bench.operator()?.cpu_seconds();
    let mut is_through = None;
    loop {
        tokio::time::sleep(POLL).await;
        let asked = bench.ledger.poll()?.is_some_and(|(requests, _)| requests > 0);
        let operator = bench.operator()?;
        let now = operator.cpu_seconds();
        let worked = matches!((cpu, now), (Some(before), Some(now)) if now - before >= AT_WORK);
        cpu = now;
        let elapsed = started.elapsed();
        if asked || worked {
            last_activity = elapsed;
        }
        if in_sync_seconds.is_none() && operator.is_in_sync() == Some(true) {
            in_sync_seconds = Some(elapsed.as_secs_f64());
        }
        // Asked seldom: a page of /metrics is work too.
        if count > 0 && is_through.is_none() && (elapsed.as_millis() / 100).is_multiple_of(5) {
            is_through = has_reconciled(operator, count).then_some(elapsed);
        }
        let may_be_settled = in_sync_seconds.is_some() || operator.is_in_sync().is_none();
        let is_quiet = may_be_settled && elapsed.saturating_sub(last_activity) >= SETTLED;
        if is_quiet || is_through.is_some() {
            let seconds = is_through.unwrap_or(last_activity).as_secs_f64().max(in_sync_seconds.unwrap_or(0.0));
            return Ok(Settled { seconds: Some(seconds), in_sync_seconds });
        }
        if elapsed > patience {
            return Ok(Settled { seconds: None, in_sync_seconds });
        }
        bench.at(activity, &format!("{} s", elapsed.as_secs()))?;
    }
}

fn has_reconciled(operator: &Operator, count: usize) -> bool {
    let Some(page) = operator.metrics() else { return false };
    let page = Page(&page);
    page.reconciles().is_some_and(|done| done >= count as f64) && page.queue_depth().is_none_or(|depth| depth == 0.0)
}
