//! The simulated API server: HTTP in, HTTP out, behind kube's own client. Knows only the requests that this operator
//! makes; any other is a violation.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use inference_operator::api::catalog::CATALOG_PLURAL;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::BoxError;

use super::faults::{Faults, Handling, Kill};
use super::lease::{self, LeaseRequest};
use super::request::{ApiRequest, parse};
use super::{Kind, Refusal, refusal};
use super::{list, watch};
use crate::cluster::pods::shown;
use crate::cluster::{Inner, RequestRecord, Shared};
use crate::oracle::pauses::Process;
use crate::oracle::violation::ViolationKind;
use crate::oracle::{invariants, leaders, ownership, pauses};

/// The response time for requests at full speed: it lets the simulated time advance.
const STORM_PACE: Duration = Duration::from_secs(10);

pub type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// A client, and the number of its process. `process`: notified when the requesting process is to be killed; None: it is never killed.
pub fn client(cluster: Shared, process: Option<Arc<Notify>>) -> (kube::Client, Process) {
    let number = pauses::process_starts(&mut cluster.lock());
    let service = tower::service_fn(move |request| ask(cluster.clone(), number, process.clone(), request));
    (kube::Client::new(service, "default"), number)
}

/// The operator's end of the connection.
async fn ask(
    cluster: Shared,
    number: Process,
    process: Option<Arc<Notify>>,
    request: Request<Body>,
) -> Result<Response<ResponseBody>, BoxError> {
    let is_spared = is_spared(&cluster.lock(), request.uri().path());
    // In a task of its own: a request that was sent is processed even if the caller no longer waits for it.
    let answer = tokio::spawn(serve(cluster.clone(), number, request)).await?;
    cluster.lock().answered += u64::from(answer.is_ok());
    let Some(process) = process.filter(|_| !is_spared) else { return answer };
    let kill = cluster.lock().faults.kill();
    match kill {
        None => {}
        // The kill comes before the process can send another request.
        Some(Kill::AfterTheAnswer) => process.notify_one(),
        Some(Kill::BeforeTheAnswer) => {
            process.notify_one();
            std::future::pending::<()>().await;
        }
    }
    answer
}

fn is_spared(inner: &Inner, path: &str) -> bool {
    inner.faults.spares_catalog && path.split('/').any(|part| part == CATALOG_PLURAL)
}

async fn serve(cluster: Shared, process: Process, request: Request<Body>) -> Result<Response<ResponseBody>, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await?;
    let request = parse(&parts, &body);
    if invariants::is_storm(&mut cluster.lock()) {
        // A real server would be no faster.
        tokio::time::sleep(STORM_PACE).await;
    }
    let handling = {
        let mut inner = cluster.lock();
        if let Ok(request) = &request {
            invariants::request_arrives(&mut inner, request);
            pauses::request_arrives(&mut inner, process, request);
            leaders::request_arrives(&mut inner, process, request);
        }
        if is_spared(&inner, parts.uri.path()) {
            Handling::Served
        } else {
            // What is missed about the catalogue concerns all.
            let about = request.as_ref().ok().and_then(ApiRequest::concerns);
            inner.draw(about.filter(|key| key.kind != Kind::InferenceCatalog), Faults::handling)
        }
    };
    match handling {
        Handling::NotReceived => return Err("connection refused".into()),
        Handling::Refused(code) => return Ok(refuse(&refusal(code, "Simulated", "a fault"))),
        Handling::Late(wait) => tokio::time::sleep(wait).await,
        _ => {}
    }
    if cluster.lock().store.lacks_catalog && parts.uri.path().split('/').any(|part| part == CATALOG_PLURAL) {
        return Ok(unknown_path());
    }
    let listed = match &request {
        Ok(ApiRequest::List(list)) if matches!(handling, Handling::Served | Handling::Late(_)) => {
            Some(list.selection.kind)
        }
        _ => None,
    };
    let answered = match request {
        Err(problem) => {
            cluster.lock().report(ViolationKind::UnknownRequest, problem.clone());
            Err(refusal(400, "BadRequest", problem))
        }
        Ok(ApiRequest::Lease(LeaseRequest::Watch { since })) => lease::watch(&cluster, since),
        Ok(ApiRequest::Lease(request)) => {
            let answer = lease::execute(&mut cluster.lock(), process, request);
            cluster.wake();
            answer.map(|object| whole(200, &object))
        }
        Ok(request @ ApiRequest::Watch(_)) => {
            let refused = cluster.lock().faults.outage.and_then(|outage| outage.refuses(&request));
            match (refused, request) {
                (None, ApiRequest::Watch(watch)) => watch::open(&cluster, watch),
                (no, _) => {
                    invariants::watch_is_refused(&mut cluster.lock());
                    Err(no.unwrap_or_else(|| refusal(500, "InternalError", "no watch")))
                }
            }
        }
        Ok(request) => cluster.with(|inner| {
            let (code, object) = handle(inner, &parts.method, request)?;
            if let Some(kind) = listed.filter(|_| object["metadata"]["continue"].is_null()) {
                let version = object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
                invariants::is_listed(inner, kind, version.unwrap_or(0));
            }
            Ok(whole(code, &object))
        }),
    };
    let response = answered.unwrap_or_else(|no| refuse(&no));
    match handling {
        Handling::Unanswered => Err("connection reset by peer".into()),
        Handling::Hanging => std::future::pending().await,
        Handling::CutShort => Ok(cut_short(response)),
        _ => Ok(response),
    }
}

