//! What to do about the status, and when to look again.

use super::*;
use crate::model::Abnormal;
use crate::model::view::DeploymentStatus;

#[test]
fn a_status_waits_for_the_deployment_controller_and_for_the_end_of_a_contest() {
    let seen = deployment(|_| {});
    let unseen = deployment(|it| it["metadata"]["generation"] = json!(2));
    let same_unseen = deployment(|it| it["status"]["observedGeneration"] = json!(0));
    let contested = |written| Some(Summary { is_contested: true, written, ..summary(Phase::Degraded) });
    let look = |task: Task, deployment: &DeploymentView, wrote, repaired| {
        status_waits(&task, deployment, wrote, repaired, Timestamp(1000)).map(|action| action.dirty())
    };
    assert_eq!(look(task(Dirty::ROLLOUT), &seen, false, false), None);
    assert_eq!(look(task(Dirty::ROLLOUT), &unseen, false, false), Some(Dirty::STATUS), "another spec");
    assert_eq!(look(task(Dirty::ROLLOUT), &same_unseen, false, false), Some(Dirty::empty()), "its watch tells");
    assert_eq!(look(task(Dirty::ROLLOUT), &same_unseen, true, false), Some(Dirty::STATUS), "it was written");
    let late = Dirty::STATUS | Dirty::DUE;
    assert_eq!(look(task(Dirty::STATUS), &unseen, false, false), Some(late), "it was looked at once");
    assert_eq!(look(task(late), &unseen, false, false), None, "it lasts");
    let nothing = DeploymentView { spec_replicas: 0, status: DeploymentStatus::default(), ..unseen.clone() };
    assert_eq!(look(task(Dirty::STATUS), &nothing, false, false), None, "nothing is to come");
    let fifth = |dirty| Task { repairs: CONTESTED_AFTER - 1, ..task(dirty) };
    assert_eq!(look(fifth(Dirty::ROLLOUT), &unseen, true, true), None, "that is to be told");
    let told = |written| Task { summary: contested(written), ..task(Dirty::ROLLOUT) };
    assert_eq!(look(told(990), &seen, false, false), Some(Dirty::COUNT));
    assert_eq!(look(told(990), &seen, false, true), None, "it goes on");
    assert_eq!(look(told(900), &seen, false, false), None, "it is over");
}

#[test]
fn what_no_watch_tells_is_looked_at_again() {
    let late = deployment(|it| {
        it["spec"]["replicas"] = json!(3);
        it["status"]["conditions"] =
            json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
    });
    let wait = |waited| LoadWait {
        waited: Duration::from_secs(waited),
        load_time: Duration::from_secs(600),
        missing: Duration::from_secs(waited),
        was_ready: false,
    };
    let said = |phase, is_of_pods| Assessment {
        is_of_pods,
        ..Assessment::new(phase, Abnormal::Reconciling, "Reason", String::new())
    };
    let follow = |repairs, repaired, phase| {
        follow_up(&Task { repairs, ..task(Dirty::ROLLOUT) }, &late, repaired, &said(phase, false), wait(0))
    };
    assert_eq!(follow(0, false, Phase::Progressing).dirty(), Dirty::DUE);
    assert_eq!(follow(0, false, Phase::Ready).dirty(), Dirty::empty());
    assert_eq!(follow(CONTESTED_AFTER - 2, true, Phase::Ready).dirty(), Dirty::empty());
    assert_eq!(follow(CONTESTED_AFTER - 1, true, Phase::Degraded).dirty(), Dirty::COUNT);
    let failing = deployment(|it| {
        it["status"]["conditions"] = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]);
    });
    // A second more than what is left: times are whole seconds.
    for (what, found, phase, is_of_pods, waited, expected) in [
        ("a failure of the children before, or it lasts", &failing, Phase::Progressing, true, 0, Some(6)),
        ("the load time", &late, Phase::Progressing, false, 10, Some(591)),
        ("the pods", &late, Phase::Progressing, true, 0, Some(21)),
        ("the pods, soon", &late, Phase::Progressing, true, 19, Some(2)),
        ("the pods, a second look", &late, Phase::Progressing, true, 21, Some(21)),
        ("at growing distance", &late, Phase::Degraded, true, 100, Some(100)),
        ("the load time comes first", &late, Phase::Progressing, true, 590, Some(11)),
        ("five minutes at most", &late, Phase::Degraded, true, 4000, Some(300)),
        ("nothing more is to come", &late, Phase::Degraded, false, 4000, None),
    ] {
        let action = follow_up(&task(Dirty::DUE), found, false, &said(phase, is_of_pods), wait(waited));
        let after = if let Action::RequeueAfter(_, after) = action { Some(after.as_secs()) } else { None };
        assert_eq!(after, expected, "{what}");
    }
    assert!(
        !asks_pods(&said(Phase::Progressing, true), wait(19)) && asks_pods(&said(Phase::Progressing, true), wait(20))
    );
    assert!(!asks_pods(&said(Phase::Degraded, false), wait(20)));
    let first = [19, 20, 39, 40].map(|waited| urgency(&said(Phase::Progressing, true), wait(waited)));
    assert_eq!(first, [Urgency::Later, Urgency::Now, Urgency::Now, Urgency::Later]);
}

#[test]
fn a_status_is_written_where_it_says_something_else_or_a_child_was_written() {
    let (before, after) = (summary(Phase::Degraded), Summary { checksum: 2, ..summary(Phase::Ready) });
    let at = |after: &Summary, urgency| {
        let task = Task { summary: Some(before), ..task(Dirty::ROLLOUT) };
        status_step(&task, Some(&before), after, urgency)
    };
    let soon = Summary { checksum: 2, written: before.written, ..before };
    assert_eq!(at(&after, Urgency::Later), StatusStep::Write);
    assert_eq!(at(&before, Urgency::Later), StatusStep::Keep);
    assert_eq!(at(&before, Urgency::Always), StatusStep::Write);
    assert_eq!(at(&soon, Urgency::Later), StatusStep::Later);
    assert_eq!(at(&soon, Urgency::Always), StatusStep::Write);
    assert_eq!(at(&soon, Urgency::Now), StatusStep::Write);
    assert_eq!(at(&before, Urgency::Now), StatusStep::Keep);
}

#[test]
fn only_what_stays_in_its_phase_can_wait() {
    let moving = Summary { checksum: 2, written: 1000, ..summary(Phase::Progressing) };
    let before = summary(Phase::Progressing);
    for (what, before, after, expected) in [
        ("one more", Some(before), moving, true),
        ("a new spec", Some(Summary { is_current: false, ..before }), moving, false),
        ("nothing was written", None, moving, false),
        ("the same", Some(before), Summary { checksum: 1, ..moving }, false),
        ("the end", Some(before), Summary { phase: Phase::Ready, ..moving }, false),
    ] {
        assert_eq!(can_wait(&Task { summary: before, ..task(Dirty::ROLLOUT) }, &after), expected, "{what}");
    }
}

#[test]
fn what_is_like_what_was_written_of_late_can_wait() {
    let after = |written| Summary { checksum: 2, written, ..summary(Phase::Progressing) };
    for (what, before, now, expected) in [
        ("a moment ago", 1000, 1001, true),
        ("long ago", 1000, 1030, false),
        ("by another process", 0, 1001, false),
        ("a clock that was set back", 5000, 1000, false),
        ("half of the seconds is enough", 65_530, 4, true),
    ] {
        let before = Summary { written: before, ..summary(Phase::Progressing) };
        assert_eq!(can_wait(&Task { summary: Some(before), ..task(Dirty::ROLLOUT) }, &after(now)), expected, "{what}");
    }
}
