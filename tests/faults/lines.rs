//! The response to a watch, with a fault drawn for each line. Used by the proxy.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use simulation::api_server::faults::LineHandling;
use tower::BoxError;

use crate::log::Entry;
use crate::proxy::{Body, State, lock};

/// The simulation's delays, which cost no real time, are this many times as long.
pub const FASTER: u32 = 20;

const EXPIRED: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"#,
    r#""reason":"Expired","message":"a fault of the tests"}}"#,
    "\n"
);

/// Part of the last line of a streaming list.
const LIST_END: &[u8] = br#""k8s.io/initial-events-end":"true""#;

const EXPIRED_CODE: &[u8] = b"\"code\":410";

struct Lines {
    /// The requested path.
    path: String,
    body: Incoming,
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
    complete: VecDeque<Bytes>,
    /// Set if no more lines follow.
    end: Option<End>,
    /// A line was late, so a list that ends after it is stale.
    is_late: bool,
    state: Arc<State>,
}

#[derive(Clone, Copy)]
enum End {
    Over,
    Broken,
}

pub fn watch(path: String, body: Incoming, state: Arc<State>) -> Body {
    let (rest, complete) = (Vec::new(), VecDeque::new());
    let lines = Lines { path, body, rest, complete, end: None, is_late: false, state };
    let frames = stream::unfold(lines, |mut lines| async { Some((lines.next().await?.map(Frame::data), lines)) });
    StreamBody::new(frames.boxed()).boxed_unsync()
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        match self.end {
            None => {}
            Some(End::Over) => return None,
            Some(End::Broken) => return Some(Err("broken".into())),
        }
        let line = match self.line().await? {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        let handling = lock(&self.state.lines).line_handling();
        Some(Ok(match handling {
            LineHandling::Sent => self.sent(line),
            LineHandling::Late(wait) => {
                tokio::time::sleep(wait / FASTER).await;
                self.is_late = true;
                self.sent(line)
            }
            LineHandling::Ended => return None,
            LineHandling::Broken => {
                self.end = Some(End::Broken);
                line.slice(..line.len() / 2)
            }
            LineHandling::Expired => {
                self.end = Some(End::Over);
                self.sent(Bytes::from_static(EXPIRED.as_bytes()))
            }
        }))
    }

    fn sent(&self, line: Bytes) -> Bytes {
        let holds = |text: &[u8]| line.windows(text.len()).any(|part| part == text);
        if self.is_late && holds(LIST_END) {
            lock(&self.state.log).push(Entry::Late(self.path.clone()));
        }
        if holds(EXPIRED_CODE) {
            self.state.expired.fetch_add(1, Ordering::Relaxed);
        }
        line
    }

    /// The next line from the API server.
    async fn line(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            if let Some(line) = self.complete.pop_front() {
                return Some(Ok(line));
            }
            match self.body.frame().await? {
                Ok(frame) => self.rest.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(error) => return Some(Err(error.into())),
            }
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                self.complete.push_back(line.into());
            }
        }
    }
}
