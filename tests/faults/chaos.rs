//! Faults in so many of a hundred requests, while users are at work: the end is the same as without.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::budget;
use crate::chance::Chance;
use crate::deeds::{self, Deed};
use crate::seed;
use crate::side::Side;
use crate::snapshot::Snapshot;
use crate::support::Fixture;

const COUNT: u64 = 60;

/// Faults in a thousand requests. The first is what the others are held against.
const RATES: [u64; 4] = [0, 30, 100, 250];

/// Between two deeds.
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_on_the_way_the_end_is_as_if_nothing_had() {
    let fixture = Fixture::new("chaos").await;
    let seed = seed::drawn();
    let plan = deeds::plan(&mut Chance::new(seed), COUNT);
    let mut sides = Vec::new();
    for rate in RATES {
        let mut side = Side::new(&fixture.client, &format!("chaos-rate-{rate}"), seed ^ rate, rate).await;
        side.start_operator();
        sides.push(side);
    }
    for deed in &plan {
        for side in &sides {
            deed.act(&side.api).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let counts: Vec<(u64, u64)> = sides.iter().map(|side| side.proxy.stop_faults()).collect();
    println!("faults, of requests and of lines of watches: {counts:?}");
    assert!(
        counts[1..].iter().all(|(requests, _)| *requests > 0) && counts.last().is_some_and(|(_, lines)| *lines > 0)
    );

    let expected_names = expected_names(&plan);
    let expected = sides[0].settles(expected_names.len()).await;
    assert_eq!(names(&expected), expected_names, "without faults");
    let deeds = deeds::count(&plan);
    for side in &sides {
        side.becomes(&expected).await;
        side.rests().await;
        let complaints = budget::complaints(&side.proxy.log(), &deeds);
        println!("{}: {}", side.namespace, budget::totals(&side.proxy.log()));
        assert!(complaints.is_empty(), "{}:\n{}", side.namespace, complaints.join("\n"));
    }
    for side in sides {
        side.clean_up().await;
    }
    fixture.clean_up().await;
}

fn names(snapshot: &Snapshot) -> BTreeSet<&str> {
    snapshot.keys().filter_map(|name| name.strip_prefix("InferenceService ")).collect()
}

fn expected_names(plan: &[Deed]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for deed in plan {
        match deed {
            Deed::Make(name, _) => names.insert(name.as_str()),
            Deed::Delete(name) => names.remove(name.as_str()),
            Deed::Change(..) => false,
        };
    }
    names
}
