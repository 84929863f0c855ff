//! The status as it is written, and as it is read again: its conditions, the versions that it was computed from, and the
//! checksum by which a later process trusts it. Pure; used by reconcile, and by the index for what it observes.

use std::borrow::Cow;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

use super::{Assessment, PAUSED, REPLICAS_UNAVAILABLE, Subject};
use crate::api::{self, Condition, InferenceServiceStatus, Observed, Phase};
use crate::error::{CONTESTED, UNFINISHED};
use crate::model::hashes::{Hash, Hashes};
use crate::model::view::DeploymentView;
use crate::model::{Abnormal, Instance, ObservedVersions, Reached, Summary};
use crate::reconcile::cause;
use crate::reconcile::deployment::selector;
use crate::time::Timestamp;

/// The pods of an InferenceService. The default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    pub all: i32,
    pub ready: i32,
}

impl Replicas {
    pub fn of(deployment: &DeploymentView) -> Replicas {
        Replicas { all: deployment.status.replicas, ready: deployment.status.ready_replicas }
    }
}

/// The status to write, and its summary. A condition keeps its transition time while its status stays the same.
pub fn compose(
    assessment: Assessment,
    replicas: Replicas,
    versions: ObservedVersions,
    subject: &Subject,
    before: Option<&Summary>,
    now: Timestamp,
) -> (InferenceServiceStatus, Summary) {
    let Assessment { phase, abnormal, is_ready, reason, message, .. } = assessment;
    let ready_since = before.filter(|before| before.is_ready == is_ready).map(|before| before.ready_since);
    let abnormal_since = before.filter(|before| before.abnormal == abnormal).map(|before| before.abnormal_since);
    let mut summary = Summary {
        checksum: 0,
        phase,
        abnormal,
        is_current: true,
        is_ready,
        is_contested: reason == CONTESTED,
        reached: match before.map(|before| before.reached).unwrap_or_default() {
            _ if is_ready => Reached::Ready,
            Reached::Nothing if is_missed(phase, abnormal, &reason) => Reached::LoadTime,
            before => before,
        },
        written: half(now),
        ready_since: past(ready_since, now),
        abnormal_since: past(abnormal_since, now),
    };
    let condition = |type_: &str, holds: bool, since: Timestamp| Condition {
        type_: type_.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.clone(),
        message: message.clone(),
        observed_generation: Some(i64::from(subject.generation)),
        last_transition_time: since,
    };
    let mut conditions = Vec::with_capacity(2);
    // To kstatus a false Ready is something to wait for, and while paused there is nothing.
    if is_ready || phase != Phase::Paused {
        conditions.push(condition("Ready", is_ready, summary.ready_since));
    }
    conditions.extend(abnormal.condition_type().map(|type_| condition(type_, true, summary.abnormal_since)));
    let text = |version: Option<NonZeroU64>| version.map(|version| version.to_string());
    let number = |number: Option<NonZeroU32>| number.map(|number| i64::from(number.get()));
    let mut status = InferenceServiceStatus {
        phase,
        replicas: Some(replicas.all),
        ready_replicas: replicas.ready,
        last_load_seconds: subject.last_load,
        endpoint: Some(subject.endpoint.to_owned()).filter(|_| versions.service.is_some()),
        selector: Some(selector(subject.name)),
        observed_generation: i64::from(subject.generation),
        conditions,
        observed: None,
    };
    let observed = Observed {
        deployment_resource_version: text(versions.deployment),
        deployment_revision: Some(number(versions.deployment_revision).unwrap_or(0))
            .filter(|_| versions.deployment.is_some()),
        deployment_fields: number(versions.deployment_fields),
        service_resource_version: text(versions.service),
        service_port: subject.service_port,
        // Once they were Ready, whatever takes them down later is no rollout.
        hashes: subject.hashes.map(|hashes| {
            Hashes { by_rollout: hashes.by_rollout && summary.reached < Reached::Ready, ..hashes }.to_string()
        }),
        instance: subject.instance.map(Instance::to_string),
        checksum: String::new(),
    };
    summary.checksum = checksum(&status);
    status.observed = Some(Observed { checksum: seal(summary.checksum, &observed), ..observed });
    (status, summary)
}

/// A time that is unknown, or in the future because the clock was set back, becomes now.
pub(super) fn past(since: Option<Timestamp>, now: Timestamp) -> Timestamp {
    since.filter(|&since| since.is_known() && since <= now).unwrap_or(now)
}

/// See `Summary::written`.
pub fn half(time: Timestamp) -> u16 {
    #[allow(clippy::cast_possible_truncation)] // half a minute is the longest interval it measures
    let half = time.0 as u16;
    half
}

