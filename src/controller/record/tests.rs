//! How each thing that is seen, and each end of work, changes one record.

use serde_json::Value;

use super::*;
use crate::controller::names::Names;
use crate::controller::samples::{CONFIGURATION, OTHER_UID, STAMPS, UID, child, done, object, ready, status_of};
use crate::error::Error;

fn record(object: &InferenceService) -> Record {
    let name = Names::default().add("demo").expect("a name");
    Record::new(0, name, object, CONFIGURATION, true)
}

/// As its status says, with both children.
fn settled() -> Record {
    let record = record(&ready(100, 1));
    assert!(record.is_settled() && record.stamps == STAMPS);
    record
}

/// Without children, and with nothing to do.
fn childless() -> Record {
    Record { stamps: Stamps::default(), ..settled() }
}

fn depart(record: &mut Record, reasons: Reasons) -> Departed {
    record.reasons = reasons;
    Departed::from(&record.depart("ns".into(), "demo".into(), None))
}

/// Work that ends with these stamps, and with nothing to say.
fn ends(record: &Record, generation: u32, stamps: Stamps) -> Done {
    Done { summary: record.summary, ..done(generation, stamps, None) }
}

#[test]
fn each_mark_is_set_and_taken_away_alone() {
    let marks = [
        State::IN_FLIGHT,
        State::GONE,
        State::DELETING,
        State::LISTED,
        State::DEPLOYMENT_LISTED,
        State::SERVICE_LISTED,
    ];
    for mark in marks {
        let mut state = State::default();
        state.set(mark, true);
        state.set(mark, true);
        assert_eq!(marks.map(|other| state.has(other)), marks.map(|other| other == mark));
        for other in marks {
            state.set(other, true);
        }
        state.set(mark, false);
        state.set(mark, false);
        assert_eq!(marks.map(|other| state.has(other)), marks.map(|other| other != mark));
    }
    assert_eq!(marks.map(|mark| State::ALL_LISTED.has(mark)), [false, false, false, true, true, true]);
}

#[test]
fn nothing_is_done_for_one_that_goes() {
    for mark in [State::DELETING, State::GONE] {
        let mut record = settled();
        record.reasons = Reasons::ALL;
        assert!(!record.is_settled());
        record.state.set(mark, true);
        assert!(record.is_settled());
    }
}

#[test]
fn of_somebody_elses_child_only_the_loss_of_ours_is_news() {
    for kind in [ChildKind::Deployment, ChildKind::Service] {
        for (what, mut record, version, expected) in [
            ("lost", settled(), 61, true),
            ("as it is known", settled(), if kind == ChildKind::Service { 60 } else { 50 }, false),
            ("from the past", settled(), 49, false),
            ("never ours", childless(), 61, false),
        ] {
            assert_eq!(record.observe_child(kind, &child(version, 1, OTHER_UID), false), expected, "{what}");
            assert_eq!(record.reasons == kind.reason(), expected, "{what}");
        }
    }
}

#[test]
fn of_our_own_child_what_is_new_is_news() {
    for (what, kind, version, listed, reason) in [
        ("a Service", ChildKind::Service, 61, false, Reasons::SERVICE),
        ("a Service, again", ChildKind::Service, 60, false, Reasons::NONE),
        ("a listed Service", ChildKind::Service, 60, true, Reasons::NONE),
        ("a listed Service from the past", ChildKind::Service, 59, true, Reasons::SERVICE),
        ("a Deployment's status", ChildKind::Deployment, 51, false, Reasons::PROGRESS),
        ("a Deployment, again", ChildKind::Deployment, 50, false, Reasons::NONE),
        ("a listed Deployment", ChildKind::Deployment, 50, true, Reasons::NONE),
        ("a listed Deployment from the past", ChildKind::Deployment, 49, true, Reasons::PROGRESS),
    ] {
        let mut record = settled();
        // A Service of the revision that the Deployment has is still a Service.
        assert_eq!(record.observe_child(kind, &child(version, 1, UID), listed), reason != Reasons::NONE, "{what}");
        assert_eq!(record.reasons, reason, "{what}");
    }
}

