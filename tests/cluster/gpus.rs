//! Which nodes a GPU type selects: nodes with real labels and one GPU each, and as many replicas as there are nodes,
//! so that every node that the scheduler may use gets one.

use std::collections::BTreeSet;

use inference_operator::api::Phase;
use serde_json::{Value, json};

use crate::support::fixture::{ready, spec};
use crate::support::shell::apply;
use crate::support::{Fixture, Operator, eventually, kubectl};

/// `nvidia.com/gpu.product`, and its GPU type.
const NODES: [(&str, Option<&str>); 22] = [
    ("NVIDIA-A100-SXM4-40GB", Some("A100")),
    ("NVIDIA-A100-SXM4-80GB", Some("A100")),
    ("NVIDIA-A100-PCIE-40GB", Some("A100")),
    ("NVIDIA-A100-80GB-PCIe", Some("A100")),
    ("NVIDIA-A100-SXM-64GB", Some("A100")),
    ("NVIDIA-H100", Some("H100")),
    ("NVIDIA-H100-80GB-HBM3", Some("H100")),
    ("NVIDIA-H100-NVL", Some("H100")),
    ("NVIDIA-H100-PCIe", Some("H100")),
    ("NVIDIA-L40S", Some("L40S")),
    ("NVIDIA-L40S-SHARED", Some("L40S")),
    // Names that no driver reports: set by hand.
    (BY_HAND, None),
    ("NVIDIA-A100-PCIE-80GB", None),
    // Different GPUs.
    ("NVIDIA-GH200-480GB", None),
    ("NVIDIA-H800-NVL", None),
    ("NVIDIA-H20", None),
    ("NVIDIA-L40", None),
    // Slices of one.
    (SLICE, None),
    ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb-SHARED", None),
    // A node without GPU feature discovery.
    ("", None),
    // Not of a built-in type.
    ("Tesla-T4", None),
    ("Orin", None),
];
const BY_HAND: &str = "NVIDIA-H100-SXM5-80GB";
const SLICE: &str = "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb";
const RENAMED: &str = "gpus-renamed";

/// The test's nodes; the cluster's own are cordoned meanwhile.
struct Nodes(Vec<String>);

impl Nodes {
    async fn create() -> Nodes {
        let mut nodes: Vec<Value> =
            (0..).zip(NODES).map(|(at, (product, _))| node(&name(at), product, "nvidia.com/gpu")).collect();
        // Time-slicing with `renameByDefault`: the label stays, the resource is renamed.
        nodes.push(node(RENAMED, "NVIDIA-L40S", "nvidia.com/gpu.shared"));
        kubectl(&["cordon", "a100", "h100", "l40s"]);
        let names = nodes.iter().filter_map(|node| Some(node["metadata"]["name"].as_str()?.to_owned())).collect();
        let made = Nodes(names);
        apply(&nodes);
        eventually("the nodes take pods", || async {
            let path = "jsonpath={range .items[*]}{.spec.taints[*].key}{end}";
            match kubectl(&["get", "nodes", "-l", "test=gpus", "-o", path]).as_str() {
                "" => Ok(()),
                taints => Err(taints.to_owned()),
            }
        })
        .await;
        made
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let kubectl = |arguments: &[&str]| {
            let _ = std::process::Command::new(crate::support::shell::variable("KUBECTL")).args(arguments).output();
        };
        kubectl(&["uncordon", "a100", "h100", "l40s"]);
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        kubectl(&[&["delete", "node", "--wait=false"][..], &names].concat());
    }
}

fn name(at: usize) -> String {
    format!("gpus-{at:02}")
}

fn node(name: &str, product: &str, resource: &str) -> Value {
    let mut labels = json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "test": "gpus"});
    if !product.is_empty() {
        labels["nvidia.com/gpu.product"] = json!(product);
    }
    let room = json!({"cpu": "8", "memory": "64Gi", "pods": "110", resource: "1"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"capacity": room, "allocatable": room}
    })
}

