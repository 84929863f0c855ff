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
use crate::reconcile::status::Assessment;
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

/// Posts a Warning. Failing to post it does not fail the reconcile.
pub async fn warn(context: &Context, task: &Task, assessment: &Assessment) {
    // The log already contains the same message.
    let _ = tokio::time::timeout(PATIENCE, post(context, task, assessment)).await;
}

async fn post(context: &Context, task: &Task, assessment: &Assessment) {
    let event = build(task, assessment, (context.now)());
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", task.namespace);
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(event.to_string().into_bytes());
    let Ok(request) = request else { return };
    match request::send(&context.client, request, &[]).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 || is_of_a_namespace_that_goes(&status) => {}
        Err(error) => {
            tracing::warn!(namespace = task.namespace, name = task.name, "cannot post an Event: {}", describe(&error));
        }
    }
}

fn build(task: &Task, assessment: &Assessment, now: Timestamp) -> Value {
    let mut hasher = fnv::FnvHasher::default();
    // Messages that differ only in numbers, such as the usage of a quota, make the same Event.
    let words: String = assessment.message.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    for part in [&task.uid.to_string(), &task.generation.to_string(), &assessment.reason, &words] {
        hasher.write(part.as_bytes());
    }
    let time = Utc::from(now);
    let note: String = assessment.message.chars().take(NOTE_LIMIT / 4).collect();
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": task.namespace, "name": format!("{}.{:016x}", task.name, hasher.finish())},
        "type": "Warning",
        "eventTime": format!("{time:.6}"),
        "action": "Reconcile",
        "reason": assessment.reason,
        "note": note,
        "reportingController": format!("{}/{MANAGED_BY}", api::GROUP),
        "reportingInstance": MANAGED_BY,
        "regarding": {
            "apiVersion": api::API_VERSION, "kind": api::KIND,
            "namespace": task.namespace, "name": task.name, "uid": task.uid.to_string()
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
