//! The manifests agree with each other and with the package: what one says twice, it says alike.

#![allow(clippy::expect_used)]

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{file}")).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn objects(file: &str) -> Vec<Value> {
    let text = read(file);
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).expect("YAML")).collect()
}

fn object(file: &str, kind: &str) -> Value {
    let found = objects(file).into_iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("{file} has no {kind}"))
}

#[test]
fn the_rights_in_one_namespace_are_those_in_all_of_them() {
    let everywhere = object("k3s-manifests/rbac.yaml", "ClusterRole");
    let in_one = object("k3s-single-namespace/rbac.yaml", "Role");
    // Nodes are in no namespace.
    let rules = everywhere["rules"].as_array().expect("rules").iter();
    let namespaced: Vec<&Value> = rules.filter(|rule| rule["resources"] != serde_json::json!(["nodes"])).collect();
    assert_eq!(serde_json::json!(namespaced), in_one["rules"]);
}

#[test]
fn every_manifest_is_of_the_kustomization_and_of_the_release() {
    let kustomization: Value = serde_saphyr::from_str(&read("k3s-manifests/Kustomization")).expect("YAML");
    let listed: Vec<&str> =
        kustomization["resources"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let folder = std::fs::read_dir(format!("{ROOT}/k3s-manifests")).expect("the folder");
    let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut files: Vec<String> = names.filter(|name| name.strip_suffix(".yaml").is_some()).collect();
    files.sort_unstable();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, files);

    let names: Vec<&str> = listed.iter().filter_map(|name| name.strip_suffix(".yaml")).collect();
    let release = read("scripts/release.sh");
    assert!(
        release.contains(&format!("MANIFESTS=({})", names.join(" "))),
        "scripts/release.sh has others than {names:?}"
    );
}

/// The request is what the scheduler takes from the models. Under a limit of less than 24Mi some releases of runc are
/// killed on cgroup v2 before the program runs, and CRI-O takes none under 12Mi.
#[test]
fn the_memory_request_is_small_and_the_limit_lets_a_container_start() {
    let deployment = object("k3s-manifests/operator.yaml", "Deployment");
    let resources = &deployment["spec"]["template"]["spec"]["containers"][0]["resources"];
    assert_eq!(resources["requests"]["memory"], "4Mi");
    assert_eq!(resources["limits"]["memory"], "32Mi");
    for file in ["README.md", "docs/install-k3s.md", "ARCHITECTURE.md"] {
        assert!(read(file).contains("32Mi"), "{file} has another limit");
    }
}

#[test]
fn the_image_is_of_this_version() {
    let deployment = object("k3s-manifests/operator.yaml", "Deployment");
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, &format!("inference-operator:{}", env!("CARGO_PKG_VERSION")));
}
