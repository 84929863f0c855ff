//! The pod policy `baseline` is the one of the API server's own admission: generated pod templates are sent to a
//! namespace that enforces it, with dry-run.

use inference_operator::reconcile::pod_security::baseline;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::support::{Fixture, kubectl};

const TEMPLATES: usize = 600;

/// A part of a pod or of a container: a path and a value that may be a violation.
type Part = (&'static str, Value);

fn pod_parts() -> Vec<Part> {
    vec![
        ("/hostNetwork", json!(true)),
        ("/hostNetwork", json!(false)),
        ("/hostPID", json!(true)),
        ("/hostIPC", json!(true)),
        ("/volumes", json!([{"name": "v", "hostPath": {"path": "/var"}}])),
        ("/volumes", json!([{"name": "v", "emptyDir": {}}])),
        ("/volumes", json!([{"name": "v", "image": {"reference": "example.com/a"}}])),
        ("/securityContext/seccompProfile", json!({"type": "Unconfined"})),
        ("/securityContext/seccompProfile", json!({"type": "RuntimeDefault"})),
        ("/securityContext/appArmorProfile", json!({"type": "Unconfined"})),
        ("/securityContext/appArmorProfile", json!({"type": "RuntimeDefault"})),
        ("/securityContext/sysctls", json!([{"name": "net.ipv4.tcp_rmem", "value": "1"}])),
        ("/securityContext/sysctls", json!([{"name": "net.ipv4.tcp_keepalive_time", "value": "1"}])),
        ("/securityContext/sysctls", json!([{"name": "kernel.msgmax", "value": "1"}])),
        ("/securityContext/seLinuxOptions", json!({"type": "container_engine_t"})),
        ("/securityContext/seLinuxOptions", json!({"type": "spc_t"})),
        ("/securityContext/seLinuxOptions", json!({"user": "root"})),
        ("/securityContext/windowsOptions", json!({"hostProcess": true})),
        ("/securityContext/runAsUser", json!(0)),
    ]
}

fn container_parts() -> Vec<Part> {
    vec![
        ("/securityContext/privileged", json!(true)),
        ("/securityContext/privileged", json!(false)),
        ("/securityContext/capabilities", json!({"add": ["NET_BIND_SERVICE", "SYS_CHROOT"]})),
        ("/securityContext/capabilities", json!({"add": ["NET_RAW"]})),
        ("/securityContext/capabilities", json!({"add": ["SYS_ADMIN"]})),
        ("/securityContext/procMount", json!("Default")),
        ("/securityContext/seccompProfile", json!({"type": "Unconfined"})),
        ("/securityContext/seccompProfile", json!({"type": "Localhost", "localhostProfile": "a"})),
        ("/securityContext/appArmorProfile", json!({"type": "Unconfined"})),
        ("/securityContext/seLinuxOptions", json!({"role": "r"})),
        ("/securityContext/seLinuxOptions", json!({"level": "s0"})),
        ("/ports", json!([{"containerPort": 80, "hostPort": 80}])),
        ("/ports", json!([{"containerPort": 80}])),
        ("/livenessProbe", json!({"httpGet": {"port": 80, "host": "10.0.0.1"}})),
        ("/livenessProbe", json!({"tcpSocket": {"port": 80, "host": "10.0.0.1"}})),
        ("/readinessProbe", json!({"httpGet": {"port": 80}})),
        ("/lifecycle", json!({"postStart": {"httpGet": {"port": 80, "host": "10.0.0.1"}}})),
        ("/lifecycle", json!({"preStop": {"sleep": {"seconds": 1}}})),
        ("/securityContext/runAsUser", json!(0)),
        ("/securityContext/allowPrivilegeEscalation", json!(true)),
    ]
}

/// Sets a value at a path of at most two fields.
fn put(object: &mut Value, (path, value): &Part) {
    let mut fields: Vec<&str> = path.split('/').skip(1).collect();
    let last = fields.pop().expect("a field");
    let mut place = object;
    for field in fields {
        if place[field].is_null() {
            place[field] = Value::Object(Map::new());
        }
        place = &mut place[field];
    }
    place[last] = value.clone();
}

fn templates() -> impl Strategy<Value = Value> {
    let container = || subsequence(container_parts(), 0..=2);
    let annotation = select(vec![None, None, Some("unconfined"), Some("runtime/default")]);
    (subsequence(pod_parts(), 0..=2), container(), container(), annotation).prop_map(|(pod, main, init, annotation)| {
        let named = |name: &str, parts: &[Part]| {
            let mut container = json!({"name": name, "image": "example.com/server"});
            for part in parts {
                put(&mut container, part);
            }
            container
        };
        let mut init = named("init", &init);
        for field in ["livenessProbe", "readinessProbe", "lifecycle"] {
            init.as_object_mut().expect("an object").remove(field);
        }
        let mut spec = json!({"containers": [named("main", &main)], "initContainers": [init]});
        for part in &pod {
            put(&mut spec, part);
        }
        let mut template = json!({"metadata": {}, "spec": spec});
        if let Some(profile) = annotation {
            template["metadata"]["annotations"] =
                json!({"container.apparmor.security.beta.kubernetes.io/main": profile});
        }
        template
    })
}

#[tokio::test]
async fn baseline_is_what_the_api_server_enforces_under_that_name() {
    let fixture = Fixture::new("baseline").await;
    kubectl(&["label", "namespace", &fixture.namespace, "pod-security.kubernetes.io/enforce=baseline"]);
    let pods = Api::<Pod>::namespaced(fixture.client.clone(), &fixture.namespace);
    let dry_run = PostParams { dry_run: true, field_manager: None };
    let mut runner = TestRunner::deterministic();
    let (mut allowed, mut refused, mut invalid) = (0, 0, 0);
    while allowed + refused < TEMPLATES {
        let template = templates().new_tree(&mut runner).expect("a template").current();
        let mut pod = template.clone();
        pod["metadata"]["name"] = json!("demo");
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let violations = baseline(&template, &[]);
        match pods.create(&dry_run, &pod).await {
            Ok(_) => {
                assert!(violations.is_empty(), "allowed by the API server: {violations:?} {template}");
                allowed += 1;
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                assert!(status.message.contains("violates PodSecurity"), "{}", status.message);
                assert!(!violations.is_empty(), "{}: {template}", status.message);
                refused += 1;
            }
            // Not a pod at all, whatever the policy.
            Err(kube::Error::Api(status)) if status.code == 422 => invalid += 1,
            Err(error) => panic!("{error:?} {template}"),
        }
    }
    println!("{allowed} allowed, {refused} refused, {invalid} invalid");
    assert!(allowed > 100 && refused > 100);
    fixture.clean_up().await;
}
