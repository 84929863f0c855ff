//! An endless list/watch of one kind: after a disconnect it resumes at the last resourceVersion, with backoff, and it
//! logs once what it is waiting for. Used by the controller, one per kind. Must never return an error, nor lose an
//! event without a relist.
//!
//! Why not kube's `watcher`: it buffers whole lines and pages (prune.rs), and yields types that embed an `ObjectMeta`.
//! The states are the same as in kube's.

mod interruption;
pub mod line;
mod message;
mod open;
mod progress;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::kubernetes::backoff::Jitter;
use crate::kubernetes::prune::Piece;
use crate::kubernetes::request::{self, Answer};
use crate::kubernetes::resource::{Kind, Watched, decode};
use crate::kubernetes::selector::Selector;
use crate::telemetry::metrics::{self, Metrics};
use interruption::Interruption;
use line::{Line, Unclear};
use message::Message;
use open::{ListEnvelope, ListMetadata, Opened};
use progress::{Progress, SILENCE};

/// Longest pause within a list before it is abandoned.
const LIST_PAUSE: Duration = Duration::from_secs(30);

/// Time limit for a streaming list as a whole: if the datastore cannot report its progress, the list never ends and
/// changes keep coming.
const LONGEST_STREAM: Duration = Duration::from_secs(300);

/// A watch that was open for this long counts as healthy, however it ends, and is reopened at once. Many networks cut
/// connections that are idle for 20 s.
const SHORTEST_WATCH: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub enum Event<K> {
    /// A list begins: objects that it does not contain are gone.
    Init,
    InitApply(K),
    InitDone,
    Apply(K),
    Delete(K),
    /// There is no such kind, and so no object of it. Only where it is optional.
    Absent,
    /// Not permitted to list it, and it never was: nobody knows whether there are objects of it. Only where it is optional.
    Forbidden,
}

pub struct Watch<K> {
    client: kube::Client,
    kind: Kind,
    /// The API server need not know it.
    is_optional: bool,
    namespace: Option<String>,
    selector: Selector,
    stage: Stage,
    progress: Progress,
    /// When the response being read is abandoned.
    deadline: Instant,
    /// No step is taken before this time.
    paused_until: Instant,
    message: Message,
    jitter: Jitter,
    /// Records when the watch last received something; `number` is the watch's index there.
    metrics: Arc<Metrics>,
    number: usize,
    objects: PhantomData<fn() -> K>,
}

enum Stage {
    /// No state yet: start a list.
    Begin,
    /// The request in flight. Kept here because dropping it halfway would send it again and again.
    Opening(BoxFuture<'static, Result<Answer, kube::Error>>, Opened),
    /// A list sent as the beginning of a watch, and the time at which it is abandoned.
    StreamingList(Answer, Instant),
    Page(Answer),
    /// Next, open the watch at this resourceVersion.
    Listed(u64),
    Watching {
        answer: Answer,
        resource_version: u64,
        since: Instant,
    },
}

impl<K: Watched> Watch<K> {
    /// `namespace` None: all namespaces. `seed` determines all jitter. `metrics` records when something was received.
    pub fn new(
        client: kube::Client,
        kind: Kind,
        namespace: Option<&str>,
        selector: Selector,
        seed: u64,
        metrics: Arc<Metrics>,
    ) -> Watch<K> {
        Watch {
            client,
            kind,
            is_optional: false,
            namespace: namespace.map(str::to_owned),
            selector,
            stage: Stage::Begin,
            progress: Progress::new(Instant::now()),
            deadline: Instant::now(),
            paused_until: Instant::now(),
            message: Message::default(),
            jitter: Jitter::new(seed),
            metrics,
            number: metrics::watch(&(kind.resource)()),
            objects: PhantomData,
        }
    }

    /// The same for a kind that the API server need not know.
    pub fn optional(self) -> Watch<K> {
        Watch { is_optional: true, ..self }
    }

