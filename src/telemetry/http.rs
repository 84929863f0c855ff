//! The telemetry port: /metrics, /livez and /readyz. Started by main; whoever talks to it, its
//! connections, their time and their buffers are bounded, and a kubelet's probe gets through.

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

/// Connections at the same time; for one more, the oldest gives way.
const CONNECTIONS: usize = 8;

/// The life of one connection, whatever happens on it.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// The smallest buffer that hyper takes; longer headers are refused.
const BUFFER: usize = 8192;

/// The controller's loop goes round at least once a resync period.
const PERIODS_TO_LIVE: u32 = 3;

/// Serves for ever. `resync`: the resync period of the controller.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, resync: Duration) {
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: others need the time to give some back.
                tracing::warn!("telemetry: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        // Never the other way round: those who say nothing would keep a probe out, and the kubelet
        // would end an operator that is well.
        if open.len() == CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(connection(stream, metrics.clone(), resync)));
        // What has arrived already is read and answered before the next one comes in.
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
    // How a connection ends is the other side's affair.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}

fn answer(request: &Request<Incoming>, metrics: &Metrics, resync: Duration) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n");
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, metrics.text()),
        "/livez" if metrics.since_last_turn() <= resync * PERIODS_TO_LIVE => text(StatusCode::OK, "ok\n"),
        "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "the controller's loop stands still\n"),
        "/readyz" => readiness(metrics),
        _ => text(StatusCode::NOT_FOUND, "expected /metrics, /livez or /readyz\n"),
    }
}

/// Ready: all lists were read, and each watch hears the API server. An outage of the API server for longer than five
/// minutes makes this fail, until the watches hear it again: nobody sends requests here that could go elsewhere, and
/// whoever looks at the pod should see that it is of no use just now. Liveness has nothing to do with it: a restart
/// brings no API server back, and loses what is in memory.
fn readiness(metrics: &Metrics) -> Response<Full<Bytes>> {
    if !metrics.in_sync() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "not all watches are in sync yet\n");
    }
    match metrics.is_deaf() {
        None => text(StatusCode::OK, "ok\n"),
        Some((resource, since)) => {
            let problem = format!("the watch of {resource} has heard nothing for {} s\n", since.as_secs());
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
