//! The whole operator - the real controller, index, queue, watches and reconcile - on a paused clock,
//! against an API server in memory that does all that can go wrong. One seed decides everything:
//! `SEED=7 cargo test --test simulation` runs one again, `SEEDS=1000..2000` a range.

#![allow(clippy::expect_used)]

mod record;
mod totals;
mod users;
mod world;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use totals::Totals;
use world::Failure;

/// So many are tried where nobody says otherwise.
const SEEDS: Range<u64> = 0..300;

fn seeds() -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("SEED=NUMBER or SEEDS=FROM..TO");
    if let Ok(seed) = std::env::var("SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    match std::env::var("SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("SEEDS=FROM..TO");
            number(from)..number(to)
        }
        Err(_) => SEEDS,
    }
}

/// Seeds that found something, or find it where the mend is undone, each with what it was. A change of what is drawn, or of
/// what the operator asks for, can give a seed another meaning: then others have to be looked for, with the bug put back.
const FOUND: [u64; 17] = [
    7,       // what was refused for minutes was never told
    8,       // a Service that was edited while the spec was refused stayed as it was
    10,      // replicas of a new spec were missed by what the status of the last one had said
    13,      // a child with both labels and no owner was left alone, and its name called taken
    425,     // a refusal of the spec that could be told later was never told
    504,     // an edit that could not be repaired at once, because the API server refused, was taken for accepted
    892,     // a Deployment went back to an older spec, shown by a list from the past
    1124,    // a refusal that was over stayed in the status, where the Service alone was looked at
    1365,    // a spec that was read newer than known was taken for applied
    2003,    // an operator whose view was old forced its spec onto the Deployment that another had made meanwhile
    2751,    // a spec that was read older than known, of a datastore that was put back, was read again at full speed
    3568, // a status that was answered with an older version, of a datastore that was put back, was written at full speed
    11920, // a Deployment that had lost its label, under a spec that is refused, was read anew at each list
    24341, // a spec that came again in flight was applied as the newer one that had been read meanwhile, and stayed
    49734, // of two operators the one that knew an older spec applied it to a Deployment that only its watch had shown
    64542, // the times of another operator's status were taken over, and what had just begun was called late
    115_550, // of a datastore that was put back, one that was not there any more was looked for for ever
];

#[test]
fn what_was_found_once_stays_mended() {
    for seed in FOUND {
        let result = world::run(seed, world::MOST_ACTIONS);
        assert!(result.is_ok(), "SEED={seed}: {}", result.err().unwrap_or_default());
    }
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..20 {
        let (once, again) = (world::run(seed, world::MOST_ACTIONS), world::run(seed, world::MOST_ACTIONS));
        assert!(once == again, "SEED={seed} went another way the second time");
    }
}

/// More seeds that fail tell nothing new, unless they are to be counted.
const ENOUGH: usize = 3;

#[test]
fn whatever_goes_wrong_every_inference_service_comes_to_match_its_spec() {
    let seeds = seeds();
    // All seeds are tried, and what they find is counted by its name.
    let counts = std::env::var_os("COUNT").is_some();
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<BTreeMap<u64, Failure>> = Mutex::default();
    let totals: Mutex<Totals> = Mutex::default();
    let began = Instant::now();
    let fails = || failed.lock().expect("no panic").len();
    // A run has a thread of its own, and so all that it decides.
    let try_all = || {
        while counts || fails() < ENOUGH {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match world::run(seed, world::MOST_ACTIONS) {
                Ok(run) => totals.lock().expect("no panic").add(&run.totals),
                Err(failure) => {
                    if !counts {
                        let (actions, failure) = world::cut_down(seed).unwrap_or_default();
                        eprintln!(
                            "--- SEED={seed} cargo test --test simulation, cut down to {actions} actions\n{failure}"
                        );
                    }
                    failed.lock().expect("no panic").insert(seed, failure);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(try_all);
        }
    });
    let failed = failed.into_inner().expect("no panic");
    let tried = next.into_inner().min(seeds.end) - seeds.start;
    let (passed, totals) = (tried - failed.len() as u64, totals.into_inner().expect("no panic"));
    println!("simulation: {passed} of {tried} seeds passed in {} s: {totals}", began.elapsed().as_secs());
    if counts {
        print!("{}", totals::by_name(&failed));
    }
    assert!(failed.is_empty(), "seeds that failed: {:?}", failed.keys().take(20).collect::<Vec<_>>());
}
