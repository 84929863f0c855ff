use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde_json::{Value, json};

use super::*;
use crate::settings::Settings;
use crate::testing::fake_api_server::{self, Asked, Reply};
use crate::testing::fixtures::UID;
use crate::testing::log_capture::listen;
use crate::time::Timestamp;

/// An operator that waits for its catalogue: what is in force, the catalogue, and the requests.
struct Operator {
    context: Arc<Context>,
    catalog: Catalog,
    holds_back: bool,
    asked: Asked,
}

/// Every patch is taken; a GET finds this status.
fn operator(status: &Value) -> Operator {
    let object = json!({"metadata": {"name": "default", "resourceVersion": "7"}, "status": status});
    operator_of(fake_api_server::client_of(move |_| Reply::object(&object)))
}

fn operator_of((client, asked): (kube::Client, Asked)) -> Operator {
    let context = Context::new(client, Settings::default(), || Timestamp(1000), Timestamp(1000).into());
    Operator { catalog: Catalog::new(context.clone()), context, holds_back: false, asked }
}

impl Operator {
    /// Does all that is to be done, as the controller does it.
    async fn settle(&mut self, progress: &Progress) {
        for _ in 0..9 {
            self.catalog.advance(&self.context, Some(progress.clone()), Right::Always);
            if let Some(next) = self.catalog.take_next() {
                (self.context, self.holds_back) = (next.context, next.holds_back);
                continue;
            }
            if self.catalog.job.is_none() {
                return;
            }
            let done = self.catalog.done().await;
            self.catalog.finish(done);
        }
        panic!("it never settles");
    }

    async fn see(&mut self, object: Value) {
        self.catalog.observe(Event::Apply(view(object)));
        self.settle(&Progress::Complete).await;
    }

    /// The status that the last patch sets.
    fn said(&self) -> Value {
        let asked = self.asked.take();
        assert!(asked.len() == 1 && asked[0].starts_with("PATCH "), "{asked:?}");
        let (_, body) = asked[0].split_once('[').expect("a patch");
        let patch: Value = serde_json::from_str(&format!("[{body}")).expect("JSON");
        assert_eq!(patch[0], json!({"op": "test", "path": "/metadata/uid", "value": UID}));
        let mut status = json!({});
        for operation in &patch.as_array().expect("operations")[1..] {
            let field =
                operation["path"].as_str().expect("a path").trim_start_matches("/status").trim_start_matches('/');
            if field.is_empty() {
                status = operation["value"].clone();
            } else {
                status[field] = operation["value"].clone();
            }
        }
        status
    }

    fn image(&self) -> &str {
        &self.context.settings.catalog.engine(None).expect("an engine").image
    }
}

fn view(object: Value) -> InferenceServiceView {
    serde_json::from_value(object).expect("an object")
}

/// As it is watched: without the catalogue that was accepted last.
fn object(generation: u32, image: &str, status: &Value) -> Value {
    let mut status = status.clone();
    if let Some(fields) = status.as_object_mut() {
        fields.remove("accepted");
    }
    json!({
        "metadata": {"name": "default", "namespace": "inference-operator", "uid": UID,
                     "resourceVersion": "9", "generation": generation},
        "spec": {"engines": [{"name": "vllm", "image": image}]},
        "status": status
    })
}

fn condition<'a>(status: &'a Value, type_: &str) -> (&'a str, &'a str, &'a str) {
    let conditions = status["conditions"].as_array().expect("conditions");
    let found = conditions.iter().find(|condition| condition["type"] == type_).expect("there");
    let text = |field: &str| found[field].as_str().expect("a text");
    (text("status"), text("reason"), text("message"))
}

const BUILT_IN: &str = "vllm/vllm-openai:v0.33.0";

