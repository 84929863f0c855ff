//! Last step of reconcile: computes the status. Pure: takes a Deployment (or an error) and the previous status,
//! returns the new status; the clock is passed in.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::api::{self, Condition, InferenceServiceStatus, Observed, Phase};
use crate::error::{CONTESTED, Error, Remedy, UNFINISHED};
use crate::model::hashes::{Hash, Hashes};
use crate::model::view::{DeploymentCondition, DeploymentView};
use crate::model::{Abnormal, ChildKind, Instance, ObservedVersions, Reached, Summary};
use crate::reconcile::deployment::selector;
use crate::time::Timestamp;

/// Seconds: while the phase stays the same, the status is written at most once in this interval.
pub const READY_COUNT_INTERVAL: u32 = 30;

/// For so long after a change of the Deployment, a failure that it reports may be that of the ReplicaSet before, which is
/// still there. It is looked at again then.
pub const LEFTOVER: Duration = Duration::from_secs(5);

/// How many characters of a foreign message are copied.
const LONGEST_PHRASE: usize = 1024;

/// The reason for replicas that were lost, or never became ready.
const REPLICAS_UNAVAILABLE: &str = "ReplicasUnavailable";

/// The condition and its reason.
const PAUSED: &str = "Paused";

/// What to report about one InferenceService.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    pub phase: Phase,
    pub abnormal: Abnormal,
    /// The condition Ready.
    pub is_ready: bool,
    pub reason: String,
    pub message: String,
}

impl Assessment {
    pub fn new(phase: Phase, abnormal: Abnormal, reason: &str, message: String) -> Assessment {
        Assessment { phase, abnormal, is_ready: phase == Phase::Ready, reason: reason.to_owned(), message }
    }
}

/// The InferenceService that a status is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub endpoint: &'a str,
    /// The generation of the spec that was reconciled.
    pub generation: u32,
    /// See `Task::service_port`.
    pub service_port: Option<NonZeroU16>,
    /// Of the children as they are, or of why there are none. None: not known.
    pub hashes: Option<Hashes>,
    /// Who has brought them. None: not known.
    pub instance: Option<&'a Instance>,
}

/// How long replicas of this spec have been starting, and how long they may take.
#[derive(Clone, Copy, Debug)]
pub struct LoadWait {
    pub waited: Duration,
    pub load_time: Duration,
    /// The missing replicas were ready before: there is nothing to wait for.
    pub was_ready: bool,
}

impl LoadWait {
    pub fn new(before: Option<&Summary>, load_time: Duration, now: Timestamp) -> LoadWait {
        let since =
            before.filter(|before| before.abnormal == Abnormal::Reconciling).map(|before| before.abnormal_since);
        LoadWait {
            waited: now.since(past(since, now)),
            load_time,
            was_ready: before.is_some_and(|before| before.reached > Reached::Nothing),
        }
    }
}

