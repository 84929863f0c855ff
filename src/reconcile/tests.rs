//! What is done for one InferenceService: the decisions as tables here, the requests below.

mod requests;

use serde_json::{Value, json};

use super::*;
use crate::controller::samples::{OTHER_UID, STAMPS, UID};
use status::Abnormal;

/// Of ns/demo, which has been looked at before; the fleet has its spec.
fn task(reasons: Reasons) -> Task {
    let spec = json!({"model": "m", "gpuType": "A100"});
    Task {
        namespace: "ns".into(),
        name: "demo".into(),
        uid: UID.parse().expect("a uid"),
        generation: 1,
        reasons,
        stamps: STAMPS,
        summary: Some(summary(Phase::Ready)),
        spec: Some(Ok(serde_json::from_value(spec).expect("a spec"))),
    }
}

fn summary(phase: Phase) -> Summary {
    Summary { checksum: 1, phase, abnormal: Abnormal::Reconciling, written: 990, ..Summary::default() }
}

/// As the API server sends it: seen by its controller and ready, of this InferenceService, as it was looked at last.
fn deployment_json() -> Value {
    json!({
        "metadata": {
            "namespace": "ns", "name": "demo", "uid": "00000000-0000-0000-0000-000000000000", "resourceVersion": "51",
            "generation": 1, "labels": {"app.kubernetes.io/managed-by": "inference-operator"},
            "ownerReferences": [{"kind": "InferenceService", "name": "demo", "uid": UID, "controller": true}]
        },
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
    })
}

/// With something changed.
fn deployment(change: fn(&mut Value)) -> Deployment {
    let mut object = deployment_json();
    change(&mut object);
    serde_json::from_value(object).expect("a Deployment")
}

#[test]
fn only_what_was_never_worked_on_is_new() {
    let task = task(Reasons::ALL);
    let nothing = Stamps::default();
    for (summary, stamps, expected) in [
        (None, nothing, true),
        (None, Stamps { service: 60, ..nothing }, false),
        (task.summary, nothing, false),
        (task.summary, STAMPS, false),
    ] {
        assert_eq!(is_new(&Task { stamps, summary, ..task.clone() }), expected, "{summary:?} {stamps:?}");
    }
}

#[test]
fn a_look_is_spared_only_where_nothing_but_the_spec_has_changed() {
    let spec = Reasons::SPEC;
    for (reasons, stamps, expected) in [
        (spec, STAMPS, Some(50)),
        (spec | Reasons::PROGRESS, STAMPS, Some(50)),
        (spec | Reasons::COUNT, STAMPS, Some(50)),
        (spec | Reasons::PROGRESS | Reasons::COUNT, STAMPS, Some(50)),
        (spec | Reasons::DEPLOYMENT, STAMPS, None),
        (spec | Reasons::SERVICE, STAMPS, None),
        (spec | Reasons::STATUS, STAMPS, None),
        (Reasons::PROGRESS, STAMPS, None),
        (spec, Stamps { deployment: 0, ..STAMPS }, None),
        (spec, Stamps { service: 0, ..STAMPS }, None),
    ] {
        assert_eq!(shown_by_watch(&Task { stamps, ..task(reasons) }), expected, "{reasons:?} {stamps:?}");
    }
}

#[test]
fn children_are_applied_when_anything_has_changed_but_the_status_of_the_deployment() {
    let untouched: fn(&mut Value) = |_| {};
    for (what, reasons, phase, change, expected) in [
        ("a look", Reasons::PROGRESS, Phase::Ready, untouched, false),
        ("a spec", Reasons::SPEC, Phase::Ready, untouched, true),
        ("a Service", Reasons::SERVICE, Phase::Ready, untouched, true),
        ("refused before", Reasons::PROGRESS, Phase::Failed, untouched, true),
        ("refused just now", Reasons::PROGRESS | Reasons::STATUS, Phase::Failed, untouched, false),
        ("written just now", Reasons::STATUS, Phase::Ready, untouched, false),
        ("an edit", Reasons::DEPLOYMENT, Phase::Ready, |it| it["metadata"]["generation"] = json!(2), true),
        ("an edit of the label", Reasons::DEPLOYMENT, Phase::Ready, |it| it["metadata"]["labels"] = json!({}), true),
        ("going", Reasons::DEPLOYMENT, Phase::Ready, |it| it["metadata"]["deletionTimestamp"] = json!("x"), true),
        ("lost", Reasons::DEPLOYMENT, Phase::Ready, |it| it["metadata"]["ownerReferences"] = json!([]), true),
    ] {
        let children = Children { deployment: Some(deployment(change)), service: None };
        let task = Task { summary: Some(summary(phase)), ..task(reasons) };
        assert_eq!(must_apply(&task, &children), expected, "{what}");
    }
    assert!(must_apply(&task(Reasons::PROGRESS), &Children { deployment: None, service: None }));
}