#[test]
fn that_a_child_is_gone_is_news_where_it_was_known() {
    for (what, mut record, version, expected) in [
        ("known", settled(), 51, true),
        ("known at this version", settled(), 50, true),
        ("from the past", settled(), 49, false),
        ("never known", childless(), 51, false),
    ] {
        assert_eq!(record.observe_child_gone(ChildKind::Deployment, &child(version, 1, UID)), expected, "{what}");
        assert_eq!(record.reasons == Reasons::DEPLOYMENT, expected, "{what}");
    }
}

/// A read that came before would clear the reason otherwise.
#[test]
fn a_child_that_vanished_is_ahead_of_what_was_read_before() {
    let mut record = settled();
    let departed = depart(&mut record, Reasons::PROGRESS);
    assert!(record.child_vanished(ChildKind::Deployment));
    let done = ends(&record, 1, STAMPS);
    record.land(&departed, &done, CONFIGURATION);
    assert_eq!(record.reasons, Reasons::DEPLOYMENT);
    assert!(!childless().child_vanished(ChildKind::Deployment));
}

/// The list may have been made before it, or after somebody took its label.
#[test]
fn a_service_that_a_list_does_not_name_while_it_is_made_is_looked_at_again() {
    for (kind, expected) in [(ChildKind::Service, Reasons::SERVICE), (ChildKind::Deployment, Reasons::NONE)] {
        let mut record = childless();
        let departed = depart(&mut record, Reasons::ALL);
        assert!(!record.child_vanished(kind));
        let done = ends(&record, 1, STAMPS);
        record.land(&departed, &done, CONFIGURATION);
        assert_eq!(record.reasons, expected, "{kind:?}");
        let again = depart(&mut record, Reasons::SERVICE);
        let done = ends(&record, 1, STAMPS);
        record.land(&again, &done, CONFIGURATION);
        assert_eq!(record.reasons, Reasons::NONE, "{kind:?}");
    }
    let mut idle = childless();
    assert!(!idle.child_vanished(ChildKind::Service) && !idle.state.has(State::MISSED));
}

#[test]
fn a_service_comes_along_only_where_a_spec_was_refused() {
    let failed = || Record { stamps: STAMPS.of_no_spec(), ..settled() };
    let spec_and_service = Reasons::SPEC | Reasons::SERVICE;
    for (what, mut record, reasons, expected) in [
        ("served", settled(), Reasons::SPEC, Reasons::SPEC),
        ("without a Service", childless(), Reasons::SPEC, spec_and_service),
        ("without a Service, a look", childless(), Reasons::PROGRESS, Reasons::PROGRESS | Reasons::SERVICE),
        ("refused", failed(), Reasons::SPEC, spec_and_service),
        ("refused, both", failed(), spec_and_service, spec_and_service),
        // The spec that is read may be a mended one, of which the watch has not told.
        ("refused, a look", failed(), Reasons::PROGRESS, Reasons::PROGRESS | Reasons::SERVICE),
        ("refused, an edit", failed(), Reasons::DEPLOYMENT, Reasons::DEPLOYMENT | Reasons::SERVICE),
        ("mended, and its status not written", failed(), Reasons::STATUS, Reasons::STATUS),
        ("mended anew", failed(), Reasons::STATUS | Reasons::SPEC, Reasons::STATUS | spec_and_service),
    ] {
        assert_eq!(depart(&mut record, reasons).reasons, expected, "{what}");
        assert_eq!(record.reasons, Reasons::NONE, "{what}");
    }
}

