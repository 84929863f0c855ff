//! The decision table, one test per row.

mod status;

use serde_json::json;
use std::num::{NonZeroU16, NonZeroU64};

use super::*;
use crate::api::Phase;

use crate::reconcile::tests::{deployment, summary, task};
use crate::testing::fixtures::{OTHER_UID, STAMPS};
use crate::time::Timestamp;

#[test]
fn only_what_was_never_worked_on_is_new() {
    let task = task(Dirty::SPEC_AND_CHILDREN);
    let nothing = ObservedVersions::default();
    for (summary, versions, expected) in [
        (None, nothing, true),
        (None, ObservedVersions { service: NonZeroU64::new(60), ..nothing }, false),
        (task.summary, nothing, false),
        (task.summary, STAMPS, false),
    ] {
        assert_eq!(is_new(&Task { versions, summary, ..task.clone() }), expected, "{summary:?} {versions:?}");
    }
}

#[test]
fn a_look_is_spared_only_where_nothing_but_the_spec_has_changed() {
    let spec = Dirty::SPEC;
    for (dirty, versions, expected) in [
        (spec, STAMPS, Some(50)),
        (spec | Dirty::ROLLOUT, STAMPS, Some(50)),
        (spec | Dirty::COUNT, STAMPS, Some(50)),
        (spec | Dirty::ROLLOUT | Dirty::COUNT | Dirty::DUE, STAMPS, Some(50)),
        (spec | Dirty::ROLLOUT | Dirty::EDIT, STAMPS, None),
        (spec | Dirty::DEPLOYMENT, STAMPS, None),
        (spec | Dirty::SERVICE, STAMPS, None),
        (spec | Dirty::STATUS, STAMPS, None),
        (Dirty::ROLLOUT, STAMPS, None),
        (spec, ObservedVersions { deployment: None, ..STAMPS }, None),
        (spec, ObservedVersions { service: None, ..STAMPS }, None),
    ] {
        assert_eq!(
            known_from_watch(&Task { versions, ..task(dirty) }).map(NonZeroU64::get),
            expected,
            "{dirty:?} {versions:?}"
        );
    }
}

#[test]
fn a_deployment_is_applied_for_a_spec_and_where_it_is_not_as_it_was_left() {
    let at = |version| Step::Apply(Precondition::ResourceVersion(version));
    let untouched: fn(&mut Value) = |_| {};
    for (what, dirty, phase, change, expected) in [
        ("a look", Dirty::ROLLOUT, Phase::Ready, untouched, Step::Leave),
        ("a spec", Dirty::SPEC, Phase::Ready, untouched, at(51)),
        ("a Service", Dirty::SERVICE, Phase::Ready, untouched, Step::Leave),
        ("written just now", Dirty::STATUS, Phase::Ready, untouched, Step::Leave),
        ("an edit", Dirty::ROLLOUT, Phase::Ready, |it| it["metadata"]["generation"] = json!(2), at(51)),
        (
            "an edit of a label",
            Dirty::ROLLOUT,
            Phase::Ready,
            |it| it["metadata"]["labels"]["app.kubernetes.io/name"] = json!("x"),
            at(51),
        ),
        (
            "an annotation",
            Dirty::ROLLOUT,
            Phase::Ready,
            |it| {
                it["metadata"]["generation"] = json!(2);
                it["metadata"]["managedFields"] = json!([
                    {"manager": "inference-operator", "operation": "Apply", "time": "2026-01-01T00:00:00Z"},
                    {"manager": "kubectl-annotate", "operation": "Update", "time": "2026-01-01T00:00:00Z"}
                ]);
            },
            Step::Leave,
        ),
        (
            "another instance with other settings",
            Dirty::ROLLOUT,
            Phase::Ready,
            |it| {
                it["metadata"]["generation"] = json!(2);
                it["metadata"]["managedFields"] = json!([
                    {"manager": "inference-operator", "operation": "Apply", "time": "2026-01-01T00:00:00Z"},
                    {"manager": "kubectl-annotate", "operation": "Update", "time": "2025-12-31T00:00:00Z"}
                ]);
            },
            at(51),
        ),
    ] {
        let found = deployment(change);
        let versions = ObservedVersions { deployment_fields: found.managers.applied, ..STAMPS };
        let task = Task { summary: Some(summary(phase)), versions, ..task(dirty) };
        assert_eq!(deployment_step(&task, Some(&found)).expect("ours"), expected, "{what}");
    }
    // A rejected spec is checked again, because its surroundings may have changed.
    let refused = Task { versions: STAMPS.of_no_spec(), ..task(Dirty::ROLLOUT) };
    assert_eq!(deployment_step(&refused, Some(&deployment(untouched))).expect("ours"), at(51));
    let step = deployment_step(&task(Dirty::ROLLOUT), None).expect("not there");
    assert_eq!(step, Step::Apply(Precondition::Absent));
}