#[test]
fn nothing_is_ours_to_change_but_what_this_very_inference_service_controls() {
    let task = task(Reasons::ALL);
    let found = |change: fn(&mut Value)| {
        let identity = deployment(change).identity;
        own("Deployment", &task, Some(&identity)).map(|known| matches!(known, Known::ResourceVersion(51)))
    };
    assert!(matches!(own("Deployment", &task, None), Ok(Known::Absent)));
    assert!(matches!(found(|_| {}), Ok(true)));
    let of = |change| found(change).expect_err("not ours").to_string();
    let again = "is being deleted; it is made again";
    let going = of(|it| it["metadata"]["deletionTimestamp"] = json!("x"));
    assert!(going.contains(again), "{going}");
    let predecessor = of(|it| it["metadata"]["ownerReferences"][0]["uid"] = json!(OTHER_UID));
    assert!(predecessor.contains(again), "{predecessor}");
    let other_name = of(|it| {
        it["metadata"]["ownerReferences"][0]["uid"] = json!(OTHER_UID);
        it["metadata"]["ownerReferences"][0]["name"] = json!("other");
    });
    assert!(other_name.contains("is controlled by InferenceService other"), "{other_name}");
    let other_kind = of(|it| {
        it["metadata"]["ownerReferences"][0]["uid"] = json!(OTHER_UID);
        it["metadata"]["ownerReferences"][0]["kind"] = json!("HelmRelease");
    });
    assert!(other_kind.contains("is controlled by HelmRelease demo"), "{other_kind}");
    let nobodys = of(|it| it["metadata"]["ownerReferences"] = json!([]));
    assert!(nobodys.contains("has no controller"), "{nobodys}");
}

#[test]
fn a_status_is_written_for_its_stamps_where_a_child_was_written_or_taken_over() {
    let moved = Stamps { deployment_revision: 2, ..STAMPS };
    for (reasons, stamps, expected) in [
        (Reasons::PROGRESS, STAMPS, false),
        (Reasons::PROGRESS, Stamps { deployment: 70, ..STAMPS }, false),
        (Reasons::STATUS, STAMPS, true),
        (Reasons::SERVICE, STAMPS, true),
        (Reasons::PROGRESS, moved, true),
    ] {
        assert_eq!(stamps_moved(&task(reasons), &stamps), expected, "{reasons:?} {stamps:?}");
    }
}

#[test]
fn only_the_count_of_the_same_spec_can_wait() {
    let moving = Summary { checksum: 2, written: 1000, ..summary(Phase::Progressing) };
    let before = Some(summary(Phase::Progressing));
    for (what, reasons, before, after, expected) in [
        ("one more", Reasons::PROGRESS, before, moving, true),
        ("a new spec", Reasons::SPEC, before, moving, false),
        ("nothing was written", Reasons::PROGRESS, None, moving, false),
        ("the same", Reasons::PROGRESS, before, Summary { checksum: 1, ..moving }, false),
        ("the end", Reasons::PROGRESS, before, Summary { phase: Phase::Ready, ..moving }, false),
    ] {
        assert_eq!(can_wait(&Task { summary: before, ..task(reasons) }, &after), expected, "{what}");
    }
}

#[test]
fn replicas_are_missed_only_where_this_spec_had_them_all() {
    let same = deployment(|_| {});
    for (what, reasons, phase, expected) in [
        ("ready", Reasons::PROGRESS, Phase::Ready, true),
        ("degraded", Reasons::PROGRESS, Phase::Degraded, true),
        ("on its way", Reasons::PROGRESS, Phase::Progressing, false),
        ("a new spec", Reasons::SPEC, Phase::Ready, false),
    ] {
        let task = Task { summary: Some(summary(phase)), ..task(reasons) };
        assert_eq!(was_ready(&task, &same), expected, "{what}");
        assert!(!was_ready(&task, &deployment(|it| it["metadata"]["generation"] = json!(2))), "{what}");
    }
}

#[test]
fn a_service_that_was_not_looked_at_is_as_it_was() {
    let service = Service { identity: Identity { resource_version: 61, ..Identity::default() } };
    let deployment = deployment(|_| {});
    for (reasons, service, expected) in
        [(Reasons::SERVICE, Some(&service), 61), (Reasons::SERVICE, None, 0), (Reasons::PROGRESS, None, 60)]
    {
        let found = stamps(&task(reasons), Some(&deployment), service);
        assert_eq!(found, Stamps { deployment: 51, deployment_revision: 1, service: expected });
    }
}

#[test]
fn each_setting_that_shows_in_a_child_or_a_status_is_another_configuration() {
    let changes: [fn(&mut Settings); 5] = [
        |_| {},
        |settings| settings.server.image.push('x'),
        |settings| settings.server.port += 1,
        |settings| settings.server.arguments.retain(|argument| !argument.contains("maxBatchSize")),
        |settings| settings.cluster_domain.push('x'),
    ];
    let configurations = changes.map(|change| {
        let mut settings = Settings::default();
        change(&mut settings);
        configuration(&settings)
    });
    for (position, one) in configurations.iter().enumerate() {
        assert!(!configurations[..position].contains(one), "{configurations:?}");
    }
    let quiet = Settings { concurrency: 1, telemetry_address: None, ..Settings::default() };
    assert_eq!(configuration(&quiet), configurations[0], "what shows nowhere changes nothing");
}
