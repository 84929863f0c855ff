//! The corpus of scripts/fuzz.sh, once more without a fuzzer: what it found once stays mended.

#![allow(clippy::expect_used)]

#[path = "../fuzz/checks/mod.rs"]
mod checks;

use std::fs;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for file in fs::read_dir(&folder).expect("a corpus") {
        let file = file.expect("a file").path();
        println!("{}", file.display());
        check(&fs::read(file).expect("read"));
        count += 1;
    }
    assert!(count > 0, "{folder} is empty");
}

#[test]
fn lines_of_a_watch() {
    replay("watch", checks::watch::check);
}

#[test]
fn pages_of_a_list() {
    replay("list", checks::list::check);
}

#[test]
fn answers_to_a_request() {
    replay("answer", checks::answer::check);
}

#[test]
fn ca_and_token() {
    replay("credentials", checks::credentials::check);
}

#[test]
fn flags_and_environment() {
    replay("settings", checks::settings::check);
}

#[test]
fn requests_at_the_telemetry_port() {
    replay("telemetry", checks::telemetry::check);
}
