//! Which fields of the API server's objects are decoded, and which pass the filter.

use super::*;

const METADATA: &str = r#""metadata": {"name": "a", "namespace": "b", "uid": "0b1a2f3c-ffee-4abc-8def-0123456789ab",
    "resourceVersion": "7", "generation": 2, "managedFields": [{"manager": "x"}], "annotations": {"k": "v"},
    "labels": {"app.kubernetes.io/managed-by": "inference-operator", "other": "1"},
    "ownerReferences": [
        {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "no-uuid"},
        {"apiVersion": "ai.example.com/v1", "kind": "InferenceServiceView", "name": "a", "controller": true,
         "uid": "11111111-2222-4333-8444-555555555555"}]}"#;

fn decode<T: for<'de> Deserialize<'de>>(rest: &str) -> T {
    serde_json::from_str(&format!("{{{METADATA}{rest}}}")).expect("decodes")
}

#[test]
fn an_identity_says_who_and_whose() {
    let child: PartialDeployment = decode("");
    let meta = child.meta;
    assert_eq!((meta.name.as_str(), meta.namespace.as_str()), ("a", "b"));
    assert_eq!((meta.resource_version, meta.generation, meta.deleting), (7, 2, false));
    assert_eq!(meta.labels, Labels { managed: true, ours: false, complete: false });
    let owner = "11111111-2222-4333-8444-555555555555".parse().expect("a uid");
    assert!(meta.is_controlled_by(owner));
    assert!(!meta.is_controlled_by(meta.uid));
}

#[test]
fn a_kind_is_found_where_the_api_server_has_it() {
    assert_eq!(PartialService::path(None), "/api/v1/services");
    assert_eq!(DeploymentView::path(Some("b")), "/apis/apps/v1/namespaces/b/deployments");
    assert_eq!(InferenceServiceView::path(None), "/apis/ai.example.com/v1/inferenceservices");
    assert_eq!(
        (PartialService::resource(), DeploymentView::resource()),
        ("services".into(), "deployments.apps".into())
    );
}

fn both<K: Resource + std::fmt::Debug>(text: &str) -> (String, String) {
    both_shown(text, |kept: &K| format!("{kept:?}"))
}

fn both_shown<K: Resource>(text: &str, show: fn(&K) -> String) -> (String, String) {
    let mut pruner = crate::kubernetes::prune::Pruner::new(K::FIELDS);
    pruner.advance(&mut bytes::Bytes::copy_from_slice(text.as_bytes())).expect("JSON");
    let kept: K = serde_json::from_slice(pruner.kept()).expect("decodes");
    let whole: K = serde_json::from_str(text).expect("decodes");
    (show(&kept), show(&whole))
}

/// A field that is decoded but filtered out would always be empty.
#[test]
fn pruning_lets_through_all_that_is_decoded() {
    let text = format!(
        r#"{{{METADATA}, "spec": {{"model": "m", "gpuType": "A100", "replicas": 3, "maxBatchSize": 4}}, "status": {{
            "phase": "Ready", "readyReplicas": 2, "endpoint": "e", "selector": "s", "observedGeneration": 5,
            "conditions": [{{"type": "Ready", "status": "True", "reason": "R", "message": "M",
                "observedGeneration": 6, "lastTransitionTime": "2026-01-01T00:00:00Z"}}],
            "observed": {{"checksum": "c", "deploymentResourceVersion": "1", "deploymentRevision": 2,
                "serviceResourceVersion": "3"}},
            "replicas": 7, "updatedReplicas": 8, "availableReplicas": 9}}}}"#
    );
    for (pruned, whole) in [
        both_shown::<InferenceServiceView>(&text, |object| format!("{:?} {:?}", object.meta, object.status())),
        both::<DeploymentView>(&text),
        both::<PartialDeployment>(&text),
        both::<PartialService>(&text),
    ] {
        assert_eq!(pruned, whole);
    }
}

