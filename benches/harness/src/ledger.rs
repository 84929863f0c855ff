//! The operator's requests, phase by phase: from the audit log where it can be read, else from what
//! the operator itself counts.

use anyhow::Result;

use crate::audit::{self, AuditLog, Counts, Request};
use crate::cluster::Access;
use crate::operator::Operator;
use crate::prometheus::Page;

pub struct Ledger {
    source: Source,
    /// Of this phase; only from an audit log.
    pub requests: Vec<Request>,
}

enum Source {
    Audit(AuditLog),
    /// Counts of rest_client_requests_total when the phase began.
    Metrics(Counts),
}

impl Ledger {
    pub fn open(access: &Access) -> Result<Ledger> {
        let source = match &access.audit_log {
            Some(path) => Source::Audit(AuditLog::open(path)?),
            None => Source::Metrics(Counts::new()),
        };
        Ok(Ledger { source, requests: Vec::new() })
    }

    /// What was asked for before counts no more.
    pub fn begin_phase(&mut self, operator: Option<&Operator>) -> Result<()> {
        match &mut self.source {
            Source::Audit(log) => drop(log.read()?),
            Source::Metrics(before) => *before = operator.map(counted).unwrap_or_default(),
        }
        self.requests.clear();
        Ok(())
    }

    /// Reads on; how many requests and how many writes came since the last call. None: nobody can
    /// say from moment to moment.
    pub fn poll(&mut self) -> Result<Option<(usize, usize)>> {
        let Source::Audit(log) = &mut self.source else { return Ok(None) };
        let new = log.read()?;
        let writes = new.iter().filter(|request| audit::is_write(&request.verb)).count();
        let count = new.len();
        self.requests.extend(new);
        Ok(Some((count, writes)))
    }

    /// Of this phase, up to now.
    pub fn counts(&mut self, operator: &Operator) -> Result<Counts> {
        self.poll()?;
        Ok(match &self.source {
            Source::Audit(_) => audit::count(&self.requests),
            Source::Metrics(before) => {
                let mut counts = counted(operator);
                for (kind, count) in &mut counts {
                    *count -= before.get(kind).copied().unwrap_or(0).min(*count);
                }
                counts
            }
        })
    }
}

/// By method, because that is all that the metric has.
fn counted(operator: &Operator) -> Counts {
    let page = operator.metrics().unwrap_or_default();
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let count = |method: &str| Page(&page).sum("rest_client_requests_total", &format!("method=\"{method}\""));
    methods.iter().filter_map(|method| Some((method.to_lowercase(), count(method)? as u64))).collect()
}
