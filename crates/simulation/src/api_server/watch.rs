//! The simulated server's watches: an initial list if requested, then every change from the history, bookmarks, and
//! an end after 30 to 60 minutes. Used by the server.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::BoxError;

use super::faults::{Faults, LineHandling};
use super::list::{is_in, is_managed, shown};
use super::request::{Selection, WatchRequest};
use super::server::{ResponseBody, streamed};
use super::{Change, Kind, Refusal, refusal};
use crate::cluster::{Inner, Shared};
use crate::oracle::{invariants, pauses};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// The annotation of the bookmark after the last object of a streaming list.
const ENDS_LIST: &str = "k8s.io/initial-events-end";
const SHORTEST: Duration = Duration::from_secs(1800);

struct Watching {
    cluster: Shared,
    request: WatchRequest,
    /// Everything up to this resourceVersion was sent or is in `lines`.
    cursor: u64,
    /// The version of the list that the watch began with.
    listed: u64,
    /// The datastore's `restores` when the watch was opened.
    restores: u64,
    lines: VecDeque<String>,
    bookmark_at: Instant,
    ends_at: Instant,
    /// The connection is broken: an error comes next.
    is_broken: bool,
    is_over: bool,
    /// The line sent last was the end of a list: a client that polls for the next line has read it.
    ends_list: bool,
}

pub fn open(cluster: &Shared, request: WatchRequest) -> Result<Response<ResponseBody>, Refusal> {
    let mut inner = cluster.lock();
    let (mut lines, mut is_over) = (VecDeque::new(), false);
    let cursor = if request.initial_events {
        if !inner.faults.streams_lists {
            return Err(refusal(
                422,
                "Invalid",
                "sendInitialEvents is forbidden: the WatchList feature gate is disabled",
            ));
        }
        let stale = inner.draw(None, Faults::staleness);
        let version = inner.store.version.saturating_sub(stale).max(inner.store.floor);
        if request.selection.kind == Kind::InferenceService && stale > 0 {
            pauses::lists_the_past(&mut inner, version);
        }
        initial_events(&inner, &request, version, &mut lines);
        if inner.faults.breaks_streams {
            // The bookmark that ends the list is missing.
            lines.pop_back();
            lines.push_back(failure(500, "InternalError", "etcdserver: mvcc: required revision has not been reached"));
            is_over = true;
        }
        version
    } else {
        let kind = request.selection.kind;
        match inner.faults.poisoned.get(&kind).filter(|poison| request.version >= poison.version) {
            Some(poison) if poison.inside => {
                lines.push_back(failure(500, "InternalError", "the watch cache cannot serve this version"));
                is_over = true;
            }
            Some(_) => return Err(refusal(504, "Timeout", "Too large resource version")),
            None => {}
        }
        // If that version is compacted, the first line reports it: the response has started by the time it is
        // checked.
        let repeats = inner.draw(None, Faults::repeats);
        let floor = inner.store.floor.min(request.version);
        request.version.saturating_sub(repeats).max(floor)
    };
    let restores = inner.store.restores;
    let life = SHORTEST + inner.faults.chance.up_to(SHORTEST);
    drop(inner);
    let now = Instant::now();
    let watching = Watching {
        cluster: cluster.clone(),
        request,
        cursor,
        listed: cursor,
        restores,
        lines,
        bookmark_at: now + BOOKMARK_EVERY,
        ends_at: now + life,
        is_broken: false,
        is_over,
        ends_list: false,
    };
    Ok(streamed(futures::stream::unfold(watching, |mut watching| async move {
        let bytes = watching.next().await?;
        Some((bytes, watching))
    })))
}

fn initial_events(inner: &Inner, request: &WatchRequest, version: u64, lines: &mut VecDeque<String>) {
    let selection = &request.selection;
    for (key, object) in inner.store.snapshot(selection.kind, version) {
        if is_in(selection, key) && (!selection.managed_only || is_managed(object)) {
            lines.push_back(line("ADDED", &shown(object, selection.metadata_only)));
        }
    }
    let annotations = json!({ENDS_LIST: "true"});
    let metadata = json!({"resourceVersion": version.to_string(), "annotations": annotations});
    lines.push_back(line("BOOKMARK", &json!({"metadata": metadata})));
}