/// The nodes that pods of this InferenceService run on, once the scheduler has decided about all of its pods.
async fn used_by(fixture: &Fixture, name: &str, replicas: usize) -> BTreeSet<String> {
    let selector = format!("ai.example.com/inferenceservice={name}");
    eventually("the scheduler has decided about each pod", || async {
        let text = kubectl(&["-n", &fixture.namespace, "get", "pods", "-l", &selector, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("JSON");
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        let refused = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|condition| condition["reason"] == "Unschedulable")
        };
        let nodes: BTreeSet<String> =
            pods.iter().filter_map(|pod| Some(pod["spec"]["nodeName"].as_str()?.to_owned())).collect();
        let decided = nodes.len() + pods.iter().filter(refused).count();
        if pods.len() == replicas && decided == replicas { Ok(nodes) } else { Err(format!("{decided} of {replicas}")) }
    })
    .await
}

/// The product labels of these nodes; "another node" for one that is not in NODES.
fn products(nodes: &BTreeSet<String>) -> BTreeSet<&str> {
    let product = |node: &String| (0..).zip(NODES).find(|(at, _)| name(*at) == *node).map(|(_, (product, _))| product);
    nodes.iter().map(|node| product(node).unwrap_or("another node")).collect()
}

async fn runs_on(fixture: &Fixture, gpu_type: &str, expected: &BTreeSet<&str>) {
    let name = gpu_type.to_lowercase();
    let replicas = NODES.len() + 1;
    let count = i32::try_from(replicas).expect("few");
    fixture.create_from(&name, spec("demo/model", count, gpu_type)).await;
    let used = used_by(fixture, &name, replicas).await;
    assert_eq!(products(&used), *expected, "{gpu_type}");
}

#[tokio::test]
async fn a_gpu_type_stands_for_the_labels_of_real_nodes_and_for_no_others() {
    let fixture = Fixture::new("gpus").await;
    let _nodes = Nodes::create().await;
    let _operator = Operator::start("gpus", &[]).await;
    for gpu_type in ["A100", "H100", "L40S"] {
        let of_type = |(product, type_): &(&'static str, Option<&str>)| (*type_ == Some(gpu_type)).then_some(*product);
        runs_on(&fixture, gpu_type, &NODES.iter().filter_map(of_type).collect()).await;
    }
    fixture.clean_up().await;
}

/// The advice of docs/gpus.md for labels that no type selects.
#[tokio::test]
async fn other_labels_are_added_to_a_type_or_make_one() {
    let fixture = Fixture::new("gpus").await;
    let _nodes = Nodes::create().await;
    let (hand, slice) = (format!("H100={BY_HAND}"), format!("A100-1G={SLICE}"));
    let _operator = Operator::start("gpus", &["--gpu-type", &hand, "--gpu-type", &slice]).await;
    let of_h100 = |(product, type_): &(&'static str, Option<&str>)| (*type_ == Some("H100")).then_some(*product);
    let mut h100: BTreeSet<&str> = NODES.iter().filter_map(of_h100).collect();
    h100.insert(BY_HAND);
    runs_on(&fixture, "H100", &h100).await;
    runs_on(&fixture, "A100-1G", &BTreeSet::from([SLICE, "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb-SHARED"])).await;
    fixture.clean_up().await;
}

/// Most often it is a name that somebody has mistyped, or a node without GPU feature discovery.
#[tokio::test]
async fn a_type_that_no_node_has_is_said_with_the_command_that_shows_it() {
    let fixture = Fixture::new("no-such-gpu").await;
    let _operator = Operator::start("no-such-gpu", &["--gpu-type", "T4=Tesla-T4"]).await;
    fixture.create_from("demo", spec("demo/model", 1, "T4")).await;
    let hint = "no node has the labels that it needs: kubectl get nodes -l 'nvidia.com/gpu.product in (Tesla-T4,";
    let told = fixture.until_said("demo", Phase::Progressing, "Unschedulable", hint).await;
    println!("{:?}", ready(&told));
    fixture.clean_up().await;
}
