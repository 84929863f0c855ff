//! Of two operators at once, the older one leaves what the newer one has brought. Asked by reconcile before it writes;
//! must never make a model restart for a status that is late.

use super::children::{Child, Children};
use super::update_status::{assess, update_status};
use super::{Context, hashes};
use crate::api::{InferenceServiceStatus, Phase};
use crate::error::Error;
use crate::model::view::RawSpec;
use crate::model::{Hashes, Instance, Outcome, Summary, Task};

/// So many attempts in a row found that the newer one has left something undone: it is taken for gone. With the backoff
/// of recent failures that is about five minutes.
pub const GONE_AFTER_FAILURES: u8 = 45;

/// So many attempts in a row found that a newer one, which this process has met earlier, has not seen to a new
/// InferenceService: about ten seconds. There is no trace of the newer one here, and it may have ended long ago.
pub const NEW_AFTER_FAILURES: u8 = 5;

/// Who has brought children, or the reason why there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    pub instance: Instance,
    pub hashes: Option<Hashes>,
}

impl Brought {
    /// As the status says it.
    pub fn from_status(status: &InferenceServiceStatus) -> Option<Brought> {
        let observed = status.observed.as_ref()?;
        let hashes = observed.hashes.as_ref().and_then(|hashes| hashes.parse().ok());
        Some(Brought { instance: observed.instance.as_ref()?.parse().ok()?, hashes })
    }
}

/// What the older one does where a newer one has built other children than it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing is left undone.
    Rest,
    /// Something is: the newer one is about to do it.
    Wait,
    /// It was not done for long: the status is written, and the children are left.
    StatusAlone,
    /// It was not done for long: the children are those of another spec, or there are none.
    TakeOver,
}

/// `failures`: attempts in a row that ended with `Turn::Wait`. `said`: the status. `found`: the phase that the Deployment
/// is in; None: there is none.
pub fn turn(failures: u8, said: Option<&Summary>, found: Option<Phase>) -> Turn {
    let current = said.filter(|said| said.is_current);
    // In these phases the newer one sees an obstacle, or has nothing to do; the Deployment does not show either.
    let is_of_spec = |phase| matches!(phase, Phase::Pending | Phase::Failed | Phase::Paused);
    // The checksum is 0 where somebody else has changed the status.
    let is_said = |said: &&Summary| said.checksum != 0 && (is_of_spec(said.phase) || found == Some(said.phase));
    if current.is_some_and(|said| is_said(&said)) {
        Turn::Rest
    } else if failures < GONE_AFTER_FAILURES {
        Turn::Wait
    } else if current.is_some() && found.is_some() {
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
            child.instance.as_ref().is_some_and(met)
        }
        Child::Found(_) => false,
        Child::Unread | Child::Absent => context.instances.has_met_newer(),
    }
}

/// The outcome, if it is a newer instance's turn. `said`: by the InferenceService's status, if it was read on the way.
pub async fn yielded(
    context: &Context,
    task: &Task,
    children: &mut Children,
    spec: &RawSpec,
    said: Option<Brought>,
) -> Result<Option<Outcome>, Error> {
    let deployment = children.deployment.found();
    let owned = deployment.filter(|child| child.meta.is_controlled_by(task.uid));
    let brought = match (deployment, owned) {
        (_, Some(child)) => child.instance.clone().map(|instance| Brought { instance, hashes: child.hashes }),
        // Somebody else's, or one to adopt: it has had another life.
        (Some(_), None) => None,
        (None, None) => said,
    };
    let newer = brought.filter(|brought| context.instances.meet(&brought.instance, &task.namespace, &task.name));
    let Some(newer) = newer else {
        let is_new = deployment.is_none() && task.summary.is_none() && context.instances.has_met_newer();
        return if is_new && task.failures < NEW_AFTER_FAILURES { Err(Error::LeftToNewer) } else { Ok(None) };
    };
    let (built, _) = hashes::builds(&context.settings, &task.namespace, &task.name, task.uid, spec);
    if newer.hashes.is_some_and(|hashes| hashes.children == built) {
        return Ok(None);
    }
    let found = owned.map(|child| assess(context, task, child).phase);
    match turn(task.failures, task.summary.as_ref(), found) {
        Turn::Rest => Ok(Some(Outcome { versions: children.versions(task, true), ..Outcome::unchanged(task) })),
        Turn::Wait => Err(Error::LeftToNewer),
        Turn::StatusAlone => update_status(context, task, children).await.map(Some),
        Turn::TakeOver => Ok(None),
    }
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
        let said = |phase| Summary { checksum: 7, phase, is_current: true, ..Summary::default() };
        let ready = Some(said(Phase::Ready));
        let of_earlier_spec = ready.map(|said| Summary { is_current: false, ..said });
        let edited = ready.map(|said| Summary { checksum: 0, ..said });
        let (there, is) = (Some(Phase::Ready), Some(Phase::Degraded));
        for (what, said, found, at_first, at_last) in [
            ("all is done", ready, there, Turn::Rest, Turn::Rest),
            ("the status is out of date", ready, is, Turn::Wait, Turn::StatusAlone),
            ("somebody has edited the status", edited, there, Turn::Wait, Turn::StatusAlone),
            ("the spec was changed", of_earlier_spec, there, Turn::Wait, Turn::TakeOver),
            ("there is no status", None, there, Turn::Wait, Turn::TakeOver),
            ("the Deployment was deleted", ready, None, Turn::Wait, Turn::TakeOver),
            ("the spec is refused", Some(said(Phase::Failed)), there, Turn::Rest, Turn::Rest),
            ("it is paused", Some(said(Phase::Paused)), None, Turn::Rest, Turn::Rest),
            ("an obstacle is reported", Some(said(Phase::Pending)), None, Turn::Rest, Turn::Rest),
        ] {
            let turn = |failures| turn(failures, said.as_ref(), found);
            assert_eq!([turn(0), turn(GONE_AFTER_FAILURES - 1)], [at_first; 2], "{what}");
            assert_eq!([turn(GONE_AFTER_FAILURES), turn(u8::MAX)], [at_last; 2], "{what}");
        }
    }
}
