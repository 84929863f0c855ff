//! The API server's audit log: what an operator really asked for, by verb and resource, and when.
//! Read on as it grows; never from the beginning again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

/// The ServiceAccount that every operator runs as.
pub const USER: &str = "system:serviceaccount:inference-operator:inference-operator";

/// Requests by "verb resource", such as "patch inferenceservices/status".
pub type Counts = BTreeMap<String, u64>;

/// One request of the operator that the API server has answered, or a watch that has begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub verb: String,
    /// With the subresource: `inferenceservices/status`.
    pub resource: String,
    pub name: String,
    pub code: u16,
    /// When the API server had the request.
    pub received: Timestamp,
    /// When the answer was there.
    pub at: Timestamp,
}

impl Request {
    pub fn kind(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }

    /// From having the request to having sent the answer.
    pub fn server_milliseconds(&self) -> f64 {
        milliseconds(self.received, self.at)
    }
}

pub fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1_000.0
}

/// Everything that can change the datastore.
pub fn is_write(kind: &str) -> bool {
    !matches!(kind.split(' ').next(), Some("get" | "list" | "watch"))
}

pub fn writes(counts: &Counts) -> u64 {
    counts.iter().filter(|(kind, _)| is_write(kind)).map(|(_, count)| count).sum()
}

/// All but the beginnings of watches.
pub fn requests_without_watches(counts: &Counts) -> u64 {
    counts.iter().filter(|(kind, _)| !kind.starts_with("watch ")).map(|(_, count)| count).sum()
}

pub fn count(requests: &[Request]) -> Counts {
    let mut counts = Counts::new();
    for request in requests {
        *counts.entry(request.kind()).or_default() += 1;
    }
    counts
}

/// A reader that is somewhere in the log.
pub struct AuditLog {
    reader: BufReader<File>,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl AuditLog {
    /// Begins at the present end of the log.
    pub fn open(path: &Path) -> Result<AuditLog> {
        let mut file = File::open(path).with_context(|| format!("no audit log {}", path.display()))?;
        file.seek(SeekFrom::End(0))?;
        Ok(AuditLog { reader: BufReader::with_capacity(1 << 16, file), partial: Vec::new() })
    }

    /// What the operator has asked for since the last call.
    pub fn read(&mut self) -> Result<Vec<Request>> {
        let mut requests = Vec::new();
        loop {
            let read = self.reader.read_until(b'\n', &mut self.partial)?;
            if read == 0 || self.partial.last() != Some(&b'\n') {
                return Ok(requests);
            }
            let line = std::mem::take(&mut self.partial);
            if let Some(request) = std::str::from_utf8(&line).ok().and_then(parse) {
                requests.push(request);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: Option<u16>,
}

/// None for a line of somebody else, or of another stage. A watch counts when it begins,
/// everything else when it is answered.
fn parse(line: &str) -> Option<Request> {
    // Most lines are the control plane's own: they are not worth being parsed.
    if !line.contains(USER) {
        return None;
    }
    let event: Event = serde_json::from_str(line).ok()?;
    let counts = if event.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
    if event.user.username != USER || event.stage != counts {
        return None;
    }
    // Which kinds there are, and the like, is no object.
    let object =
        event.object_ref.unwrap_or_else(|| ObjectRef { resource: "(discovery)".into(), ..ObjectRef::default() });
    let slash = if object.subresource.is_empty() { "" } else { "/" };
    Some(Request {
        verb: event.verb,
        resource: format!("{}{slash}{}", object.resource, object.subresource),
        name: object.name,
        code: event.response_status.and_then(|status| status.code).unwrap_or(0),
        received: event.request_received_timestamp,
        at: event.stage_timestamp,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(user: &str, stage: &str, verb: &str) -> String {
        format!(
            r#"{{"stage":"{stage}","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{{"resource":"inferenceservices","namespace":"bench-0","name":"isvc-1","subresource":"status"}},"responseStatus":{{"code":200}},"requestReceivedTimestamp":"2026-11-22T21:31:21.120000Z","stageTimestamp":"2026-11-22T21:31:21.123456Z"}}"#
        )
    }

    #[test]
    fn only_the_operator_s_answered_requests_count() {
        let parsed = parse(&line(USER, "ResponseComplete", "patch")).expect("a request");
        assert_eq!((parsed.kind().as_str(), parsed.code), ("patch inferenceservices/status", 200));
        assert!((parsed.server_milliseconds() - 3.456).abs() < 1e-9);
        assert_eq!(parse(&line("admin", "ResponseComplete", "patch")), None);
        assert_eq!(parse(&line(USER, "ResponseComplete", "watch")), None);
        assert!(parse(&line(USER, "ResponseStarted", "watch")).is_some());
    }

    #[test]
    fn a_line_that_is_half_written_is_read_when_it_is_whole() {
        let path = std::env::temp_dir().join(format!("bench-audit-{}", std::process::id()));
        std::fs::write(&path, "earlier\n").expect("written");
        let mut log = AuditLog::open(&path).expect("opened");
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("opened");
        let line = line(USER, "ResponseComplete", "get");
        let (one, other) = line.split_at(40);
        file.write_all(one.as_bytes()).expect("written");
        assert_eq!(log.read().expect("read"), []);
        file.write_all(format!("{other}\n").as_bytes()).expect("written");
        assert_eq!(log.read().expect("read").len(), 1);
        std::fs::remove_file(path).expect("removed");
    }

    #[test]
    fn writes_are_all_but_reading() {
        let counts = Counts::from(
            [
                ("get services", 1),
                ("list deployments", 2),
                ("watch services", 3),
                ("patch deployments", 4),
                ("update services", 5),
            ]
            .map(|(kind, count)| (kind.to_owned(), count)),
        );
        assert_eq!((writes(&counts), requests_without_watches(&counts)), (9, 12));
    }
}
