//! Of two operators at once, the older one leaves what the newer one has brought. Asked by reconcile before it writes;
//! sends no requests.

use super::children::{Child, Children};
use super::update_status::assess;
use super::{Context, hashes, status};
use crate::api::Phase;
use crate::model::view::{InferenceServiceView, RawSpec};
use crate::model::{Hashes, Instance, Task};

/// So many attempts in a row found that the newer one has left something undone: it is taken for gone. With the backoff
/// of recent failures that is about five minutes.
pub const GONE_AFTER_FAILURES: u8 = 45;

/// So many attempts in a row found that a newer one, which this process has met earlier, has not seen to a new
/// InferenceService: about ten seconds. There is no trace of the newer one here, and it may have ended long ago.
pub const NEW_AFTER_FAILURES: u8 = 5;

/// What a status says, as it was just read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who has brought the children. None: not said, so one that is older than any.
    pub instance: Option<Instance>,
    pub hashes: Option<Hashes>,
    pub phase: Phase,
    /// An operator wrote it, and nobody has changed it since.
    pub is_trusted: bool,
    /// It is about this very spec.
    pub is_current: bool,
    /// It reports an obstacle, which is in no Deployment.
    pub is_of_obstacle: bool,
}

impl Said {
    pub fn of(object: &InferenceServiceView) -> Option<Said> {
        let status = object.status()?;
        let (parsed, observed) = (status::parse(&status), status.observed.unwrap_or_default());
        Some(Said {
            instance: observed.instance.and_then(|instance| instance.parse().ok()),
            hashes: observed.hashes.and_then(|hashes| hashes.parse().ok()),
            phase: status.phase,
            is_trusted: parsed.trusted,
            is_current: parsed.observed_generation == object.meta.generation,
            is_of_obstacle: parsed.unfinished,
        })
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Ours, as if there were no other operator.
    Own,
    /// That of a newer one, which has built other children than we would; nothing is left undone.
    Rest,
    /// The same, and something is left undone: the newer one is about to do it.
    Wait,
    /// It was not done for long: the status is written, and the children are left.
    StatusAlone,
    /// It was not done for long: the children are those of another spec, or there are none.
    TakeOver,
}

/// Where a newer one has built other children. `failures`: attempts in a row that ended with `Turn::Wait`. `found`: the
/// phase that the Deployment is in; None: there is none.
fn of_newer(failures: u8, said: Option<&Said>, found: Option<Phase>) -> Turn {
    let current = said.filter(|said| said.is_current);
    // In these phases the newer one sees an obstacle, or has nothing to do; the Deployment shows neither.
    let is_of_spec = |phase| matches!(phase, Phase::Pending | Phase::Failed | Phase::Paused);
    let is_right = |said: &Said| said.is_trusted && (is_of_spec(said.phase) || found == Some(said.phase));
    if current.is_some_and(is_right) {
        Turn::Rest
    } else if failures < GONE_AFTER_FAILURES {
        Turn::Wait
    } else if current.is_some_and(|said| !said.is_of_obstacle) && found.is_some() {
        Turn::StatusAlone
    } else {
        Turn::TakeOver
    }
}

/// Must the InferenceService be read to see whose turn it is? `children`: with the Deployment as read.
pub fn is_in_doubt(context: &Context, task: &Task, children: &Children) -> bool {
    match &children.deployment {
        Child::Found(child) if child.meta.is_controlled_by(task.uid) => {
            let met = |instance: &Instance| context.instances.meet(instance, &task.namespace, &task.name);
            child.meta.instance.as_ref().is_some_and(met)
        }
        Child::Found(_) => false,
        Child::Unread | Child::Absent => context.instances.has_met_newer(),
    }
}

/// `spec`, `said`: of the InferenceService; None: it was not read on the way.
pub fn turn(context: &Context, task: &Task, children: &Children, spec: &RawSpec, said: Option<&Said>) -> Turn {
    let deployment = children.deployment.found();
    let owned = deployment.filter(|child| child.meta.is_controlled_by(task.uid));
    let (instance, hashes) = match (deployment, owned) {
        (_, Some(child)) => (child.meta.instance.as_ref(), child.hashes),
        // Somebody else's, or one to adopt: it has had another life.
        (Some(_), None) => (None, None),
        (None, None) => (said.and_then(|said| said.instance.as_ref()), said.and_then(|said| said.hashes)),
    };
    if !instance.is_some_and(|instance| context.instances.meet(instance, &task.namespace, &task.name)) {
        let is_new = deployment.is_none() && task.summary.is_none() && context.instances.has_met_newer();
        return if is_new && task.failures < NEW_AFTER_FAILURES { Turn::Wait } else { Turn::Own };
    }
    let (built, _) = hashes::builds(&context.settings, &task.namespace, &task.name, task.uid, spec);
    // A pause changes no child, and both say the same of it.
    if built == hashes::of_paused() || hashes.is_some_and(|hashes| hashes.children == built) {
        return Turn::Own;
    }
    of_newer(task.failures, said, owned.map(|child| assess(context, task, child).phase))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kubernetes::backoff::backoff;

    #[test]
    fn a_newer_instance_is_taken_for_gone_after_about_five_minutes_and_something_new_after_ten_seconds() {
        let wait = |failures| (1..=failures).map(|failures| backoff(failures, Duration::from_secs(10), 500)).sum();
        let (gone, new): (Duration, Duration) = (wait(GONE_AFTER_FAILURES), wait(NEW_AFTER_FAILURES));
        assert!((280..340).contains(&gone.as_secs()) && (8..15).contains(&new.as_secs()), "{gone:?}, {new:?}");
    }

    #[test]
    fn what_a_newer_instance_leaves_undone_is_waited_for_and_then_only_that_is_done() {
        let (instance, hashes, is_trusted, is_current, is_of_obstacle) = (None, None, true, true, false);
        let said =
            |phase| Some(Said { instance: instance.clone(), hashes, phase, is_trusted, is_current, is_of_obstacle });
        let is_ready = said(Phase::Ready);
        let of_earlier_spec = said(Phase::Ready).map(|said| Said { is_current: false, ..said });
        let obstacle = said(Phase::Degraded).map(|said| Said { is_of_obstacle: true, ..said });
        let edited = said(Phase::Ready).map(|said| Said { is_trusted: false, ..said });
        let (there, late) = (Some(Phase::Ready), Some(Phase::Degraded));
        for (what, said, found, at_first, at_last) in [
            ("all is done", &is_ready, there, Turn::Rest, Turn::Rest),
            ("the status is out of date", &is_ready, late, Turn::Wait, Turn::StatusAlone),
            // The Deployment is Ready, and of another spec.
            ("an obstacle is reported of one that serves", &obstacle, there, Turn::Wait, Turn::TakeOver),
            ("somebody has edited the status", &edited, there, Turn::Wait, Turn::StatusAlone),
            ("the spec was changed", &of_earlier_spec, there, Turn::Wait, Turn::TakeOver),
            ("there is no status", &None, there, Turn::Wait, Turn::TakeOver),
            ("the Deployment was deleted", &is_ready, None, Turn::Wait, Turn::TakeOver),
            ("the spec is refused", &said(Phase::Failed), there, Turn::Rest, Turn::Rest),
            ("it is paused", &said(Phase::Paused), None, Turn::Rest, Turn::Rest),
            ("an obstacle is reported", &said(Phase::Pending), None, Turn::Rest, Turn::Rest),
        ] {
            let turn = |failures| of_newer(failures, said.as_ref(), found);
            assert_eq!([turn(0), turn(GONE_AFTER_FAILURES - 1)], [at_first; 2], "{what}");
            assert_eq!([turn(GONE_AFTER_FAILURES), turn(u8::MAX)], [at_last; 2], "{what}");
        }
    }
}
