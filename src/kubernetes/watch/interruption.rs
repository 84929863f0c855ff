//! What a watch does after an error: it resumes, or lists again, after a pause. Called by watch.rs for each error.

use std::time::Duration;

use tokio::time::Instant;

use super::message::message;
use super::open::Opened;
use super::{Event, SHORTEST_WATCH, Stage, Watch};
use crate::kubernetes::refusal::{describe, retry_after};
use crate::kubernetes::resource::Watched;

/// Why a list or a watch has to be restarted.
#[derive(Debug)]
pub enum Interruption {
    /// The request failed, or the list broke off.
    Refused(kube::Error),
    /// An open watch was cut: it resumes where it was.
    Cut(String),
    /// An open watch reported an error.
    Failed(String),
    /// Only a relist can restore the state, for this reason.
    Lost(&'static str),
}

impl<K: Watched> Watch<K> {
    pub(super) fn broke_off(&self, error: kube::Error) -> Interruption {
        match &self.stage {
            Stage::Watching { .. } => Interruption::Cut(describe(&error)),
            _ => Interruption::Refused(error),
        }
    }

    pub(super) fn failed(&self, error: kube::Error) -> Interruption {
        match &self.stage {
            Stage::Watching { .. } => Interruption::Failed(describe(&error)),
            _ => Interruption::Refused(error),
        }
    }

    /// Where the kind need not be there, and is not, or the right to it is not: the event that says so. It is asked for
    /// again at the pace of the slowest lists. The right counts only before it was ever listed: for a moment an API server
    /// that starts knows of no right.
    pub(super) fn without(&mut self, interruption: &Interruption) -> Option<Event<K>> {
        let Interruption::Refused(kube::Error::Api(status)) = interruption else { return None };
        let lacks_right = status.code == 403 && !self.progress.was_listed() && self.progress.warns();
        if !self.is_optional || status.code != 404 && !lacks_right {
            return None;
        }
        let resource = (self.kind.resource)();
        if lacks_right {
            self.message.report(&resource, message(&resource, &kube::Error::Api(status.clone())));
        } else {
            tracing::debug!(resource, "the API server does not know it");
        }
        self.metrics.heard(self.number);
        self.stage = Stage::Begin;
        self.paused_until = Instant::now() + self.progress.absent(self.jitter.draw());
        Some(if lacks_right { Event::Forbidden } else { Event::Absent })
    }

    pub(super) fn interrupted(&mut self, interruption: Interruption) {
        let now = Instant::now();
        match (&self.stage, &interruption) {
            (Stage::Opening(_, Opened::StreamingList), Interruption::Refused(kube::Error::Api(status)))
                if matches!(status.code, 400 | 422) =>
            {
                // Streaming lists may be unsupported (feature WatchList is off): a paged list shows whether that is
                // why.
                self.progress.stream_refused();
                self.stage = Stage::Begin;
                return;
            }
            (Stage::Opening(_, Opened::FirstPage), _) => self.progress.try_streams(),
            (Stage::StreamingList(..), _) => self.progress.stream_failed(),
            (Stage::Watching { since, .. }, Interruption::Cut(why)) if now - *since >= SHORTEST_WATCH => {
                tracing::debug!(resource = (self.kind.resource)(), why, "reopening the watch");
                self.progress.lived();
                self.message.is_over(self.kind.resource);
                self.watch_or_list(now);
                return;
            }
            _ => {}
        }
        let asked = if let Interruption::Refused(error) = &interruption { retry_after(error) } else { Duration::ZERO };
        self.paused_until = now + self.progress.failed(self.jitter.draw()).max(asked);
        match interruption {
            Interruption::Cut(why) | Interruption::Failed(why) => {
                tracing::debug!(resource = (self.kind.resource)(), why, "reopening the watch");
                if self.progress.warns() {
                    self.message.report(&(self.kind.resource)(), format!("waiting for the API server: {why}"));
                }
                self.watch_or_list(now);
            }
            Interruption::Lost(why) => {
                tracing::debug!(resource = (self.kind.resource)(), why, "listing again");
                self.stage = Stage::Begin;
            }
            Interruption::Refused(kube::Error::Api(status)) if status.code == 410 => self.stage = Stage::Begin,
            Interruption::Refused(error) => {
                self.message.report(&(self.kind.resource)(), message(&(self.kind.resource)(), &error));
                match self.stage {
                    // The server is up, only overloaded: a list would add to its load.
                    Stage::Opening(_, Opened::Watch(_)) if is_busy(&error) => self.watch_or_list(now),
                    // A server or datastore that was unavailable may return with a different history; a refused version
                    // may be refused for ever; a deleted CRD takes all its objects with it.
                    _ => self.stage = Stage::Begin,
                }
            }
        }
    }

    /// Resumes the watch at its resourceVersion as long as that is reliable, and lists otherwise.
    pub(super) fn watch_or_list(&mut self, now: Instant) {
        let (Stage::Watching { resource_version, .. } | Stage::Opening(_, Opened::Watch(resource_version))) =
            self.stage
        else {
            return;
        };
        if self.progress.is_relist(now) {
            self.progress.try_streams();
        } else if now < self.progress.list_due() && !self.progress.warns() {
            self.stage = Stage::Listed(resource_version);
            return;
        }
        tracing::debug!(
            resource = (self.kind.resource)(),
            "no event for too long, or the daily list is due; listing again"
        );
        self.stage = Stage::Begin;
    }
}

fn is_busy(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 429)
}
