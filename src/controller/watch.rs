//! One watch that never ends: a list, then its changes, begun again where it was cut, after waits,
//! saying once in clear words what it is waiting for. Used by the controller, once for each kind;
//! must never hand on an error, nor lose an event without a new list.
//!
//! Why not kube's `watcher`: it reads lines and pages as a whole (pruning.rs), and hands out types
//! that embed an `ObjectMeta`. The states are the same as its.

mod complaint;
pub mod line;

use std::borrow::Cow;
use std::marker::PhantomData;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, header};
use kube::core::Status;
use serde::Deserialize;
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::controller::queue::{Jitter, backoff};
use crate::error::patience;
use crate::projection::Kind;
use crate::pruning::{Fields, Piece};
use complaint::complaint;
use line::{Line, Unclear};

/// Objects in a page where lists are paged. A page is read as it arrives, so its size costs no memory.
const PAGE_SIZE: u32 = 500;

/// An operator that waits for its CRD or its rights should not keep people waiting for it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A list that pauses for so long is given up.
const LIST_PAUSE: Duration = Duration::from_secs(30);

/// A watch that is silent for so long is opened again where it was. API servers send a bookmark
/// every minute, and end a watch by themselves after 30 to 60.
const WATCH_PAUSE: Duration = Duration::from_secs(600);

/// A watch that ends sooner is not opened again at once.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

/// A watch that breaks off so many times in a row: somebody needs to act.
const UNLUCKY: u8 = 3;

#[derive(Debug)]
pub enum Event<K> {
    /// A list begins: what it does not name is not there any more.
    Init,
    InitApply(K),
    InitDone,
    Apply(K),
    Delete(K),
}

pub struct Watch<K> {
    client: kube::Client,
    namespace: Option<String>,
    /// `&labelSelector=...`, or nothing.
    selector: String,
    /// False: the server does not have streaming lists.
    streams_lists: bool,
    phase: Phase,
    /// When the answer that is being read is given up.
    deadline: Instant,
    failures: u8,
    /// Nothing is done before.
    resume: Instant,
    complaint: Option<String>,
    jitter: Jitter,
    kind: PhantomData<fn() -> K>,
}

enum Phase {
    /// Nothing is known: a list has to be begun.
    Begin,
    /// Held, because a request that is dropped halfway would be sent again and again.
    Opening(BoxFuture<'static, Result<Answer, kube::Error>>, Opened),
    /// A list as the beginning of a watch.
    StreamingList(Answer),
    Page(Answer),
    /// The watch has to be opened at this resourceVersion.
    Listed(u64),
    Watching {
        answer: Answer,
        resource_version: u64,
        since: Instant,
    },
}

/// What it is that is being opened.
#[derive(Clone, Copy)]
enum Opened {
    StreamingList,
    FirstPage,
    NextPage,
    Watch(u64),
}

/// Why something has to be begun again.
#[derive(Debug)]
enum Interruption {
    /// It could not be opened, or the list broke off.
    Refused(kube::Error),
    /// An open watch broke off: it goes on where it was.
    Cut(String),
    /// What came between is lost: a new list tells.
    Expired,
}

impl<K: Kind> Watch<K> {
    /// `namespace` None: all of them. `selector`: a label selector, encoded for a URL, "" for none.
    pub fn new(client: kube::Client, namespace: Option<&str>, selector: &str, seed: u64) -> Watch<K> {
        Watch {
            client,
            namespace: namespace.map(str::to_owned),
            selector: if selector.is_empty() { String::new() } else { format!("&labelSelector={selector}") },
            streams_lists: true,
            phase: Phase::Begin,
            deadline: Instant::now(),
            failures: 0,
            resume: Instant::now(),
            complaint: None,
            jitter: Jitter::new(seed),
            kind: PhantomData,
        }
    }

