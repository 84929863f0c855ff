use serde_json::json;

use super::*;

fn found(spec: &Value) -> Vec<String> {
    baseline(&json!({"spec": spec}), &["/var/lib/models".to_owned()])
}

fn of_container(container: Value) -> Vec<String> {
    let mut named = container;
    named["name"] = json!("a");
    found(&json!({"containers": [named]}))
}

/// tests/cluster/pod_security.rs holds the same against the API server's own admission.
#[test]
fn each_violation_is_named_with_its_path() {
    for (spec, expected) in [
        (json!({"hostNetwork": true}), "spec.hostNetwork is true"),
        (json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}), "spec.volumes[v].hostPath"),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}),
            "spec.securityContext.sysctls: kernel.msgmax",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            "spec.securityContext.seccompProfile.type is Unconfined",
        ),
        (json!({"securityContext": {"seLinuxOptions": {"user": "root"}}}), "spec.securityContext.seLinuxOptions"),
    ] {
        assert_eq!(found(&spec), [expected]);
    }
    for (container, expected) in [
        (json!({"securityContext": {"privileged": true}}), "spec.containers[a].securityContext.privileged is true"),
        (
            json!({"securityContext": {"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}}),
            "spec.containers[a].securityContext.capabilities.add: SYS_ADMIN",
        ),
        (
            json!({"securityContext": {"procMount": "Unmasked"}}),
            "spec.containers[a].securityContext.procMount is Unmasked",
        ),
        (json!({"ports": [{"containerPort": 1, "hostPort": 80}]}), "spec.containers[a].ports: hostPort 80"),
        (
            json!({"livenessProbe": {"httpGet": {"host": "10.0.0.1", "port": 80}}}),
            "spec.containers[a].livenessProbe.httpGet.host is 10.0.0.1",
        ),
        (
            json!({"lifecycle": {"postStart": {"tcpSocket": {"host": "a", "port": 80}}}}),
            "spec.containers[a].lifecycle.postStart.tcpSocket.host is a",
        ),
    ] {
        assert_eq!(of_container(container), [expected]);
    }
}

#[test]
fn a_host_path_is_allowed_below_what_the_administrator_allows() {
    for (path, is_allowed) in [
        ("/var/lib/models", true),
        ("/var/lib/models/a", true),
        ("/var/lib/models/", true),
        ("/var/lib/models2", false),
        ("/var/lib", false),
        ("/var/lib/models/../..", false),
        ("var/lib/models", false),
    ] {
        let volumes = json!([{"name": "v", "hostPath": {"path": path}}]);
        assert_eq!(found(&json!({"volumes": volumes})).is_empty(), is_allowed, "{path}");
    }
}

#[test]
fn each_policy_allows_what_it_says() {
    let spec = InferenceServiceSpec { service_account_name: Some("a".into()), ..InferenceServiceSpec::of("m") };
    let template = json!({"spec": {"hostPID": true}});
    let refusal = |policy| {
        let pods = Pods { policy, ..Pods::default() };
        check(&template, &spec, &pods).map_err(|error| error.to_string())
    };
    assert_eq!(refusal(PodPolicy::Privileged), Ok(()));
    let words = "the pod is not allowed by the operator's pod policy";
    assert_eq!(refusal(PodPolicy::Baseline), Err(format!("{words} baseline: spec.hostPID is true")));
    let expected = format!("{words} closed: serviceAccountName is not allowed; spec.hostPID is true");
    assert_eq!(refusal(PodPolicy::Closed), Err(expected));
}

/// Whoever may make no Services is not to open a port of the nodes, or to give orders to a load balancer.
#[test]
fn where_pods_are_closed_services_are_too() {
    for (settings, expected) in [
        (json!({"port": 8080, "type": "ClusterIP"}), None),
        (json!({"type": "NodePort"}), Some("service.type is not allowed")),
        (json!({"annotations": {"a": "b"}}), Some("service.annotations is not allowed")),
    ] {
        let service = serde_json::from_value(settings).expect("settings");
        let spec = InferenceServiceSpec { service, ..InferenceServiceSpec::of("m") };
        let refusal = |policy| check(&json!({}), &spec, &Pods { policy, ..Pods::default() }).err();
        assert!(refusal(PodPolicy::Baseline).is_none());
        let refusal = refusal(PodPolicy::Closed).map(|error| error.to_string());
        assert_eq!(refusal.is_some(), expected.is_some(), "{refusal:?}");
        assert!(refusal.unwrap_or_default().ends_with(expected.unwrap_or_default()));
    }
}

#[test]
fn a_message_names_so_many_violations_and_counts_the_others() {
    let volumes: Vec<Value> =
        (0..7).map(|number| json!({"name": format!("v{number}"), "hostPath": {"path": "/"}})).collect();
    let template = json!({"spec": {"volumes": volumes}});
    let refusal = check(&template, &InferenceServiceSpec::of("m"), &Pods::default()).expect_err("refused").to_string();
    assert!(refusal.ends_with("spec.volumes[v4].hostPath; and 2 more"), "{refusal}");
}