    /// The next event. Cancel-safe: can be dropped and called again without losing one.
    pub async fn next(&mut self) -> Event<K> {
        loop {
            tokio::time::sleep_until(self.paused_until).await;
            match self.step().await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(interruption) => match self.without(&interruption) {
                    Some(event) => return event,
                    None => self.interrupted(interruption),
                },
            }
        }
    }

    /// Events were missed: abandons an open watch for a relist.
    pub fn list_again(&mut self) {
        if matches!(self.stage, Stage::Watching { .. } | Stage::Listed(_)) {
            self.stage = Stage::Begin;
        }
    }

    async fn step(&mut self) -> Result<Option<Event<K>>, Interruption> {
        match &mut self.stage {
            Stage::Begin => {
                let opened = if self.progress.streams_lists() { Opened::StreamingList } else { Opened::FirstPage };
                self.stage = Stage::Opening(self.open(opened, ""), opened);
                Ok(None)
            }
            Stage::Listed(resource_version) => {
                let opened = Opened::Watch(*resource_version);
                self.stage = Stage::Opening(self.open(opened, ""), opened);
                Ok(None)
            }
            Stage::Opening(opening, opened) => {
                let (answer, opened) = (opening.await, *opened);
                Ok(self.opened(answer.map_err(Interruption::Refused)?, opened))
            }
            Stage::StreamingList(..) | Stage::Page(_) | Stage::Watching { .. } => self.read().await,
        }
    }

    fn opened(&mut self, answer: Answer, opened: Opened) -> Option<Event<K>> {
        self.metrics.heard(self.number);
        let now = Instant::now();
        self.deadline = now + LIST_PAUSE;
        match opened {
            Opened::StreamingList => self.stage = Stage::StreamingList(answer, now + LONGEST_STREAM),
            Opened::FirstPage => {
                if self.progress.reads_pages() {
                    tracing::info!(
                        resource = (self.kind.resource)(),
                        "the API server does not support streaming lists; listing in pages"
                    );
                }
                self.stage = Stage::Page(answer);
            }
            Opened::NextPage => self.stage = Stage::Page(answer),
            Opened::Watch(resource_version) => self.watching(answer, resource_version),
        }
        matches!(opened, Opened::StreamingList | Opened::FirstPage).then_some(Event::Init)
    }

    fn watching(&mut self, answer: Answer, resource_version: u64) {
        let since = Instant::now();
        self.deadline = self.watch_deadline(since);
        self.stage = Stage::Watching { answer, resource_version, since };
    }

    fn watch_deadline(&self, now: Instant) -> Instant {
        self.progress.list_due().min(now + SILENCE)
    }