#[test]
fn whose_the_fields_of_a_child_are_survives_the_filter() {
    let managers = |entries: &str, uid: &str| {
        let text = format!(
            r#"{{"metadata": {{"name": "a", "resourceVersion": "7", "uid": "{uid}", "managedFields": [{entries}]}},
                "spec": {{"type": "ClusterIP", "selector": {{"a": "b"}}, "ports": [{{"port": 1}}], "other": 1}}}}"#
        );
        let mut pruner = crate::kubernetes::prune::Pruner::new(ServiceView::FIELDS);
        pruner.advance(&mut bytes::Bytes::from(text)).expect("JSON");
        let kept: ServiceView = serde_json::from_slice(pruner.kept()).expect("decodes");
        assert_eq!(kept.spec, serde_json::json!({"type": "ClusterIP", "selector": {"a": "b"}, "ports": [{"port": 1}]}));
        kept.managers
    };
    let entry = |manager: &str, rest: &str, fields: &str| {
        format!(r#"{{"manager": "{manager}", "fieldsType": "FieldsV1", "fieldsV1": {{"{fields}": {{}}}}, {rest}}}"#)
    };
    let (one, other) = ("0b1a2f3c-ffee-4abc-8def-0123456789ab", "0b1a2f3c-ffee-4abc-8def-0123456789ac");
    let ours = entry("inference-operator", r#""operation": "Apply", "time": "2026-01-01T00:00:00Z""#, "f:a");
    let later = entry("inference-operator", r#""operation": "Apply", "time": "2026-01-01T00:00:01Z""#, "f:a");
    let fewer = entry("inference-operator", r#""operation": "Apply", "time": "2026-01-01T00:00:00Z""#, "f:");
    let made = entry("inference-operator", r#""operation": "Update", "time": "2026-01-09T00:00:00Z""#, "f:a");
    let edit_at = |time| entry("kubectl-edit", &format!(r#""operation": "Update", "time": "{time}""#), "f:c");
    let edit = edit_at("2026-01-03T00:00:00Z");
    let scale = entry("hpa", r#""operation": "Update", "subresource": "scale", "time": "2026-01-04T00:00:00Z""#, "f:c");
    let status =
        entry("kcm", r#""operation": "Update", "subresource": "status", "time": "2026-01-05T00:00:00Z""#, "f:c");
    let left = managers(&ours, one);
    assert!(left.applied.is_some() && left.other.is_none() && !left.touched);
    let all = managers(&[edit.clone(), ours.clone(), scale, status.clone(), made.clone()].join(","), one);
    assert_eq!(all, Managers { applied: left.applied, touched: true, other: Some("hpa (scale)".into()) });
    assert_eq!(
        managers(&[edit, status].join(","), one),
        Managers { applied: None, touched: true, other: Some("kubectl-edit".into()) }
    );
    let before = edit_at("2025-12-31T00:00:00Z");
    assert!(!managers(&[before, ours.clone()].join(","), one).touched, "what was there before");
    for changed in [later, fewer, made] {
        assert_ne!(managers(&changed, one).applied, left.applied);
    }
    assert_ne!(managers(&ours, other).applied, left.applied, "one that was made anew");
}

#[test]
fn the_api_servers_own_default_is_no_status() {
    let object: InferenceServiceView =
        decode(r#", "spec": {"model": "m", "gpuType": "A100"}, "status": {"observedGeneration": -1}"#);
    assert!(object.status().is_none());
}

#[test]
fn a_spec_is_kept_as_it_came() {
    for spec in [r#"{"model": "m", "gpuType": 5, "x": [1]}"#, r#""none""#] {
        let object: InferenceServiceView = decode(&format!(r#", "spec": {spec}, "status": {{"phase": "Ready"}}"#));
        assert_eq!(object.spec.text(), Some(spec));
        assert_eq!(object.status().expect("status").phase, api::Phase::Ready);
    }
    let object: InferenceServiceView = decode("");
    assert_eq!(object.spec.text(), None);
}

#[test]
fn a_status_that_cannot_be_understood_counts_as_none() {
    let object: InferenceServiceView = decode(r#", "spec": {"model": "m", "gpuType": "A100"}, "status": {"phase": 3}"#);
    assert!(object.status().is_none());
    assert!(object.spec.text().is_some());
}

/// Such an InferenceService was not reconciled, and was never forgotten if it was deleted with that many owners.
#[test]
fn an_object_with_more_owners_than_are_kept_is_nobody_s_and_loses_nothing_else() {
    let owner = r#"{"kind": "ConfigMap", "name": "NAME", "uid": "u"}"#.replace("NAME", &"x".repeat(250));
    let owners = vec![owner; 200].join(",");
    let text = format!(
        r#"{{"metadata": {{"name": "a", "resourceVersion": "7", "ownerReferences": [{owners}]}}, "spec": {{"model": "m", "gpuType": "A100"}}}}"#
    );
    let mut pruner = crate::kubernetes::prune::Pruner::new(InferenceServiceView::FIELDS);
    pruner.advance(&mut bytes::Bytes::from(text)).expect("JSON");
    let object: InferenceServiceView = serde_json::from_slice(pruner.kept()).expect("decodes");
    assert_eq!((object.meta.resource_version, object.meta.controller), (7, None));
    assert_eq!(object.spec.text(), Some(r#"{"model": "m", "gpuType": "A100"}"#));
}

#[test]
fn an_object_without_optional_fields_decodes() {
    let deployment: DeploymentView = serde_json::from_str(
        r#"{"metadata": {"name": "a", "resourceVersion": "1", "uid": "0b1a2f3c-ffee-4abc-8def-0123456789ab"}}"#,
    )
    .expect("decodes");
    assert_eq!(deployment.status, DeploymentStatus::default());
    assert!(deployment.meta.controller.is_none());
}
