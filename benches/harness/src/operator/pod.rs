//! An operator as a pod. Memory from its own /metrics and from the kubelet, both through the API
//! server; peaks, context switches and connections cannot be seen from outside.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::cluster::Access;
use crate::command;
use crate::process::Memory;
use crate::prometheus::Page;

const PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Pod {
    probe: Probe,
}

/// What it takes to ask about the pod, from any thread.
#[derive(Clone)]
pub struct Probe {
    /// kubectl with what chooses the cluster.
    kubectl: Vec<std::ffi::OsString>,
    pod: String,
    node: String,
}

impl Pod {
    /// Returns when the container runs, which is when its image was there.
    pub fn start(name: &str, image: &str, access: &Access) -> Result<Pod> {
        let mut kubectl = vec![access.kubectl.clone().into_os_string()];
        for (flag, value) in [
            ("--kubeconfig", access.kubeconfig.as_ref().map(|path| path.clone().into_os_string())),
            ("--context", access.context.as_ref().map(Into::into)),
        ] {
            if let Some(value) = value {
                kubectl.extend([flag.into(), value]);
            }
        }
        access.apply(&manifest(name, image).to_string())?;
        let mut probe = Probe { kubectl, pod: String::new(), node: String::new() };
        let end = Instant::now() + PATIENCE;
        loop {
            let pods: Value = serde_json::from_str(&probe.kubectl(&[
                "get",
                "pods",
                "-n",
                NAMESPACE,
                "-l",
                &format!("{LABEL}={name}"),
                "-o",
                "json",
            ])?)?;
            if let Some((pod, node)) = running(&pods) {
                (probe.pod, probe.node) = (pod, node);
                return Ok(Pod { probe });
            }
            if Instant::now() > end {
                bail!("the pod of {name} does not run after {} s: {}", PATIENCE.as_secs(), why(&pods));
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    pub fn probe(&self) -> Probe {
        self.probe.clone()
    }

    pub fn memory(&self) -> Result<Memory> {
        self.probe.memory()
    }

    pub fn cpu_seconds(&self) -> Option<f64> {
        self.probe.get("/metrics").ok().and_then(|page| Page(&page).cpu_seconds())
    }

    pub fn get(&self, path: &str) -> Result<String> {
        self.probe.get(path)
    }

    pub fn stop(self) -> Result<()> {
        let wait = "--wait=true";
        self.probe.kubectl(&["delete", "deployment", "-n", NAMESPACE, DEPLOYMENT, wait, "--cascade=foreground"])?;
        Ok(())
    }
}

impl Probe {
    pub fn memory(&self) -> Result<Memory> {
        let page = self.get("/metrics")?;
        let rss = Page(&page).resident_bytes().context("/metrics tells no process_resident_memory_bytes")?;
        let working_set_bytes = self.summary().ok().and_then(|summary| working_set(&summary, &self.pod));
        Ok(Memory { rss_bytes: rss as u64, working_set_bytes, ..Memory::default() })
    }

    fn get(&self, path: &str) -> Result<String> {
        self.kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{NAMESPACE}/pods/{}:{PORT}/proxy{path}", self.pod)])
    }

    fn summary(&self) -> Result<Value> {
        let path = format!("/api/v1/nodes/{}/proxy/stats/summary", self.node);
        Ok(serde_json::from_str(&self.kubectl(&["get", "--raw", &path])?)?)
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        command::output(Command::new(&self.kubectl[0]).args(&self.kubectl[1..]).args(arguments))
    }
}

const DEPLOYMENT: &str = "bench-operator";
const LABEL: &str = "bench-operator";

/// As k3s-manifests/operator.yaml has it, without limits: what is measured must not be cut off.
fn manifest(name: &str, image: &str) -> Value {
    let labels = json!({LABEL: name});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": NAMESPACE,
                    "automountServiceAccountToken": true,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 10,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"}
                    },
                    "containers": [{
                        "name": "operator",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": [format!("--telemetry-address=0.0.0.0:{PORT}")],
                        "ports": [{"name": "telemetry", "containerPort": PORT}],
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]}
                        }
                    }]
                }
            }
        }
    })
}

/// Name and node of the first pod whose container runs.
fn running(pods: &Value) -> Option<(String, String)> {
    pods["items"].as_array()?.iter().find_map(|pod| {
        pod["status"]["containerStatuses"][0]["state"].get("running")?;
        Some((pod["metadata"]["name"].as_str()?.to_owned(), pod["spec"]["nodeName"].as_str()?.to_owned()))
    })
}

fn why(pods: &Value) -> String {
    let pod = &pods["items"][0];
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    let message = waiting["message"].as_str().or(waiting["reason"].as_str()).or(pod["status"]["phase"].as_str());
    message.unwrap_or("there is no pod").to_owned()
}

fn working_set(summary: &Value, pod: &str) -> Option<u64> {
    let pods = summary["pods"].as_array()?;
    let found = pods.iter().find(|entry| entry["podRef"]["name"] == pod)?;
    found["containers"][0]["memory"]["workingSetBytes"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_counts_when_its_container_runs() {
        let waiting =
            json!({"items": [{"status": {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}}]});
        assert_eq!((running(&waiting), why(&waiting)), (None, "ErrImagePull".to_owned()));
        let runs = json!({"items": [{"metadata": {"name": "a"}, "spec": {"nodeName": "n"},
            "status": {"containerStatuses": [{"state": {"running": {}}}]}}]});
        assert_eq!(running(&runs), Some(("a".into(), "n".into())));
        assert_eq!(why(&json!({"items": []})), "there is no pod");
    }

    #[test]
    fn the_working_set_is_the_operator_s_container_s() {
        let summary = json!({"pods": [{"podRef": {"name": "b"}}, {"podRef": {"name": "a"},
            "containers": [{"memory": {"workingSetBytes": 5_000_000}}]}]});
        assert_eq!(working_set(&summary, "a"), Some(5_000_000));
        assert_eq!(working_set(&summary, "c"), None);
    }
}
