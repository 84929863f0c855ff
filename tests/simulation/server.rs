//! The simulated API server: HTTP in, HTTP out, behind kube's own client. Knows the requests that this
//! operator makes and no others: one that it does not know is a violation.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request as HttpRequest, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::BoxError;

use crate::cluster::{Inner, Request, Shared};
use crate::faults::{Fate, Faults, Kill};
use crate::question::{Question, parse};
use crate::store::{Refusal, refusal};
use crate::{guard, listing, watching};

pub type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// `process`: is told when the process that asks is to be killed; None: it is not.
pub fn client(cluster: Shared, process: Option<Arc<Notify>>) -> kube::Client {
    let service = tower::service_fn(move |request| ask(cluster.clone(), process.clone(), request));
    kube::Client::new(service, "default")
}

/// The operator's end of the connection.
async fn ask(
    cluster: Shared,
    process: Option<Arc<Notify>>,
    request: HttpRequest<Body>,
) -> Result<Response<Answer>, BoxError> {
    // Apart: what is on its way to the server is done there even when nobody waits for it any more.
    let answer = tokio::spawn(serve(cluster.clone(), request)).await?;
    cluster.lock().answered += u64::from(answer.is_ok());
    let Some(process) = process else { return answer };
    let kill = cluster.lock().faults.kill();
    match kill {
        None => {}
        // Whoever kills it comes before anything that it asks for next.
        Some(Kill::AfterTheAnswer) => process.notify_one(),
        Some(Kill::BeforeTheAnswer) => {
            process.notify_one();
            std::future::pending::<()>().await;
        }
    }
    answer
}

async fn serve(cluster: Shared, request: HttpRequest<Body>) -> Result<Response<Answer>, BoxError> {
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await?;
    let question = parse(&parts, &body);
    let fate = cluster.lock().draw(question.as_ref().ok().and_then(Question::about), Faults::fate);
    match fate {
        Fate::Unheard => return Err("connection refused".into()),
        Fate::Refused(code) => return Ok(refuse(&refusal(code, "Simulated", "a fault"))),
        Fate::Late(wait) => tokio::time::sleep(wait).await,
        _ => {}
    }
    let answered = match question {
        Err(problem) => {
            cluster.lock().violations.push(problem.clone());
            Err(refusal(400, "BadRequest", problem))
        }
        Ok(Question::Watch(watch)) => watching::open(&cluster, watch),
        Ok(question) => {
            cluster.with(|inner| answer(inner, &parts.method, question)).map(|(code, object)| whole(code, &object))
        }
    };
    let response = answered.unwrap_or_else(|no| refuse(&no));
    match fate {
        Fate::Unanswered => Err("connection reset by peer".into()),
        Fate::Hanging => std::future::pending().await,
        Fate::CutShort => Ok(cut_short(response)),
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
            ("apply", key.clone(), inner.store.apply(&key, desired, force), version)
        }
        Question::Status { key, uid, status } => {
            let version = inner.store.version;
            ("status", key.clone(), inner.store.set_status(&key, &uid, status), version)
        }
    };
    let code = result.as_ref().map_or_else(|no| no.code, |_| if *method == Method::POST { 201 } else { 200 });
    let wrote = inner.store.version != before;
    if wrote && let Some(change) = inner.store.history.last() {
        inner.violations.extend(guard::complaint(&inner.store, change));
    }
    inner.log.push(Request { at: Instant::now(), verb, key, code, wrote });
    result.map(|object| (code, object))
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
    let mut response = whole(no.code, &status);
    if no.code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

pub fn streamed(stream: impl futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Response<Answer> {
    Response::new(StreamBody::new(stream.map(|bytes| bytes.map(Frame::data))).boxed_unsync())
}

/// In the middle of an object; of a watch, in the middle of its first line, whenever that comes.
fn cut_short(response: Response<Answer>) -> Response<Answer> {
    response.map(|body| {
        let half = |bytes: Bytes| bytes.slice(..bytes.len() / 2);
        let begins = body.into_data_stream().take(1).map(move |bytes| bytes.map(half));
        let breaks = futures::stream::iter([Err(BoxError::from("connection reset by peer"))]);
        StreamBody::new(begins.chain(breaks).map(|bytes| bytes.map(Frame::data))).boxed_unsync()
    })
}
