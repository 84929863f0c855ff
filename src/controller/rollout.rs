//! The rollout of a change by the administrator: other settings, or another release. Which InferenceServices still wait
//! for their turn, and which are on their way. Owned by the index; pure; holds nothing while no rollout is on.

use crate::controller::index::Slot;

/// What a rollout sees of one InferenceService.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Something is still to be done.
    Busy,
    /// Replicas are starting.
    Starting,
    /// Its replicas are ready, or it was paused meanwhile.
    Well,
    /// It is not Ready, and that is in its status.
    Down,
    /// Its user has to correct the spec. Until then its children stay as they are, and there is nothing to wait for.
    Rejected,
    /// It is being deleted.
    Leaving,
}

#[derive(Debug, Default)]
pub struct Rollout {
    waiting: Vec<Waiting>,
    under_way: Vec<UnderWay>,
    halted_by: Option<Slot>,
}

#[derive(Debug)]
struct Waiting {
    slot: Slot,
    replicas: u32,
    /// A rollout has taken it down, and another one came before it was Ready again.
    was_taken_down: bool,
}

#[derive(Debug)]
struct UnderWay {
    slot: Slot,
    /// Before its turn came, so the rollout has not taken it down, and does not wait until it is Ready.
    was_down: bool,
}

impl Rollout {
    /// It waits for its turn, even if it is on its way: what it is on its way to is out of date.
    pub fn add(&mut self, slot: Slot, replicas: u32) {
        let was_taken_down = self.take_off(slot);
        self.waiting.push(Waiting { slot, replicas, was_taken_down });
    }

    /// Another rollout begins: who waits for it is still to be added.
    pub fn begin_anew(&mut self) {
        self.stop_waiting(|_| true);
        self.halted_by = None;
    }

    /// What an earlier rollout has taken down stays so, whether it had its turn again or not.
    fn stop_waiting(&mut self, which: impl Fn(Slot) -> bool) {
        let gone = self.waiting.extract_if(.., |waiting| which(waiting.slot));
        let down = gone.filter(|waiting| waiting.was_taken_down);
        self.under_way.extend(down.map(|waiting| UnderWay { slot: waiting.slot, was_down: false }));
    }

    /// It was on its way when an earlier process ended.
    pub fn resume(&mut self, slot: Slot) {
        self.take_off(slot);
        self.under_way.push(UnderWay { slot, was_down: false });
    }

    /// It is about to be brought up to date for another reason: its user has changed the spec, say.
    pub fn overtake(&mut self, slot: Slot) {
        self.stop_waiting(|waiting| waiting == slot);
    }

    pub fn remove(&mut self, slot: Slot) {
        self.take_off(slot);
        self.halted_by = self.halted_by.filter(|halted| *halted != slot);
    }

    /// Each is on one of the two lists at most, once, also if a list of the API server was cut short and read again.
    /// True: a rollout has taken it down.
    fn take_off(&mut self, slot: Slot) -> bool {
        let waited = self.waiting.extract_if(.., |waiting| waiting.slot == slot);
        let was_taken_down = waited.filter(|waiting| waiting.was_taken_down).count() > 0;
        let left = self.under_way.extract_if(.., |under_way| under_way.slot == slot);
        // Both to their ends, or some would stay.
        left.filter(|under_way| !under_way.was_down).count() > 0 || was_taken_down
    }

    pub fn is_under_way(&self, slot: Slot) -> bool {
        self.under_way.iter().any(|under_way| under_way.slot == slot)
    }

    pub fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// The InferenceService that has not become Ready again: nothing goes on before it is.
    pub fn halted_by(&self) -> Option<Slot> {
        self.halted_by
    }

    /// Whose turn is it? At most `limit` are under way at a time. `state`: how each is now. `order`: of two in the same
    /// state with as many replicas, which comes first.
    pub fn next<K: Ord>(
        &mut self,
        limit: usize,
        state: impl Fn(Slot) -> State,
        order: impl Fn(Slot) -> K,
    ) -> Option<Slot> {
        self.under_way.retain(|under_way| match state(under_way.slot) {
            State::Busy => true,
            State::Starting | State::Down => !under_way.was_down,
            State::Well | State::Rejected | State::Leaving => false,
        });
        self.waiting.retain(|waiting| state(waiting.slot) != State::Leaving);
        let failed = self.under_way.iter().find(|under_way| state(under_way.slot) == State::Down);
        self.halted_by = failed.filter(|_| !self.waiting.is_empty()).map(|failed| failed.slot);
        if self.halted_by.is_some() || self.under_way.len() >= limit {
            return None;
        }
        // A bad change is found where it costs least.
        let is_well = |slot| state(slot) == State::Well;
        let cost = |waiting: &Waiting| (is_well(waiting.slot), waiting.replicas, order(waiting.slot));
        let (position, _) = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| cost(waiting))?;
        let Waiting { slot, was_taken_down, .. } = self.waiting.swap_remove(position);
        let is_down = matches!(state(slot), State::Down | State::Rejected);
        self.under_way.push(UnderWay { slot, was_down: is_down && !was_taken_down });
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: fn(Slot) -> State = |_| State::Well;

