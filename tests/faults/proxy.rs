//! The proxy between the operator and the real API server: forwards requests, injects the simulation's faults, and
//! logs everything. Started by the tests; must never change what it forwards, except for what a server may do itself
//! (past.rs).

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::request::Parts;
use http::{Method, Request, Response, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use simulation::api_server::faults::{Faults, Handling};
use simulation::api_server::request;
use simulation::chance::Chance;
use tokio::sync::oneshot;
use tower::BoxError;

use crate::certificates::Authority;
use crate::lines::{self, FASTER};
use crate::listener::{Listener, Stream};
use crate::log::{Asked, Entry};
use crate::past::Past;
use crate::support::shell::variable;

pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A list has as many lines as there are objects, and must succeed now and then.
const LINES_ARE_SAFER: u64 = 10;

pub struct Proxy {
    pub listener: Listener,
    pub authority: Authority,
    state: Arc<State>,
}

pub struct State {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    requests: Mutex<Faults>,
    pub lines: Mutex<Faults>,
    past: Mutex<Past>,
    watch_failure: Mutex<Option<WatchFailure>>,
    pub log: Mutex<Vec<Entry>>,
    trap: Mutex<Option<Trap>>,
    /// The number of 410 responses that the operator received.
    pub expired: AtomicU64,
}

/// How a server may fail every watch from a version, or every streaming list, for as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFailure {
    /// 504: the version is not available yet.
    WatchesRefused,
    /// 200, and an error line with code 500.
    WatchesFail,
    /// The same for streaming lists, as when the datastore does not report its progress.
    StreamsFail,
}

/// Fires after this many more writes.
struct Trap {
    writes: u64,
    springs: oneshot::Sender<()>,
}

/// The connection ends without a response.
struct Lost;

impl Proxy {
    /// `rate`: faults per thousand requests.
    pub async fn start(seed: u64, rate: u64) -> Proxy {
        let faults = |seed, rate| Faults { on: true, rate, ..Faults::none(Chance::new(seed)) };
        let state = Arc::new(State {
            client: client(),
            requests: Mutex::new(faults(seed, rate)),
            lines: Mutex::new(faults(!seed, rate / LINES_ARE_SAFER)),
            past: Mutex::default(),
            watch_failure: Mutex::default(),
            log: Mutex::default(),
            trap: Mutex::default(),
            expired: AtomicU64::new(0),
        });
        let authority = Authority::new();
        let served = state.clone();
        let listener = Listener::start(authority.server(), move |stream| serve(served.clone(), stream)).await;
        Proxy { listener, authority, state }
    }

    /// Stops all faults. Returns their number: requests and lines of watches.
    pub fn stop_faults(&self) -> (u64, u64) {
        let stop = |faults: &Mutex<Faults>| {
            let mut faults = lock(faults);
            faults.on = false;
            faults.count
        };
        (stop(&self.state.requests), stop(&self.state.lines))
    }

    /// Rejects them as without the feature gate WatchList; also makes pages small.
    pub fn refuse_streaming_lists(&self) {
        lock(&self.state.requests).streams_lists = false;
    }

    /// Fails watches or lists this way from here on.
    pub fn fail_watches(&self, failure: WatchFailure) {
        *lock(&self.state.watch_failure) = Some(failure);
    }

    /// Ends all connections, with all requests in flight.
    pub fn cut(&self) {
        lock(&self.state.log).push(Entry::Cut);
        self.listener.cut();
    }

    pub fn note_start(&self) {
        lock(&self.state.log).push(Entry::Start);
    }

    pub fn log(&self) -> MutexGuard<'_, Vec<Entry>> {
        lock(&self.state.log)
    }

    pub fn looks_at_the_past(&self) -> usize {
        self.log().iter().filter(|entry| matches!(entry, Entry::Past(_))).count()
    }

    pub fn expired(&self) -> u64 {
        self.state.expired.load(Ordering::Relaxed)
    }

    /// Resolves after this many more writes by the API server. The response to the last one is held back: the caller
    /// is about to kill the operator.
    pub fn after_writes(&self, writes: u64) -> oneshot::Receiver<()> {
        let (springs, sprung) = oneshot::channel();
        *lock(&self.state.trap) = Some(Trap { writes, springs });
        sprung
    }
}

impl State {
    fn note(&self, asked: Asked) -> bool {
        let wrote = asked.wrote();
        lock(&self.log).push(Entry::Asked(asked));
        wrote && self.springs_trap()
    }

