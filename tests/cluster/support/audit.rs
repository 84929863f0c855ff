//! The API server's audit log: the operator's actual requests.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use super::shell::variable;
use super::wait::eventually;

const OPERATOR: &str = "system:serviceaccount:inference-operator:inference-operator";

/// One request of the operator that the API server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub verb: String,
    /// Including the subresource: `inferenceservices/status`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub code: u16,
}

impl Request {
    pub fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.resource == resource
    }

    /// Every request that can change the datastore.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// A write, or a read of one object: what a restart with everything settled does not cost.
    #[allow(dead_code)] // tests/faults/ does not use it
    pub fn is_of_one(&self) -> bool {
        self.is_write() || self.verb == "get"
    }
}

/// What to count from. The line of a request before it may be written after it.
#[derive(Clone, Copy)]
pub struct Mark {
    position: u64,
    time: Timestamp,
}

pub fn mark() -> Mark {
    let position = std::fs::metadata(variable("AUDIT_LOG")).expect("an audit log").len();
    Mark { position, time: Timestamp::now() }
}

/// The operator's requests that have arrived since then.
pub fn since(mark: Mark) -> Vec<Request> {
    let mut file = File::open(variable("AUDIT_LOG")).expect("an audit log");
    file.seek(SeekFrom::Start(mark.position)).expect("seeks");
    let lines = BufReader::new(file).lines().map(|line| line.expect("a line"));
    // The last line may not be written yet.
    let events = lines.filter_map(|line| serde_json::from_str::<Event>(&line).ok());
    let counts = |event: &Event| event.user.username == OPERATOR && event.request_received_timestamp.0 >= mark.time;
    events.filter(counts).filter_map(Event::into_request).collect()
}

/// The requests since then for one InferenceService and the children of its name.
pub fn about(name: &str, mark: Mark) -> Vec<Request> {
    since(mark).into_iter().filter(|request| request.name == name).collect()
}

/// Waits until there are no more requests after the last change; that may take a while on a slow machine.
pub async fn is_quiet() {
    eventually("two seconds without a request", || async {
        let mark = mark();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let requests = since(mark);
        if requests.iter().all(|request| request.verb == "watch") { Ok(()) } else { Err(format!("{requests:?}")) }
    })
    .await;
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    request_received_timestamp: MicroTime,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
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
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: Option<u16>,
}

impl Event {
    /// A watch counts when it starts, every other request when it is answered.
    fn into_request(self) -> Option<Request> {
        let counts = if self.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        if self.stage != counts {
            return None;
        }
        let object = self.object_ref.unwrap_or_default();
        let slash = if object.subresource.is_empty() { "" } else { "/" };
        Some(Request {
            verb: self.verb,
            resource: format!("{}{slash}{}", object.resource, object.subresource),
            namespace: object.namespace,
            name: object.name,
            code: self.response_status.and_then(|status| status.code).unwrap_or(0),
        })
    }
}