    fn of(waiting: &[(Slot, u32)]) -> Rollout {
        let mut rollout = Rollout::default();
        for (slot, replicas) in waiting {
            rollout.add(*slot, *replicas);
        }
        rollout
    }

    fn next(rollout: &mut Rollout, limit: usize, state: impl Fn(Slot) -> State) -> Option<Slot> {
        rollout.next(limit, state, |slot| slot)
    }

    #[test]
    fn whoever_is_named_again_is_on_one_list_and_once() {
        let mut rollout = of(&[(0, 1), (0, 1), (1, 1)]);
        assert_eq!((rollout.waiting(), next(&mut rollout, 1, |_| State::Well)), (2, Some(0)));
        rollout.add(0, 1);
        rollout.add(0, 1);
        rollout.overtake(0);
        rollout.resume(0);
        assert_eq!((rollout.waiting(), rollout.under_way()), (1, 1));
        rollout.add(0, 1);
        assert_eq!(next(&mut rollout, 1, |_| State::Down), Some(0), "it has nobody to wait for, least of all itself");
    }

    #[test]
    fn no_more_than_allowed_are_under_way_and_each_is_waited_for() {
        let mut rollout = of(&[(0, 1), (1, 1), (2, 1)]);
        assert_eq!(next(&mut rollout, 2, WELL), Some(0));
        let busy = |busy: &'static [Slot]| move |slot| if busy.contains(&slot) { State::Busy } else { State::Well };
        assert_eq!(next(&mut rollout, 2, busy(&[0])), Some(1));
        assert_eq!(next(&mut rollout, 2, busy(&[0, 1])), None);
        assert_eq!(next(&mut rollout, 2, busy(&[0])), Some(2));
        assert_eq!((rollout.waiting(), rollout.under_way()), (0, 2));
        assert_eq!(next(&mut rollout, 2, WELL), None);
        assert_eq!((rollout.waiting(), rollout.under_way(), rollout.halted_by()), (0, 0, None));
    }

    #[test]
    fn what_is_down_comes_first_then_the_smallest_and_then_by_name() {
        let down = |slot| if slot == 4 { State::Down } else { State::Well };
        let mut rollout = of(&[(0, 3), (1, 2), (2, 1), (3, 1), (4, 9)]);
        let order: Vec<Slot> = std::iter::from_fn(|| rollout.next(9, down, |slot| 100 - slot)).collect();
        assert_eq!(order, [4, 3, 2, 1, 0]);
    }

    #[test]
    fn a_rollout_halts_at_the_first_that_does_not_become_ready_and_goes_on_when_it_is() {
        let mut rollout = of(&[(0, 1), (1, 1), (2, 1)]);
        assert_eq!(next(&mut rollout, 2, WELL), Some(0));
        let first_is = |state| move |slot| if slot == 0 { state } else { State::Well };
        assert_eq!(next(&mut rollout, 2, first_is(State::Down)), None, "though two are allowed");
        assert_eq!(rollout.halted_by(), Some(0));
        assert_eq!(next(&mut rollout, 2, WELL), Some(1));
        assert_eq!(rollout.halted_by(), None);
    }

