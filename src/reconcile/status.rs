//! Last step of reconcile: computes the status. Pure: takes a Deployment (or an error) and the previous status,
//! returns the new status; the clock is passed in.

mod written;

use std::num::NonZeroU16;
use std::time::Duration;

use crate::api::Phase;
use crate::error::{CONTESTED, Error, Remedy};
use crate::model::hashes::Hashes;
use crate::model::view::{DeploymentCondition, DeploymentView};
use crate::model::{Abnormal, ChildKind, Instance, Reached, Summary};
use crate::reconcile::cause::{Told, phrase};
use crate::reconcile::deployment::selector;
use crate::reconcile::plan::PODS_AFTER;
use crate::time::Timestamp;
use written::past;
#[cfg(test)]
pub use written::sealed;
pub use written::{ParsedStatus, Replicas, compose, half, parse};

/// Seconds: while the phase stays the same, the status is written at most once in this interval.
pub const READY_COUNT_INTERVAL: u32 = 30;

/// For so long after a change of the Deployment, a failure that it reports may be that of the ReplicaSet before, which is
/// still there. It is looked at again then.
pub const LEFTOVER: Duration = Duration::from_secs(5);

/// How many characters of a foreign message are copied.
const LONGEST_PHRASE: usize = 1024;

/// The reason for replicas that were lost, or never became ready.
const REPLICAS_UNAVAILABLE: &str = "ReplicasUnavailable";

/// The reason while replicas are starting.
const ROLLING_OUT: &str = "RollingOut";

/// Which right would tell more: k3s-manifests/rbac.yaml.
const MAY_NOT_LIST: &str = "the operator would say why if it were allowed to list pods";

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
    /// Replicas are missing, and only their pods tell why.
    pub is_of_pods: bool,
}

impl Assessment {
    pub fn new(phase: Phase, abnormal: Abnormal, reason: &str, message: String) -> Assessment {
        let is_ready = phase == Phase::Ready;
        Assessment { phase, abnormal, is_ready, reason: reason.to_owned(), message, is_of_pods: false }
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
    /// See `Task::last_load`.
    pub last_load: Option<NonZeroU16>,
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
    /// For how long replicas have been missing, whatever is said of that.
    pub missing: Duration,
    /// The missing replicas were ready before: there is nothing to wait for.
    pub was_ready: bool,
}

impl LoadWait {
    pub fn new(before: Option<&Summary>, load_time: Duration, now: Timestamp) -> LoadWait {
        let since = |abnormal: Abnormal| {
            let since = before.filter(|before| before.abnormal == abnormal).map(|before| before.abnormal_since);
            since.map(|since| now.since(past(Some(since), now)))
        };
        let waited = since(Abnormal::Reconciling).unwrap_or_default();
        LoadWait {
            waited,
            load_time,
            // It is Stalled because they have been missing for long.
            missing: since(Abnormal::Stalled).map_or(waited, |stalled| stalled + PODS_AFTER),
            was_ready: before.is_some_and(|before| before.reached > Reached::Nothing),
        }
    }
}

/// Assesses a Deployment that belongs to the InferenceService, in Kubernetes' own words where possible. `told`: what its
/// pods tell, as far as they were asked.
pub fn assess(deployment: &DeploymentView, load_wait: LoadWait, told: &Told, subject: &Subject) -> Assessment {
    let status = &deployment.status;
    let desired = deployment.spec_replicas;
    let say = Assessment::new;
    let count = format!("{} of {desired} replicas ready", status.ready_replicas);

    // Nothing to wait for, even if the Deployment controller has not observed it yet.
    if is_scaled_to_zero(deployment) {
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
        let message =
            format!("{count}; {}; {}", phrase(&failure.message, LONGEST_PHRASE), next_look("replicaset", subject));
        return say(Phase::Degraded, Abnormal::Reconciling, &failure.reason, message);
    }
    let progressing = condition(deployment, "Progressing");
    if let Some(late) = progressing.filter(|condition| condition.reason == "ProgressDeadlineExceeded") {
        let message = format!("{count}; {}", phrase(&late.message, LONGEST_PHRASE));
        return say(Phase::Degraded, Abnormal::Stalled, &late.reason, message).told_by_pods(told, subject);
    }
    if misses_replicas(deployment) {
        let is_over = load_wait.waited >= load_wait.load_time;
        if load_wait.was_ready || is_over {
            let after = format!(" after {} s", load_wait.load_time.as_secs());
            let message = if load_wait.was_ready { count } else { count + &after };
            let said = say(Phase::Degraded, Abnormal::Reconciling, REPLICAS_UNAVAILABLE, message);
            return said.told_by_pods(told, subject);
        }
    }
    say(Phase::Progressing, Abnormal::Reconciling, ROLLING_OUT, count).told_by_pods(told, subject)
}

impl Assessment {
    /// With what the pods tell, and where to read more.
    fn told_by_pods(self, told: &Told, subject: &Subject) -> Assessment {
        let (see, what) = (next_look("pod", subject), &self.message);
        let (reason, message) = match told {
            Told::Cause(cause) => (cause.reason.to_owned(), format!("{what}; {}; {see}", cause.message)),
            Told::Forbidden => (self.reason, format!("{what}; {see} ({MAY_NOT_LIST})")),
            Told::Nothing if self.reason == ROLLING_OUT => (self.reason, self.message),
            Told::Nothing => (self.reason, format!("{what}; {see}")),
        };
        Assessment { reason, message, is_of_pods: true, ..self }
    }
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

pub fn is_scaled_to_zero(deployment: &DeploymentView) -> bool {
    deployment.spec_replicas == 0 && deployment.status.replicas == 0
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

fn next_look(kind: &str, subject: &Subject) -> String {
    format!("see: kubectl -n {} describe {kind} -l {}", subject.namespace, selector(subject.name))
}

#[cfg(test)]
mod tests;
