//! The simulated server's only Lease, with versions of its own: its renewals are no sign of life of anything else. Used by
//! the server.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::{Method, request::Parts};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::faults::{Faults, LineHandling};
use super::server::{ResponseBody, streamed};
use super::{Refusal, refusal};
use crate::cluster::{Inner, Shared};
use crate::oracle::leaders::{self, Process};

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/inference-operator/leases";
const NAME: &str = "inference-operator";

pub struct Leases {
    /// Of the last write; as that of a list, it is never 0.
    version: u64,
    object: Option<Value>,
    written: Instant,
    /// The process that has taken it, and not released it.
    holder: Option<Process>,
    /// How often that has changed.
    transitions: u64,
}

impl Default for Leases {
    fn default() -> Self {
        Leases { version: 1, object: None, written: Instant::now(), holder: None, transitions: 0 }
    }
}

impl Leases {
    pub fn holder(&self) -> Option<Process> {
        self.holder
    }

    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// Time since it was last taken, renewed or released.
    pub fn age(&self) -> Duration {
        self.written.elapsed()
    }
}

pub enum LeaseRequest {
    /// None: it begins with a list.
    Watch {
        since: Option<u64>,
    },
    List,
    Get,
    Create(Value),
    Patch(Value),
}

/// None: not about the Lease.
pub fn parse(parts: &Parts, body: &Bytes) -> Option<LeaseRequest> {
    let query = parts.uri.query().unwrap_or_default();
    let rest = parts.uri.path().strip_prefix(PATH)?;
    let object = || serde_json::from_slice(body).ok();
    match (&parts.method, rest.trim_start_matches('/')) {
        (&Method::GET, "") if query.contains("watch=true") => {
            let version = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse().ok());
            let since = version.filter(|_| !query.contains("sendInitialEvents=true"));
            Some(LeaseRequest::Watch { since })
        }
        (&Method::GET, "") => Some(LeaseRequest::List),
        (&Method::GET, NAME) => Some(LeaseRequest::Get),
        (&Method::POST, "") => Some(LeaseRequest::Create(object()?)),
        (&Method::PATCH, NAME) => Some(LeaseRequest::Patch(object()?)),
        _ => None,
    }
}

/// The answer to all but a watch.
pub fn execute(inner: &mut Inner, process: Process, request: LeaseRequest) -> Result<Value, Refusal> {
    let leases = &mut inner.leases;
    match request {
        LeaseRequest::Watch { .. } => Err(refusal(500, "InternalError", "a watch is not handled here")),
        LeaseRequest::List => {
            let items: Vec<&Value> = leases.object.iter().collect();
            let version = leases.version.to_string();
            Ok(json!({"kind": "List", "items": items, "metadata": {"resourceVersion": version}}))
        }
        LeaseRequest::Get => leases.object.clone().ok_or_else(|| refusal(404, "NotFound", "no Lease")),
        LeaseRequest::Create(_) if leases.object.is_some() => Err(refusal(409, "AlreadyExists", "it exists")),
        LeaseRequest::Create(object) => Ok(write(inner, process, object)),
        LeaseRequest::Patch(patch) => {
            let Some(mut object) = leases.object.clone() else { return Err(refusal(404, "NotFound", "no Lease")) };
            if object["metadata"]["resourceVersion"] != patch["metadata"]["resourceVersion"] {
                return Err(refusal(409, "Conflict", "the object has been modified"));
            }
            for (name, value) in patch["spec"].as_object().into_iter().flatten() {
                object["spec"][name] = value.clone();
            }
            Ok(write(inner, process, object))
        }
    }
}

fn write(inner: &mut Inner, process: Process, mut object: Value) -> Value {
    let leases = &mut inner.leases;
    leases.version += 1;
    object["metadata"]["resourceVersion"] = json!(leases.version.to_string());
    (leases.object, leases.written) = (Some(object.clone()), Instant::now());
    let holder = (!object["spec"]["holderIdentity"].is_null()).then_some(process);
    if holder != leases.holder {
        (leases.holder, leases.transitions) = (holder, leases.transitions + 1);
        leaders::changes(inner);
    }
    object
}

struct Watching {
    cluster: Shared,
    sent: u64,
    lines: VecDeque<String>,
    is_broken: bool,
}

/// A watch of the Lease, which begins with a list or at the version that is there.
pub fn watch(cluster: &Shared, since: Option<u64>) -> Result<Response<ResponseBody>, Refusal> {
    let inner = cluster.lock();
    if since.is_none() && (!inner.faults.streams_lists || inner.faults.breaks_streams) {
        return Err(refusal(422, "Invalid", "sendInitialEvents is forbidden"));
    }
    let mut lines = VecDeque::new();
    if since.is_none() {
        lines.extend(inner.leases.object.iter().map(|object| line("ADDED", object)));
        let annotations = json!({"k8s.io/initial-events-end": "true"});
        let version = inner.leases.version.to_string();
        lines.push_back(line(
            "BOOKMARK",
            &json!({"metadata": {"resourceVersion": version, "annotations": annotations}}),
        ));
    }
    let sent = since.unwrap_or(inner.leases.version);
    drop(inner);
    let watching = Watching { cluster: cluster.clone(), sent, lines, is_broken: false };
    Ok(streamed(futures::stream::unfold(watching, |mut watching| async move {
        let bytes = watching.next().await?;
        Some((Ok(bytes), watching))
    })))
}

impl Watching {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.is_broken {
                return None;
            }
            if let Some(line) = self.lines.pop_front() {
                // Faults of the Lease concern no object.
                let handling = Faults::line_handling(&mut self.cluster.lock().faults);
                match handling {
                    LineHandling::Sent => {}
                    LineHandling::Late(wait) => tokio::time::sleep(wait).await,
                    LineHandling::Ended | LineHandling::Expired => return None,
                    LineHandling::Broken => {
                        self.is_broken = true;
                        return Some(Bytes::copy_from_slice(&line.as_bytes()[..line.len() / 2]));
                    }
                }
                return Some(line.into());
            }
            if !self.collect() {
                self.cluster.changed().await;
            }
        }
    }

    /// Appends the Lease, if it was written since. Returns whether it was.
    fn collect(&mut self) -> bool {
        let inner = self.cluster.lock();
        let is_news = inner.leases.version > self.sent;
        if is_news {
            self.lines.extend(inner.leases.object.iter().map(|object| line("MODIFIED", object)));
        }
        self.sent = inner.leases.version;
        is_news
    }
}

fn line(kind: &str, object: &Value) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}
