use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::{Map, json};

use super::*;

fn merged(mut base: Value, overlay: Value) -> Value {
    merge(&mut base, overlay);
    base
}

#[test]
fn a_layer_adds_to_the_layers_below_and_wins_over_them() {
    let base =
        json!({"spec": {"containers": [{"name": "server", "image": "a", "env": [{"name": "A", "value": "1"}]}]}});
    let overlay = json!({"spec": {"nodeSelector": {"disk": "ssd"}, "containers": [
        {"name": "proxy", "image": "p"},
        {"name": "server", "image": "b", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "3"}]}
    ]}});
    let expected = json!({"spec": {"nodeSelector": {"disk": "ssd"}, "containers": [
        {"name": "server", "image": "b", "env": [{"name": "A", "value": "3"}, {"name": "B", "value": "2"}]},
        {"name": "proxy", "image": "p"}
    ]}});
    assert_eq!(merged(base, overlay), expected);
}

#[test]
fn a_list_without_names_is_replaced_and_tolerations_are_added() {
    let base = json!({"args": ["a", "b"], "tolerations": [{"key": "gpu", "operator": "Exists"}]});
    let overlay = json!({"args": ["c"], "tolerations": [{"key": "edge"}, {"key": "gpu", "operator": "Exists"}]});
    let expected = json!({"args": ["c"], "tolerations": [{"key": "gpu", "operator": "Exists"}, {"key": "edge"}]});
    assert_eq!(merged(base, overlay), expected);
}

#[test]
fn null_removes_what_is_below_and_a_later_layer_can_set_it_again() {
    let base = json!({"livenessProbe": {"periodSeconds": 30}, "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}});
    let mut value = merged(base, json!({"livenessProbe": null, "lifecycle": {"preStop": null}}));
    merge(&mut value, json!({"livenessProbe": {"httpGet": {"port": 1}}}));
    drop_nulls(&mut value);
    assert_eq!(value, json!({"livenessProbe": {"httpGet": {"port": 1}}, "lifecycle": {}}));
}

/// Two of one name in a layer are a mistake that the API server can only tell if both reach it.
#[test]
fn two_items_of_one_name_in_a_layer_stay_two() {
    let twice = json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "a", "hostPath": {"path": "/"}}]});
    assert_eq!(merged(json!({"volumes": []}), twice.clone()), twice);
    let below = json!({"volumes": [{"name": "a", "emptyDir": {"medium": "Memory"}}]});
    assert_eq!(merged(below, twice)["volumes"].as_array().map(Vec::len), Some(2));
}

/// Lists of at most three items, each with another key.
fn items(key: &'static str, names: &'static [&'static str], field: &'static str) -> impl Strategy<Value = Value> {
    (subsequence(names, 0..=names.len()), prop::collection::vec("[a-c]", names.len())).prop_map(
        move |(names, values)| {
            let item = |(name, value): (&&str, String)| json!({key: name, field: value});
            Value::Array(names.iter().zip(values).map(item).collect())
        },
    )
}

fn ports() -> impl Strategy<Value = Value> {
    (subsequence(&[80, 81, 82], 0..=3), "[a-c]").prop_map(|(ports, name)| {
        Value::Array(ports.iter().map(|port| json!({"containerPort": port, "name": name})).collect())
    })
}

fn resources() -> impl Strategy<Value = Value> {
    subsequence(&["cpu", "memory", "nvidia.com/gpu"], 0..=3).prop_flat_map(|names| {
        prop::collection::vec("[1-3]", names.len()).prop_map(move |counts| {
            let limits: Map<String, Value> =
                names.iter().map(|&name| name.into()).zip(counts.into_iter().map(Value::from)).collect();
            json!({"limits": limits})
        })
    })
}

prop_compose! {
    fn containers()(
        names in subsequence(&["server", "proxy", "init"], 0..=3),
        images in prop::collection::vec(prop::option::of("[a-c]"), 3),
        args in prop::collection::vec(prop::option::of(prop::collection::vec("[a-c]", 0..3)), 3),
        env in prop::collection::vec(items("name", &["A", "B", "C"], "value"), 3),
        mounts in prop::collection::vec(items("mountPath", &["/a", "/b", "/c"], "name"), 3),
        ports in prop::collection::vec(ports(), 3),
        resources in prop::collection::vec(resources(), 3),
    ) -> Value {
        let container = |(at, name): (usize, &&str)| {
            let mut container = json!({"name": name, "env": env[at], "volumeMounts": mounts[at], "ports": ports[at], "resources": resources[at]});
            for (field, value) in [("image", json!(images[at])), ("args", json!(args[at]))] {
                if !value.is_null() {
                    container[field] = value;
                }
            }
            container
        };
        Value::Array(names.iter().enumerate().map(container).collect())
    }
}

prop_compose! {
    fn fragments()(
        containers in containers(),
        init_containers in containers(),
        volumes in items("name", &["v", "w", "x"], "subject"),
        secrets in subsequence(&["s", "t", "u"], 0..=3),
        aliases in subsequence(&["10.0.0.1", "10.0.0.2"], 0..=2),
        labels in prop::collection::btree_map("[a-c]", "[a-c]", 0..3),
        grace in prop::option::of(0..3_i64),
        affinity in prop::option::of(prop::collection::vec("[a-c]", 0..3)),
    ) -> Value {
        let volumes: Vec<Value> = volumes.as_array().into_iter().flatten()
            .map(|volume| json!({"name": volume["name"], "emptyDir": {"medium": volume["subject"]}})).collect();
        let mut spec = json!({
            "containers": containers, "initContainers": init_containers, "volumes": volumes,
            "imagePullSecrets": secrets.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            "hostAliases": aliases.iter().map(|ip| json!({"ip": ip, "hostnames": ["h"]})).collect::<Vec<_>>(),
        });
        if let Some(grace) = grace {
            spec["terminationGracePeriodSeconds"] = json!(grace);
        }
        if let Some(values) = affinity {
            spec["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "In", "values": values}]}]
            }}});
        }
        json!({"metadata": {"labels": labels}, "spec": spec})
    }
}

fn typed(value: &Value) -> PodTemplateSpec {
    serde_json::from_value(value.clone()).expect("a pod template")
}

/// Is each field of `value` one of these? Items of lists are not compared: they have other places.
fn names_only(value: &Value, layers: &[&Value]) -> bool {
    let Value::Object(fields) = value else { return true };
    fields.iter().all(|(field, value)| {
        let below: Vec<&Value> = layers.iter().filter_map(|layer| layer.get(field)).collect();
        !below.is_empty() && names_only(value, &below)
    })
}

proptest! {
    #[test]
    fn fragments_of_a_pod_are_merged_as_kubernetes_merges_them(base in fragments(), overlay in fragments()) {
        let mut expected = typed(&base);
        expected.merge_from(typed(&overlay));
        prop_assert_eq!(typed(&merged(base, overlay)), expected);
    }

    #[test]
    fn layers_can_be_merged_in_any_grouping(a in fragments(), b in fragments(), c in fragments()) {
        prop_assert_eq!(merged(merged(a.clone(), b.clone()), c.clone()), merged(a, merged(b, c)));
    }

    #[test]
    fn no_field_appears_that_no_layer_names(base in fragments(), overlay in fragments()) {
        let value = merged(base.clone(), overlay.clone());
        prop_assert!(names_only(&value, &[&base, &overlay]));
        prop_assert_eq!(merged(base.clone(), json!({})), base);
    }
}