#[test]
fn a_spec_that_was_read_in_flight_is_not_acted_on_twice() {
    let newer = || object(UID, 105, 2, status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady"));
    // Its event comes before the end of the work that has read it, or after it.
    for before in [true, false] {
        let mut record = settled();
        let departed = depart(&mut record, Reasons::DEPLOYMENT);
        if before {
            record.observe(&newer(), CONFIGURATION);
        }
        let done = ends(&record, 2, STAMPS);
        record.land(&departed, &done, CONFIGURATION);
        if !before {
            record.observe(&newer(), CONFIGURATION);
        }
        assert_eq!((record.reasons, record.generation), (Reasons::NONE, 2), "before: {before}");
    }
}

#[test]
fn a_spec_that_was_read_before_a_newer_one_came_is_read_again() {
    let mut record = settled();
    let departed = depart(&mut record, Reasons::SPEC);
    record.observe(&object(UID, 105, 2, status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady")), CONFIGURATION);
    let done = ends(&record, 1, STAMPS);
    record.land(&departed, &done, CONFIGURATION);
    assert_eq!((record.reasons, record.generation), (Reasons::SPEC, 2));
}

#[test]
fn what_came_up_in_flight_for_the_same_spec_stays() {
    let mut record = settled();
    let departed = depart(&mut record, Reasons::DEPLOYMENT);
    record.reasons |= Reasons::SPEC;
    let done = ends(&record, 1, STAMPS);
    record.land(&departed, &done, CONFIGURATION);
    assert_eq!(record.reasons, Reasons::SPEC);
}

#[test]
fn an_answer_that_is_older_than_what_was_seen_is_not_taken_in() {
    let mut record = settled();
    let departed = depart(&mut record, Reasons::DEPLOYMENT);
    record.observe(&ready(120, 1), CONFIGURATION);
    record.land(&departed, &done(1, STAMPS, Some(ready(110, 1))), CONFIGURATION);
    assert_eq!((record.reasons, record.resource_version), (Reasons::NONE, 120));
    // Nor one for another of the same name.
    let mut record = settled();
    let departed = depart(&mut record, Reasons::DEPLOYMENT);
    let of_another = object(OTHER_UID, 110, 1, status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady"));
    record.land(&departed, &done(1, STAMPS, Some(of_another)), CONFIGURATION);
    assert_eq!((record.uid, record.resource_version), (departed.uid, 100));
}

#[test]
fn only_what_somebody_else_changed_counts_as_a_repair() {
    for (repaired, expected) in [(true, 1), (false, 0)] {
        let mut record = settled();
        let departed = depart(&mut record, Reasons::PROGRESS);
        let done = Done { repaired, ..ends(&record, 1, STAMPS) };
        record.land(&departed, &done, CONFIGURATION);
        assert_eq!(record.repairs, expected);
    }
}

#[test]
fn a_refusal_is_tried_again_unless_the_user_has_to_mend_the_spec() {
    let taken = || Error::NameTaken { kind: "Service", namespace: "ns".into(), name: "demo".into(), owner: "x".into() };
    for (next, failures, reasons) in [
        (Next::Settled, 0, Reasons::NONE),
        (Next::Look, 0, Reasons::STATUS),
        (Next::Count, 0, Reasons::COUNT),
        (Next::Due, 0, Reasons::DUE),
        (Next::Refused(Error::MissingField("model")), 0, Reasons::NONE),
        (Next::Refused(taken()), 4, Reasons::DEPLOYMENT),
    ] {
        let mut record = settled();
        record.failures = 3;
        let departed = depart(&mut record, Reasons::DEPLOYMENT);
        let done = Done { next, ..ends(&record, 1, STAMPS) };
        record.land(&departed, &done, CONFIGURATION);
        assert_eq!((record.failures, record.reasons), (failures, reasons), "{:?}", done.next);
        assert!(!record.state.has(State::IN_FLIGHT));
    }
}

#[test]
fn looks_are_counted_while_they_have_nothing_to_say() {
    let moving = || object(UID, 100, 1, status_of(1, CONFIGURATION, Phase::Progressing, "RollingOut"));
    for (what, object, reasons, writes, expected) in [
        ("nothing to say", moving(), Reasons::PROGRESS, false, 3),
        ("written", moving(), Reasons::PROGRESS, true, 0),
        ("Ready", ready(100, 1), Reasons::PROGRESS, false, 0),
        ("a repair", moving(), Reasons::DEPLOYMENT, false, 0),
    ] {
        let mut record = record(&object);
        record.looks = 2;
        let departed = depart(&mut record, reasons);
        let mut done = ends(&record, 1, STAMPS);
        let mut written = object.clone();
        written.identity.resource_version = 110;
        done.written = writes.then(|| Box::new(written));
        record.land(&departed, &done, CONFIGURATION);
        assert_eq!(record.looks, expected, "{what}");
    }
}

#[test]
fn what_was_seen_of_a_child_in_flight_is_not_taken_for_looked_at() {
    for (what, kind, seen, ended, expected) in [
        ("a Deployment", ChildKind::Deployment, 70, STAMPS, Reasons::PROGRESS),
        (
            "a Deployment, and it was read",
            ChildKind::Deployment,
            70,
            Stamps { deployment: 70, ..STAMPS },
            Reasons::NONE,
        ),
        ("a Service", ChildKind::Service, 70, STAMPS, Reasons::SERVICE),
        ("a Service, and it was read", ChildKind::Service, 70, Stamps { service: 70, ..STAMPS }, Reasons::NONE),
    ] {
        let mut record = settled();
        let departed = depart(&mut record, Reasons::DEPLOYMENT | Reasons::SERVICE);
        record.observe_child(kind, &child(seen, 1, UID), false);
        let done = ends(&record, 1, ended);
        record.land(&departed, &done, CONFIGURATION);
        assert_eq!(record.reasons, expected, "{what}");
    }
    // What was not in the task is as it was, whatever the stamps say.
    let mut record = settled();
    let departed = depart(&mut record, Reasons::PROGRESS);
    record.observe_child(ChildKind::Service, &child(70, 1, UID), false);
    let done = ends(&record, 1, Stamps { service: 70, ..STAMPS });
    record.land(&departed, &done, CONFIGURATION);
    assert_eq!(record.reasons, Reasons::SERVICE);
}

#[test]
fn a_status_that_nobody_vouches_for_keeps_nothing_but_the_times_of_its_conditions() {
    let mut record = settled();
    let before = record.summary.expect("a summary");
    let mut changed = status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady");
    changed["readyReplicas"] = serde_json::json!(9);
    record.observe(&object(UID, 101, 1, changed), CONFIGURATION);
    let summary = record.summary.expect("a summary");
    assert_eq!((record.reasons, summary.checksum, summary.ready_since), (Reasons::ALL, 0, before.ready_since));
    record.observe(&object(UID, 102, 1, Value::Null), CONFIGURATION);
    let summary = record.summary.expect("what was known of its times");
    assert_eq!((summary.checksum, summary.ready_since), (0, before.ready_since));
}

/// So that replicas which never come are missed in time, whatever is restarted or touched.
#[test]
fn after_a_restart_what_is_on_its_way_has_a_time_at_which_it_is_looked_at() {
    let moving = |version| object(UID, version, 1, status_of(1, CONFIGURATION, Phase::Progressing, "RollingOut"));
    let mut record = record(&moving(100));
    assert_eq!(record.reasons, Reasons::DUE);
    let since = 1000;
    record.summary = record.summary.map(|summary| Summary { abnormal_since: since, ..summary });
    assert_eq!(
        (record.load_left(10, since), record.load_left(10, since + 4), record.load_left(10, since + 60)),
        (11, 7, 0)
    );
    assert_eq!(record.load_left(10, since - 500), 11, "a clock that was set back");
}

/// What an old operator wrote says whether this spec was Ready, and since when it is not.
#[test]
fn other_settings_forget_nothing_of_the_status() {
    let record = record(&object(UID, 100, 1, status_of(1, 8, Phase::Degraded, "ReplicasUnavailable")));
    let summary = record.summary.expect("a summary");
    assert!(summary.is_current && summary.was_ready && summary.checksum == 0);
    assert_eq!((record.reasons, record.stamps), (Reasons::ALL, STAMPS));
    let of_the_spec_before = Record::new(
        0,
        record.name,
        &object(UID, 100, 2, status_of(1, 8, Phase::Ready, "ReplicasReady")),
        CONFIGURATION,
        true,
    );
    assert!(!of_the_spec_before.summary.expect("a summary").is_current);
}

/// An API server whose CRD has no such field cuts it off.
#[test]
fn a_status_whose_stamps_are_not_kept_is_written_once() {
    let mut record = settled();
    let departed = depart(&mut record, Reasons::DEPLOYMENT);
    let mut cut = status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady");
    cut.as_object_mut().expect("a status").remove("observed");
    let done = Done { summary: record.summary, ..done(1, STAMPS, Some(object(UID, 110, 1, cut.clone()))) };
    assert!(!record.land(&departed, &done, CONFIGURATION), "it is told");
    assert_eq!(record.reasons, Reasons::NONE);
    record.observe(&object(UID, 110, 1, cut.clone()), CONFIGURATION);
    record.observe(&object(UID, 111, 1, cut), CONFIGURATION);
    assert_eq!(record.reasons, Reasons::NONE, "nor when somebody touches it");
    let departed = depart(&mut record, Reasons::DEPLOYMENT);
    let kept = Done { summary: record.summary, ..self::done(1, STAMPS, Some(ready(112, 1))) };
    assert!(record.land(&departed, &kept, CONFIGURATION));
}

#[test]
fn a_spec_from_the_past_takes_nothing_back_until_it_is_read() {
    let now = || object(UID, 105, 2, status_of(2, CONFIGURATION, Phase::Ready, "ReplicasReady"));
    let past = || object(UID, 99, 1, status_of(1, CONFIGURATION, Phase::Ready, "ReplicasReady"));
    for (what, read, expected) in [("an API server that lags", 2, 2), ("a datastore that was put back", 1, 1)] {
        let mut record = record(&now());
        record.observe(&past(), CONFIGURATION);
        assert!(record.reasons.contains(Reasons::SPEC) && record.generation == 2, "{what}");
        let departed = depart(&mut record, Reasons::SPEC);
        let done = ends(&record, read, STAMPS);
        record.land(&departed, &done, CONFIGURATION);
        assert_eq!((record.reasons, record.generation), (Reasons::NONE, expected), "{what}");
    }
}

#[test]
fn what_stood_in_the_way_and_goes_is_news() {
    let mut record = childless();
    let gone = child(70, 1, OTHER_UID);
    assert!(!record.observe_child_gone(ChildKind::Deployment, &gone));
    record.failures = 7;
    assert!(record.observe_child_gone(ChildKind::Deployment, &gone));
    assert_eq!((record.reasons, record.failures, record.stamps.deployment), (Reasons::DEPLOYMENT, 0, 0));
}

/// An HPA on the child is repaired once in 45 s on average, for hours; then somebody takes it away.
#[test]
fn what_was_repaired_for_hours_is_forgotten_as_soon_as_what_was_repaired_for_minutes() {
    let mut fleet = crate::controller::fleet::Fleet::new(CONFIGURATION);
    let slot = fleet.observe(ready(100, 1), true).expect("a name");
    fleet.children_are_listed();
    let mut version = 51;
    for repair in 0..4 * 80 {
        version += 1;
        fleet.observe_child(ChildKind::Deployment, &child(version, 2, UID), false);
        let task = fleet.depart(slot).expect("work");
        let stamps = Stamps { deployment: version + 1, ..task.stamps };
        version += 1;
        let done = Done { stamps, repaired: true, ..Done::unchanged(&task) };
        fleet.land(slot, &Departed::from(&task), Ok(done));
        if repair % 7 == 6 {
            fleet.forget_repairs(1);
        }
    }
    // Half an hour in which nobody has changed anything.
    fleet.forget_repairs(6);
    let repairs = fleet.get(slot).expect("a record").repairs;
    assert!(repairs < crate::reconcile::plan::CONTESTED_AFTER, "{repairs}, one less in each five minutes");
}

/// Found by the simulation, seed 3568: at full speed, for as long as the datastore had not come to that version again.
#[test]
fn an_answer_from_a_datastore_that_was_put_back_is_written_again_ever_more_slowly() {
    let mut record = settled();
    for repairs in 1..4 {
        let departed = depart(&mut record, Reasons::ALL);
        let other = status_of(1, CONFIGURATION, Phase::Progressing, "RollingOut");
        record.land(&departed, &done(1, STAMPS, Some(object(UID, 50, 1, other))), CONFIGURATION);
        assert_eq!((record.reasons, record.repairs), (Reasons::ALL, repairs));
    }
}

/// Found by the simulation, seed 9977: the status said Ready of a spec that was never applied.
#[test]
fn a_newer_spec_that_was_read_and_could_not_be_applied_is_still_to_be_acted_on() {
    let refused = || Error::Timeout(std::time::Duration::from_secs(30));
    for (read, expected) in [(2, Reasons::SERVICE | Reasons::SPEC), (1, Reasons::SERVICE)] {
        let mut record = settled();
        let departed = depart(&mut record, Reasons::SERVICE);
        let done = Done { next: Next::Refused(refused()), ..ends(&record, read, STAMPS) };
        record.land(&departed, &done, CONFIGURATION);
        assert_eq!((record.reasons, record.generation), (expected, read));
    }
}
