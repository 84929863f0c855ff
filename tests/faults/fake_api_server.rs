//! A server in place of the API server, with no InferenceService or one, whose responses are healthy or bad. Started
//! by the tests of hostile servers; needs no control plane.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::listener::{Listener, Stream};

/// The raw bytes of a response, and what follows them.
#[derive(Clone, Debug)]
pub struct RawResponse {
    pub text: Vec<u8>,
    pub then: Then,
}

#[derive(Clone, Debug)]
pub enum Then {
    Close,
    /// Nothing, and the connection stays open.
    Silence,
    /// The same bytes again and again, each time after a pause.
    Forever(Vec<u8>, Duration),
}

/// Which requests get the bad response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    /// Watches that do not start with a list.
    Watches,
    /// Only requests for one object.
    Objects,
}

pub struct FakeApiServer {
    pub listener: Listener,
    state: Arc<State>,
}

struct State {
    scope: Scope,
    bad_response: RawResponse,
    is_healthy: AtomicBool,
    /// The request lines, and whether each request had a token.
    asked: Mutex<Vec<(String, bool)>>,
}

impl FakeApiServer {
    pub async fn start(certificate: Arc<ServerConfig>, scope: Scope, bad_response: RawResponse) -> FakeApiServer {
        let state =
            Arc::new(State { scope, bad_response, is_healthy: AtomicBool::new(false), asked: Mutex::default() });
        let served = state.clone();
        let listener = Listener::start(certificate, move |stream| {
            let state = served.clone();
            // A client that disconnects is not an error.
            async move { drop(serve(&state, stream).await) }
        });
        FakeApiServer { listener: listener.await, state }
    }

    /// From here on it is healthy; all existing connections are cut.
    pub fn recover(&self) {
        self.state.is_healthy.store(true, Ordering::Relaxed);
        self.listener.cut();
    }

    pub fn asked(&self) -> Vec<(String, bool)> {
        self.state.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One request per connection.
async fn serve(state: &State, mut stream: Stream) -> std::io::Result<()> {
    let head = read_head(&mut stream).await?;
    let line = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let has_token = head.to_ascii_lowercase().contains("\r\nauthorization: bearer ");
    state.asked.lock().unwrap_or_else(PoisonError::into_inner).push((line.clone(), has_token));
    let is_bad = !state.is_healthy.load(Ordering::Relaxed) && state.scope.covers(&line);
    let answer = if is_bad { state.bad_response.clone() } else { healthy_response(&line, state.scope) };
    stream.write_all(&answer.text).await?;
    stream.flush().await?;
    match answer.then {
        Then::Close => stream.shutdown().await,
        Then::Silence => {
            // Until the client disconnects.
            let _ = stream.read(&mut [0; 1]).await;
            Ok(())
        }
        Then::Forever(text, pause) => loop {
            tokio::time::sleep(pause).await;
            stream.write_all(&text).await?;
            stream.flush().await?;
        },
    }
}

/// The head of a request; its body is read and dropped.
async fn read_head(stream: &mut Stream) -> std::io::Result<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase().split("\r\ncontent-length: ").nth(1).map(str::to_owned);
        let length = length.and_then(|text| text.lines().next()?.parse::<usize>().ok()).unwrap_or(0);
        if body.len() >= length {
            return Ok(format!("{head}\r\n"));
        }
    }
}

impl Scope {
    fn covers(self, line: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Watches => line.contains("watch=true") && !line.contains("sendInitialEvents"),
            Scope::Objects => !line.contains("watch=true"),
        }
    }
}

/// The response of an API server; its cluster has one InferenceService if requests for objects are in scope.
fn healthy_response(line: &str, scope: Scope) -> RawResponse {
    if line.contains("/inferenceservices/demo") && line.starts_with("GET") {
        return RawResponse { text: http("200 OK", "application/json", &inference_service()), then: Then::Close };
    }
    if !line.contains("watch=true") {
        let text = r#"{"kind":"Status","status":"Failure","message":"there is none","reason":"NotFound","code":404}"#;
        return RawResponse { text: http("404 Not Found", "application/json", text), then: Then::Close };
    }
    let mut text = String::new();
    if scope == Scope::Objects && line.contains("/inferenceservices") {
        text = format!("{{\"type\":\"ADDED\",\"object\":{}}}\n", inference_service());
    }
    text.push_str(BOOKMARK);
    RawResponse { text: http("200 OK", "application/json", &text), then: Then::Silence }
}

fn inference_service() -> String {
    let object = json!({
        "apiVersion": "ai.example.com/v1",
        "kind": "InferenceService",
        "metadata": {
            "name": "demo", "namespace": "default", "uid": "00000000-0000-4000-8000-000000000001", "resourceVersion": "1",
            "generation": 1
        },
        "spec": {"model": "m", "gpuType": "L40S", "replicas": 1}
    });
    object.to_string()
}

/// For a list as well as a watch.
const BOOKMARK: &str = concat!(
    r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"2","#,
    r#""annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
    "\n"
);

/// A response whose body ends with its connection.
pub fn http(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}
