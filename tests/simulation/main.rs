//! The whole operator - the real controller, fleet, queue, watches and reconcile - on a paused clock,
//! against an API server in memory that does all that can go wrong. One seed decides everything:
//! `SEED=7 cargo test --test simulation` runs one again, `SEEDS=1000..2000` a range.

#![allow(clippy::expect_used)]

mod budget;
mod chance;
mod cluster;
mod controllers;
mod excuses;
mod faults;
mod guard;
mod listing;
mod memory;
mod oracle;
mod question;
mod server;
mod store;
mod totals;
mod users;
mod watching;
mod world;

use std::num::NonZero;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use totals::Totals;

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

/// Seeds that found something, each with what it was, and each fails still where that is undone. A change of what is
/// drawn gives every seed another meaning: then others have to be looked for, with the bug put back.
const FOUND: [u64; 6] = [
    294,   // a Service that was edited while the spec was refused stayed as it was
    479,   // a child whose owner reference was taken out while a write was late was taken over again
    898,   // a spec that work in flight had read stayed in memory
    2214,  // an operator whose view was old took the Deployment of a successor of the same name
    2520,  // an edit that could not be repaired at once, because the API server refused, stayed
    48549, // a Service that was relabelled while it was made stayed so, where a list was all that told
];

#[test]
fn what_was_found_once_stays_mended() {
    for seed in FOUND {
        let result = world::run(seed, world::MOST_DEEDS);
        assert!(result.is_ok(), "SEED={seed}: {}", result.err().unwrap_or_default());
    }
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..20 {
        let (once, again) = (world::run(seed, world::MOST_DEEDS), world::run(seed, world::MOST_DEEDS));
        assert!(once == again, "SEED={seed} went another way the second time");
    }
}

/// More seeds that fail tell nothing new.
const ENOUGH: usize = 3;

#[test]
fn whatever_goes_wrong_every_inference_service_comes_to_match_its_spec() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<Vec<u64>> = Mutex::default();
    let totals: Mutex<Totals> = Mutex::default();
    let began = Instant::now();
    let fails = || failed.lock().expect("no panic").len();
    // A run has a thread of its own, and so all that it decides.
    let try_all = || {
        while fails() < ENOUGH {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Ok(run) = world::run(seed, world::MOST_DEEDS) {
                totals.lock().expect("no panic").add(&run.totals);
            } else {
                let (deeds, problem) = world::cut_down(seed).unwrap_or_default();
                eprintln!("--- SEED={seed} cargo test --test simulation, cut down to {deeds} deeds\n{problem}");
                failed.lock().expect("no panic").push(seed);
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
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}