    /// The next event. Can be dropped and called again without losing one.
    pub async fn next(&mut self) -> Event<K> {
        loop {
            tokio::time::sleep_until(self.resume).await;
            match self.step().await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(interruption) => self.interrupted(interruption),
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Event<K>>, Interruption> {
        match &mut self.phase {
            Phase::Begin => {
                let opened = if self.streams_lists { Opened::StreamingList } else { Opened::FirstPage };
                self.phase = Phase::Opening(self.open(opened, ""), opened);
                Ok(None)
            }
            Phase::Listed(resource_version) => {
                let opened = Opened::Watch(*resource_version);
                self.phase = Phase::Opening(self.open(opened, ""), opened);
                Ok(None)
            }
            Phase::Opening(opening, opened) => {
                let (answer, opened) = (opening.await, *opened);
                Ok(self.opened(answer.map_err(Interruption::Refused)?, opened))
            }
            Phase::StreamingList(_) | Phase::Page(_) | Phase::Watching { .. } => self.read().await,
        }
    }

    fn opened(&mut self, answer: Answer, opened: Opened) -> Option<Event<K>> {
        let now = Instant::now();
        self.deadline = now + LIST_PAUSE;
        match opened {
            Opened::StreamingList => self.phase = Phase::StreamingList(answer),
            Opened::FirstPage | Opened::NextPage => self.phase = Phase::Page(answer),
            Opened::Watch(resource_version) => {
                self.deadline = now + WATCH_PAUSE;
                self.phase = Phase::Watching { answer, resource_version, since: now };
            }
        }
        matches!(opened, Opened::StreamingList | Opened::FirstPage).then_some(Event::Init)
    }

    /// Reads on in the answer that is open.
    async fn read(&mut self) -> Result<Option<Event<K>>, Interruption> {
        let (Phase::StreamingList(answer) | Phase::Page(answer) | Phase::Watching { answer, .. }) = &mut self.phase
        else {
            return Ok(None);
        };
        let piece = match tokio::time::timeout_at(self.deadline, answer.next()).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => return Err(self.broke_off(error)),
            Err(_) => return Err(self.broke_off(kube::Error::Service("nothing came for too long".into()))),
        };
        match (&mut self.phase, piece) {
            (Phase::Watching { since, .. }, None) if since.elapsed() >= SHORTEST_WATCH => {
                self.relist_or_resume();
                Ok(None)
            }
            (_, None) => Err(self.broke_off(kube::Error::Service("the answer ended early".into()))),
            (Phase::Page(answer), Some(Piece::Item)) => {
                self.deadline = Instant::now() + LIST_PAUSE;
                let object = line::object(answer.kept()).inspect_err(warn::<K>);
                Ok(object.ok().map(Event::InitApply))
            }
            (Phase::Page(answer), Some(Piece::Document)) => {
                let list = serde_json::from_slice::<List>(answer.kept());
                let list = list.map_err(|error| Interruption::Refused(kube::Error::SerdeError(error)))?;
                Ok(self.page_ends(&list.metadata))
            }
            (_, Some(_)) => self.take_in(),
        }
    }

    fn page_ends(&mut self, list: &ListMetadata) -> Option<Event<K>> {
        if let Some(token) = list.r#continue.as_deref().filter(|token| !token.is_empty()) {
            let opened = Opened::NextPage;
            self.phase = Phase::Opening(self.open(opened, token), opened);
            return None;
        }
        self.phase = Phase::Listed(list.resource_version);
        self.is_well();
        Some(Event::InitDone)
    }

    /// One event of a watch, which may still be on its way through its list.
    fn take_in(&mut self) -> Result<Option<Event<K>>, Interruption> {
        let is_list = matches!(self.phase, Phase::StreamingList(_));
        self.deadline = Instant::now() + if is_list { LIST_PAUSE } else { WATCH_PAUSE };
        let (Phase::StreamingList(answer) | Phase::Watching { answer, .. }) = &self.phase else { return Ok(None) };
        let (is_gone, object) = match line::read::<K>(answer.kept()) {
            Ok(Line::Applied(object)) => (false, object),
            Ok(Line::Deleted(object)) => (true, object),
            Ok(Line::Bookmark { resource_version, ends_list }) => return Ok(self.bookmark(resource_version, ends_list)),
            Ok(Line::Error(status)) if status.code == 410 => return Err(Interruption::Expired),
            Ok(Line::Error(status)) => return Err(self.broke_off(kube::Error::Api(status))),
            Err(unclear @ Unclear::Object(_)) => {
                warn::<K>(&unclear);
                return Ok(None);
            }
            Err(unclear @ Unclear::Line(_)) => return Err(self.broke_off(kube::Error::Service(unclear.into()))),
        };
        if let Phase::Watching { resource_version, .. } = &mut self.phase {
            *resource_version = object.identity().resource_version;
            self.is_well();
        }
        Ok(Some(match (is_gone, is_list) {
            (true, _) => Event::Delete(object),
            (false, true) => Event::InitApply(object),
            (false, false) => Event::Apply(object),
        }))
    }

    fn bookmark(&mut self, version: u64, ends_list: bool) -> Option<Event<K>> {
        if let Phase::Watching { resource_version, .. } = &mut self.phase {
            *resource_version = version;
            self.is_well();
            return None;
        }
        if !ends_list {
            return None;
        }
        // What was a list goes on as a watch.
        if let Phase::StreamingList(answer) = std::mem::replace(&mut self.phase, Phase::Begin) {
            let now = Instant::now();
            self.deadline = now + WATCH_PAUSE;
            self.phase = Phase::Watching { answer, resource_version: version, since: now };
        }
        self.is_well();
        Some(Event::InitDone)
    }