#[tokio::test(start_paused = true)]
async fn without_a_catalogue_what_is_built_in_holds_and_nothing_is_asked_or_said() {
    let (lines, _guard) = listen();
    let mut operator = operator(&Value::Null);
    assert!(!operator.catalog.is_decided());
    operator.catalog.observe(Event::Init);
    assert!(!operator.catalog.is_decided());
    operator.catalog.observe(Event::InitDone);
    operator.settle(&Progress::InProgress).await;
    assert!(operator.catalog.is_decided() && !operator.holds_back);
    assert_eq!(operator.image(), BUILT_IN);
    operator.catalog.observe(Event::Absent);
    operator.settle(&Progress::Complete).await;
    assert!(operator.asked.take().is_empty() && lines.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_catalogue_that_is_listed_is_there_until_a_list_comes_without_it() {
    let mut operator = operator(&Value::Null);
    for event in [Event::Init, Event::InitApply(view(object(1, "mine", &Value::Null))), Event::InitDone] {
        operator.catalog.observe(event);
    }
    operator.settle(&Progress::Complete).await;
    assert_eq!(operator.image(), "mine");
    for event in [Event::Init, Event::InitDone] {
        operator.catalog.observe(event);
    }
    operator.settle(&Progress::Complete).await;
    assert_eq!(operator.image(), BUILT_IN);
}

#[tokio::test(start_paused = true)]
async fn an_accepted_catalogue_takes_force_and_that_is_said_once() {
    let mut operator = operator(&Value::Null);
    operator.see(object(1, "mine", &Value::Null)).await;
    assert_eq!(operator.image(), "mine");
    let status = operator.said();
    assert_eq!(condition(&status, "Accepted"), ("True", "Accepted", "it is in force"));
    assert_eq!(condition(&status, "Rollout").1, "Complete");
    assert_eq!(status["accepted"]["engines"][0]["image"], "mine", "kept for an operator that starts when it is broken");
    assert_eq!((&status["engines"], &status["observedGeneration"]), (&json!("vllm, sglang, llamacpp"), &json!(1)));
    operator.see(object(1, "mine", &status)).await;
    assert!(operator.asked.take().is_empty(), "the echo of its own write");
    let mut other = status.clone();
    other["conditions"][0]["status"] = json!("False");
    operator.see(object(1, "mine", &other)).await;
    assert_eq!(condition(&operator.said(), "Accepted").0, "True", "somebody else's word is put right");
    for _ in 0..20 {
        operator.see(object(1, "mine", &other)).await;
        tokio::time::advance(RETRY * 9).await;
    }
    let corrected = operator.asked.take().len();
    assert_eq!(corrected, usize::from(MOST_CORRECTIONS) - 2, "not for ever: the first two are above");
    operator.see(object(2, "mine", &status)).await;
    assert_eq!(operator.said()["observedGeneration"], 2);
    operator.see(object(3, "mine", &status)).await;
    assert_eq!(operator.said()["observedGeneration"], 3, "a change of the catalogue does not wait");
}

#[tokio::test(start_paused = true)]
async fn a_refused_catalogue_changes_nothing_and_says_where_it_is_wrong() {
    let mut operator = operator(&Value::Null);
    operator.see(object(1, "mine", &Value::Null)).await;
    let status = operator.said();
    operator.see(object(2, " ", &status)).await;
    assert_eq!(operator.image(), "mine");
    let refused = operator.said();
    assert_eq!(condition(&refused, "Accepted"), ("False", "InvalidSpec", "spec.engines[vllm].image: it is missing"));
    assert_eq!(refused["accepted"]["engines"][0]["image"], "mine", "the last accepted one");
    operator.catalog.observe(Event::Delete(view(object(2, " ", &refused))));
    operator.settle(&Progress::Complete).await;
    assert_eq!(operator.image(), BUILT_IN);
}

/// Or else `kubectl replace --force` would take a model to what is built in, and back.
#[tokio::test(start_paused = true)]
async fn a_catalogue_that_is_deleted_and_created_again_at_once_is_in_force_all_the_time() {
    let mut operator = operator(&Value::Null);
    operator.see(object(1, "mine", &Value::Null)).await;
    operator.catalog.observe(Event::Delete(view(object(1, "mine", &Value::Null))));
    operator.catalog.advance(&operator.context, Some(Progress::Complete), Right::Always);
    let waits = tokio::time::timeout(GONE_FOR_GOOD / 2, operator.catalog.done()).await;
    assert!(waits.is_err() && operator.catalog.take_next().is_none());
    operator.see(object(2, "mine", &Value::Null)).await;
    assert_eq!(operator.image(), "mine");
    let deleted = Instant::now();
    operator.catalog.observe(Event::Delete(view(object(2, "mine", &Value::Null))));
    operator.settle(&Progress::Complete).await;
    assert_eq!((operator.image(), deleted.elapsed() >= GONE_FOR_GOOD), (BUILT_IN, true));
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_last_accepted_catalogue_is_still_in_force() {
    let mut operator = operator(&json!({"accepted": {"engines": [{"name": "vllm", "image": "mine"}]}}));
    operator.see(object(2, " ", &Value::Null)).await;
    assert_eq!((operator.image(), operator.holds_back), ("mine", false));
    let asked = operator.asked.take();
    assert!(asked.len() == 2 && asked[0].starts_with("GET "), "{asked:?}");
}

/// Or else a mistake in the catalogue and a restart of the operator would take a fleet back to what is built in.
#[tokio::test(start_paused = true)]
async fn where_no_accepted_catalogue_is_known_nothing_is_rolled_out_until_one_is() {
    let mut operator = operator(&Value::Null);
    operator.see(object(1, " ", &Value::Null)).await;
    assert_eq!((operator.image(), operator.holds_back), (BUILT_IN, true));
    operator.see(object(2, "", &Value::Null)).await;
    assert!(operator.holds_back);
    operator.see(object(3, "mine", &Value::Null)).await;
    assert_eq!((operator.image(), operator.holds_back), ("mine", false));
}

/// There may be one, by which the models were started.
#[tokio::test(start_paused = true)]
async fn without_the_right_to_read_the_catalogue_nothing_is_rolled_out_until_it_is_known_whether_there_is_one() {
    let (lines, _guard) = listen();
    let accepted = json!({"status": {"accepted": {"engines": [{"name": "vllm", "image": "mine"}]}}});
    for (known, image) in [(None, BUILT_IN), (Some(object(1, "", &Value::Null)), "mine")] {
        let accepted = accepted.clone();
        let mut operator = operator_of(fake_api_server::client_of(move |_| Reply::object(&accepted)));
        operator.catalog.observe(Event::Forbidden);
        operator.settle(&Progress::Complete).await;
        assert_eq!((operator.catalog.is_decided(), operator.holds_back, operator.image()), (true, true, BUILT_IN));
        operator.catalog.observe(Event::Init);
        if let Some(object) = known {
            operator.catalog.observe(Event::InitApply(view(object)));
        }
        operator.catalog.observe(Event::InitDone);
        operator.settle(&Progress::Complete).await;
        assert_eq!((operator.holds_back, operator.image()), (false, image));
    }
    assert!(!lines.take().iter().any(|line| line.contains("no catalogue any more")));
}

#[tokio::test(start_paused = true)]
async fn a_halted_rollout_names_the_service_that_halts_it_and_posts_an_event() {
    let halted = |status| Progress::Halted { namespace: "ns".into(), name: "demo".into(), status };
    let ready = json!({"observedGeneration": 1, "conditions": [{
        "type": "Ready", "status": "False", "reason": "ReplicasUnavailable", "message": "0 of 1",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let mut operator = operator(&ready);
    operator.see(object(1, "mine", &Value::Null)).await;
    let status = operator.said();
    operator.settle(&halted(1)).await;
    let asked = operator.asked.take();
    let verbs: Vec<&str> = asked.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(verbs, ["GET", "PATCH", "POST"], "{asked:?}");
    assert!(
        asked[1].contains("ns/demo has not become Ready again") && asked[1].contains("ReplicasUnavailable: 0 of 1")
    );
    assert!(asked[2].contains("RolloutHalted"), "{}", asked[2]);
    operator.settle(&halted(1)).await;
    assert!(operator.asked.take().is_empty(), "said once");
    operator.settle(&halted(2)).await;
    let asked = operator.asked.take();
    assert!(asked.len() == 3 && asked[1].starts_with("PATCH "), "its reason may be another one now: {asked:?}");
    operator.see(object(1, "mine", &status)).await;
    assert!(operator.asked.take().is_empty(), "it says that nothing is halted any more, and that is so");
}

#[tokio::test(start_paused = true)]
async fn without_a_catalogue_a_halted_rollout_is_an_event_alone() {
    let mut operator = operator(&Value::Null);
    operator.catalog.observe(Event::Absent);
    operator.settle(&Progress::Halted { namespace: "ns".into(), name: "demo".into(), status: 1 }).await;
    let asked = operator.asked.take();
    assert!(asked.len() == 2 && asked[1].starts_with("POST "), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_could_not_be_written_is_written_later() {
    let (client, asked) = fake_api_server::client_of(|_| Reply::refusal(500, "no"));
    let mut operator = Operator { asked, ..operator(&Value::Null) };
    operator.context = Context::new(client, Settings::default(), || Timestamp(1000), Timestamp(1000).into());
    operator.catalog = Catalog::new(operator.context.clone());
    operator.see(object(1, "mine", &Value::Null)).await;
    assert_eq!((operator.asked.take().len(), operator.image()), (1, "mine"));
    operator.settle(&Progress::Complete).await;
    assert!(operator.asked.take().is_empty(), "not at once");
    tokio::time::advance(RETRY).await;
    operator.settle(&Progress::Complete).await;
    assert_eq!(operator.asked.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fragment_with_a_mistyped_field_is_refused_by_the_api_server_and_asked_about_once() {
    let (client, asked) = fake_api_server::client_of(|line| {
        if line.contains("dryRun=All") && line.contains("conatiners") {
            Reply::refusal(400, "unknown field spec.template.spec.conatiners")
        } else {
            Reply::object(&json!({"metadata": {"resourceVersion": "7"}}))
        }
    });
    let mut operator = Operator { asked, ..operator(&Value::Null) };
    operator.context = Context::new(client, Settings::default(), || Timestamp(1000), Timestamp(1000).into());
    operator.catalog = Catalog::new(operator.context.clone());
    let with = |field: &str, generation: u32, status: &Value| {
        let mut object = object(generation, "mine", status);
        object["spec"]["engines"][0]["template"] = json!({"spec": {field: []}});
        object
    };
    operator.see(with("volumes", 1, &Value::Null)).await;
    let asked = operator.asked.take();
    assert!(asked.len() == 2 && asked[0].contains("dryRun=All"), "{asked:?}");
    operator.see(with("conatiners", 2, &Value::Null)).await;
    let asked = operator.asked.take();
    let problem = "spec.engines[vllm].template: unknown field spec.template.spec.conatiners (400)";
    assert!(asked.len() == 2 && asked[1].contains(problem), "{asked:?}");
    let accepted = json!({"observedGeneration": 1, "conditions": [{
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    operator.catalog = Catalog::new(operator.catalog.base.clone());
    operator.see(with("volumes", 1, &accepted)).await;
    let asked = operator.asked.take();
    assert!(!asked.iter().any(|line| line.contains("dryRun")), "a restart asks nothing: {asked:?}");
}

/// Or else one request that fails would give what is built in to each InferenceService that is changed meanwhile.
#[tokio::test(start_paused = true)]
async fn where_the_last_accepted_one_cannot_be_read_nothing_takes_force_before_it_is() {
    let (lines, _guard) = listen();
    let accepted = json!({"status": {"accepted": {"engines": [{"name": "vllm", "image": "mine"}]}}});
    let reads = AtomicU32::new(0);
    let mut operator = operator_of(fake_api_server::client_of(move |line| {
        let is_busy = line.starts_with("GET ") && reads.fetch_add(1, Relaxed) < 5;
        if is_busy { Reply::refusal(500, "etcdserver: leader changed") } else { Reply::object(&accepted) }
    }));
    let began = Instant::now();
    operator.catalog.observe(Event::Apply(view(object(1, "", &Value::Null))));
    operator.catalog.advance(&operator.context, None, Right::Always);
    let early = tokio::time::timeout(Duration::from_secs(9), operator.catalog.done()).await;
    assert!(early.is_err() && !operator.catalog.is_decided());
    operator.settle(&Progress::Complete).await;
    assert_eq!((operator.holds_back, operator.image()), (false, "mine"));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let reads = operator.asked.take().iter().filter(|line| line.starts_with("GET ")).count();
    let lines = lines.take();
    let said = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!((reads, said("cannot read which catalogue"), said("is not accepted")), (6, 1, 1), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_catalogue_that_is_put_right_or_deleted_ends_the_wait_for_the_last_accepted_one() {
    let (lines, _guard) = listen();
    let never = || operator_of(fake_api_server::client_of(|_| Reply::refusal(403, "no verb get")));
    let mut operator = never();
    operator.catalog.observe(Event::Apply(view(object(1, "", &Value::Null))));
    operator.catalog.advance(&operator.context, None, Right::Always);
    let undecided = tokio::time::timeout(Duration::from_secs(3600), operator.catalog.done()).await;
    assert!(undecided.is_err() && !operator.catalog.is_decided());
    let said = lines.take().iter().filter(|line| line.contains("no verb get")).count();
    assert!((5..20).contains(&said), "logged now and then: {said}");
    operator.see(object(2, "mine", &Value::Null)).await;
    assert_eq!((operator.holds_back, operator.image()), (false, "mine"));
    let mut operator = never();
    operator.catalog.observe(Event::Apply(view(object(1, "", &Value::Null))));
    operator.catalog.advance(&operator.context, None, Right::Always);
    operator.catalog.observe(Event::Delete(view(object(1, "", &Value::Null))));
    operator.settle(&Progress::Complete).await;
    assert_eq!((operator.catalog.is_decided(), operator.holds_back, operator.image()), (true, false, BUILT_IN));
}
