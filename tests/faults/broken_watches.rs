//! Watches that are cut, rejected or fail forever, and streaming lists that fail: every change is still noticed, soon
//! and without a restart.

use std::time::{Duration, Instant};

use futures::future::join_all;
use inference_operator::api::InferenceService;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};

use crate::budget;
use crate::certificates::Authority;
use crate::fake_api_server::{FakeApiServer, RawResponse, Scope, Then, http};
use crate::listener::IdleCut;
use crate::proxy::WatchFailure;
use crate::setup::Setup;
use crate::support::wait::within;
use crate::support::{Fixture, Operator, eventually};

/// A change is noticed at once by an operator whose watches are cut, even on a busy machine. If the cuts counted as
/// failures, five in a row would make the backoff at least four seconds.
const SEEN_WITHIN: Duration = Duration::from_millis(3500);

/// The backoff after failures grows to ten seconds.
const HEALED_WITHIN: Duration = Duration::from_secs(30);

/// Three silent minutes count as a failure.
const NOTICED_WITHIN: Duration = Duration::from_secs(200);

enum Trouble {
    /// The number of cuts of each watch before a change is made.
    Cut(IdleCut, usize),
    Failing(WatchFailure),
}

const TROUBLES: [(&str, Trouble); 5] = [
    ("cut-by-rst", Trouble::Cut(IdleCut::Reset(Duration::from_secs(20)), 5)),
    ("cut-by-fin", Trouble::Cut(IdleCut::Close(Duration::from_secs(35)), 5)),
    ("refused", Trouble::Failing(WatchFailure::WatchesRefused)),
    ("fails", Trouble::Failing(WatchFailure::WatchesFail)),
    ("streams-fail", Trouble::Failing(WatchFailure::StreamsFail)),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_seen_whatever_becomes_of_the_watches() {
    let fixture = Fixture::new("watches").await;
    // In separate tasks: a failure of one does not hide the results of the others.
    let tasks = TROUBLES.map(|(name, trouble)| tokio::spawn(sees_all(fixture.client.clone(), name, trouble)));
    let (setups, lost): (Vec<_>, Vec<_>) = join_all(tasks).await.into_iter().partition(Result::is_ok);
    join_all(setups.into_iter().flatten().map(Setup::clean_up)).await;
    assert!(lost.is_empty(), "{} of {} have missed something", lost.len(), TROUBLES.len());
    fixture.clean_up().await;
}

async fn sees_all(client: Client, name: &str, trouble: Trouble) -> Setup {
    let mut setup = Setup::new(&client, &format!("watches-{name}"), 0, 0).await;
    match trouble {
        Trouble::Cut(how, times) => {
            setup.proxy.listener.cut_idle(how);
            setup.start_operator();
            setup.operator().ready().await;
            // An API server that has just learned of the CRD may reject the first list.
            let (warnings, listed) = (setup.operator().lines_with("WARN"), lists(&setup));
            for round in 1..=2 {
                let cuts = setup.proxy.listener.idle_cuts();
                let all = 4 * if round == 1 { times } else { 1 };
                // Right after one of them.
                within(Duration::from_secs(300), "its watches are cut", || async {
                    let more = setup.proxy.listener.idle_cuts() - cuts;
                    if more >= all { Ok(()) } else { Err(format!("{more} of {all} cuts")) }
                })
                .await;
                let took = is_seen(&setup, &format!("demo-{round}")).await;
                println!("{name}: seen after {} ms", took.as_millis());
                assert!(took <= SEEN_WITHIN, "{name}: seen after {took:?}:\n{}", setup.operator().log());
            }
            assert_eq!(setup.operator().lines_with("WARN"), warnings, "{name}:\n{}", setup.operator().log());
            // A busy machine may be late for one of the dozens of cuts; if cuts counted as failures, each would cause
            // a list.
            let more = lists(&setup) - listed;
            assert!(more <= 4, "{name}: {more} lists more:\n{}", setup.operator().log());
        }
        Trouble::Failing(WatchFailure::StreamsFail) => {
            setup.proxy.fail_watches(WatchFailure::StreamsFail);
            setup.start_operator();
            setup.operator().ready().await;
            is_seen(&setup, "demo").await;
            assert_eq!(setup.operator().lines_with("listing in pages"), 4, "{name}:\n{}", setup.operator().log());
        }
        Trouble::Failing(failure) => {
            setup.start_operator();
            setup.operator().ready().await;
            setup.proxy.fail_watches(failure);
            setup.proxy.cut();
            let took = is_seen(&setup, "demo").await;
            println!("{name}: seen after {} ms", took.as_millis());
            assert!(took <= HEALED_WITHIN, "{name}: seen after {took:?}:\n{}", setup.operator().log());
        }
    }
    setup
}

/// Creates an InferenceService; returns the time until its Deployment exists.
async fn is_seen(setup: &Setup, name: &str) -> Duration {
    let deployments = Api::<Deployment>::namespaced(setup.client.clone(), &setup.namespace);
    let began = Instant::now();
    Setup::create(&setup.api as &Api<InferenceService>, name).await;
    eventually(&format!("{name} of {} is seen", setup.namespace), || async {
        match deployments.get_opt(name).await {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}:\n{}", setup.operator().log())),
        }
    })
    .await;
    began.elapsed()
}

fn lists(setup: &Setup) -> usize {
    budget::asked(&setup.proxy.log()).filter(|asked| asked.line.contains("sendInitialEvents")).count()
}

/// An API server accepts a watch from a version that it does not have, and stays silent.
#[tokio::test]
async fn a_watch_that_stays_silent_lists_again_and_is_ready_meanwhile() {
    let authority = Authority::new();
    let silent = RawResponse { text: http("200 OK", "application/json", ""), then: Then::Silence };
    let server = FakeApiServer::start(authority.server(), Scope::Watches, silent).await;
    let operator = Operator::spawn_at("watches-silent", "secret", &server.listener.port, &authority.pem, &[]);
    operator.ready().await;
    let count = |what: &str| server.asked().iter().filter(|(line, _)| line.contains(what)).count();
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.listener.cut();
    eventually("all watches are opened again", || async {
        let opened = count("resourceVersion=2");
        if opened == 4 { Ok(()) } else { Err(format!("{opened} are")) }
    })
    .await;
    assert_eq!(count("sendInitialEvents"), 4);
    within(NOTICED_WITHIN, "all four list again", || async {
        let lists = count("sendInitialEvents");
        if lists == 8 { Ok(()) } else { Err(format!("{lists} lists:\n{}", operator.log())) }
    })
    .await;
    assert_eq!(operator.get("/readyz").await.expect("served").0, 200);
}
