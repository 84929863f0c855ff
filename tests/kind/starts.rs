//! What starts a container is in its memory account: a hundred starts of the operator's under a limit. Here and on the
//! single node, which have different container runtimes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Temporary, eventually, kubectl};
use crate::{installed, node};

const STARTS: usize = 100;

/// With many more, runc fails for other reasons on cgroup v1 ("unable to freeze").
const AT_ONCE: usize = 10;

/// Prints for each container of these ids: the peak of its memory in bytes, how often it met the limit, how many of its
/// processes were killed for that. The files are those of cgroup v2, or of v1.
const ACCOUNTS: &str = r#"
for id in "$@"; do
  file=$(find /sys/fs/cgroup -path "*$id*" \( -name memory.peak -o -name memory.max_usage_in_bytes \) -print -quit)
  cd "${file%/*}"
  if [ -f memory.peak ]; then
    echo "$(cat memory.peak) $(sed -n 's/^max //p' memory.events) $(sed -n 's/^oom_kill //p' memory.events)"
  else
    echo "$(cat memory.max_usage_in_bytes memory.failcnt) $(sed -n 's/^oom_kill //p' memory.oom_control)"
  fi
done
"#;

#[tokio::test]
async fn a_hundred_starts_under_the_shipped_limit_never_meet_it() {
    let container = &installed::shipped()["spec"]["template"]["spec"]["containers"][0];
    let limit = container["resources"]["limits"]["memory"].as_str().expect("a limit");
    for start in hundred_starts(limit).await {
        assert_eq!(start.met_the_limit, 0);
        assert!(!start.program_was_killed() && !start.runtime_was_killed(), "{}", start.failure);
    }
}

/// What the program promises to live within. What starts it may be killed, and is only counted.
#[tokio::test]
async fn in_a_hundred_starts_under_eight_mebibytes_the_program_is_never_killed() {
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        println!("not tried: on cgroup v2 most releases of runc never get as far as the program");
        return;
    }
    for start in hundred_starts("8Mi").await {
        assert!(!start.program_was_killed(), "{}", start.failure);
    }
}

async fn hundred_starts(limit: &str) -> Vec<Start> {
    installed::install();
    let mut starts = Vec::new();
    while starts.len() < STARTS {
        starts.extend(start_together(limit).await);
    }
    report(limit, &starts);
    starts
}

struct Start {
    peak: u64,
    met_the_limit: u64,
    killed: u64,
    /// How the one before it has ended, of a pod whose container was started again; else Null.
    failure: Value,
}

impl Start {
    fn program_was_killed(&self) -> bool {
        self.killed > 0 || self.failure["reason"] == "OOMKilled"
    }

    /// Its container is then a StartError as for any other reason: only runc's message says why.
    fn runtime_was_killed(&self) -> bool {
        self.failure["message"].as_str().is_some_and(|message| message.contains("OOM-killed"))
    }
}

/// scripts/reliability.sh reads the line.
fn report(limit: &str, starts: &[Start]) {
    let mut peaks: Vec<_> = starts.iter().map(|start| start.peak).collect();
    peaks.sort_unstable();
    let (least, median, most) = (peaks[0], peaks[peaks.len() / 2], peaks[peaks.len() - 1]);
    let met: u64 = starts.iter().map(|start| start.met_the_limit).sum();
    let killed = starts.iter().filter(|start| start.program_was_killed()).count();
    let runtime_killed = starts.iter().filter(|start| start.runtime_was_killed()).count();
    let runtime = kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.containerRuntimeVersion}"]);
    println!(
        "{} starts under {limit} ({runtime}): peak {least} to {most} bytes, median {median}; the limit met {met} times; \
         killed for memory: the program {killed} times, before that what starts it {runtime_killed} times",
        starts.len()
    );
    for start in starts.iter().filter(|start| !start.failure.is_null()) {
        println!("started again after {}", start.failure);
    }
}

/// Each runs the operator until it is in sync.
async fn start_together(limit: &str) -> Vec<Start> {
    let pods: Vec<_> = (0..AT_ONCE).map(|number| pod(&format!("start-{number}"), limit)).collect();
    let file = Temporary::new(&json!({"apiVersion": "v1", "kind": "List", "items": pods}).to_string());
    kubectl(&["create", "-f", file.path()]);
    let pods = eventually("all are in sync", || async {
        let list = kubectl(&["-n", installed::NAMESPACE, "get", "pods", "-l", "app=start", "-o", "json"]);
        let list: Value = serde_json::from_str(&list).expect("JSON");
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        let ready = pods.iter().filter(|pod| status(pod)["ready"] == true).count();
        if ready == AT_ONCE { Ok(pods) } else { Err(format!("{ready} are: {}", list["items"])) }
    })
    .await;
    let starts = measure(&pods);
    kubectl(&["delete", "-f", file.path(), "--timeout=60s"]);
    starts
}

/// As the manifests have it, with this limit, labels that no ReplicaSet selects, and a probe that does not keep us waiting.
fn pod(name: &str, limit: &str) -> Value {
    let mut spec = installed::shipped()["spec"]["template"]["spec"].clone();
    let container = &mut spec["containers"][0];
    container["resources"]["limits"]["memory"] = json!(limit);
    container["readinessProbe"]["periodSeconds"] = json!(1);
    let metadata = json!({"name": name, "namespace": installed::NAMESPACE, "labels": {"app": "start"}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

fn status(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

fn measure(pods: &[Value]) -> Vec<Start> {
    let mut of_node = BTreeMap::<&str, Vec<&Value>>::new();
    for pod in pods {
        of_node.entry(installed::node(pod)).or_default().push(pod);
    }
    let measured = of_node.iter().flat_map(|(node, pods)| {
        let ids: Vec<_> = pods.iter().map(|pod| container(pod)).collect();
        let text = node::shell(node, ACCOUNTS, &ids);
        let figures: Vec<u64> = text.split_whitespace().map(|figure| figure.parse().expect("a number")).collect();
        assert_eq!(figures.len(), 3 * pods.len(), "{text}");
        let starts = figures.chunks(3).zip(pods).map(|(figures, pod)| start(figures, pod));
        starts.collect::<Vec<_>>()
    });
    measured.collect()
}

/// Its id, without the runtime's name.
fn container(pod: &Value) -> &str {
    let id = status(pod)["containerID"].as_str().unwrap_or_default();
    id.rsplit_once('/').expect("an id").1
}

fn start(figures: &[u64], pod: &Value) -> Start {
    let failure = status(pod)["lastState"]["terminated"].clone();
    Start { peak: figures[0], met_the_limit: figures[1], killed: figures[2], failure }
}
