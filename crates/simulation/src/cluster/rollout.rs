//! The Deployment controller, step by step like Kubernetes' own (pkg/controller/deployment: `syncDeployment`,
//! rolling.go, sync.go, progress.go): when a rollout is complete, when its deadline runs, and how a scale, a pause
//! and a return to an earlier template change the conditions. Called by the controllers; pure except for the time in
//! conditions. If several ReplicaSets are scaled at once, the largest takes all: the real one scales proportionally.

use serde_json::{Map, Value, json};

use super::pods::ReplicaSet;
use crate::clock;

pub const COMPLETE: &str = "NewReplicaSetAvailable";
pub const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// One Deployment's ReplicaSets, the oldest first.
#[derive(Default)]
pub struct Rollout {
    pub sets: Vec<ReplicaSet>,
    /// The Deployment's resourceVersion at which nothing was left to do, until its deadline or its pods require a
    /// sync.
    pub rests_at: Value,
}

pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

pub fn condition<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

pub fn has_reason(status: &Value, reason: &str) -> bool {
    condition(status, "Progressing").is_some_and(|progressing| progressing["reason"] == reason)
}

/// `DeploymentComplete`.
pub fn is_complete(deployment: &Value, status: &Value) -> bool {
    let replicas = wanted(deployment);
    number(&status["updatedReplicas"]) == replicas
        && number(&status["replicas"]) == replicas
        && number(&status["availableReplicas"]) == replicas
        && number(&status["observedGeneration"]) >= number(&deployment["metadata"]["generation"])
}

fn wanted(deployment: &Value) -> i64 {
    deployment["spec"]["replicas"].as_i64().unwrap_or(1)
}

/// `ResolveFenceposts`: how many pods more, and how many fewer, than desired are allowed.
fn fenceposts(deployment: &Value) -> (i64, i64) {
    let replicas = wanted(deployment);
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    // The default of 25%, rounded up for the surge and down for the unavailable.
    let surge = rolling["maxSurge"].as_i64().unwrap_or((replicas + 3) / 4);
    let unavailable = rolling["maxUnavailable"].as_i64().unwrap_or(replicas / 4);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

fn max_unavailable(deployment: &Value) -> i64 {
    fenceposts(deployment).1.min(wanted(deployment))
}

/// `SetDeploymentCondition`.
fn set_condition(status: &mut Value, type_: &str, truth: &str, reason: &str) {
    let current = condition(status, type_);
    if current.is_some_and(|current| current["status"] == truth && current["reason"] == reason) {
        return;
    }
    let since =
        current.filter(|current| current["status"] == truth).map(|current| current["lastTransitionTime"].clone());
    put_condition(status, type_, truth, reason, since);
}

fn put_condition(status: &mut Value, type_: &str, truth: &str, reason: &str, since: Option<Value>) {
    remove_condition(status, type_);
    let now = clock::stamp();
    let condition = json!({
        "type": type_, "status": truth, "reason": reason, "message": "simulated",
        "lastUpdateTime": now, "lastTransitionTime": since.unwrap_or(json!(now))
    });
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.push(condition);
    } else {
        status["conditions"] = json!([condition]);
    }
}

fn remove_condition(status: &mut Value, type_: &str) {
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] != type_);
    }
}

impl Rollout {
    /// `syncDeployment`: updates the ReplicaSets and returns the new status. True: a ReplicaSet was changed.
    pub fn sync(&mut self, deployment: &Value) -> (bool, Value) {
        let mut deployment = deployment.clone();
        if !deployment["status"].is_object() {
            deployment["status"] = Value::Object(Map::new());
        }
        if !deployment["metadata"]["deletionTimestamp"].is_null() {
            return (false, self.counted(&deployment));
        }
        check_paused(&mut deployment);
        if deployment["spec"]["paused"] == true || self.is_scaling(&deployment) {
            let scaled = self.scale(&deployment);
            return (scaled, self.counted(&deployment));
        }
        let made = self.make_new(&mut deployment);
        let scaled = made || self.scale_new_up(&deployment) || self.scale_old_down(&deployment);
        (scaled, self.progressed(&deployment))
    }

    /// When the deadline of a stuck rollout expires, in seconds since 1970.
    pub fn deadline(deployment: &Value) -> Option<u64> {
        let status = &deployment["status"];
        let progressing = condition(status, "Progressing")?;
        let runs = deployment["spec"]["paused"] != true
            && !is_complete(deployment, status)
            && progressing["reason"] != TIMED_OUT
            && progressing["reason"] != COMPLETE;
        runs.then(|| {
            let from = clock::seconds(progressing["lastUpdateTime"].as_str().unwrap_or_default());
            // One second more: times are whole seconds.
            from + u64::try_from(deadline_seconds(deployment)).unwrap_or(0) + 1
        })
    }