/// Assesses a Deployment that belongs to the InferenceService, in Kubernetes' own words where possible.
pub fn assess(deployment: &DeploymentView, load_wait: LoadWait, subject: &Subject) -> Assessment {
    let status = &deployment.status;
    let desired = deployment.spec_replicas;
    let say = Assessment::new;
    let count = format!("{} of {desired} replicas ready", status.ready_replicas);

    // Nothing to wait for, even if the Deployment controller has not observed it yet.
    if desired == 0 && status.replicas == 0 {
        return say(Phase::Ready, Abnormal::None, "ScaledToZero", "spec.replicas is 0: nothing runs".into());
    }
    if !is_observed(deployment) {
        let message = "waiting for the Deployment controller to observe the change".into();
        return say(Phase::Progressing, Abnormal::Reconciling, "DeploymentPending", message);
    }
    if is_complete(deployment) {
        return say(Phase::Ready, Abnormal::None, "ReplicasReady", count);
    }
    if deployment.paused {
        let Subject { namespace, name, .. } = subject;
        let message =
            format!("{count}; the Deployment is paused: kubectl -n {namespace} rollout resume deployment/{name}");
        return say(Phase::Degraded, Abnormal::Reconciling, "DeploymentPaused", message);
    }
    if let Some(failure) = failure(deployment).filter(|_| !may_be_left_over(deployment, load_wait)) {
        let message = format!("{count}; {}; {}", phrase(&failure.message), next_look("replicaset", subject));
        return say(Phase::Degraded, Abnormal::Reconciling, &failure.reason, message);
    }
    let progressing = condition(deployment, "Progressing");
    if let Some(late) = progressing.filter(|condition| condition.reason == "ProgressDeadlineExceeded") {
        let message = format!("{count}; {}; {}", phrase(&late.message), next_look("pod", subject));
        return say(Phase::Degraded, Abnormal::Stalled, &late.reason, message);
    }
    if misses_replicas(deployment) {
        if load_wait.was_ready {
            let message = format!("{count}; {}", next_look("pod", subject));
            return say(Phase::Degraded, Abnormal::Reconciling, REPLICAS_UNAVAILABLE, message);
        }
        if load_wait.waited >= load_wait.load_time {
            let message = format!("{count} after {} s; {}", load_wait.load_time.as_secs(), next_look("pod", subject));
            return say(Phase::Degraded, Abnormal::Reconciling, REPLICAS_UNAVAILABLE, message);
        }
    }
    say(Phase::Progressing, Abnormal::Reconciling, "RollingOut", count)
}

/// What is said while `spec.paused` is true. `deployment`: None: none belongs to the InferenceService.
pub fn paused(deployment: Option<&DeploymentView>) -> Assessment {
    let left = match deployment {
        Some(deployment) => {
            let (ready, desired) = (deployment.status.ready_replicas, deployment.spec_replicas);
            format!("the Deployment and the Service are left as they are; {ready} of {desired} replicas ready")
        }
        None => "nothing is created".to_owned(),
    };
    // Without its label the watch would not report that it is ready no longer.
    let is_ready = deployment
        .is_some_and(|deployment| deployment.meta.labels.managed && is_observed(deployment) && is_complete(deployment));
    let said = Assessment::new(Phase::Paused, Abnormal::Paused, PAUSED, format!("spec.paused is true: {left}"));
    Assessment { is_ready, ..said }
}

fn is_observed(deployment: &DeploymentView) -> bool {
    deployment.status.observed_generation >= deployment.meta.generation
}

/// The Deployment controller's own definition (`DeploymentComplete` in its util package).
fn is_complete(deployment: &DeploymentView) -> bool {
    let (status, desired) = (&deployment.status, deployment.spec_replicas);
    status.updated_replicas == desired && status.replicas == desired && status.available_replicas >= desired
}

fn condition<'a>(deployment: &'a DeploymentView, type_: &str) -> Option<&'a DeploymentCondition> {
    deployment.status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// That pods cannot be created.
pub fn failure(deployment: &DeploymentView) -> Option<&DeploymentCondition> {
    condition(deployment, "ReplicaFailure").filter(|condition| condition.status == "True")
}

/// A failure is then said only if it lasts. Its times do not tell whose it is: they stay while another ReplicaSet fails in
/// the same way.
fn may_be_left_over(deployment: &DeploymentView, load_wait: LoadWait) -> bool {
    deployment.meta.generation > 1 && !load_wait.was_ready && load_wait.waited < LEFTOVER
}

/// Are replicas missing after a completed rollout? The Deployment controller has no deadline for these: after a
/// scale, after a loss, or after a return to an earlier template.
pub fn misses_replicas(deployment: &DeploymentView) -> bool {
    let is_rolled_out =
        condition(deployment, "Progressing").is_some_and(|condition| condition.reason == "NewReplicaSetAvailable");
    is_rolled_out && deployment.status.available_replicas < deployment.spec_replicas
}

