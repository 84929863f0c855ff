//! The status during changes: true at each moment.

use std::time::{Duration, Instant};

use inference_operator::api::Phase;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use simulation::oracle::kstatus::Verdict;

use crate::support::fixture::{ready, spec};
use crate::support::obstacle::{Cordon, Hold, Stopped, json_patch, policy, until_in_force};
use crate::support::recorder::{self, Seen};
use crate::support::{Fixture, Operator, Recorder, eventually, kubectl};

/// The node that pods for an L40S run on.
const NODE: &str = "l40s";

/// The smallest value of --model-load-seconds.
const SHORTEST_LOAD: &str = "--model-load-seconds=10";

fn is_degraded(seen: &Seen) -> bool {
    seen.phase() == "Degraded"
}

async fn until_pods(fixture: &Fixture, name: &str, count: usize) {
    let selector = format!("ai.example.com/inferenceservice={name}");
    eventually(&format!("{name} has {count} pods"), || async {
        let pods = kubectl(&["-n", &fixture.namespace, "get", "pods", "-l", &selector, "-o", "name"]);
        let found = pods.lines().count();
        if found == count { Ok(()) } else { Err(format!("{found}")) }
    })
    .await;
}

/// Pods take four seconds here, and minutes where a model is loaded.
#[tokio::test]
async fn a_scale_up_an_earlier_model_and_a_repair_are_progressing_until_their_replicas_are_ready() {
    let fixture = Fixture::new("moving").await;
    let operator = Operator::start("moving", &[]).await;
    let moves = [
        ("up", json!({"replicas": 2})),
        ("woken", json!({"replicas": 1})),
        ("back", json!({"model": "first/model"})),
        // The operator causes this one: its Deployment was scaled to zero.
        ("repaired", json!(null)),
    ];
    for (name, _) in &moves {
        fixture.create_from(name, spec("first/model", i32::from(*name != "woken"), "L40S")).await;
    }
    fixture.until_all(moves.len(), Phase::Ready).await;
    fixture.change("back", json!({"model": "second/model"})).await;
    fixture.until("back", Phase::Ready).await;

    let cordon = Cordon::of(NODE);
    operator.kill();
    kubectl(&["-n", &fixture.namespace, "scale", "deployment/repaired", "--replicas=0"]);
    until_pods(&fixture, "repaired", 0).await;
    let mut recorders = Vec::new();
    for (name, _) in &moves {
        recorders.push(Recorder::of(&fixture, name).await);
    }
    let _operator = Operator::start("moving", &[]).await;
    for (name, change) in moves.iter().filter(|(_, change)| !change.is_null()) {
        fixture.change(name, change.clone()).await;
    }
    for (name, _) in &moves {
        fixture.until(name, Phase::Progressing).await;
    }
    // The status half a second after the change may not be the last one.
    tokio::time::sleep(Duration::from_secs(4)).await;
    for (name, _) in &moves {
        // The reason may change with a delay: see `status::can_wait`.
        let reason = ready(&fixture.until(name, Phase::Progressing).await).1;
        assert!(["RollingOut", "DeploymentPending", "Unschedulable"].contains(&reason.as_str()), "{name}: {reason}");
    }
    drop(cordon);
    for ((name, _), recorder) in moves.iter().zip(&recorders) {
        let last = fixture.until(name, Phase::Ready).await;
        recorder::all(&recorder.up_to(&last).await, &format!("{name} is never Degraded"), |seen| !is_degraded(seen));
        assert_eq!(recorder.warnings().await, [], "{name}");
    }
    fixture.clean_up().await;
}