/// Parses a status from the API server. `trusted`: an operator wrote it, and nobody has changed it since.
pub fn parse(status: &InferenceServiceStatus) -> ParsedStatus {
    let since = |types: &[&str]| {
        let found = status.conditions.iter().find(|condition| types.contains(&condition.type_.as_str()));
        found.map_or(Timestamp::default(), |condition| condition.last_transition_time)
    };
    let has = |type_: &str| status.conditions.iter().any(|condition| condition.type_ == type_);
    let observed = status.observed.clone().unwrap_or_default();
    let hashes = observed.hashes.as_deref().and_then(|hashes| hashes.parse().ok());
    let reasons = || status.conditions.iter().map(|condition| condition.reason.as_str());
    let abnormal = match () {
        () if has("Stalled") => Abnormal::Stalled,
        () if has("Reconciling") => Abnormal::Reconciling,
        () if has(PAUSED) => Abnormal::Paused,
        () => Abnormal::None,
    };
    let summary = Summary {
        checksum: checksum(status),
        phase: status.phase,
        abnormal,
        is_current: false,
        is_ready: status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        is_contested: reasons().any(|reason| reason == CONTESTED),
        reached: match () {
            () if status.phase == Phase::Ready => Reached::Ready,
            () if !reasons().any(|reason| is_missed(status.phase, abnormal, reason)) => Reached::Nothing,
            // What a rollout has brought is said to be that until it is Ready.
            () if hashes.is_some_and(|hashes: Hashes| !hashes.by_rollout) => Reached::Ready,
            () => Reached::LoadTime,
        },
        written: 0,
        ready_since: since(&["Ready"]),
        abnormal_since: since(&["Stalled", "Reconciling", PAUSED]),
    };
    let version = |text: Option<String>| text.and_then(|text| text.parse().ok());
    let number = |number: Option<i64>| number.and_then(|number| NonZeroU32::new(api::generation(number)));
    ParsedStatus {
        trusted: observed.checksum == seal(summary.checksum, &observed),
        unfinished: reasons().any(|reason| UNFINISHED.contains(&reason)),
        summary,
        observed_generation: api::generation(status.observed_generation),
        versions: ObservedVersions {
            deployment: version(observed.deployment_resource_version),
            deployment_revision: number(observed.deployment_revision),
            deployment_fields: number(observed.deployment_fields),
            service: version(observed.service_resource_version),
        },
        service_port: observed.service_port,
        last_load: status.last_load_seconds,
        replicas: status.replicas,
        of_earlier_release: observed.hashes.is_none() && !observed.checksum.is_empty(),
    }
}

/// Does it say that replicas stay away for longer than they may? In Kubernetes' words, where a pod tells why.
fn is_missed(phase: Phase, abnormal: Abnormal, reason: &str) -> bool {
    let is_degraded = (phase, abnormal) == (Phase::Degraded, Abnormal::Reconciling);
    reason == REPLICAS_UNAVAILABLE || is_degraded && cause::REASONS.contains(&reason)
}

/// See `parse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedStatus {
    pub trusted: bool,
    /// It must be checked again even if nothing has changed: see `UNFINISHED`.
    pub unfinished: bool,
    pub summary: Summary,
    pub observed_generation: u32,
    pub versions: ObservedVersions,
    pub service_port: Option<NonZeroU16>,
    pub last_load: Option<NonZeroU16>,
    /// None: it is that of a release that did not write the number of pods yet.
    pub replicas: Option<i32>,
    /// It looks like that of a release that did not write hashes yet, whose checksum cannot be checked.
    pub of_earlier_release: bool,
}

/// The checksum as it is written: also over what a list of the children does not confirm. Not over the instance, so
/// that the status is trusted where an older CRD has pruned it, and by an earlier release, which does not know it.
fn seal(checksum: u64, observed: &Observed) -> String {
    let port = observed.service_port.map_or(0, NonZeroU16::get);
    let hash = Hash::default().text(&checksum.to_string()).text(&port.to_string());
    format!("{:016x}", hash.text(observed.hashes.as_deref().unwrap_or_default()).finish())
}

/// Over all of the status but times, the load time and `observed`, which an older CRD prunes. What a pod tells may count: retries, nodes,
/// seconds. No number of it makes a status another one.
fn checksum(status: &InferenceServiceStatus) -> u64 {
    let mut hash = Hash::default()
        .text(status.phase.as_str())
        .text(&status.ready_replicas.to_string())
        .text(status.endpoint.as_deref().unwrap_or_default())
        .text(status.selector.as_deref().unwrap_or_default())
        .text(&status.observed_generation.to_string());
    if let Some(replicas) = status.replicas {
        hash = hash.text(&replicas.to_string());
    }
    for condition in &status.conditions {
        let Condition { type_, status, reason, message, .. } = condition;
        let counts = cause::REASONS.contains(&reason.as_str());
        let message = if counts { Cow::Owned(without_numbers(message)) } else { Cow::Borrowed(message.as_str()) };
        for part in [type_, status, reason, &*message] {
            hash = hash.text(part);
        }
    }
    hash.finish()
}

fn without_numbers(message: &str) -> String {
    message.chars().filter(|character| !character.is_ascii_digit()).collect()
}

/// For tests: with the checksum that it should have.
#[cfg(test)]
pub fn sealed(status: InferenceServiceStatus) -> InferenceServiceStatus {
    let observed = status.observed.clone().unwrap_or_default();
    let checksum = seal(checksum(&status), &observed);
    InferenceServiceStatus { observed: Some(Observed { checksum, ..observed }), ..status }
}

#[cfg(test)]
pub(super) mod tests;
