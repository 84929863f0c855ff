//! Last step of reconcile: what the status says. Pure: a Deployment (or an error) and what the
//! status said before go in, the new status comes out; the clock is handed in.

use std::hash::Hasher;

use fnv::FnvHasher;

use crate::api::{self, Condition, InferenceServiceStatus, Observed, Phase};
use crate::error::{API_SERVER_REFUSED, Error, NAME_TAKEN, Remedy};
use crate::projection::Deployment;
use crate::reconcile::deployment::selector;

/// What is left of a status once it is written: enough to tell whether another one would differ,
/// and since when its conditions hold. 24 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Over all that the status says but times and stamps, and over the operator's configuration.
    pub checksum: u64,
    pub phase: Phase,
    pub abnormal: Abnormal,
    /// Seconds since the epoch at which Ready became what it is.
    pub ready_since: u32,
    /// Seconds since the epoch at which Reconciling or Stalled became true.
    pub abnormal_since: u32,
    /// Seconds since the epoch at which this process wrote it; 0: another did.
    pub written: u32,
}

/// Reasons that speak of something that no watch shows.
const UNFINISHED: [&str; 2] = [NAME_TAKEN, API_SERVER_REFUSED];

/// See `can_wait`.
pub const COUNT_PACE: u32 = 30;

/// The condition next to Ready, of which kstatus wants at most one, and only while it is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Abnormal {
    #[default]
    None,
    Reconciling,
    Stalled,
}

impl Abnormal {
    fn condition_type(self) -> Option<&'static str> {
        match self {
            Abnormal::None => None,
            Abnormal::Reconciling => Some("Reconciling"),
            Abnormal::Stalled => Some("Stalled"),
        }
    }
}

/// What is to be said about one InferenceService.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    pub phase: Phase,
    pub abnormal: Abnormal,
    pub reason: String,
    pub message: String,
}

/// The resourceVersions that a status is computed from, and the Deployment's revision as of the last write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    /// 0: there is no Deployment.
    pub deployment: u64,
    /// See `Identity::revision`.
    pub deployment_revision: u32,
    /// 0: there is no Service.
    pub service: u64,
}

/// Whom and what a status is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub endpoint: &'a str,
    /// The generation of the spec that was acted on.
    pub generation: u32,
    /// A hash over everything in the operator's settings that shows in children or status.
    pub configuration: u64,
}

/// What a Deployment that belongs to the InferenceService says, in Kubernetes' own words where it
/// has some. `was_ready`: the same spec has been Ready before.
pub fn assess(deployment: &Deployment, was_ready: bool, subject: &Subject) -> Assessment {
    let status = &deployment.status;
    let desired = deployment.spec_replicas;
    let condition = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_);
    let observed = status.observed_generation >= deployment.identity.generation;
    let say = |phase, abnormal, reason: &str, message: String| Assessment {
        phase,
        abnormal,
        reason: reason.to_owned(),
        message,
    };
    let count = format!("{} of {desired} replicas ready", status.ready_replicas);

    // Nothing to wait for even where the Deployment controller has not looked yet.
    if desired == 0 && status.replicas == 0 {
        return say(Phase::Ready, Abnormal::None, "ScaledToZero", "spec.replicas is 0: nothing runs".into());
    }
    if !observed {
        let message = "waiting for the Deployment controller to see the change".into();
        return say(Phase::Progressing, Abnormal::Reconciling, "DeploymentPending", message);
    }
    // What the Deployment controller itself calls complete (DeploymentComplete in its util package).
    if status.updated_replicas == desired && status.replicas == desired && status.available_replicas >= desired {
        return say(Phase::Ready, Abnormal::None, "ReplicasReady", count);
    }
    if let Some(failure) = condition("ReplicaFailure").filter(|condition| condition.status == "True") {
        let message = format!("{count}; {}; {}", phrase(&failure.message), next_look("replicaset", subject));
        return say(Phase::Degraded, Abnormal::Reconciling, &failure.reason, message);
    }
    let progressing = condition("Progressing");
    if let Some(late) = progressing.filter(|condition| condition.reason == "ProgressDeadlineExceeded") {
        let message = format!("{count}; {}; {}", phrase(&late.message), next_look("pod", subject));
        return say(Phase::Degraded, Abnormal::Stalled, &late.reason, message);
    }
    let rolled_out = progressing.is_some_and(|condition| condition.reason == "NewReplicaSetAvailable");
    if was_ready && rolled_out && status.available_replicas < desired {
        let message = format!("{count}; {}", next_look("pod", subject));
        return say(Phase::Degraded, Abnormal::Reconciling, "ReplicasUnavailable", message);
    }
    say(Phase::Progressing, Abnormal::Reconciling, "RollingOut", count)
}

/// What an error says that the user should see in the status. `serving`: replicas of an earlier
/// spec still answer.
pub fn refuse(error: &Error, serving: bool) -> Assessment {
    let (phase, abnormal) = match error.remedy() {
        Remedy::User | Remedy::UserElsewhere => (Phase::Failed, Abnormal::Stalled),
        Remedy::TimeButTellTheUser | Remedy::Time if serving => (Phase::Degraded, Abnormal::Reconciling),
        Remedy::TimeButTellTheUser | Remedy::Time => (Phase::Pending, Abnormal::Reconciling),
    };
    Assessment { phase, abnormal, reason: error.reason().to_owned(), message: error.to_string() }
}