    /// The path and query to send to the API server; None: reject the request.
    fn turn(&self, parts: &Parts) -> Option<String> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let faults = &mut *lock(&self.requests);
        if !faults.streams_lists && path.contains("sendInitialEvents=true") {
            return None;
        }
        let small_pages = !faults.streams_lists;
        let turned = lock(&self.past).turn(path, faults, small_pages);
        if turned.is_past {
            lock(&self.log).push(Entry::Past(turned.path_and_query.clone()));
        }
        Some(turned.path_and_query)
    }

    fn springs_trap(&self) -> bool {
        let mut trap = lock(&self.trap);
        match trap.take() {
            Some(Trap { writes, springs }) if writes <= 1 => springs.send(()).is_ok(),
            other => {
                *trap = other.map(|trap| Trap { writes: trap.writes - 1, ..trap });
                false
            }
        }
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn client() -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(variable("CA")).expect("the CA")).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    Client::builder(TokioExecutor::new()).build(https)
}

async fn serve(state: Arc<State>, stream: Stream) {
    let service = hyper::service::service_fn(move |request| {
        let state = state.clone();
        // In a task of its own, so that the result is logged even if the client no longer waits for it.
        async move { tokio::spawn(answer(state, request)).await.unwrap_or(Err(Lost)).map_err(|Lost| "lost") }
    });
    // The operator sees the result.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Lost> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let handling = lock(&state.requests).handling();
    let asked = asked(&parts, &body, handling);
    let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
    match handling {
        Handling::Refused(code) => {
            state.note(asked);
            return Ok(refusal(code));
        }
        Handling::NotReceived => {
            state.note(asked);
            return Err(Lost);
        }
        Handling::Late(wait) => tokio::time::sleep(wait / FASTER).await,
        Handling::Served | Handling::Unanswered | Handling::Hanging | Handling::CutShort => {}
    }
    let Some(path) = state.turn(&parts) else {
        state.note(Asked { code: Some(422), ..asked });
        return Ok(refusal(422));
    };
    let failure = *lock(&state.watch_failure);
    if let Some(answer) = failure.filter(|_| is_watch).and_then(|failure| failed_watch(failure, &path)) {
        state.note(Asked { code: Some(answer.status().as_u16()), ..asked });
        return Ok(answer);
    }
    let answer = state.client.request(forwarded(parts, &path, body)).await;
    let code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
    if state.note(Asked { code, ..asked }) {
        pending::<()>().await;
    }
    let (head, body) = answer.map_err(|_| Lost)?.into_parts();
    if code == Some(410) {
        state.expired.fetch_add(1, Ordering::Relaxed);
    }
    let body = match handling {
        Handling::Unanswered => return Err(Lost),
        Handling::Hanging => pending().await,
        Handling::CutShort => cut_short(&body.collect().await.map_err(|_| Lost)?.to_bytes()),
        _ if is_watch => lines::watch(path, body, state),
        _ => body.map_err(BoxError::from).boxed_unsync(),
    };
    Ok(Response::from_parts(head, body))
}

fn asked(parts: &Parts, body: &Bytes, handling: Handling) -> Asked {
    let key = request::parse(parts, body).ok().and_then(|request| request.about().cloned());
    let line = format!("{} {}", parts.method, parts.uri);
    Asked { key, line, is_write: parts.method != Method::GET, handling, code: None }
}

fn forwarded(parts: Parts, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    let address: Uri = format!("{}{path}", variable("APISERVER")).parse().expect("an address");
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = parts.method;
    *request.uri_mut() = address;
    *request.headers_mut() = parts.headers;
    request.headers_mut().remove(header::HOST);
    request
}

/// The failure of this watch. None: it is forwarded.
fn failed_watch(failure: WatchFailure, path: &str) -> Option<Response<Body>> {
    let is_list = path.contains("sendInitialEvents=true");
    match failure {
        WatchFailure::WatchesRefused if !is_list => Some(refusal(504)),
        WatchFailure::WatchesFail if !is_list => Some(Response::new(whole(FAILURE.into()))),
        WatchFailure::StreamsFail if is_list => Some(Response::new(whole(FAILURE.into()))),
        _ => None,
    }
}

const FAILURE: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":500,"#,
    r#""reason":"InternalError","message":"a fault of the tests"}}"#,
    "\n"
);

/// An error response in the API server's format.
fn refusal(code: u16) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "a fault of the tests"
    });
    let mut response = Response::new(whole(status.to_string().into()));
    *response.status_mut() = code.try_into().expect("a code");
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// The first half of the body, and then the connection is lost.
fn cut_short(body: &Bytes) -> Body {
    let half = Frame::data(body.slice(..body.len() / 2));
    StreamBody::new(stream::iter([Ok(half), Err("cut short".into())]).boxed()).boxed_unsync()
}