    fn new_set(&self, deployment: &Value) -> Option<usize> {
        self.sets.iter().position(|set| set.template == deployment["spec"]["template"])
    }

    fn is_scaling(&self, deployment: &Value) -> bool {
        self.sets.iter().any(|set| set.wanted > 0 && set.desired != wanted(deployment))
    }

    /// `scale` of sync.go.
    fn scale(&mut self, deployment: &Value) -> bool {
        let (replicas, newest) = (wanted(deployment), self.new_set(deployment));
        let active: Vec<usize> = (0..self.sets.len()).filter(|&index| self.sets[index].wanted > 0).collect();
        let one = match active.as_slice() {
            [] => newest.or(self.sets.len().checked_sub(1)),
            [one] => Some(*one),
            _ => None,
        };
        let before: Vec<i64> = self.sets.iter().map(|set| set.wanted).collect();
        if let Some(one) = one {
            self.sets[one].wanted = replicas;
        } else if newest.is_some_and(|newest| self.is_saturated(newest, replicas)) {
            let old = active.iter().filter(|&&index| Some(index) != newest);
            old.for_each(|&index| self.sets[index].wanted = 0);
        } else if let Some(largest) = active.iter().copied().max_by_key(|&index| (self.sets[index].wanted, index)) {
            let allowed = if replicas > 0 { replicas + fenceposts(deployment).0 } else { 0 };
            let mut rest = allowed - before.iter().sum::<i64>();
            let others = active.iter().copied().filter(|&index| index != largest);
            for index in std::iter::once(largest).chain(others) {
                let after = (self.sets[index].wanted + rest).max(0);
                rest -= after - self.sets[index].wanted;
                self.sets[index].wanted = after;
            }
        }
        let active = self.sets.iter_mut().filter(|set| set.wanted > 0);
        active.for_each(|set| set.desired = replicas);
        self.sets.iter().map(|set| set.wanted).ne(before)
    }

    fn is_saturated(&self, index: usize, replicas: i64) -> bool {
        let set = &self.sets[index];
        set.wanted == replicas && set.desired == replicas && set.counts.ready == replicas
    }

    /// `getNewReplicaSet`: an existing ReplicaSet of this template becomes the newest again, and the condition stays.
    fn make_new(&mut self, deployment: &mut Value) -> bool {
        let has_deadline = deadline_seconds(deployment) != i64::from(i32::MAX);
        let found = self.new_set(deployment);
        let reason = if found.is_some() { "FoundNewReplicaSet" } else { "NewReplicaSetCreated" };
        if has_deadline && (found.is_none() || condition(&deployment["status"], "Progressing").is_none()) {
            set_condition(&mut deployment["status"], "Progressing", "True", reason);
        }
        if found.is_none() {
            self.sets.push(ReplicaSet::new(deployment["spec"]["template"].clone()));
            self.scale_new_up(deployment);
        }
        found.is_none()
    }

    /// `reconcileNewReplicaSet`.
    fn scale_new_up(&mut self, deployment: &Value) -> bool {
        let Some(newest) = self.new_set(deployment) else { return false };
        let (replicas, all) = (wanted(deployment), self.sets.iter().map(|set| set.wanted).sum::<i64>());
        let set = &mut self.sets[newest];
        let before = set.wanted;
        if before > replicas {
            set.wanted = replicas;
        } else {
            let room = (replicas + fenceposts(deployment).0 - all).max(0);
            set.wanted += room.min(replicas - before);
        }
        set.desired = replicas;
        set.wanted != before
    }

    /// `reconcileOldReplicaSets`: first the pods that are not ready, then as many as may be unavailable.
    fn scale_old_down(&mut self, deployment: &Value) -> bool {
        let Some(newest) = self.new_set(deployment) else { return false };
        let (replicas, available_least) = (wanted(deployment), wanted(deployment) - max_unavailable(deployment));
        let all: i64 = self.sets.iter().map(|set| set.wanted).sum();
        let not_there = self.sets[newest].wanted - self.sets[newest].counts.ready;
        let mut room = all - available_least - not_there;
        let mut down = 0;
        if room <= 0 {
            return false;
        }
        let mut old: Vec<&mut ReplicaSet> =
            self.sets.iter_mut().enumerate().filter(|(index, _)| *index != newest).map(|(_, set)| set).collect();
        for set in &mut old {
            let fewer = room.min(set.wanted - set.counts.ready).max(0);
            set.wanted -= fewer;
            set.desired = replicas;
            room -= fewer;
            down += fewer;
        }
        let ready: i64 = self.sets.iter().map(|set| set.counts.ready).sum();
        let mut room = (ready - available_least).max(0);
        for (index, set) in self.sets.iter_mut().enumerate() {
            if index != newest {
                let fewer = room.min(set.wanted);
                set.wanted -= fewer;
                set.desired = replicas;
                room -= fewer;
                down += fewer;
            }
        }
        down > 0
    }

