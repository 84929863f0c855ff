//! The hashes of what was built: on the Deployment, and in the status.

use serde_json::json;

use super::requests::{DEPLOYMENT, STATUS, as_it_was, context, found, new, none, object, posted, service, written};
use super::*;
use crate::testing::fake_api_server::Reply;

/// So that after a restart nothing has to be read to see that other settings build the same.
#[tokio::test(start_paused = true)]
async fn what_was_built_is_written_to_the_deployment_and_from_there_to_the_status() {
    let unseen = found(|it| it["status"] = json!({}));
    let (first, asked) = context([none(), service(), unseen]);
    reconcile(&first, new()).await.expect("done");
    let lines = asked.take();
    let apply = lines.iter().find(|line| line.starts_with("PATCH")).expect("an apply");
    let hashes = apply.split("\"ai.example.com/hashes\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let hashes: Hashes = hashes.expect("an annotation").parse().expect("hashes");
    let spec = task(Dirty::SPEC).spec.expect("a spec");
    assert_eq!(hashes.inputs, hashes::inputs(first.config_hash, &spec));

    // Other settings that build the same change nothing.
    let earlier = Hashes { inputs: 7, ..hashes }.to_string();
    let mut object = deployment_json();
    object["metadata"]["annotations"] = json!({"ai.example.com/hashes": earlier});
    let (again, asked) = context([Reply::object(&object), as_it_was(), written()]);
    reconcile(&again, task(Dirty::SPEC | Dirty::DEPLOYMENT)).await.expect("done");
    let lines = asked.take();
    let apply = lines.iter().rfind(|line| line.starts_with(&format!("PATCH {DEPLOYMENT}"))).expect("an apply");
    assert!(apply.contains(&earlier), "{apply}");

    let applied = found(|it| {
        it["metadata"]["annotations"] = json!({"ai.example.com/hashes": "0000000000000007-0000000000000008"});
    });
    let (told, asked) = context([applied, written()]);
    reconcile(&told, task(Dirty::STATUS)).await.expect("done");
    let lines = asked.take();
    let status = lines.iter().find(|line| line.contains(STATUS)).expect("a status");
    assert!(status.contains("\"hashes\":\"0000000000000007-0000000000000008\""), "{status}");
}

/// Found by the simulation, seed 5911: the status of an apply was lost, and the next attempt failed. The rollout then no longer
/// waited for these children.
#[tokio::test(start_paused = true)]
async fn an_error_after_an_apply_does_not_hide_that_a_rollout_has_brought_these_children() {
    let brought = || {
        found(|it| {
            it["metadata"]["generation"] = json!(2);
            it["metadata"]["annotations"] =
                json!({"ai.example.com/hashes": "0000000000000007-0000000000000008-rollout"});
        })
    };
    let (fails, asked) = context([brought(), object(|_| {}), Reply::refusal(500, "no"), written(), posted()]);
    let outcome = reconcile(&fails, Task { failures: 2, ..task(Dirty::ROLLOUT) }).await.expect("told");
    assert!(matches!(outcome.action, Action::Rejected(_)), "{outcome:?}");
    let asked = asked.take();
    let status = asked.iter().find(|line| line.contains(STATUS)).expect("a status");
    assert!(status.contains("\"hashes\":\"0000000000000007-0000000000000008-rollout\""), "{status}");
}
