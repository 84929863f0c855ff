//! Faults in a share of all requests and an operator that is killed now and then, while users and strangers are
//! active: the end state is the same as without faults.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use simulation::api_server::Kind;
use simulation::chance::Chance;

use crate::actions::{self, TAKEN, UserAction};
use crate::budget;
use crate::seed;
use crate::setup::Setup;
use crate::snapshot::Snapshot;
use crate::support::Fixture;

const COUNT: u64 = 60;

/// Faults per thousand requests. The first one is the reference for the others.
const RATES: [u64; 4] = [0, 30, 100, 250];

/// The rate of the setup whose server has no streaming lists, and serves stale lists.
const READS_PAGES: u64 = 100;

/// After this many actions every operator with faults is killed.
const KILLED_AFTER: usize = 30;

/// After this many all of its connections are cut.
const CUT_AFTER: usize = 10;

/// Between two actions.
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_on_the_way_the_end_is_as_if_nothing_had() {
    let fixture = Fixture::new("chaos").await;
    let seed = seed::drawn();
    let plan = actions::plan(&mut Chance::new(seed), COUNT);
    let mut setups = Vec::new();
    for rate in RATES {
        let mut setup = Setup::new(&fixture.client, &format!("chaos-rate-{rate}"), seed ^ rate, rate).await;
        if rate == READS_PAGES {
            setup.proxy.refuse_streaming_lists();
        }
        setup.start_operator();
        setups.push(setup);
    }
    for (number, action) in plan.iter().enumerate() {
        if number % KILLED_AFTER == KILLED_AFTER - 1 {
            setups[1..].iter_mut().for_each(Setup::kill_operator);
        }
        for setup in &setups {
            action.act(&setup.client, &setup.namespace).await;
        }
        if number % KILLED_AFTER == KILLED_AFTER - 1 {
            setups[1..].iter_mut().for_each(Setup::start_operator);
        }
        if number % CUT_AFTER == CUT_AFTER / 2 {
            setups[1..].iter().for_each(|setup| setup.proxy.cut());
        }
        tokio::time::sleep(PAUSE).await;
    }
    let counts: Vec<(u64, u64)> = setups.iter().map(|setup| setup.proxy.stop_faults()).collect();
    println!("faults, of requests and of lines of watches: {counts:?}");
    assert!(
        counts[1..].iter().all(|(requests, _)| *requests > 0) && counts.last().is_some_and(|(_, lines)| *lines > 0)
    );

    let past: Vec<usize> = setups.iter().map(|setup| setup.proxy.looks_at_the_past()).collect();
    println!("lists and watches from the past: {past:?}");
    assert!(past[1..].iter().sum::<usize>() > 0);

    let expected_names = expected_names(&plan);
    let expected = setups[0].settles(expected_names.len()).await;
    assert_eq!(names(&expected), expected_names, "without faults");
    strangers_have_kept_what_they_had(&expected);
    let actions = actions::count(&plan);
    for setup in &setups {
        setup.becomes(&expected).await;
        setup.rests(&TAKEN.map(|(name, _)| name)).await;
        let violations = budget::violations(&setup.proxy.log(), &actions);
        println!("{}: {}", setup.namespace, budget::totals(&setup.proxy.log()));
        assert!(violations.is_empty(), "{}:\n{}", setup.namespace, violations.join("\n"));
    }
    for setup in setups {
        setup.clean_up().await;
    }
    fixture.clean_up().await;
}

/// Checked in one setup, and thereby in all that equal it.
fn strangers_have_kept_what_they_had(snapshot: &Snapshot) {
    for (name, kind) in TAKEN {
        let object = &snapshot[&format!("{kind:?} {name}")];
        assert_eq!((&object["labels"], &object["owners"]), (&json!({"app": "foreign"}), &json!([])), "{object}");
        assert_eq!(snapshot[&format!("InferenceService {name}")]["status"]["phase"], "Failed");
        let other = if kind == Kind::Service { Kind::Deployment } else { Kind::Service };
        assert!(!snapshot.contains_key(&format!("{other:?} {name}")), "half a pair was made of {name}");
    }
}

fn names(snapshot: &Snapshot) -> BTreeSet<&str> {
    snapshot.keys().filter_map(|name| name.strip_prefix("InferenceService ")).collect()
}

fn expected_names(plan: &[UserAction]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for action in plan {
        match action {
            UserAction::Make(name, _) => names.insert(name.as_str()),
            UserAction::Delete(name) => names.remove(name.as_str()),
            _ => false,
        };
    }
    names
}