fn handle(inner: &mut Inner, method: &Method, request: ApiRequest) -> Result<(u16, Value), Refusal> {
    let (version, verb, about) = (inner.store.version, request.verb(), request.about().cloned());
    let refused = inner.faults.outage.and_then(|outage| outage.refuses(&request));
    let built = match &request {
        ApiRequest::Apply { key, desired, .. } if key.kind == Kind::Deployment => Some(desired.clone()),
        _ => None,
    };
    let result = refused.map_or_else(|| execute(inner, request), Err);
    let code = result.as_ref().map_or_else(|no| no.code, |_| if *method == Method::POST { 201 } else { 200 });
    let Some(key) = about else { return result.map(|object| (code, object)) };
    let wrote = inner.store.version != version;
    if wrote && let Some(change) = inner.store.history.last() {
        if let Some(violation) = ownership::violation(&inner.store, change) {
            inner.report(ViolationKind::ForeignWrite, violation);
        }
        if let Some(built) = built {
            invariants::applied(inner, &key, &built);
        }
        invariants::check_kstatus(inner);
    }
    invariants::answered(inner, verb, &key, result.as_ref().err());
    inner.log.push(RequestRecord { at: Instant::now(), verb, key, code, wrote });
    result.map(|object| (code, object))
}

fn execute(inner: &mut Inner, request: ApiRequest) -> Result<Value, Refusal> {
    match request {
        ApiRequest::Watch(_) | ApiRequest::Lease(_) => Err(refusal(500, "InternalError", "it is not handled here")),
        ApiRequest::List(list) => {
            // After a list, the next watch starts at another version.
            inner.faults.poisoned.remove(&list.selection.kind);
            list::page(&inner.store, &list)
        }
        ApiRequest::Event { namespace, event } => inner.store.refuse_by_namespace(&namespace).map(|()| event),
        ApiRequest::Get(key) => {
            let found = inner.store.get(&key).cloned();
            found.ok_or_else(|| refusal(404, "NotFound", format!("{} not found", key.name)))
        }
        ApiRequest::Pods(key) => Ok(json!({"kind": "PodList", "items": shown(inner, &key), "metadata": {}})),
        ApiRequest::Nodes => Ok(json!({"kind": "NodeList", "items": [{"metadata": {"name": "node"}}], "metadata": {}})),
        ApiRequest::Create { key, object } => inner.store.post(&key, object),
        ApiRequest::Apply { key, desired, force } => inner.store.apply(&key, desired, force),
        ApiRequest::ReplacePorts { key, version, owners, ports } => {
            inner.store.replace_ports(&key, &version, &owners, &ports)
        }
        ApiRequest::Status { key, uid, status } => inner.store.set_status(&key, &uid, status),
        ApiRequest::CatalogStatus { key, uid, status, is_whole } => {
            inner.store.set_catalog_status(&key, &uid, status, is_whole)
        }
    }
}

// === HTTP ===

fn whole(code: u16, object: &Value) -> Response<ResponseBody> {
    let body = Full::new(Bytes::from(object.to_string())).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    response
}

/// What a real server says of a kind that it does not know.
fn unknown_path() -> Response<ResponseBody> {
    let body = Full::new(Bytes::from_static(b"404 page not found\n")).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

pub fn refuse(no: &Refusal) -> Response<ResponseBody> {
    let mut status =
        json!({"kind": "Status", "status": "Failure", "code": no.code, "reason": no.reason, "message": no.message});
    if let Some(cause) = no.cause {
        status["details"] = json!({"causes": [{"reason": cause, "message": no.message}]});
    }
    let mut response = whole(no.code, &status);
    if no.code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

pub fn streamed(
    stream: impl futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
) -> Response<ResponseBody> {
    Response::new(StreamBody::new(stream.map(|bytes| bytes.map(Frame::data))).boxed_unsync())
}

/// Cuts the response in the middle of an object; a watch in the middle of its first line, whenever that comes.
fn cut_short(response: Response<ResponseBody>) -> Response<ResponseBody> {
    response.map(|body| {
        let half = |bytes: Bytes| bytes.slice(..bytes.len() / 2);
        let begins = body.into_data_stream().take(1).map(move |bytes| bytes.map(half));
        let breaks = futures::stream::iter([Err(BoxError::from("connection reset by peer"))]);
        StreamBody::new(begins.chain(breaks).map(|bytes| bytes.map(Frame::data))).boxed_unsync()
    })
}
