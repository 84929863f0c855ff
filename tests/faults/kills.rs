//! The operator is killed right after a write, before it receives the response, again and again while hundreds of
//! InferenceServices are created.

use std::time::Duration;

use simulation::chance::Chance;

use crate::budget::{self, ActionCounts};
use crate::seed;
use crate::setup::Setup;
use crate::snapshot;
use crate::support::Fixture;

const COUNT: usize = 500;
/// The number of kills, and the most writes before each.
const KILLS: usize = 24;
const MOST_WRITES: u64 = 80;

/// There are at least 1,500 writes, so every kill interrupts something.
const LONGEST_LIFE: Duration = Duration::from_secs(120);

/// Kills this many operators, and lets the last one live.
async fn live(setup: &mut Setup, seed: u64) {
    let mut chance = Chance::new(seed);
    for kill in 0..KILLS {
        // The first kills come after consecutive writes: they hit each step of the first creation.
        let writes = if kill < 4 { 1 + kill as u64 } else { 1 + chance.below(MOST_WRITES) };
        let sprung = setup.proxy.after_writes(writes);
        setup.start_operator();
        tokio::time::timeout(LONGEST_LIFE, sprung).await.expect("it writes").expect("a proxy");
        setup.kill_operator();
    }
    setup.start_operator();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_is_killed_after_any_write_leaves_nothing_undone_and_nothing_done_twice() {
    let fixture = Fixture::new("kills").await;
    let seed = seed::drawn();
    let mut spared = Setup::new(&fixture.client, "kills-none", seed, 0).await;
    let mut killed = Setup::new(&fixture.client, "kills-many", seed, 0).await;
    spared.start_operator();
    let (spared_api, killed_api) = (spared.api.clone(), killed.api.clone());
    let create = async {
        for number in 0..COUNT {
            for api in [&spared_api, &killed_api] {
                Setup::create(api, &format!("demo-{number}")).await;
            }
        }
    };
    tokio::join!(create, live(&mut killed, seed));

    let expected = spared.settles(COUNT).await;
    killed.becomes(&expected).await;
    tokio::join!(spared.rests(&[]), killed.rests(&[]));
    snapshot::assert_same_traces(&spared.traces().await, &killed.traces().await);
    println!("no kills: {}", budget::totals(&spared.proxy.log()));
    println!("{KILLS} kills: {}", budget::totals(&killed.proxy.log()));
    let actions: ActionCounts = (0..COUNT).map(|number| (format!("demo-{number}"), 1)).collect();
    let mut violations = budget::violations(&spared.proxy.log(), &actions);
    violations.extend(budget::violations(&killed.proxy.log(), &actions));
    violations.extend(budget::made_otherwise(&spared.proxy.log(), &killed.proxy.log()));
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    tokio::join!(spared.clean_up(), killed.clean_up());
    fixture.clean_up().await;
}