    #[test]
    fn one_whose_user_has_made_a_mistake_meanwhile_holds_up_nobody() {
        let mut rollout = of(&[(0, 1), (1, 1)]);
        assert_eq!(next(&mut rollout, 1, WELL), Some(0));
        let first_is = |state| move |slot| if slot == 0 { state } else { State::Well };
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), None);
        assert_eq!(next(&mut rollout, 1, first_is(State::Rejected)), Some(1));
    }

    /// Or else one model that nobody can run would hold up a fleet.
    #[test]
    fn what_was_down_before_its_turn_holds_up_nobody() {
        let mut rollout = of(&[(0, 1), (1, 1)]);
        let first_is = |state| move |slot| if slot == 0 { state } else { State::Well };
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), Some(0));
        assert_eq!(next(&mut rollout, 1, first_is(State::Busy)), None);
        assert_eq!(next(&mut rollout, 1, first_is(State::Starting)), Some(1));
    }

    #[test]
    fn a_restart_in_the_middle_releases_no_second_one() {
        let mut rollout = of(&[(1, 1)]);
        rollout.resume(0);
        let first_is = |state| move |slot| if slot == 0 { state } else { State::Well };
        assert_eq!(next(&mut rollout, 1, first_is(State::Starting)), None);
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), None);
        assert_eq!(rollout.halted_by(), Some(0));
        assert_eq!(next(&mut rollout, 1, WELL), Some(1));
    }

    #[test]
    fn what_leaves_or_is_changed_by_its_user_is_not_waited_for() {
        let mut rollout = of(&[(0, 1), (1, 1), (2, 1)]);
        assert_eq!(next(&mut rollout, 1, WELL), Some(0));
        rollout.overtake(1);
        let leaving = |slot| if slot == 0 { State::Leaving } else { State::Well };
        assert_eq!(next(&mut rollout, 1, leaving), Some(2));
        rollout.remove(2);
        assert_eq!((rollout.waiting(), rollout.under_way()), (0, 0));
    }

    /// Where all of them go at once, nobody asks for the next.
    #[test]
    fn a_rollout_of_which_nothing_is_left_is_not_halted() {
        let mut rollout = of(&[(0, 1), (1, 1)]);
        assert_eq!(next(&mut rollout, 1, WELL), Some(0));
        assert_eq!(next(&mut rollout, 1, |_| State::Down), None);
        assert_eq!(rollout.halted_by(), Some(0));
        rollout.remove(1);
        rollout.remove(0);
        assert!(rollout.is_over() && rollout.halted_by().is_none());
    }

    /// The mend of a bad change has to prove itself where the bad one was found, before it takes down another.
    #[test]
    fn what_one_rollout_has_taken_down_is_the_first_that_the_next_one_waits_for() {
        let mut rollout = of(&[(0, 1), (1, 1)]);
        let first_is = |state| move |slot| if slot == 0 { state } else { State::Well };
        assert_eq!(next(&mut rollout, 1, WELL), Some(0));
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), None);
        assert_eq!(rollout.halted_by(), Some(0));
        rollout.begin_anew();
        assert_eq!(rollout.halted_by(), None);
        rollout.add(0, 9);
        rollout.add(1, 1);
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), Some(0));
        assert_eq!(next(&mut rollout, 1, first_is(State::Starting)), None);
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), None);
        assert_eq!(rollout.halted_by(), Some(0));
        assert_eq!(next(&mut rollout, 1, WELL), Some(1));
    }

    /// Or else each further change would take down one more.
    #[test]
    fn a_change_that_does_not_concern_what_halts_a_rollout_leaves_it_halted() {
        let mut rollout = of(&[(0, 1), (1, 1)]);
        let first_is = |state| move |slot| if slot == 0 { state } else { State::Well };
        assert_eq!(next(&mut rollout, 1, WELL), Some(0));
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), None);
        rollout.begin_anew();
        rollout.add(1, 1);
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), None);
        assert_eq!(rollout.halted_by(), Some(0));
    }

    /// Changes that follow each other before anybody has had a turn.
    #[test]
    fn what_was_taken_down_is_not_forgotten_over_two_changes() {
        let first_is = |state| move |slot| if slot == 0 { state } else { State::Well };
        let mut rollout = of(&[(0, 1), (1, 1)]);
        assert_eq!(next(&mut rollout, 1, WELL), Some(0));
        for _ in 0..2 {
            rollout.begin_anew();
            rollout.add(0, 1);
            rollout.add(1, 1);
        }
        assert_eq!((rollout.waiting(), rollout.under_way()), (2, 0));
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), Some(0));
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), None);
        rollout.begin_anew();
        assert!(!rollout.is_over(), "a change that concerns nobody: it is not Ready yet");
        rollout.add(0, 1);
        rollout.add(1, 1);
        rollout.overtake(0);
        assert_eq!(next(&mut rollout, 1, first_is(State::Down)), None, "a repair: it is not Ready yet");
        assert_eq!(rollout.halted_by(), Some(0));
    }

    #[test]
    fn one_that_lasts_longer_than_the_rollout_does_not_halt_it() {
        let mut rollout = of(&[(0, 1)]);
        assert_eq!(next(&mut rollout, 1, WELL), Some(0));
        assert_eq!(next(&mut rollout, 1, |_| State::Down), None);
        assert_eq!((rollout.halted_by(), rollout.under_way()), (None, 1), "nothing is left to be held up");
    }
}
