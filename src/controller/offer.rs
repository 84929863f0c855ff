//! A change of what is offered: when it takes force, and how it reaches the InferenceServices.

use std::sync::Arc;

use super::Controller;
use super::index::Index;
use super::record::Judge;
use crate::accept::say::Progress;
use crate::model::hashes::Standing;
use crate::reconcile::{Context, judge};

/// `holds_back`: nothing is brought up to date for the administrator's sake.
pub(super) fn judge_of(context: &Arc<Context>, holds_back: bool) -> Box<Judge> {
    if holds_back {
        return Box::new(|_, _| Standing::UpToDate);
    }
    let context = context.clone();
    Box::new(move |object, status| {
        judge(&context.settings, context.config_hash, &context.instances.own(), object, status)
    })
}

impl Controller {
    /// Lets a changed catalogue take force as soon as no reconcile is in flight, whose result would be that of another.
    pub(super) fn offer(&mut self) {
        loop {
            if self.in_flight.is_empty()
                && let Some(next) = self.catalog.take_next()
            {
                let is_same = next.context.config_hash == self.context.config_hash;
                self.context = next.context;
                if !is_same || next.was_held_back != next.holds_back {
                    self.judge_again(next.holds_back);
                }
            }
            // A newer instance speaks for its own rollout, and of the catalogue.
            let speaks =
                self.in_sync && self.leads && self.index.is_judged() && !self.context.instances.has_met_newer();
            let progress = speaks.then(|| self.progress());
            self.catalog.advance(&self.context, progress, self.right());
            if !self.catalog.is_waiting() || !self.in_flight.is_empty() {
                return;
            }
        }
    }

    fn judge_again(&mut self, holds_back: bool) {
        // Nobody was judged yet.
        if self.index.is_empty() && !self.in_sync {
            self.index = self.empty_index(holds_back);
        } else {
            self.index.judge_again(judge_of(&self.context, holds_back));
        }
    }

    pub(super) fn empty_index(&self, holds_back: bool) -> Index {
        let mut index = Index::new(judge_of(&self.context, holds_back));
        index.follow(!self.leads);
        index
    }

    fn progress(&self) -> Progress {
        let rollout = self.index.rollout();
        match rollout.halted_by().and_then(|slot| self.index.get(slot)) {
            Some(record) => Progress::Halted {
                namespace: self.index.namespace(record).to_owned(),
                name: self.index.name(record).to_owned(),
                status: record.summary.map_or(0, |summary| summary.checksum),
            },
            None if rollout.is_over() => Progress::Complete,
            None => Progress::InProgress,
        }
    }

    /// Lets InferenceServices go whose children other settings, or another release, would build otherwise.
    pub(super) fn roll_out(&mut self) {
        // Of some that wait nobody knows yet whether another one should go first.
        if !self.in_sync || !self.leads || !self.catalog.lets_start() || !self.index.is_judged() {
            return;
        }
        if self.context.instances.has_just_met_newer() {
            // It rolls out its own settings. A later change of the catalogue is for both, each with what is its own.
            self.index.end_rollout();
        }
        let limit = self.context.settings.max_unavailable.of(self.index.len());
        let halted_before = self.index.rollout().halted_by();
        while let Some(slot) = self.index.release(limit) {
            if let Some(record) = self.index.get(slot) {
                let (namespace, name) = (self.index.namespace(record), self.index.name(record));
                tracing::info!(namespace, name, waiting = self.index.rollout().waiting(), "rollout: next");
            }
            self.queue(slot);
        }
        let halted = self.index.rollout().halted_by();
        if let Some(record) = halted.filter(|_| halted != halted_before).and_then(|slot| self.index.get(slot)) {
            let (namespace, name) = (self.index.namespace(record), self.index.name(record));
            let waiting = self.index.rollout().waiting();
            tracing::warn!(namespace, name, waiting, "rollout: halted, because it is not Ready; it goes on when it is");
        }
    }
}
