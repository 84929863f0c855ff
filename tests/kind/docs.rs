//! The operator installed, taken away and removed by the commands of README.md and docs/install-k3s.md, word for word.

use serde_json::{Value, json};

use crate::support::shell::{apply, variable};
use crate::support::{MANIFESTS, Reader, Temporary, eventually, kubectl};
use crate::{LIMIT, installed, node};

/// The archive that the pages load.
const ARCHIVE: &str = "dist/inference-operator-0.1.0-amd64.tar.zst";

#[tokio::test]
async fn the_commands_of_the_pages_install_it_serve_a_sample_and_remove_all() {
    let reader = begin();
    let _stand_in = StandIn::new().await;
    reader.types("kind-load").await;
    reader.types("apply").await;
    let pods = installed::pods_of("default");
    assert_eq!(pods.lines().count(), 1, "{pods}");
    let operator = installed::pod();
    assert_eq!(installed::restarts(&operator), 0, "{operator}");
    let container = &operator["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"]["memory"], LIMIT, "{operator}");
    assert!(container["env"].to_string().contains("INFERENCE_OPERATOR_RUNTIME_CLASS"), "{operator}");
    assert_eq!(kubectl(&["get", "pods", "-o", "jsonpath={.items[*].spec.runtimeClassName}"]), "nvidia");

    reader.types("remove-operator").await;
    eventually("the operator is gone", || async {
        let pod = installed::pod();
        if pod.is_null() { Ok(()) } else { Err(pod.to_string()) }
    })
    .await;
    assert_eq!(installed::pods_of("default"), pods, "the model runs on");

    kubectl(&["apply", "-k", &format!("{}/operator", reader.folder().display())]);
    installed::roll_out();
    assert_eq!(installed::pods_of("default"), pods, "the model is taken over");

    // As a release has them.
    let manifests = kubectl(&["kustomize", MANIFESTS]);
    std::fs::write(reader.folder().join("inference-operator-0.1.0.yaml"), manifests).expect("written");
    reader.types("remove-all").await;
    nothing_is_left().await;
}

/// A reader with a checkout and the archive in it, and a cluster that has nothing of the operator, nor its image.
fn begin() -> Reader {
    kubectl(&["delete", "-k", MANIFESTS, "--ignore-not-found", "--timeout=120s"]);
    for node in node::all() {
        // Says only that there is none, if there is none.
        node::shell(&node, "ctr --namespace k8s.io images rm docker.io/library/inference-operator:0.1.0", &[]);
    }
    let reader = Reader::new("default");
    std::fs::create_dir(reader.folder().join("dist")).expect("a folder");
    let archive = format!("{}/{ARCHIVE}", env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(archive, reader.folder().join(ARCHIVE)).expect("scripts/image.sh has made it");
    reader
}

async fn nothing_is_left() {
    eventually("the model is gone", || async {
        let left = kubectl(&["get", "deployments,services,pods", "-o", "name"]);
        if left == "service/kubernetes\n" { Ok(()) } else { Err(left) }
    })
    .await;
    let kinds = "customresourcedefinitions,clusterroles,clusterrolebindings,namespaces";
    let left = kubectl(&["get", kinds, "-o", "name"]);
    let ours = left.lines().filter(|name| name.contains("inference-operator") || name.contains("ai.example.com"));
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new());
}

/// What NVIDIA and a registry would bring: a runtime class, and an engine in place of the sample's, whose image cannot be
/// pulled here. The pods of the namespace `default` have it, whatever their Deployment says.
struct StandIn(Temporary);

impl StandIn {
    async fn new() -> StandIn {
        let objects = stand_ins();
        apply(&objects);
        eventually("the API server knows it", || async {
            let pod = kubectl(&["run", "probe", "--image=none", "--dry-run=server", "-o", "json"]);
            let pod: Value = serde_json::from_str(&pod).map_err(|error| error.to_string())?;
            let image = &pod["spec"]["containers"][0]["image"];
            if image == "model-server:1" { Ok(()) } else { Err(image.to_string()) }
        })
        .await;
        StandIn(Temporary::new(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()))
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        node::put_back(&variable("KUBECTL"), &["delete", "-f", self.0.path()]);
    }
}

fn stand_ins() -> [Value; 3] {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": "stand-in"},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
                "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["CREATE"], "resources": ["pods"]}]
            },
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
                r#"[JSONPatch{op: "add", path: "/spec/containers/0/image", value: "model-server:1"},
                    JSONPatch{op: "add", path: "/spec/containers/0/command", value: ["/model-server"]}]"#}}]
        }
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": "stand-in"},
        "spec": {"policyName": "stand-in"}
    });
    let runtime = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "runc"
    });
    [policy, binding, runtime]
}