/// Kubernetes' own sentence, to go on behind it.
fn phrase(sentence: &str) -> &str {
    sentence.trim_end_matches('.')
}

fn next_look(kind: &str, subject: &Subject) -> String {
    format!("see: kubectl -n {} describe {kind} -l {}", subject.namespace, selector(subject.name))
}

/// The status to write, and its summary. Conditions keep their time while they stay what they are.
pub fn compose(
    assessment: Assessment,
    ready_replicas: i32,
    stamps: Stamps,
    subject: &Subject,
    before: Option<&Summary>,
    now: u32,
) -> (InferenceServiceStatus, Summary) {
    let Assessment { phase, abnormal, reason, message } = assessment;
    let ready = phase == Phase::Ready;
    let ready_since = before.filter(|before| (before.phase == Phase::Ready) == ready).map(|before| before.ready_since);
    let abnormal_since = before.filter(|before| before.abnormal == abnormal).map(|before| before.abnormal_since);
    let mut summary = Summary {
        checksum: 0,
        phase,
        abnormal,
        ready_since: ready_since.filter(|&since| since != 0).unwrap_or(now),
        abnormal_since: abnormal_since.filter(|&since| since != 0).unwrap_or(now),
        written: now,
    };
    let condition = |type_: &str, holds: bool, since: u32| Condition {
        type_: type_.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.clone(),
        message: message.clone(),
        observed_generation: Some(i64::from(subject.generation)),
        last_transition_time: since,
    };
    let mut conditions = vec![condition("Ready", ready, summary.ready_since)];
    conditions.extend(abnormal.condition_type().map(|type_| condition(type_, true, summary.abnormal_since)));
    let text = |version: u64| Some(version).filter(|&version| version != 0).map(|version| version.to_string());
    let mut status = InferenceServiceStatus {
        phase,
        ready_replicas,
        endpoint: Some(subject.endpoint.to_owned()).filter(|_| stamps.service != 0),
        selector: Some(selector(subject.name)),
        observed_generation: i64::from(subject.generation),
        conditions,
        observed: None,
    };
    summary.checksum = checksum(&status, subject.configuration);
    status.observed = Some(Observed {
        deployment_resource_version: text(stamps.deployment),
        deployment_revision: Some(i64::from(stamps.deployment_revision)).filter(|_| stamps.deployment != 0),
        service_resource_version: text(stamps.service),
        checksum: format!("{:016x}", summary.checksum),
    });
    (status, summary)
}

/// Can this wait? On the way to Ready the replicas come one by one, and each would be a write: while
/// nothing but their number changes, one write in `COUNT_PACE` seconds is enough.
pub fn can_wait(before: &Summary, after: &Summary) -> bool {
    after.phase != Phase::Ready
        && (before.phase, before.abnormal) == (after.phase, after.abnormal)
        && after.written.saturating_sub(before.written) < COUNT_PACE
}

/// What a status that the API server sent amounts to. `trusted`: this operator, with this
/// configuration, wrote it, and nobody has changed it since.
pub fn read(status: &InferenceServiceStatus, configuration: u64) -> Reading {
    let since = |types: &[&str]| {
        let found = status.conditions.iter().find(|condition| types.contains(&condition.type_.as_str()));
        found.map_or(0, |condition| condition.last_transition_time)
    };
    let has = |type_: &str| status.conditions.iter().any(|condition| condition.type_ == type_);
    let summary = Summary {
        checksum: checksum(status, configuration),
        phase: status.phase,
        abnormal: match () {
            () if has("Stalled") => Abnormal::Stalled,
            () if has("Reconciling") => Abnormal::Reconciling,
            () => Abnormal::None,
        },
        ready_since: since(&["Ready"]),
        abnormal_since: since(&["Stalled", "Reconciling"]),
        written: 0,
    };
    let observed = status.observed.clone().unwrap_or_default();
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
    Reading {
        trusted: observed.checksum == format!("{:016x}", summary.checksum),
        unfinished: status.conditions.iter().any(|condition| UNFINISHED.contains(&condition.reason.as_str())),
        summary,
        observed_generation: api::generation(status.observed_generation),
        stamps: Stamps {
            deployment: number(observed.deployment_resource_version),
            deployment_revision: api::generation(observed.deployment_revision.unwrap_or(0)),
            service: number(observed.service_resource_version),
        },
    }
}

/// See `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub trusted: bool,
    /// It has to be looked at again even where nothing has changed: see `UNFINISHED`.
    pub unfinished: bool,
    pub summary: Summary,
    pub observed_generation: u32,
    pub stamps: Stamps,
}

/// FNV-1a over the fields one by one: the same on every machine and for every release, which the
/// standard library's hashers do not promise.
fn checksum(status: &InferenceServiceStatus, configuration: u64) -> u64 {
    let mut hasher = FnvHasher::default();
    let mut text = |text: &str| {
        hasher.write(text.as_bytes());
        hasher.write(&[0xff]);
    };
    text(status.phase.as_str());
    text(&status.ready_replicas.to_string());
    text(status.endpoint.as_deref().unwrap_or_default());
    text(status.selector.as_deref().unwrap_or_default());
    text(&status.observed_generation.to_string());
    text(&configuration.to_string());
    for condition in &status.conditions {
        for part in [&condition.type_, &condition.status, &condition.reason, &condition.message] {
            text(part);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
