//! What the administrator says of all pods.

use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

/// What holds for all pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Pods {
    /// How long a model may take to load before the container is restarted, where its engine does not say.
    pub load_time: Duration,
    pub runtime_class: Option<String>,
    /// A fragment of a pod template, laid over those of engine and GPU type.
    pub template: Option<Value>,
    pub policy: PodPolicy,
    /// Folders of the nodes that pods may mount, each with all below it.
    pub host_paths: Vec<String>,
}

/// What the pod of an InferenceService may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPolicy {
    /// Anything.
    Privileged,
    /// What Kubernetes' Pod Security Standard of that name allows.
    Baseline,
    /// The same, without `template`, ServiceAccount and Secrets but the token's.
    Closed,
}

impl PodPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            PodPolicy::Privileged => "privileged",
            PodPolicy::Baseline => "baseline",
            PodPolicy::Closed => "closed",
        }
    }
}

impl FromStr for PodPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [PodPolicy::Privileged, PodPolicy::Baseline, PodPolicy::Closed];
        all.into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| "expected baseline, closed or privileged".into())
    }
}

impl Default for Pods {
    fn default() -> Self {
        Pods {
            load_time: Duration::from_secs(1800),
            runtime_class: None,
            template: None,
            policy: PodPolicy::Baseline,
            host_paths: Vec::new(),
        }
    }
}

impl Pods {
    pub fn allow_host_path(&mut self, path: &str) -> Result<(), String> {
        if !is_plain(path) {
            return Err("expected an absolute path without '..', such as /var/lib/models".into());
        }
        self.host_paths.push(path.to_owned());
        Ok(())
    }
}

/// Is this an absolute path that leads nowhere but down?
pub fn is_plain(path: &str) -> bool {
    path.starts_with('/') && !path.split('/').any(|part| part == "..")
}
