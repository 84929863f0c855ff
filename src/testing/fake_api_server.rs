//! For unit tests: an API server that sends prepared replies in order, and records the requests. A request without a
//! reply waits for ever.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

/// One response, in the parts in which it arrives.
pub struct Reply {
    code: u16,
    retry_after: Option<&'static str>,
    parts: Vec<Part>,
}

pub enum Part {
    Text(String),
    Pause(Duration),
    /// The connection breaks.
    Broken,
}

impl Reply {
    pub fn parts(parts: impl IntoIterator<Item = Part>) -> Reply {
        Reply { code: 200, retry_after: None, parts: parts.into_iter().collect() }
    }

    pub fn object(object: &Value) -> Reply {
        Reply::parts([Part::Text(object.to_string())])
    }

    pub fn refusal(code: u16, message: &str) -> Reply {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "message": message});
        Reply { code, ..Reply::object(&status) }
    }

    /// With a machine-readable cause.
    pub fn refusal_because(code: u16, message: &str, cause: &str) -> Reply {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "message": message,
            "details": {"name": "demo", "causes": [{"reason": cause, "message": message}]}});
        Reply { code, ..Reply::object(&status) }
    }

    /// As the API server's own validation refuses a field.
    pub fn refusal_of_field(code: u16, message: &str, field: &str) -> Reply {
        let status = json!({"kind": "Status", "status": "Failure", "code": code, "message": message,
            "details": {"name": "demo", "causes": [{"reason": "FieldValueInvalid", "message": message, "field": field}]}});
        Reply { code, ..Reply::object(&status) }
    }

    /// Rejected with 429: the server is overloaded.
    pub fn busy(retry_after: &'static str) -> Reply {
        Reply { retry_after: Some(retry_after), ..Reply::refusal(429, "too many requests") }
    }
}

/// The requests, one line each: method, path with query, body.
#[derive(Clone, Default)]
pub struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    /// Returns the requests and clears them.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub fn client(replies: impl IntoIterator<Item = Reply>) -> (kube::Client, Asked) {
    let replies: Mutex<VecDeque<Reply>> = Mutex::new(replies.into_iter().collect());
    client_that(move |_| replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front())
}

/// Replies depending on the request, a line as in `Asked`.
pub fn client_of(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (kube::Client, Asked) {
    client_that(move |line| Some(reply(line)))
}

fn client_that(reply: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> (kube::Client, Asked) {
    let reply = Arc::new(reply);
    let asked = Asked::default();
    let asked_here = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (reply, asked) = (reply.clone(), asked_here.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = String::from_utf8_lossy(&body.collect_bytes().await?).into_owned();
            let line = format!("{} {} {body}", parts.method, parts.uri).trim_end().to_owned();
            let reply = reply(&line);
            asked.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            match reply {
                Some(reply) => Ok(answer(reply)),
                None => std::future::pending::<Result<_, BoxError>>().await,
            }
        }
    });
    (kube::Client::new(service, "default"), asked)
}

fn answer(reply: Reply) -> Response<UnsyncBoxBody<Bytes, BoxError>> {
    let retry_after = reply.retry_after.map(HeaderValue::from_static);
    let parts = futures::stream::unfold(VecDeque::from(reply.parts), |mut parts| async move {
        let mut next = parts.pop_front()?;
        while let Part::Pause(pause) = next {
            tokio::time::sleep(pause).await;
            next = parts.pop_front()?;
        }
        let frame = match next {
            Part::Text(text) => Ok(Frame::data(Bytes::from(text))),
            _ => Err(BoxError::from("connection reset by peer")),
        };
        Some((frame, parts))
    });
    let mut response = Response::new(StreamBody::new(parts).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(reply.code).unwrap_or_default();
    response.headers_mut().extend(retry_after.map(|value| (header::RETRY_AFTER, value)));
    response
}