    /// `calculateStatus`. The conditions are kept.
    fn counted(&self, deployment: &Value) -> Value {
        let sum = |count: fn(&ReplicaSet) -> i64| self.sets.iter().map(count).sum::<i64>();
        let (replicas, ready) = (sum(|set| set.counts.replicas), sum(|set| set.counts.ready));
        let all = wanted(deployment);
        let mut status = Value::Object(Map::new());
        let counts = [
            ("observedGeneration", number(&deployment["metadata"]["generation"])),
            ("replicas", replicas),
            ("updatedReplicas", self.new_set(deployment).map_or(0, |newest| self.sets[newest].counts.replicas)),
            ("readyReplicas", ready),
            ("availableReplicas", ready),
            ("unavailableReplicas", (sum(|set| set.wanted) - ready).max(0)),
        ];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
            status[name] = json!(count);
        }
        if deployment["status"]["conditions"].is_array() {
            status["conditions"] = deployment["status"]["conditions"].clone();
        }
        if ready >= all - max_unavailable(deployment) {
            set_condition(&mut status, "Available", "True", "MinimumReplicasAvailable");
        } else {
            set_condition(&mut status, "Available", "False", "MinimumReplicasUnavailable");
        }
        status
    }

    /// `syncRolloutStatus`.
    fn progressed(&self, deployment: &Value) -> Value {
        let mut status = self.counted(deployment);
        let before = &deployment["status"];
        let is_over = number(&status["replicas"]) == number(&status["updatedReplicas"]) && has_reason(before, COMPLETE);
        if deadline_seconds(deployment) == i64::from(i32::MAX) {
            remove_condition(&mut status, "Progressing");
        } else if !is_over {
            if is_complete(deployment, &status) {
                set_condition(&mut status, "Progressing", "True", COMPLETE);
            } else if has_progressed(before, &status) {
                // Each progress moves lastUpdateTime; the deadline counts from there.
                let current = condition(before, "Progressing").filter(|current| current["status"] == "True");
                let since = current.map(|current| current["lastTransitionTime"].clone());
                put_condition(&mut status, "Progressing", "True", "ReplicaSetUpdated", since);
            } else if has_timed_out(deployment, &status) {
                set_condition(&mut status, "Progressing", "False", TIMED_OUT);
            }
        }
        if self.sets.iter().any(|set| set.counts.fails) {
            set_condition(&mut status, "ReplicaFailure", "True", "FailedCreate");
        } else {
            remove_condition(&mut status, "ReplicaFailure");
        }
        status
    }
}

fn deadline_seconds(deployment: &Value) -> i64 {
    number(&deployment["spec"]["progressDeadlineSeconds"])
}

/// `checkPausedConditions`.
fn check_paused(deployment: &mut Value) {
    let has_deadline = deadline_seconds(deployment) != i64::from(i32::MAX);
    let (is_paused, status) = (deployment["spec"]["paused"] == true, &mut deployment["status"]);
    if !has_deadline || has_reason(status, TIMED_OUT) {
        return;
    }
    match (is_paused, has_reason(status, PAUSED)) {
        (true, false) => set_condition(status, "Progressing", "Unknown", PAUSED),
        (false, true) => set_condition(status, "Progressing", "Unknown", "DeploymentResumed"),
        _ => {}
    }
}

/// `DeploymentProgressing`.
fn has_progressed(before: &Value, after: &Value) -> bool {
    let old = |status: &Value| number(&status["replicas"]) - number(&status["updatedReplicas"]);
    let more = |name: &str| number(&after[name]) > number(&before[name]);
    more("updatedReplicas") || old(after) < old(before) || more("readyReplicas") || more("availableReplicas")
}

/// `DeploymentTimedOut`.
fn has_timed_out(deployment: &Value, status: &Value) -> bool {
    let Some(progressing) = condition(status, "Progressing") else { return false };
    if progressing["reason"] == COMPLETE {
        return false;
    }
    let from = clock::seconds(progressing["lastUpdateTime"].as_str().unwrap_or_default());
    let deadline = u64::try_from(deadline_seconds(deployment)).unwrap_or(0);
    progressing["reason"] == TIMED_OUT || from + deadline < u64::from(clock::now().0)
}
