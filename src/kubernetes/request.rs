//! Sends requests to the API server, and prunes responses as they arrive. Used by the watches and by reconcile for
//! every request; must never hold a whole response.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::Status;

use crate::kubernetes::prune::{Fields, Keep, Piece, Pruner};
use crate::kubernetes::refusal::WireStatus;
use crate::kubernetes::resource::{Resource, decode};

/// The `metav1.Status` of a rejected request.
const STATUS: Fields = &[
    ("code", Keep::Whole),
    ("message", Keep::Whole),
    ("reason", Keep::Whole),
    ("details", Keep::Fields(&[("causes", Keep::Fields(&[("reason", Keep::Whole), ("field", Keep::Whole)]))])),
];

/// Time limit for the response headers, after which the API server counts as unavailable. Reading the body has its own
/// limit, set by the reader.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes shown of a response that is not JSON: enough to recognize a proxy's error page.
const EXCERPT: usize = 200;

pub struct Answer {
    body: Body,
    chunk: Bytes,
    pruner: Pruner,
}

/// Sends a request. A rejection becomes `kube::Error::Api`; of any other response, `fields` are kept.
pub async fn send(client: &kube::Client, request: Request<Vec<u8>>, fields: Fields) -> Result<Answer, kube::Error> {
    let begun = tokio::time::timeout(ANSWER_TIMEOUT, begin(client, request, fields)).await;
    begun.unwrap_or_else(|_| {
        Err(kube::Error::Service(format!("no response within {} s", ANSWER_TIMEOUT.as_secs()).into()))
    })
}

async fn begin(client: &kube::Client, request: Request<Vec<u8>>, fields: Fields) -> Result<Answer, kube::Error> {
    let response = client.send(request.map(Body::from)).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(Answer::new(response.into_body(), fields));
    }
    let retry_after_seconds = retry_after(response.headers()).unwrap_or(0);
    let mut refusal = Answer::new(response.into_body(), STATUS).refusal(status).await;
    if let Some(details) = &mut refusal.details {
        details.retry_after_seconds = retry_after_seconds;
    }
    Err(kube::Error::Api(Box::new(refusal)))
}

/// API servers send seconds. RFC 9110 also allows dates, which are ignored.
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

/// Sends a request whose response is one object.
pub async fn object<K: Resource>(client: &kube::Client, mut request: Request<Vec<u8>>) -> Result<K, kube::Error> {
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(K::ACCEPT));
    let mut answer = send(client, request, K::FIELDS).await?;
    match answer.next().await? {
        Some(Piece::Document) => {}
        _ => return Err(kube::Error::Service("the response is empty".into())),
    }
    let object = decode(answer.kept()).map_err(kube::Error::SerdeError)?;
    answer.finish().await;
    Ok(object)
}

