//! The telemetry port: /metrics, /livez and /readyz. Started by main. No client may exceed the limits on connections,
//! their time and their buffers, nor keep out a kubelet's probe.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::telemetry::metrics::Metrics;

/// Limit on concurrent connections: a new one beyond it replaces the oldest.
const CONNECTIONS: usize = 8;

/// Time limit for one connection, whatever happens on it.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// The smallest buffer that hyper accepts; longer headers are rejected.
const BUFFER: usize = 8192;

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
pub async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, metrics: Arc<Metrics>, resync: Duration) {
    let service = service_fn(move |request| {
        let answer = answer(&request, &metrics, resync);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIME / 2)
        .max_buf_size(BUFFER)
        .keep_alive(false)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    // How a connection ends is up to the client.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}

fn answer(request: &Request<Incoming>, metrics: &Metrics, resync: Duration) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n");
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, metrics.text()),
        "/livez" if metrics.since_last_turn() <= resync * PERIODS_TO_LIVE => text(StatusCode::OK, "ok\n"),
        "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "the controller's loop is stuck\n"),
        "/readyz" => readiness(metrics),
        _ => text(StatusCode::NOT_FOUND, "expected /metrics, /livez or /readyz\n"),
    }
}

/// Ready: all lists are complete, and each watch hears from the API server. This fails when the API server has been
/// unavailable for more than five minutes, until the watches hear it again: no requests could be routed elsewhere, and
/// the pod should show that it cannot do its work. Liveness is unaffected: a restart would not bring back the API
/// server, and would lose the state in memory.
fn readiness(metrics: &Metrics) -> Response<Full<Bytes>> {
    if !metrics.in_sync() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "not all watches are in sync yet\n");
    }
    match metrics.is_deaf() {
        None => text(StatusCode::OK, "ok\n"),
        Some((resource, since)) => {
            let problem = format!("the watch of {resource} has received nothing for {} s\n", since.as_secs());
            text(StatusCode::SERVICE_UNAVAILABLE, problem)
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
