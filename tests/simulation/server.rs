//! The simulated API server: HTTP in, HTTP out, behind kube's own client. Knows the requests that this
//! operator makes and no others: one that it does not know is a violation.

use std::convert::Infallible;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request as HttpRequest, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::BoxError;

use crate::cluster::{Inner, Request, Shared};
use crate::faults::Fate;
use crate::question::{Question, parse};
use crate::store::{Key, Refusal, controller_uid, refusal};
use crate::{listing, watching};

pub type Answer = UnsyncBoxBody<Bytes, BoxError>;

pub fn client(cluster: Shared) -> kube::Client {
    let service = tower::service_fn(move |request| serve(cluster.clone(), request));
    kube::Client::new(service, "default")
}

async fn serve(cluster: Shared, request: HttpRequest<Body>) -> Result<Response<Answer>, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await?;
    let fate = cluster.lock().faults.fate();
    match fate {
        Fate::Unheard => return Err("connection refused".into()),
        Fate::Refused(code) => return Ok(refuse(&refusal(code, "Simulated", "a fault"))),
        Fate::Late(wait) => tokio::time::sleep(wait).await,
        _ => {}
    }
    let answered = match parse(&parts, &body) {
        Err(problem) => {
            cluster.lock().violations.push(problem.clone());
            Err(refusal(400, "BadRequest", problem))
        }
        Ok(Question::Watch(watch)) => return watching::open(&cluster, watch).map_or_else(|no| Ok(refuse(&no)), Ok),
        Ok(question) => cluster.with(|inner| answer(inner, &parts.method, question)),
    };
    let response = answered.map_or_else(|no| refuse(&no), |(code, object)| whole(code, &object));
    match fate {
        Fate::Unanswered => Err("connection reset by peer".into()),
        Fate::Hanging => std::future::pending().await,
        Fate::CutShort => cut_short(response).await,
        _ => Ok(response),
    }
}

fn answer(inner: &mut Inner, method: &Method, question: Question) -> Result<(u16, Value), Refusal> {
    let (verb, key, result, before) = match question {
        Question::Watch(_) => return Err(refusal(500, "InternalError", "a watch is no answer")),
        Question::List(list) => return listing::page(&inner.store, &list).map(|page| (200, page)),
        Question::Event => return Ok((201, json!({}))),
        Question::Get(key) => {
            let found = inner.store.get(&key).cloned();
            let result = found.ok_or_else(|| refusal(404, "NotFound", format!("{} not found", key.name)));
            ("get", key, result, inner.store.version)
        }
        Question::Create { key, object } => {
            let version = inner.store.version;
            ("create", key.clone(), inner.store.post(&key, object), version)
        }
        Question::Apply { key, desired, force } => {
            let version = inner.store.version;
            ("apply", key.clone(), apply(inner, &key, desired, force), version)
        }
        Question::Status { key, uid, status } => {
            let version = inner.store.version;
            ("status", key.clone(), inner.store.set_status(&key, &uid, status), version)
        }
    };
    let code = result.as_ref().map_or_else(|no| no.code, |_| if *method == Method::POST { 201 } else { 200 });
    let wrote = inner.store.version != before;
    inner.log.push(Request { at: Instant::now(), verb, key, code, wrote });
    result.map(|object| (code, object))
}

/// The operator changes nothing that is not its own: looked at here, whatever it believes.
fn apply(inner: &mut Inner, key: &Key, desired: Value, force: bool) -> Result<Value, Refusal> {
    let owner = controller_uid(&desired).map(str::to_owned);
    let found = inner.store.get(key).cloned();
    let result = inner.store.apply(key, desired, force);
    if let (Some(found), Ok(after)) = (found, &result)
        && found["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"]
        && controller_uid(&found).map(str::to_owned) != owner
    {
        inner.violations.push(format!("an object of somebody else was changed: {key:?}\n{found}\n{after}"));
    }
    result
}

// === HTTP ===

fn whole(code: u16, object: &Value) -> Response<Answer> {
    let body = Full::new(Bytes::from(object.to_string())).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    response
}

pub fn refuse(no: &Refusal) -> Response<Answer> {
    let status =
        json!({"kind": "Status", "status": "Failure", "code": no.code, "reason": no.reason, "message": no.message});
    whole(no.code, &status)
}

pub fn streamed(stream: impl futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Response<Answer> {
    Response::new(StreamBody::new(stream.map(|bytes| bytes.map(Frame::data))).boxed_unsync())
}

async fn cut_short(response: Response<Answer>) -> Result<Response<Answer>, BoxError> {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let half = bytes.slice(..bytes.len() / 2);
    let body = futures::stream::iter([Ok(half), Err(BoxError::from("connection reset by peer"))]);
    let mut response = streamed(body);
    *response.status_mut() = parts.status;
    Ok(response)
}