    /// Reads the next piece of the open response.
    async fn read(&mut self) -> Result<Option<Event<K>>, Interruption> {
        let (Stage::StreamingList(answer, _) | Stage::Page(answer) | Stage::Watching { answer, .. }) = &mut self.stage
        else {
            return Ok(None);
        };
        let piece = match tokio::time::timeout_at(self.deadline, answer.next()).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => return Err(self.broke_off(error)),
            Err(_) if matches!(self.stage, Stage::Watching { .. }) => {
                self.watch_or_list(Instant::now());
                return Ok(None);
            }
            Err(_) => return Err(self.broke_off(kube::Error::Service("timed out while reading the list".into()))),
        };
        self.metrics.heard(self.number);
        match (&mut self.stage, piece) {
            (_, None) => Err(self.broke_off(kube::Error::Service("the response ended early".into()))),
            (Stage::Page(answer), Some(Piece::Item)) => {
                self.deadline = Instant::now() + LIST_PAUSE;
                let object = line::object(answer.kept()).inspect_err(|unclear| self.warn(unclear));
                Ok(object.ok().map(Event::InitApply))
            }
            (Stage::Page(answer), Some(Piece::Document)) => {
                let list = decode::<ListEnvelope>(answer.kept());
                let list = list.map_err(|error| Interruption::Refused(kube::Error::SerdeError(error)))?;
                Ok(self.page_ends(&list.metadata))
            }
            (_, Some(_)) => self.apply_event(),
        }
    }

    fn page_ends(&mut self, list: &ListMetadata) -> Option<Event<K>> {
        if let Some(token) = list.r#continue.as_deref().filter(|token| !token.is_empty()) {
            let opened = Opened::NextPage;
            self.stage = Stage::Opening(self.open(opened, token), opened);
            return None;
        }
        self.stage = Stage::Listed(list.resource_version);
        Some(self.listed())
    }

    /// Handles one event of a watch, which may still be sending its initial list.
    fn apply_event(&mut self) -> Result<Option<Event<K>>, Interruption> {
        let now = Instant::now();
        let (answer, version) = match &self.stage {
            Stage::StreamingList(answer, until) => {
                self.deadline = *until.min(&(now + LIST_PAUSE));
                (answer, None)
            }
            Stage::Watching { answer, resource_version, .. } => (answer, Some(*resource_version)),
            _ => return Ok(None),
        };
        let (event, seen) = match line::read::<K>(answer.kept()) {
            Ok(Line::Applied(object)) => {
                let seen = object.resource_version();
                (Some(if version.is_none() { Event::InitApply(object) } else { Event::Apply(object) }), seen)
            }
            Ok(Line::Deleted(object)) => {
                let seen = object.resource_version();
                (Some(Event::Delete(object)), seen)
            }
            Ok(Line::Bookmark { resource_version, ends_list: true }) if version.is_none() => {
                return Ok(self.list_ends(resource_version));
            }
            Ok(Line::Bookmark { resource_version, .. }) => (None, resource_version),
            Ok(Line::Error(status)) if status.code == 410 => {
                return Err(Interruption::Lost("its resourceVersion has expired"));
            }
            Ok(Line::Error(status)) => return Err(self.failed(kube::Error::Api(status))),
            Err(unclear @ Unclear::Object(_)) => {
                self.warn(&unclear);
                (None, version.unwrap_or_default())
            }
            Err(unclear @ Unclear::Line(_)) => return Err(self.failed(kube::Error::Service(unclear.into()))),
        };
        if version.is_some_and(|version| seen < version) {
            // The datastore was restored to an earlier copy, and changes since then have reused these versions.
            tracing::info!(
                resource = (self.kind.resource)(),
                "the API server's data has gone back to an earlier state; listing again"
            );
            return Err(Interruption::Lost("an event has an older resourceVersion"));
        }
        if let Stage::Watching { resource_version, .. } = &mut self.stage {
            *resource_version = seen;
            self.progress.told(now);
            self.deadline = self.watch_deadline(now);
            self.message.is_over(self.kind.resource);
        }
        Ok(event)
    }

    /// The streaming list is complete and continues as a watch.
    fn list_ends(&mut self, version: u64) -> Option<Event<K>> {
        let Stage::StreamingList(answer, _) = std::mem::replace(&mut self.stage, Stage::Begin) else { return None };
        self.progress.try_streams();
        let event = self.listed();
        self.watching(answer, version);
        Some(event)
    }

    fn listed(&mut self) -> Event<K> {
        if self.progress.listed(Instant::now(), self.jitter.draw()) {
            self.message.is_over(self.kind.resource);
        }
        Event::InitDone
    }

    /// Logs an error of one object, for the person who has to fix it.
    fn warn(&self, unclear: &Unclear) {
        tracing::warn!(resource = (self.kind.resource)(), "{unclear}");
    }

    // === requests ===

    fn open(&self, what: Opened, token: &str) -> BoxFuture<'static, Result<Answer, kube::Error>> {
        let (request, fields) = open::request(&self.kind, what, self.namespace.as_deref(), &self.selector, token);
        let client = self.client.clone();
        async move { request::send(&client, request.map_err(kube::Error::HttpError)?, fields).await }.boxed()
    }
}

#[cfg(test)]
mod tests;
