//! The operator is killed right after a write, before it learns of it, again and again while hundreds are created.

use std::time::Duration;

use inference_operator::api::Phase;

use crate::budget::{self, Deeds};
use crate::chance::Chance;
use crate::proxy::Proxy;
use crate::seed;
use crate::support::{Fixture, Operator, kubectl};

const COUNT: usize = 500;
/// How often it is killed, after so many writes at most.
const KILLS: usize = 24;
const MOST_WRITES: u64 = 80;

/// There are 1,500 writes and more, so all kills find something to interrupt.
const LONGEST_LIFE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_is_killed_after_any_write_leaves_nothing_undone_and_nothing_done_twice() {
    let fixture = Fixture::new("kills").await;
    let seed = seed::drawn();
    let proxy = Proxy::start(seed, 0).await;
    let token = kubectl(&["create", "token", "-n", "inference-operator", "inference-operator"]);
    let start = || {
        proxy.note_start();
        Operator::spawn_at("kills", &token, &proxy.listener.port, &proxy.authority.pem, &[])
    };
    let create = async {
        for number in 0..COUNT {
            fixture.create(&format!("demo-{number}"), 0).await;
        }
    };
    let live = async {
        let mut chance = Chance::new(seed);
        for kill in 0..KILLS {
            // The first ones one after the other: each place in the creation of the first one.
            let writes = if kill < 4 { 1 + kill as u64 } else { 1 + chance.below(MOST_WRITES) };
            let sprung = proxy.after_writes(writes);
            let operator = start();
            tokio::time::timeout(LONGEST_LIFE, sprung).await.expect("it writes").expect("a proxy");
            operator.kill();
        }
    };
    tokio::join!(create, live);
    let operator = start();
    fixture.until_all(COUNT, Phase::Ready).await;
    operator.settled().await;
    println!("{KILLS} kills: {}", budget::totals(&proxy.log()));
    let deeds: Deeds = (0..COUNT).map(|number| (format!("demo-{number}"), 1)).collect();
    let complaints = budget::complaints(&proxy.log(), &deeds);
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    fixture.clean_up().await;
}