/// Hands out the items of a list one by one, as `fields` keep them.
pub async fn items(
    client: &kube::Client,
    path: &str,
    accept: &'static str,
    fields: Fields,
    item: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<(), kube::Error> {
    let request = Request::get(path).header(header::ACCEPT, accept).body(Vec::new());
    let mut answer = send(client, request.map_err(kube::Error::HttpError)?, fields).await?;
    while let Some(Piece::Item) = answer.next().await? {
        item(answer.kept());
    }
    answer.finish().await;
    Ok(())
}

impl Answer {
    fn new(body: Body, fields: Fields) -> Answer {
        Answer { body, chunk: Bytes::new(), pruner: Pruner::new(fields) }
    }

    /// The next complete piece, to be read with `kept`; None: the response ended between documents. Cancel-safe: can be
    /// dropped and called again without losing anything.
    pub async fn next(&mut self) -> Result<Option<Piece>, kube::Error> {
        loop {
            match self.pruner.advance(&mut self.chunk) {
                Ok(Some(piece)) => return Ok(Some(piece)),
                Ok(None) => {}
                Err(malformed) => return Err(kube::Error::Service(malformed.into())),
            }
            match self.body.frame().await {
                // Trailers are ignored.
                Some(frame) => self.chunk = frame?.into_data().unwrap_or_default(),
                None if self.pruner.is_within() => {
                    return Err(kube::Error::Service("the response ends in the middle of an object".into()));
                }
                None => return Ok(None),
            }
        }
    }

    pub fn kept(&self) -> &[u8] {
        self.pruner.kept()
    }

    /// Reads the rest, so that the connection can be reused. If more follows the only object, the connection is dropped
    /// instead.
    async fn finish(mut self) {
        while let (true, Some(Ok(frame))) = (self.chunk.trim_ascii().is_empty(), self.body.frame().await) {
            self.chunk = frame.into_data().unwrap_or_default();
        }
    }

    /// The API server's Status for its rejection, or an excerpt of the response if a proxy sent it.
    async fn refusal(mut self, status: StatusCode) -> Status {
        let mut excerpt = Bytes::new();
        loop {
            match self.pruner.advance(&mut self.chunk) {
                Ok(None) => {}
                Ok(Some(_)) => {
                    if let Ok(refusal) = decode::<WireStatus>(self.pruner.kept()) {
                        let mut refusal = Status::from(refusal);
                        refusal.code = status.as_u16();
                        self.finish().await;
                        return refusal;
                    }
                    break;
                }
                Err(_) => break,
            }
            let Some(Ok(frame)) = self.body.frame().await else { break };
            self.chunk = frame.into_data().unwrap_or_default();
            if excerpt.is_empty() {
                excerpt = self.chunk.slice(..self.chunk.len().min(EXCERPT));
            }
        }
        let text = String::from_utf8_lossy(&excerpt);
        let message = format!("{status}, not from the API server: {:?}", text.trim());
        Status { code: status.as_u16(), message, ..WireStatus::default().into() }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::Response;

    use super::*;
    use crate::kubernetes::refusal::describe;
    use crate::model::view::PartialService;

    async fn ask(code: u16, body: &'static str) -> Result<PartialService, kube::Error> {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            let mut response = Response::new(Body::from(Vec::from(body)));
            *response.status_mut() = StatusCode::from_u16(code).expect("a code");
            Ok::<_, Infallible>(response)
        });
        object(&kube::Client::new(service, "default"), Request::new(Vec::new())).await
    }

    async fn refusal(code: u16, body: &'static str) -> (u16, String) {
        match ask(code, body).await.expect_err("refused") {
            kube::Error::Api(status) => (status.code, status.message),
            other => (0, describe(&other)),
        }
    }

    #[tokio::test]
    async fn an_object_is_read_whatever_surrounds_its_fields() {
        let body = r#"{"kind":"PartialService","metadata":{"annotations":{"a":"b"},"resourceVersion":"7"},"spec":{}}"#;
        assert_eq!(ask(200, body).await.expect("a Service").meta.resource_version, 7);
    }

    #[tokio::test]
    async fn a_refusal_says_what_the_api_server_says() {
        let body = r#"{"kind":"Status","status":"Failure","message":"no such thing","reason":"NotFound","code":404}"#;
        assert_eq!(refusal(404, body).await, (404, "no such thing".into()));
    }

    #[tokio::test]
    async fn an_answer_of_somebody_else_is_an_error_that_shows_it() {
        let (code, message) = refusal(502, "<html>bad gateway</html>").await;
        assert_eq!(code, 502);
        assert!(message.contains("502 Bad Gateway") && message.contains("<html>bad gateway</html>"), "{message}");
        assert!(refusal(302, "").await.1.contains("302 Found"));
        assert!(refusal(200, "<html>").await.1.contains("not the expected JSON"));
        assert!(refusal(200, r#"{"metadata":{"#).await.1.contains("ends in the middle"));
        assert!(refusal(200, "").await.1.contains("empty"));
    }
}