#[test]
fn a_service_is_applied_where_one_of_our_fields_is_another() {
    let untouched: fn(&mut Value) = |_| {};
    let right = json!({"type": "ClusterIP", "selector": {"a": "b"}, "ports": [{"port": 80, "name": "http"}]});
    let desired = Desired { object: json!({"spec": right}), port: None };
    for (what, change, expected) in [
        ("as it was", untouched, Step::Leave),
        (
            "what is not ours",
            |it| it["spec"]["ports"] = json!([{"port": 9}, {"port": 80, "name": "http"}]),
            Step::Leave,
        ),
        (
            "another port",
            |it| it["spec"]["ports"] = json!([{"port": 9}]),
            Step::Apply(Precondition::ResourceVersion(51)),
        ),
        (
            "a narrower selector",
            |it| it["spec"]["selector"] = json!({"a": "b", "c": "d"}),
            Step::Apply(Precondition::ResourceVersion(51)),
        ),
        ("no selector", |it| it["spec"]["selector"] = json!({}), Step::Apply(Precondition::ResourceVersion(51))),
        (
            "a label",
            |it| it["metadata"]["labels"]["app.kubernetes.io/component"] = json!("x"),
            Step::Apply(Precondition::ResourceVersion(51)),
        ),
    ] {
        let mut object = crate::reconcile::tests::deployment_json();
        object["spec"] = right.clone();
        change(&mut object);
        let found: ServiceView = serde_json::from_value(object).expect("a Service");
        let step = service_step(&task(Dirty::SERVICE), Some(&found), &desired).expect("ours");
        assert_eq!(step, expected, "{what}");
        assert_eq!(service_step(&task(Dirty::SPEC), None, &desired).expect("unread"), Step::Leave, "{what}");
    }
    let new = Task { summary: None, versions: ObservedVersions::default(), ..task(Dirty::SPEC_AND_CHILDREN) };
    assert_eq!(service_step(&new, None, &desired).expect("new"), Step::Create);
    let gone = service_step(&task(Dirty::SERVICE), None, &desired).expect("gone");
    assert_eq!(gone, Step::Apply(Precondition::Absent));
    // A field that a POST has set would stay when it is unset.
    let shaped = Desired { port: NonZeroU16::new(80), ..desired.clone() };
    assert_eq!(service_step(&new, None, &shaped).expect("new"), Step::Apply(Precondition::Absent));
}

/// Whatever else it may have: what the spec no longer sets goes away by an apply.
#[test]
fn a_service_that_the_spec_shapes_or_did_is_applied_whenever_it_is_looked_at() {
    let found: ServiceView = serde_json::from_value(crate::reconcile::tests::deployment_json()).expect("a Service");
    let desired = |port| Desired { object: json!({"spec": found.spec}), port: NonZeroU16::new(port) };
    let step = |dirty, before, port| {
        let task = Task { service_port: NonZeroU16::new(before), ..task(dirty) };
        assert_eq!(service_needs_spec(&task), before > 0 && dirty.contains(Dirty::SERVICE));
        assert!(before == 0 || known_from_watch(&task).is_none() && !is_of_service_alone(&task));
        service_step(&task, Some(&found), &desired(port)).expect("ours")
    };
    let applied = Step::Apply(Precondition::ResourceVersion(51));
    assert_eq!(step(Dirty::SERVICE, 0, 0), Step::Leave);
    assert_eq!(step(Dirty::SERVICE, 0, 80), applied);
    assert_eq!(step(Dirty::SERVICE, 80, 0), applied);
    assert_eq!(step(Dirty::SPEC, 80, 80), Step::Leave);
}

#[test]
fn nothing_is_ours_to_change_but_what_this_very_inference_service_controls_or_was_left_for_it() {
    let task = task(Dirty::SPEC_AND_CHILDREN);
    let found = |change: fn(&mut Value)| require_owned(ChildKind::Deployment, &task, Some(&deployment(change).meta));
    let known = Precondition::ResourceVersion(51);
    assert_eq!(require_owned(ChildKind::Deployment, &task, None).expect("absent"), Step::Apply(Precondition::Absent));
    assert_eq!(found(|_| {}).expect("ours"), Step::Apply(known));
    assert_eq!(found(|it| it["metadata"]["ownerReferences"] = json!([])).expect("left"), Step::Adopt(known));
    let of = |change| found(change).expect_err("not ours").to_string();
    let again = "is being deleted; it is recreated";
    for going in [
        of(|it| it["metadata"]["deletionTimestamp"] = json!("x")),
        of(|it| it["metadata"]["ownerReferences"][0]["uid"] = json!(OTHER_UID)),
        of(|it| {
            it["metadata"]["ownerReferences"] = json!([]);
            it["metadata"]["deletionTimestamp"] = json!("x");
        }),
    ] {
        assert!(going.contains(again), "{going}");
    }
    for (said, expected) in [
        (
            of(|it| {
                it["metadata"]["ownerReferences"][0]["uid"] = json!(OTHER_UID);
                it["metadata"]["ownerReferences"][0]["name"] = json!("other");
            }),
            "is controlled by InferenceService other",
        ),
        (
            of(|it| {
                it["metadata"]["ownerReferences"][0]["uid"] = json!(OTHER_UID);
                it["metadata"]["ownerReferences"][0]["apiVersion"] = json!("serving.kserve.io/v1beta1");
            }),
            "is controlled by InferenceService.serving.kserve.io demo",
        ),
        (
            of(|it| {
                it["metadata"]["ownerReferences"] = json!([]);
                it["metadata"]["labels"]["ai.example.com/inferenceservice"] = json!("other");
            }),
            "has no controller",
        ),
    ] {
        assert!(said.contains(expected), "{said}");
    }
}

