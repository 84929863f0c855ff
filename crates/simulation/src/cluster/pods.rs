//! The ReplicaSets of one Deployment, their pods, and the work of the ReplicaSet controller, the scheduler and the
//! kubelet. Advanced by the controllers; the Deployment controller (rollout.rs) reads the published counts, as the
//! real one reads the ReplicaSets' status.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::Inner;
use crate::api_server::Key;
use crate::chance::Chance;

/// The longest load time of a model, once a node is found.
pub const SLOWEST_LOAD: Duration = Duration::from_secs(60);

/// No registry has an image with this tag.
pub const NO_IMAGE: &str = ":missing";

/// Can a node pull the image of these pods?
pub fn has_image(template: &Value) -> bool {
    template["spec"]["containers"][0]["image"].as_str().is_none_or(|image| !image.ends_with(NO_IMAGE))
}

/// The pods of this Deployment, as the API server lists them.
pub fn shown(inner: &Inner, deployment: &Key) -> Vec<Value> {
    let uid = inner.store.get(deployment).and_then(|object| object["metadata"]["uid"].as_str());
    let sets = uid.and_then(|uid| inner.rollouts.get(uid)).map_or(&[][..], |rollout| &rollout.sets);
    let pods =
        |(number, set): (usize, &ReplicaSet)| set.pods.iter().map(|pod| set.show(*pod, number)).collect::<Vec<_>>();
    sets.iter().enumerate().flat_map(pods).collect()
}

/// The shared conditions of all pods in the cluster.
#[derive(Default)]
pub struct Nodes {
    /// Until then no pod can be scheduled.
    pub cordoned_until: Option<Instant>,
    /// Until then no pod can be created: a quota is exhausted.
    pub quota_until: Option<Instant>,
}

impl Nodes {
    fn holds(until: Option<Instant>, now: Instant) -> bool {
        until.is_some_and(|until| now < until)
    }

    /// The next time at which a condition ends.
    pub fn wakes_at(&self, now: Instant) -> Option<Instant> {
        [self.cordoned_until, self.quota_until].into_iter().flatten().filter(|until| *until > now).min()
    }

    /// Ends all shortages.
    pub fn heal(&mut self) {
        *self = Nodes::default();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pod {
    /// For a node, or for an image that no registry has.
    Waiting,
    Loading(Instant),
    Ready,
}

/// The status of a ReplicaSet, which the Deployment controller sums up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub replicas: i64,
    pub ready: i64,
    /// Its pods cannot be created.
    pub fails: bool,
}

pub struct ReplicaSet {
    pub template: Value,
    /// spec.replicas.
    pub wanted: i64,
    /// The annotation deployment.kubernetes.io/desired-replicas.
    pub desired: i64,
    pub counts: Counts,
    pods: Vec<Pod>,
}

impl ReplicaSet {
    pub fn new(template: Value) -> ReplicaSet {
        ReplicaSet { template, wanted: 0, desired: 0, counts: Counts::default(), pods: Vec::new() }
    }

    /// Deletes a ready pod.
    pub fn lose_one(&mut self) {
        if let Some(position) = self.pods.iter().position(|pod| *pod == Pod::Ready) {
            self.pods.remove(position);
        }
    }

    /// One step of all components concerned with pods. True: something has changed.
    pub fn step(&mut self, nodes: &Nodes, chance: &mut Chance, now: Instant) -> bool {
        let before = (self.counts, self.pods.clone());
        let wanted = usize::try_from(self.wanted).unwrap_or(0);
        // Pods that are not ready are deleted first.
        self.pods.sort_by_key(|pod| u8::from(*pod != Pod::Ready));
        self.pods.truncate(wanted);
        let fails = self.pods.len() < wanted && Nodes::holds(nodes.quota_until, now);
        if !fails {
            self.pods.resize(wanted, Pod::Waiting);
        }
        let can_start = has_image(&self.template);
        for pod in &mut self.pods {
            match *pod {
                Pod::Waiting if can_start && !Nodes::holds(nodes.cordoned_until, now) => {
                    *pod = Pod::Loading(now + Duration::from_secs(1) + chance.up_to(SLOWEST_LOAD));
                }
                Pod::Loading(until) if until <= now => *pod = Pod::Ready,
                _ => {}
            }
        }
        let count = |pods: usize| i64::try_from(pods).unwrap_or(0);
        let ready = count(self.pods.iter().filter(|pod| **pod == Pod::Ready).count());
        self.counts = Counts { replicas: count(self.pods.len()), ready, fails };
        (self.counts, &self.pods) != (before.0, &before.1)
    }

    /// `number`: how many ReplicaSets this Deployment had before.
    fn show(&self, pod: Pod, number: usize) -> Value {
        let image = &self.template["spec"]["containers"][0]["image"];
        let mut spec = self.template["spec"].clone();
        let truth = |holds: bool| if holds { "True" } else { "False" };
        let is_scheduled = pod != Pod::Waiting || !has_image(&self.template);
        if is_scheduled {
            spec["nodeName"] = json!("node");
        }
        let state = match pod {
            Pod::Waiting => json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}),
            Pod::Loading(_) | Pod::Ready => json!({"running": {}}),
        };
        let container = json!({"name": "server", "image": image, "ready": pod == Pod::Ready, "state": state});
        let statuses = if is_scheduled { vec![container] } else { Vec::new() };
        json!({
            "metadata": {"creationTimestamp": format!("2000-01-01T00:00:{:02}Z", number % 60),
                "labels": {"pod-template-hash": number.to_string()}},
            "spec": spec,
            "status": {"phase": if is_scheduled { "Running" } else { "Pending" }, "containerStatuses": statuses, "conditions": [
                {"type": "PodScheduled", "status": truth(is_scheduled), "message": "0/1 nodes are available"},
                {"type": "Ready", "status": truth(pod == Pod::Ready)}]}
        })
    }

    /// When the next pod becomes ready.
    pub fn wakes_at(&self) -> Option<Instant> {
        let loads = |pod: &Pod| if let Pod::Loading(until) = pod { Some(*until) } else { None };
        self.pods.iter().filter_map(loads).min()
    }
}
