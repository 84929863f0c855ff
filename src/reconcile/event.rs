//! Kubernetes Events, only for what a person should look at, because each is a write to the datastore. Called by
//! reconcile right after a status write, so that each change is reported once. The name is a hash of the content, so
//! that a repeat after a crash changes nothing.

use std::hash::Hasher;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api;
use crate::kubernetes::refusal::{describe, is_of_a_namespace_that_goes};
use crate::kubernetes::request;
use crate::model::Task;
use crate::model::uid::Uid;
use crate::reconcile::Context;
use crate::reconcile::deployment::MANAGED_BY;
use crate::time::{Timestamp, Utc};

/// Kubernetes' own limit for an Event's note.
const NOTE_LIMIT: usize = 1024;

/// The number of warnings in a row for one object, and the seconds until one more is allowed: client-go's own limits
/// (`EventSourceObjectSpamFilter` of its package record).
const BURST: u8 = 25;
const REFILL_SECONDS: u32 = 300;

/// How many objects are remembered: those with the most recent warnings.
const REMEMBERED: usize = 256;

/// Keeps a flapping object from filling the datastore with Events.
#[derive(Default)]
pub struct Limit(Mutex<Vec<Spent>>);

struct Spent {
    uid: Uid,
    warnings: u8,
    /// Refills are counted up to this time.
    counted: Timestamp,
}

impl Limit {
    /// Is a warning about this object allowed now? Counts it, if so.
    pub fn allow(&self, uid: Uid, now: Timestamp) -> bool {
        let mut objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for object in objects.iter_mut() {
            // If the clock was set back, the object starts again with a full budget.
            let refills =
                now.0.checked_sub(object.counted.0).map_or(u32::from(BURST), |passed| passed / REFILL_SECONDS);
            object.warnings = object.warnings.saturating_sub(u8::try_from(refills).unwrap_or(BURST));
            object.counted = now.min(Timestamp(object.counted.0.saturating_add(refills * REFILL_SECONDS)));
        }
        objects.retain(|object| object.warnings > 0);
        if objects.is_empty() {
            objects.shrink_to_fit();
        }
        if let Some(place) = objects.iter().position(|object| object.uid == uid) {
            let mut object = objects.remove(place);
            let is_allowed = object.warnings < BURST;
            object.warnings += u8::from(is_allowed);
            objects.push(object);
            return is_allowed;
        }
        if objects.len() == REMEMBERED {
            objects.remove(0);
        }
        objects.push(Spent { uid, warnings: 1, counted: now });
        true
    }
}

/// Many clusters store Events in a separate etcd: a longer wait would delay the other reconciles.
const PATIENCE: Duration = Duration::from_secs(3);

/// The InferenceService that an Event is about.
#[derive(Clone, Copy, Debug)]
pub struct Regarding<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: Uid,
    pub generation: u32,
}

impl<'a> From<&'a Task> for Regarding<'a> {
    fn from(task: &'a Task) -> Self {
        Regarding { namespace: &task.namespace, name: &task.name, uid: task.uid, generation: task.generation }
    }
}

/// Posts a Warning. Failing to post it does not fail the reconcile.
pub async fn warn(context: &Context, about: Regarding<'_>, reason: &str, message: &str) {
    // The log already contains the same message.
    let _ = tokio::time::timeout(PATIENCE, post(context, about, reason, message)).await;
}

async fn post(context: &Context, about: Regarding<'_>, reason: &str, message: &str) {
    let event = build(about, reason, message, (context.now)());
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", about.namespace);
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(event.to_string().into_bytes());
    let Ok(request) = request else { return };
    match request::send(&context.client, request, &[]).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 || is_of_a_namespace_that_goes(&status) => {}
        Err(error) => {
            tracing::warn!(
                namespace = about.namespace,
                name = about.name,
                "cannot post an Event: {}",
                describe(&error)
            );
        }
    }
}

fn build(about: Regarding, reason: &str, message: &str, now: Timestamp) -> Value {
    let mut hasher = fnv::FnvHasher::default();
    // Messages that differ only in numbers, such as the usage of a quota, make the same Event.
    let words: String = message.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    for part in [&*about.uid.to_string(), &about.generation.to_string(), reason, &words] {
        hasher.write(part.as_bytes());
    }
    let time = Utc::from(now);
    let note: String = message.chars().take(NOTE_LIMIT / 4).collect();
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": about.namespace, "name": format!("{}.{:016x}", about.name, hasher.finish())},
        "type": "Warning",
        "eventTime": format!("{time:.6}"),
        "action": "Reconcile",
        "reason": reason,
        "note": note,
        "reportingController": format!("{}/{MANAGED_BY}", api::GROUP),
        "reportingInstance": MANAGED_BY,
        "regarding": {
            "apiVersion": api::API_VERSION, "kind": api::KIND,
            "namespace": about.namespace, "name": about.name, "uid": about.uid.to_string()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(number: u32) -> Uid {
        format!("00000000-0000-4000-8000-{number:012x}").parse().expect("a uid")
    }

    #[test]
    fn an_object_is_warned_of_25_times_in_a_row_and_then_once_in_five_minutes() {
        let limit = Limit::default();
        let allowed = (0..60).filter(|second| limit.allow(uid(1), Timestamp(1000 + second))).count();
        assert_eq!(allowed, usize::from(BURST));
        assert!(limit.allow(uid(2), Timestamp(1059)), "each object has its own");
        assert!(
            limit.allow(uid(1), Timestamp(1000 + REFILL_SECONDS))
                && !limit.allow(uid(1), Timestamp(1001 + REFILL_SECONDS))
        );
        assert!(limit.allow(uid(1), Timestamp(500)), "a clock that is set back freezes nothing");
    }

    #[test]
    fn only_so_many_objects_are_remembered_and_none_for_ever() {
        let limit = Limit::default();
        for number in 0..10_000 {
            assert!(limit.allow(uid(number), Timestamp(1000)));
        }
        assert_eq!(limit.0.lock().expect("no panic").len(), REMEMBERED);
        assert!(limit.allow(uid(1), Timestamp(1000 + REFILL_SECONDS)));
        assert_eq!(limit.0.lock().expect("no panic").len(), 1);
    }

    #[test]
    fn an_object_that_is_warned_of_again_and_again_is_remembered_whoever_else_is() {
        let limit = Limit::default();
        let allowed = (1..=1000).filter(|&other| {
            limit.allow(uid(other), Timestamp(1000));
            limit.allow(uid(0), Timestamp(1000))
        });
        assert_eq!(allowed.count(), usize::from(BURST));
    }
}
