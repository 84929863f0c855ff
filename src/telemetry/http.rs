//! The telemetry port: /metrics, /livez and /readyz. Started by main. No client may exceed the limits on connections,
//! their time and their buffers, nor keep out a kubelet's probe.
//!
//! Why not hyper's server: its code for one answer to one request is 41 kB of program. The request is parsed by
//! httparse, which hyper's client has anyway; a body is never read.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::telemetry::metrics::Metrics;

/// Limit on concurrent connections: a new one beyond it replaces the oldest.
const CONNECTIONS: usize = 8;

/// Time limit for one connection, whatever happens on it.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// The longest request that is read, without its body, and the most headers.
const LONGEST_HEAD: usize = 4096;
const HEADERS: usize = 64;

/// What a client may still send after its answer, which it would lose if the connection broke off at once.
const LONGEST_REST: usize = 64 << 10;

/// /livez fails after this many resync periods without a turn of the controller's loop, which turns at least once in
/// each.
const PERIODS_TO_LIVE: u32 = 3;

/// Serves for ever. `resync`: the resync period of the controller.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, resync: Duration) {
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most likely out of file descriptors: wait for others to be closed.
                tracing::warn!("telemetry: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        // Never reject the new connection instead: idle clients would keep probes out, and the kubelet would restart a
        // healthy operator.
        if open.len() == CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(connection(stream, metrics.clone(), resync)));
        // Lets requests that have already arrived be answered before the next connection is accepted.
        tokio::task::yield_now().await;
    }
}

/// One connection from its first byte to its last.
pub async fn connection(mut stream: impl AsyncRead + AsyncWrite + Unpin, metrics: Arc<Metrics>, resync: Duration) {
    // How a connection ends is up to the client.
    let _ = tokio::time::timeout(CONNECTION_TIME, converse(&mut stream, &metrics, resync)).await;
}

async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    metrics: &Metrics,
    resync: Duration,
) -> io::Result<()> {
    let Ok(head) = tokio::time::timeout(CONNECTION_TIME / 2, read_head(stream)).await else { return Ok(()) };
    let (method, answer) = match head? {
        None => return Ok(()),
        Some(Ok(head)) => {
            let answer = answer(&head, metrics, resync);
            (head.method, answer)
        }
        Some(Err(status)) => (String::new(), (status, "".into())),
    };
    stream.write_all(text(&method, answer).as_bytes()).await?;
    stream.shutdown().await?;
    // Until the client has closed its half too.
    let mut rest = [0; 1024];
    for _ in 0..LONGEST_REST / rest.len() {
        if stream.read(&mut rest).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// The first line of a request.
struct Head {
    method: String,
    path: String,
}

/// None: the client has left. The status says why it is no request.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Result<Head, StatusCode>>> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if stream.take((LONGEST_HEAD - head.len()) as u64).read_buf(&mut head).await? == 0 {
            return Ok((head.len() == LONGEST_HEAD).then_some(Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)));
        }
        if let Some(parsed) = parse(&head) {
            return Ok(Some(parsed));
        }
    }
}

/// None: it has not ended yet.
fn parse(head: &[u8]) -> Option<Result<Head, StatusCode>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) => {
            let uri = request.path.unwrap_or_default().parse::<Uri>().map_err(|_| StatusCode::BAD_REQUEST);
            let method = request.method.unwrap_or_default().to_owned();
            Some(uri.map(|uri| Head { method, path: uri.path().to_owned() }))
        }
        Err(httparse::Error::TooManyHeaders) => Some(Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)),
        Err(_) => Some(Err(StatusCode::BAD_REQUEST)),
    }
}

/// Status and body.
type Answer = (StatusCode, Cow<'static, str>);

fn answer(head: &Head, metrics: &Metrics, resync: Duration) -> Answer {
    if !matches!(&*head.method, "GET" | "HEAD") {
        return (StatusCode::METHOD_NOT_ALLOWED, "expected GET\n".into());
    }
    match &*head.path {
        "/metrics" => (StatusCode::OK, metrics.text().into()),
        "/livez" if metrics.since_last_turn() <= resync * PERIODS_TO_LIVE => (StatusCode::OK, "ok\n".into()),
        "/livez" => (StatusCode::SERVICE_UNAVAILABLE, "the controller's loop is stuck\n".into()),
        "/readyz" => readiness(metrics),
        _ => (StatusCode::NOT_FOUND, "expected /metrics, /livez or /readyz\n".into()),
    }
}

/// Ready: all lists are complete, and each watch hears from the API server. This fails when the API server has been
/// unavailable for more than five minutes, until the watches hear it again: no requests could be routed elsewhere, and
/// the pod should show that it cannot do its work. Liveness is unaffected: a restart would not bring back the API
/// server, and would lose the state in memory.
fn readiness(metrics: &Metrics) -> Answer {
    if !metrics.in_sync() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not all watches are in sync yet\n".into());
    }
    match metrics.is_deaf() {
        None => (StatusCode::OK, "ok\n".into()),
        Some((resource, since)) => {
            let problem = format!("the watch of {resource} has received nothing for {} s\n", since.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, problem.into())
        }
    }
}

/// The answer in HTTP, the last one on its connection.
fn text(method: &str, (status, body): Answer) -> String {
    let length = body.len();
    let body = if method == "HEAD" { "" } else { &*body };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}