impl Watching {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        if std::mem::take(&mut self.ends_list) {
            invariants::is_listed(&mut self.cluster.lock(), self.request.selection.kind, self.listed);
        }
        loop {
            if self.is_broken {
                self.is_over = true;
                self.is_broken = false;
                self.lines.clear();
                return Some(Err("connection reset by peer".into()));
            }
            if !self.is_over && self.restores != self.cluster.lock().store.restores {
                // After a restore the API server is a new one.
                self.is_broken = true;
                continue;
            }
            if let Some(line) = self.lines.pop_front() {
                return self.send(line).await;
            }
            if self.is_over {
                return None;
            }
            self.collect();
            if !self.lines.is_empty() {
                continue;
            }
            tokio::select! {
                biased;
                () = self.cluster.changed() => {}
                () = tokio::time::sleep_until(self.ends_at) => return None,
                () = tokio::time::sleep_until(self.bookmark_at) => self.bookmark(),
            }
        }
    }

    async fn send(&mut self, text: String) -> Option<Result<Bytes, BoxError>> {
        let handling = self.cluster.lock().draw(None, Faults::line_handling);
        match handling {
            LineHandling::Sent => {}
            LineHandling::Late(wait) => tokio::time::sleep(wait).await,
            LineHandling::Ended => return None,
            LineHandling::Broken => {
                self.is_broken = true;
                let half = text.len() / 2;
                return Some(Ok(Bytes::copy_from_slice(&text.as_bytes()[..half])));
            }
            LineHandling::Expired => {
                self.is_over = true;
                self.lines.clear();
                return Some(Ok(expired().into()));
            }
        }
        self.ends_list = text.contains(ENDS_LIST);
        Some(Ok(text.into()))
    }

    /// Appends all changes since `cursor`.
    fn collect(&mut self) {
        let cluster = self.cluster.clone();
        let inner = cluster.lock();
        // A watch from a future version sends nothing, not even an error, until that version exists.
        if self.cursor > inner.store.version {
            return;
        }
        if self.cursor < inner.store.floor {
            self.lines.push_back(expired());
            self.is_over = true;
            return;
        }
        let begin = inner.store.history.partition_point(|change| change.version <= self.cursor);
        for change in &inner.store.history[begin..] {
            if is_in(&self.request.selection, &change.key) {
                self.lines.extend(event(change, &self.request.selection));
            }
        }
        self.cursor = inner.store.version;
    }

    fn bookmark(&mut self) {
        self.bookmark_at = Instant::now() + BOOKMARK_EVERY;
        if self.cursor > self.cluster.lock().store.version {
            return;
        }
        let metadata = json!({"resourceVersion": self.cursor.to_string()});
        self.lines.push_back(line("BOOKMARK", &json!({"metadata": metadata})));
    }
}

/// One change as this watch sees it: an object that no longer matches the selector is reported as deleted.
fn event(change: &Change, selection: &Selection) -> Option<String> {
    let matches =
        |object: &Option<Value>| object.as_ref().is_some_and(|object| !selection.managed_only || is_managed(object));
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    match (matches(&change.before), matches(&change.after)) {
        (false, true) => Some(line("ADDED", &shown(after?, selection.metadata_only))),
        (true, true) => Some(line("MODIFIED", &shown(after?, selection.metadata_only))),
        (true, false) => {
            let mut last = shown(before?, selection.metadata_only).into_owned();
            last["metadata"]["resourceVersion"] = json!(change.version.to_string());
            Some(line("DELETED", &last))
        }
        (false, false) => None,
    }
}

fn line(kind: &str, object: &Value) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn expired() -> String {
    failure(410, "Expired", "too old")
}

fn failure(code: u16, reason: &str, message: &str) -> String {
    let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message});
    line("ERROR", &status)
}