/// Despite all other events, the time counts from the change, and not from a start, another setting or an edit.
#[tokio::test]
async fn replicas_that_stay_away_longer_than_the_load_time_are_degraded() {
    let fixture = Fixture::new("away").await;
    let mut operator = Operator::start("away", &[SHORTEST_LOAD]).await;
    for name in ["scaled", "edited", "lost"] {
        fixture.create(name, 1).await;
    }
    fixture.until_all(3, Phase::Ready).await;
    let cordon = Cordon::of(NODE);

    // Replicas that were ready and are lost are reported at once.
    kubectl(&[
        "-n",
        &fixture.namespace,
        "delete",
        "pods",
        "-l",
        "ai.example.com/inferenceservice=lost",
        "--wait=false",
    ]);
    fixture.until_said("lost", Phase::Degraded, "ReplicasUnavailable", "0 of 1").await;
    let of_lost = Recorder::of(&fixture, "lost").await;

    let began = Instant::now();
    for name in ["scaled", "edited"] {
        fixture.change(name, json!({"replicas": 2})).await;
    }
    let scaled = Recorder::of(&fixture, "scaled").await;
    let edited = Recorder::of(&fixture, "edited").await;
    for name in ["scaled", "edited"] {
        fixture.until(name, Phase::Progressing).await;
    }
    let lie = Patch::Merge(json!({"status": {"phase": "Ready", "readyReplicas": 2}}));
    fixture.inference_services.patch_status("edited", &PatchParams::default(), &lie).await.expect("told");
    fixture.until("edited", Phase::Progressing).await;
    // The status contains the cluster domain, so each is written again.
    operator.kill();
    operator = Operator::start("away", &[SHORTEST_LOAD, "--cluster-domain=other.example"]).await;
    for (name, recorder) in [("scaled", scaled), ("edited", edited)] {
        let last = fixture.until_said(name, Phase::Degraded, "ReplicasUnavailable", "1 of 2").await;
        println!("{name} is Degraded {:.1} s after the change", began.elapsed().as_secs_f32());
        let seen = recorder.up_to(&last).await;
        // Ten seconds; the time of a condition has no fractions, and the recorder starts a little later.
        recorder::all(&seen, "not before the load time is over", |seen| {
            !is_degraded(seen) || seen.after > Duration::from_secs(8)
        });
        assert!(recorder.warnings().await.iter().all(|(reason, _)| reason == "ReplicasUnavailable"));
    }
    let scaled = Recorder::of(&fixture, "scaled").await;
    operator.kill();
    let _operator = Operator::start("away", &[SHORTEST_LOAD]).await;
    eventually("the status has this domain", || async {
        let endpoint =
            fixture.inference_services.get("scaled").await.expect("there").status.and_then(|status| status.endpoint);
        if endpoint.as_deref().is_some_and(|endpoint| endpoint.ends_with("cluster.local")) {
            Ok(())
        } else {
            Err(format!("{endpoint:?}"))
        }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for recorder in [&of_lost, &scaled] {
        recorder::all(&recorder.until_now().await, "stays Degraded", is_degraded);
    }
    drop(cordon);
    fixture.until_all(3, Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn kstatus_calls_nothing_current_before_it_is_ready() {
    let fixture = Fixture::new("kstatus").await;
    fixture.create("demo", 1).await;
    let recorder = Recorder::of(&fixture, "demo").await;
    let first = recorder.until_now().await;
    assert_eq!(first[0].kstatus(), Verdict::InProgress, "the operator is away:{}", recorder::lines(&first));
    let operator = Operator::start("kstatus", &[]).await;
    fixture.until("demo", Phase::Ready).await;
    operator.kill();
    fixture.change("demo", json!({"model": "second/model"})).await;
    let seen = recorder.until_now().await;
    assert_eq!(seen.last().expect("one").kstatus(), Verdict::InProgress, "a change:{}", recorder::lines(&seen));
    let _operator = Operator::start("kstatus", &[]).await;
    let last = fixture.until("demo", Phase::Ready).await;
    let seen = recorder.up_to(&last).await;
    recorder::all(&seen, "Current means Ready with this spec, and nothing failed", |seen| match seen.kstatus() {
        Verdict::Current => seen.phase() == "Ready" && seen.is_of_this_spec(),
        verdict => verdict == Verdict::InProgress,
    });
    assert_eq!(seen.last().expect("one").kstatus(), Verdict::Current);
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_deployment_that_is_being_deleted_is_told_and_made_again() {
    let fixture = Fixture::new("held").await;
    let operator = Operator::start("held", &[]).await;
    // With background deletion the pods stay until the Deployment is gone; with foreground deletion they are deleted
    // first.
    let ways = [("background", Phase::Degraded), ("foreground", Phase::Pending), ("meanwhile", Phase::Degraded)];
    for (name, _) in ways {
        fixture.create(name, 1).await;
        fixture.until(name, Phase::Ready).await;
    }
    let delete = |name: &str| {
        let deployment = format!("deployment/{name}");
        let hold = Hold::on(&fixture, &deployment);
        let cascade = if name == "foreground" { "--cascade=foreground" } else { "--cascade=background" };
        kubectl(&["-n", &fixture.namespace, "delete", &deployment, cascade, "--wait=false"]);
        hold
    };
    let until_told = async |(name, phase): (&str, Phase)| {
        let words = format!("Deployment {}/{name} is being deleted", fixture.namespace);
        let object = fixture.until_said(name, phase, "Terminating", &words).await;
        let mut conditions = object.status.expect("a status").conditions.into_iter();
        let abnormal = conditions.find(|condition| condition.type_ != "Ready").map(|condition| condition.type_);
        assert_eq!(abnormal.as_deref(), Some("Reconciling"), "{name} heals by itself");
    };
    let mut holds = vec![delete("background"), delete("foreground")];
    until_pods(&fixture, "foreground", 0).await;
    for way in &ways[..2] {
        until_told(*way).await;
    }
    // A new process reports it too, whatever the status says.
    operator.kill();
    holds.push(delete("meanwhile"));
    let _operator = Operator::start("held", &[]).await;
    for way in ways {
        until_told(way).await;
    }
    drop(holds);
    let began = Instant::now();
    fixture.until_all(ways.len(), Phase::Ready).await;
    println!("Ready {:.1} s after they were let go", began.elapsed().as_secs_f32());
    assert!(began.elapsed() < Duration::from_secs(20), "healed within seconds");
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_service_that_is_being_deleted_is_told_and_made_again() {
    let fixture = Fixture::new("held").await;
    let _operator = Operator::start("held", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let hold = Hold::on(&fixture, "service/demo");
    kubectl(&["-n", &fixture.namespace, "delete", "service/demo", "--wait=false"]);
    let words = format!("Service {}/demo is being deleted", fixture.namespace);
    fixture.until_said("demo", Phase::Degraded, "Terminating", &words).await;
    drop(hold);
    fixture.until("demo", Phase::Ready).await;
    fixture.services.get("demo").await.expect("made again");
    fixture.clean_up().await;
}

#[tokio::test]
async fn the_child_of_a_predecessor_that_is_not_collected_is_told() {
    let fixture = Fixture::new("uncollected").await;
    let _operator = Operator::start("uncollected", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    // It contains the garbage collector.
    let away = Stopped::part("controller-manager");
    kubectl(&["-n", &fixture.namespace, "delete", "isvc/demo"]);
    fixture.create("demo", 1).await;
    let words = format!("Deployment {}/demo is being deleted", fixture.namespace);
    fixture.until_said("demo", Phase::Pending, "Terminating", &words).await;
    let recorder = Recorder::of(&fixture, "demo").await;
    drop(away);
    let last = fixture.until("demo", Phase::Ready).await;
    recorder::all(&recorder.up_to(&last).await, "never Failed", |seen| seen.phase() != "Failed");
    fixture.clean_up().await;
}

#[tokio::test]
async fn a_rollout_that_is_paused_is_named() {
    let fixture = Fixture::new("paused").await;
    let _operator = Operator::start("paused", &[]).await;
    fixture.create("demo", 1).await;
    fixture.until("demo", Phase::Ready).await;
    let recorder = Recorder::of(&fixture, "demo").await;
    kubectl(&["-n", &fixture.namespace, "rollout", "pause", "deployment/demo"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    recorder::all(&recorder.until_now().await, "what is complete is Ready, paused or not", |seen| {
        seen.phase() == "Ready"
    });
    fixture.change("demo", json!({"model": "second/model"})).await;
    fixture.until_said("demo", Phase::Degraded, "DeploymentPaused", "kubectl").await;
    fixture.until_said("demo", Phase::Degraded, "DeploymentPaused", "rollout resume").await;
    kubectl(&["-n", &fixture.namespace, "rollout", "resume", "deployment/demo"]);
    fixture.until("demo", Phase::Ready).await;
    fixture.clean_up().await;
}

#[tokio::test]
async fn ready_means_as_many_replicas_as_the_inference_service_asks_for() {
    let fixture = Fixture::new("overridden").await;
    let hold = json_patch(r#"[JSONPatch{op: "replace", path: "/spec/replicas", value: 1}]"#);
    let hold = policy(&fixture, "Mutating", "object.metadata.name in ['three', 'none', 'probe']", &hold);
    // The default of kubectl is 1 too, so a second policy has to show that both are in force.
    let probe = json_patch(r#"[JSONPatch{op: "replace", path: "/spec/replicas", value: 5}]"#);
    let _probe = policy(&fixture, "Mutating", "object.metadata.name == 'later'", &probe);
    until_in_force(&fixture, "later", "\"replicas\": 5").await;
    let _operator = Operator::start("overridden", &[]).await;
    let mut recorders = Vec::new();
    for (name, replicas) in [("three", 3), ("none", 0)] {
        fixture.create(name, replicas).await;
        recorders.push(Recorder::of(&fixture, name).await);
    }
    for name in ["three", "none"] {
        fixture.until_said(name, Phase::Degraded, "ReplicasOverridden", "").await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for recorder in &recorders {
        recorder::all(&recorder.until_now().await, "never Ready", |seen| seen.phase() != "Ready");
    }
    drop(hold);
    fixture.until_all(2, Phase::Ready).await;
    assert_eq!(ready(&fixture.until("three", Phase::Ready).await).2, "3 of 3 replicas ready");
    fixture.clean_up().await;
}
