//! The telemetry port under clients that are slow, many, wrong or gone: a probe gets its answer, and what
//! they cost is bounded.

#![allow(clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use inference_operator::telemetry::http::serve;
use inference_operator::telemetry::metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// So long a kubelet waits: timeoutSeconds in k3s-manifests/operator.yaml.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// No connection lives longer, whatever happens on it.
const LONGEST_LIFE: Duration = Duration::from_secs(11);

/// The clock of these tests is paused: it goes on when nobody has anything to do.
async fn start() -> SocketAddr {
    start_with(Arc::default()).await
}

async fn start_with(metrics: Arc<Metrics>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener, metrics, Duration::from_secs(3600)));
    address
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connected")
}

async fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(address).await;
    stream.write_all(bytes).await.expect("sent");
    stream
}

/// All that comes until the other side ends the connection.
async fn read(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset has an end too.
    let _ = timeout(LONGEST_LIFE, stream.read_to_end(&mut answer)).await.expect("a connection has an end");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn probe(address: SocketAddr) {
    let answer = timeout(PROBE_TIMEOUT, async {
        read(send(address, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await).await
    });
    let answer = answer.await.expect("a probe is answered in time");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"), "{answer:?}");
}

/// Sends a byte now and then; comes back a second after it was thrown out.
async fn drip(address: SocketAddr) {
    loop {
        let mut stream = connect(address).await;
        for byte in b"GET /livez HTTP/1.1\r\nHost: ".iter().chain(std::iter::repeat(&b'x')) {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_answered_whoever_says_nothing_or_says_it_slowly() {
    let address = start().await;
    let mut silent = Vec::new();
    for round in 0..30 {
        for _ in 0..20 {
            silent.push(connect(address).await);
            if round == 0 {
                tokio::spawn(drip(address));
            }
        }
        probe(address).await;
        sleep(Duration::from_secs(round % 4)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_in_the_middle_of_a_rush_is_answered() {
    let address = start().await;
    // Nobody accepts while this task does not wait: all of them stand in one queue, which is as
    // long as the kernel lets it be, at least 128.
    let come = || std::net::TcpStream::connect(address).expect("connected");
    let mut rush: Vec<_> = (0..50).map(|_| come()).collect();
    let mut probing = come();
    std::io::Write::write_all(&mut probing, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    rush.extend((0..50).map(|_| come()));
    probing.set_nonblocking(true).expect("set");
    let answer = timeout(PROBE_TIMEOUT, read(TcpStream::from_std(probing).expect("a socket")));
    let answer = answer.await.expect("a probe is answered in time");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_by_itself_whatever_is_said_on_it() {
    let address = start().await;
    assert_eq!(read(connect(address).await).await, "");
    assert_eq!(read(send(address, b"GET /livez HTTP/1.1\r\nX: ").await).await, "");
    // Where there is an answer, that is the end: nobody waits for another request.
    let begun = tokio::time::Instant::now();
    assert!(read(send(address, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await).await.ends_with("ok\n"));
    assert!(begun.elapsed() < Duration::from_secs(1), "it is held open for {:?}", begun.elapsed());
    // Bodies that never come.
    for head in
        ["Content-Length: 9999999999", "Transfer-Encoding: chunked", "Content-Length: 5\r\nExpect: 100-continue"]
    {
        for (method, code) in [("POST", "405 "), ("GET", "200 ")] {
            let request = format!("{method} /metrics HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n");
            let answer = read(send(address, request.as_bytes()).await).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{request} {answer:?}");
        }
    }
    probe(address).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_not_listened_to() {
    let address = start().await;
    let mut stream = send(address, b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x10000, b'x');
    chunk.extend_from_slice(b"\r\n");
    let mut sent = 0;
    while stream.write_all(&chunk).await.is_ok() {
        sent += 1;
        // 64 MB; the kernel's buffers take a few.
        assert!(sent < 1000, "it is read on and on");
    }
    probe(address).await;
}

/// As `nc` does, when there is nothing more to send.
#[tokio::test(start_paused = true)]
async fn a_client_that_closes_its_half_gets_its_answer() {
    let address = start().await;
    let mut stream = send(address, b"GET /livez HTTP/1.0\r\n\r\n").await;
    stream.shutdown().await.expect("half closed");
    assert!(read(stream).await.ends_with("ok\n"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_forgotten_at_once() {
    let address = start().await;
    let begun = tokio::time::Instant::now();
    for bytes in [&b""[..], b"GET /livez HT"] {
        let mut stream = send(address, bytes).await;
        stream.shutdown().await.expect("half closed");
        read(stream).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "the place is held for {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_refused_in_http() {
    let address = start().await;
    let long = "x".repeat(10_000);
    let headers = "A: b\r\n".repeat(200);
    for (request, expected) in [
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "HTTP/1.1 431 "),
        (format!("GET /livez HTTP/1.1\r\nX: {long}\r\n\r\n"), "HTTP/1.1 431 "),
        (format!("GET /livez HTTP/1.1\r\n{headers}\r\n"), "HTTP/1.1 431 "),
        ("DELETE /livez HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 405 "),
        ("BREW /livez HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 405 "),
        ("CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 405 "),
        ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 200 "),
        ("GET /livez HTTP/1.0\r\n\r\n".into(), "HTTP/1.1 200 "),
        ("GET /livez?a=b#c HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 200 "),
        ("GET http://other/livez HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 200 "),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 404 "),
        ("GET * HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 404 "),
        ("GET /livez HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n".into(), "HTTP/1.1 200 "),
        // A body is never read, whatever is said of it.
        ("GET /livez HTTP/1.1\r\nContent-Length: -1\r\n\r\n".into(), "HTTP/1.1 200 "),
        ("GET /livez HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n".into(), "HTTP/1.1 200 "),
        ("GET /livez HTTP/7.3\r\n\r\n".into(), "HTTP/1.1 400 "),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "HTTP/1.1 400 "),
        ("\u{0}\u{1}\u{2}\u{16}\u{3}\u{1}\u{2}\r\n\r\n".into(), "HTTP/1.1 400 "),
        ("\r\n\r\n\r\n".into(), ""),
    ] {
        let answer = read(send(address, request.as_bytes()).await).await;
        assert!(answer.starts_with(expected), "{request:.60?}: {answer:.80?}");
    }
    probe(address).await;
}

/// A restart brings no API server back.
#[tokio::test(start_paused = true)]
async fn an_operator_whose_watches_hear_nothing_is_alive_and_not_ready() {
    let metrics = Arc::new(Metrics::default());
    let address = start_with(metrics.clone()).await;
    let ready = || async { read(send(address, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await).await };
    assert!(ready().await.ends_with("not all watches are in sync yet\n"));
    metrics.loop_ticked(true, 0, &[0; 6]);
    assert!(ready().await.starts_with("HTTP/1.1 200 OK\r\n"));
    tokio::time::advance(Duration::from_secs(301)).await;
    metrics.heard(0);
    metrics.heard(2);
    metrics.heard(3);
    let answer = ready().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\n\r\nthe watch of deployments.apps has received nothing for 301 s\n"), "{answer}");
    probe(address).await;
    metrics.heard(1);
    assert!(ready().await.starts_with("HTTP/1.1 200 OK\r\n"));
}
