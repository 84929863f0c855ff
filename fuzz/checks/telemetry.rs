//! Requests at the telemetry port: an answer in HTTP or none, in bounded time, whatever the chunks are.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use inference_operator::telemetry::http::connection;
use inference_operator::telemetry::metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::{Builder, Runtime};

use super::ways;

/// The life of one connection, and a little more.
const LONGEST: Duration = Duration::from_secs(11);

const LONGEST_ANSWER: usize = 32 << 10;

pub fn check(data: &[u8]) {
    let ways = ways(data);
    let whole = ways[0].clone();
    let mut answers = ways.into_iter().map(|chunks| status(&block_on(talk(chunks, false))));
    let first = answers.next().unwrap_or_default();
    for other in answers {
        assert!(alike(&first, &other), "in other chunks {other:?} and not {first:?}");
    }
    let half_closed = status(&block_on(talk(whole, true)));
    assert!(alike(&first, &half_closed), "after half a close {half_closed:?} and not {first:?}");
}

/// What is no request is refused in one of two ways, or ends without a word where its end is still waited for.
fn alike(one: &str, other: &str) -> bool {
    let is_refusal = |status: &str| status.is_empty() || status.contains(" 400 ") || status.contains(" 431 ");
    one == other || is_refusal(one) && is_refusal(other)
}

/// Sends the chunks one after the other; all that is answered.
async fn talk(chunks: Vec<Vec<u8>>, close: bool) -> Vec<u8> {
    let (client, server) = tokio::io::duplex(8192);
    let (reader, writer) = tokio::io::split(client);
    let serve = connection(server, Arc::new(Metrics::default()), Duration::from_secs(30));
    let ((), answer, _writer) = tokio::join!(
        async { tokio::time::timeout(LONGEST, serve).await.expect("a connection has an end") },
        read(reader),
        write(writer, chunks, close)
    );
    answer
}

async fn write(
    mut writer: tokio::io::WriteHalf<DuplexStream>,
    chunks: Vec<Vec<u8>>,
    close: bool,
) -> tokio::io::WriteHalf<DuplexStream> {
    for chunk in chunks {
        // The other side may have heard enough.
        if writer.write_all(&chunk).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    if close {
        let _ = writer.shutdown().await;
    }
    writer
}

async fn read(mut reader: tokio::io::ReadHalf<DuplexStream>) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = reader.read_to_end(&mut answer).await;
    assert!(answer.len() <= LONGEST_ANSWER, "an answer of {} bytes", answer.len());
    answer
}

/// The first line, which says what was answered.
fn status(answer: &[u8]) -> String {
    let line = answer.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8(line.to_vec()).expect("a line of text");
    assert!(line.is_empty() || line.starts_with("HTTP/1."), "no HTTP: {line:?}");
    line
}

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
    );
}

/// On a clock that goes on by itself when there is nothing else to do.
pub fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}