    fn is_well(&mut self) {
        self.failures = 0;
        if self.complaint.take().is_some() {
            tracing::info!(resource = K::resource(), "watching");
        }
    }

    // === requests ===

    fn open(&self, what: Opened, token: &str) -> BoxFuture<'static, Result<Answer, kube::Error>> {
        // resourceVersion 0: whatever the API server has in memory. It may be a little behind; the
        // watch that follows tells the rest, and every write has a precondition.
        let (query, accept, fields): (Cow<str>, &str, Fields) = match what {
            Opened::StreamingList => (
                "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0".into(),
                K::ACCEPT,
                K::EVENT,
            ),
            Opened::Watch(version) => {
                (format!("watch=true&allowWatchBookmarks=true&resourceVersion={version}").into(), K::ACCEPT, K::EVENT)
            }
            Opened::FirstPage => (format!("limit={PAGE_SIZE}").into(), K::ACCEPT_LIST, K::LIST),
            Opened::NextPage => (format!("limit={PAGE_SIZE}&continue={token}").into(), K::ACCEPT_LIST, K::LIST),
        };
        let path = format!("{}?{query}{}", K::path(self.namespace.as_deref()), self.selector);
        let request = Request::get(path).header(header::ACCEPT, HeaderValue::from_static(accept)).body(Vec::new());
        let client = self.client.clone();
        async move { answer::send(&client, request.map_err(kube::Error::HttpError)?, fields).await }.boxed()
    }

    // === what goes wrong ===

    fn broke_off(&self, error: kube::Error) -> Interruption {
        match &self.phase {
            Phase::Watching { .. } => Interruption::Cut(crate::error::describe(&error)),
            _ => Interruption::Refused(error),
        }
    }

    /// A watch goes on where it was; a list that was cut begins anew.
    fn relist_or_resume(&mut self) {
        self.phase = match self.phase {
            Phase::Watching { resource_version, .. }
            | Phase::Listed(resource_version)
            | Phase::Opening(_, Opened::Watch(resource_version)) => Phase::Listed(resource_version),
            _ => Phase::Begin,
        };
    }

    fn interrupted(&mut self, interruption: Interruption) {
        if let Interruption::Refused(kube::Error::Api(status)) = &interruption
            && self.lacks_streaming_lists(status)
        {
            tracing::info!(resource = K::resource(), "the API server has no streaming lists: reading pages");
            self.streams_lists = false;
            self.phase = Phase::Begin;
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let asked = if let Interruption::Refused(error) = &interruption { patience(error) } else { Duration::ZERO };
        self.resume = Instant::now() + backoff(self.failures, LONGEST_WAIT, self.jitter.draw()).max(asked);
        match interruption {
            Interruption::Cut(why) => {
                tracing::debug!(resource = K::resource(), why, "watching again");
                self.relist_or_resume();
                if self.failures >= UNLUCKY {
                    self.complain(format!("waiting for the API server: {why}"));
                }
            }
            Interruption::Expired => {
                tracing::debug!(resource = K::resource(), "fell behind; listing again");
                self.phase = Phase::Begin;
            }
            Interruption::Refused(kube::Error::Api(status)) if status.code == 410 => self.phase = Phase::Begin,
            Interruption::Refused(error) => {
                self.relist_or_resume();
                // Where the CRD is gone, so is all that there was of it.
                if matches!(&error, kube::Error::Api(status) if status.code == 404) {
                    self.phase = Phase::Begin;
                }
                self.complain(complaint(&K::resource(), &error));
            }
        }
    }

    /// Servers answer the request for a streaming list with 422 (or an old 400) where the feature
    /// WatchList is off.
    fn lacks_streaming_lists(&self, status: &Status) -> bool {
        matches!(self.phase, Phase::Opening(_, Opened::StreamingList)) && matches!(status.code, 400 | 422)
    }

    /// Once, and not again where only a time in it has moved.
    fn complain(&mut self, complaint: String) {
        let words = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "");
        if self.complaint.as_deref().map(words) != Some(words(&complaint)) {
            tracing::warn!(resource = K::resource(), "{complaint}");
            self.complaint = Some(complaint);
        }
    }
}

/// An error of one object, for whoever has to mend it.
fn warn<K: Kind>(unclear: &Unclear) {
    tracing::warn!(resource = K::resource(), "{unclear}");
}

#[derive(Deserialize)]
struct List {
    metadata: ListMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    r#continue: Option<String>,
    #[serde(deserialize_with = "crate::projection::resource_version")]
    resource_version: u64,
}

#[cfg(test)]
mod tests;