/// Found by the simulation, seed 1124: the rejection stayed in the status.
#[test]
fn a_service_is_looked_at_alone_only_where_the_status_speaks_of_no_refusal() {
    for (phase, expected) in [
        (Phase::Ready, true),
        (Phase::Progressing, true),
        (Phase::Degraded, false),
        (Phase::Pending, false),
        (Phase::Failed, false),
    ] {
        let task = Task { summary: Some(summary(phase)), ..task(Dirty::SERVICE) };
        assert_eq!(is_of_service_alone(&task), expected, "{phase:?}");
        assert!(!is_of_service_alone(&Task { dirty: Dirty::SERVICE | Dirty::ROLLOUT, ..task }));
    }
    assert!(!is_of_service_alone(&Task { summary: None, ..task(Dirty::SERVICE) }));
}

/// A stale API server may have listed an older spec.
#[test]
fn a_spec_that_may_be_older_than_what_is_there_is_read_again() {
    let desired = Desired { object: json!({"spec": {}}), port: None };
    let reads =
        |change: fn(&mut Value)| Plan::new(&task(Dirty::SPEC), Some(&deployment(change)), None, &desired).reads_spec;
    assert!(!reads(|_| {}));
    assert!(reads(|it| it["metadata"]["generation"] = json!(2)));
    assert!(reads(|it| it["metadata"]["ownerReferences"] = json!([])), "its owner may be about to go");
    assert!(
        Plan::new(&task(Dirty::SPEC_AND_CHILDREN), None, None, &desired).reads_spec,
        "it was there, and may have had a newer one"
    );
    let new = Task { versions: ObservedVersions::default(), ..task(Dirty::SPEC_AND_CHILDREN) };
    assert!(!Plan::new(&new, None, None, &desired).reads_spec);
}

#[test]
fn a_wait_begins_anew_with_the_spec_and_with_the_children() {
    let same = deployment(|_| {});
    assert!(!is_anew(&task(Dirty::ROLLOUT), &same));
    assert!(!is_anew(&task(Dirty::SPEC), &same), "other settings that build the same");
    assert!(is_anew(&task(Dirty::STATUS), &same));
    assert!(is_anew(&task(Dirty::ROLLOUT), &deployment(|it| it["metadata"]["generation"] = json!(2))));
    assert!(is_anew(&Task { summary: None, ..task(Dirty::ROLLOUT) }, &same));
    let of_another_spec = Summary { is_current: false, ..summary(Phase::Ready) };
    assert!(is_anew(&Task { summary: Some(of_another_spec), ..task(Dirty::ROLLOUT) }, &same));
}

#[test]
fn what_is_read_is_what_may_have_changed() {
    let well = Some(summary(Phase::Ready));
    for (what, dirty, summary, versions, expected) in [
        ("a spec", Dirty::SPEC, well, STAMPS, Reads::Nothing(NonZeroU64::new(50).expect("not 0"))),
        ("a rollout", Dirty::ROLLOUT, well, STAMPS, Reads::Deployment),
        ("a Service", Dirty::SERVICE, well, STAMPS, Reads::ServiceFirst),
        ("a Service and a spec", Dirty::SERVICE | Dirty::SPEC, well, STAMPS, Reads::Both),
        ("all", Dirty::SPEC_AND_CHILDREN, well, STAMPS, Reads::Both),
        ("a new one", Dirty::SPEC_AND_CHILDREN, None, ObservedVersions::default(), Reads::Deployment),
    ] {
        assert_eq!(reads(&Task { versions, summary, ..task(dirty) }), expected, "{what}");
    }
}

#[test]
fn what_a_refused_spec_put_off_is_due_whatever_comes_next() {
    let refused = ObservedVersions { deployment_revision: None, ..STAMPS };
    let unmade = ObservedVersions { service: None, ..STAMPS };
    for (dirty, versions, expected) in [
        (Dirty::SPEC, STAMPS, Dirty::SPEC),
        (Dirty::SPEC, refused, Dirty::SPEC | Dirty::SERVICE),
        (Dirty::ROLLOUT, unmade, Dirty::ROLLOUT | Dirty::SERVICE),
        (Dirty::STATUS, unmade, Dirty::STATUS),
        (Dirty::STATUS | Dirty::SPEC, unmade, Dirty::STATUS | Dirty::SPEC | Dirty::SERVICE),
    ] {
        assert_eq!(due(dirty, &versions), expected, "{dirty:?} {versions:?}");
    }
}