/// Another client keeps reverting this operator's writes. `who`: None: the child was deleted; Some(None): the field
/// manager has this operator's own name.
pub fn contested(kind: ChildKind, who: Option<Option<&str>>, subject: &Subject) -> Assessment {
    let Subject { namespace, name, .. } = subject;
    let child = format!("{} {namespace}/{name}", kind.as_str());
    let message = match who {
        None => format!("another client keeps deleting {child}; this operator recreates it each time"),
        Some(None) => format!(
            "an unknown client keeps changing {child}: a second instance of this operator with other settings, or a client \
             that removes fields (metadata.managedFields does not name it)"
        ),
        Some(Some(hpa @ "kube-controller-manager (scale)")) => format!(
            "{hpa} keeps scaling {child}: a HorizontalPodAutoscaler targets the Deployment; it must target the \
             InferenceService"
        ),
        Some(Some(who)) => format!("{who} keeps changing {child}; this operator reverts it each time"),
    };
    Assessment::new(Phase::Degraded, Abnormal::Reconciling, CONTESTED, message)
}

/// How an error appears in the status. `serving`: replicas of an earlier spec still serve.
pub fn refuse(error: &Error, serving: bool) -> Assessment {
    let (phase, abnormal) = match error.remedy() {
        Remedy::User | Remedy::UserElsewhere => (Phase::Failed, Abnormal::Stalled),
        Remedy::RetryAndReport | Remedy::Time if serving => (Phase::Degraded, Abnormal::Reconciling),
        Remedy::RetryAndReport | Remedy::Time => (Phase::Pending, Abnormal::Reconciling),
    };
    Assessment::new(phase, abnormal, error.reason(), error.to_string())
}

/// Kubernetes' own sentence, without its period so that text can follow; a very long one is cut off.
fn phrase(sentence: &str) -> &str {
    let end = sentence.char_indices().nth(LONGEST_PHRASE).map_or(sentence.len(), |(end, _)| end);
    sentence[..end].trim_end_matches('.')
}

fn next_look(kind: &str, subject: &Subject) -> String {
    format!("see: kubectl -n {} describe {kind} -l {}", subject.namespace, selector(subject.name))
}

/// The status to write, and its summary. A condition keeps its transition time while its status stays the same.
pub fn compose(
    assessment: Assessment,
    ready_replicas: i32,
    versions: ObservedVersions,
    subject: &Subject,
    before: Option<&Summary>,
    now: Timestamp,
) -> (InferenceServiceStatus, Summary) {
    let Assessment { phase, abnormal, is_ready, reason, message } = assessment;
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
            Reached::Nothing if reason == REPLICAS_UNAVAILABLE => Reached::LoadTime,
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
        ready_replicas,
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
fn past(since: Option<Timestamp>, now: Timestamp) -> Timestamp {
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
    let summary = Summary {
        checksum: checksum(status),
        phase: status.phase,
        abnormal: match () {
            () if has("Stalled") => Abnormal::Stalled,
            () if has("Reconciling") => Abnormal::Reconciling,
            () if has(PAUSED) => Abnormal::Paused,
            () => Abnormal::None,
        },
        is_current: false,
        is_ready: status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        is_contested: reasons().any(|reason| reason == CONTESTED),
        reached: match () {
            () if status.phase == Phase::Ready => Reached::Ready,
            () if !reasons().any(|reason| reason == REPLICAS_UNAVAILABLE) => Reached::Nothing,
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
        of_earlier_release: observed.hashes.is_none() && !observed.checksum.is_empty(),
    }
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

/// Over all of the status but times and `observed`, which an older CRD prunes.
fn checksum(status: &InferenceServiceStatus) -> u64 {
    let mut hash = Hash::default()
        .text(status.phase.as_str())
        .text(&status.ready_replicas.to_string())
        .text(status.endpoint.as_deref().unwrap_or_default())
        .text(status.selector.as_deref().unwrap_or_default())
        .text(&status.observed_generation.to_string());
    for condition in &status.conditions {
        for part in [&condition.type_, &condition.status, &condition.reason, &condition.message] {
            hash = hash.text(part);
        }
    }
    hash.finish()
}

#[cfg(test)]
mod tests;
