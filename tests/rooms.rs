//! Which room of src may use which: arrows go one way.

#![allow(clippy::expect_used)]

use std::path::{Path, PathBuf};

/// From above to below: each room uses none but those after it.
const ROOMS: [&str; 11] = [
    "controller",
    "accept",
    "reconcile",
    "model",
    "error",
    "api",
    "kubernetes",
    "settings",
    "catalog",
    "telemetry",
    "time",
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The code that ships, with the room that it is in: without unit tests and comments.
fn code() -> Vec<(String, String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    let mut code = Vec::new();
    for path in found {
        let name = path.strip_prefix(&source).expect("below src").to_str().expect("UTF-8").to_owned();
        let room = name.split('/').next().expect("a part").trim_end_matches(".rs").to_owned();
        if name.contains("tests") || ["main", "lib", "testing"].contains(&room.as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a file");
        let shipped = text.split("#[cfg(test)]").next().expect("a part");
        let lines = shipped.lines().map(|line| line.split("//").next().expect("a part"));
        code.push((room, name, lines.collect::<Vec<_>>().join("\n")));
    }
    code
}

#[test]
fn each_room_uses_only_those_below_it() {
    let mut wrong = Vec::new();
    for (room, name, code) in code() {
        let place = ROOMS.iter().position(|known| *known == room);
        let place = place.unwrap_or_else(|| panic!("{name} is in no room: put {room} into the order"));
        for used in code.split("crate::").skip(1) {
            let used: String =
                used.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
            let is_below = ROOMS.iter().position(|known| *known == used).is_some_and(|below| below >= place);
            if !is_below {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_talks_to_the_api_server_knows_no_inference_service() {
    for (room, name, code) in code() {
        assert!(room != "kubernetes" || !code.contains("InferenceService"), "{name}");
    }
}

/// What an error means is in its code, reason and causes; its message is for people, and changes with each release.
#[test]
fn nothing_is_decided_by_the_wording_of_a_message() {
    let looks = [".contains(", ".starts_with(", ".ends_with(", ".find(", ".strip_prefix(", ".split("];
    let texts = ["message", "problem", "to_string()", "to_owned()", "describe(error)", "describe(&error)"];
    for (_, name, code) in code() {
        for (text, look) in texts.iter().flat_map(|text| looks.map(|look| (text, look))) {
            assert!(!code.contains(&format!("{text}{look}")), "{name}: {text}{look}");
        }
    }
}
