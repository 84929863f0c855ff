//! What a rollout sees of one InferenceService.

use super::*;
use crate::controller::rollout::State;

#[test]
fn a_rollout_sees_what_is_acted_on_what_serves_and_what_does_not() {
    let (nothing, spec) = (Dirty::empty(), Dirty::SPEC);
    for (phase, dirty, flags, failures, expected) in [
        (Some(Phase::Ready), nothing, Flags::empty(), 0, State::Well),
        (Some(Phase::Paused), nothing, Flags::empty(), 0, State::Well),
        (Some(Phase::Ready), Dirty::COUNT | Dirty::DUE, Flags::empty(), 0, State::Well),
        (Some(Phase::Ready), spec, Flags::empty(), 0, State::Busy),
        (Some(Phase::Ready), spec, Flags::empty(), 1, State::Busy),
        (Some(Phase::Ready), nothing, Flags::IN_FLIGHT, 0, State::Busy),
        (Some(Phase::Ready), nothing, Flags::IN_FLIGHT | Flags::LOOKING, 0, State::Well),
        (Some(Phase::Ready), spec, Flags::IN_FLIGHT | Flags::LOOKING, 0, State::Busy),
        (Some(Phase::Progressing), nothing, Flags::empty(), 0, State::Starting),
        (None, nothing, Flags::empty(), 0, State::Starting),
        (None, nothing, Flags::empty(), 1, State::Starting),
        (Some(Phase::Failed), nothing, Flags::empty(), 0, State::Rejected),
        (Some(Phase::Failed), spec, Flags::empty(), 0, State::Busy),
        (Some(Phase::Failed), spec, Flags::empty(), 1, State::Down),
        (Some(Phase::Degraded), nothing, Flags::empty(), 0, State::Down),
        (Some(Phase::Pending), nothing, Flags::empty(), 0, State::Down),
        (Some(Phase::Degraded), spec, Flags::empty(), 0, State::Busy),
        (Some(Phase::Degraded), spec, Flags::empty(), 1, State::Down),
        (Some(Phase::Ready), spec, Flags::DELETING, 0, State::Leaving),
        (Some(Phase::Degraded), nothing, Flags::GONE, 1, State::Leaving),
    ] {
        let summary = phase.map(|phase| Summary { phase, ..Summary::default() });
        let record = Record { failures, flags, dirty, summary, ..settled() };
        assert_eq!(record.state(), expected, "{phase:?} {dirty:?} {flags:?} {failures}");
    }
}

/// Found by the simulation, seed 3619: the status of the catalogue went to and fro.
#[test]
fn a_look_at_what_has_halted_a_rollout_does_not_let_it_go_on() {
    for (dirty, expected) in [(Dirty::DUE, State::Down), (Dirty::COUNT, State::Down), (Dirty::ROLLOUT, State::Busy)] {
        let mut record =
            record(&object(UID, 100, 1, status_of(1, CONFIG_HASH, Phase::Degraded, "ReplicasUnavailable")));
        record.dirty = dirty;
        assert_eq!(record.state(), expected, "{dirty:?}");
        let _ = record.start("ns".into(), "demo".into(), None);
        assert_eq!(record.state(), expected, "{dirty:?} in flight");
    }
}
