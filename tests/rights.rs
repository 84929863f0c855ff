//! The operator's rights against what it used: read from the audit logs of all lanes, after they have run.
//! scripts/test.sh runs this at the end, with AUDIT_LOGS.

#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};

use serde_json::Value;

const OPERATOR: &str = "system:serviceaccount:inference-operator:inference-operator";
/// With those that an election takes.
const RBAC: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-manifests/rbac.yaml"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/k3s-standby/lease.yaml"),
];

/// verb, and resource with its group
type Right = (String, String);

#[test]
fn it_has_all_the_rights_that_it_uses_and_no_other() {
    let logs = std::env::var("AUDIT_LOGS").expect("AUDIT_LOGS is not set: run scripts/test.sh");
    let asked: BTreeSet<Asked> = logs.split_whitespace().flat_map(asked).collect();
    let (given, wanted) = (given(), of(&asked, |_| true));
    let used = of(&asked, |asked| !asked.is_refused);
    println!("used: {used:?}");
    // Tests take rights away that are given, and an API server that has just begun knows of none for a moment. What is
    // asked for and not given is refused every time, and would never be among those that are used.
    let lacking: Vec<&Right> = wanted.difference(&given).collect();
    let idle: Vec<&Right> = given.difference(&used).collect();
    assert!(lacking.is_empty(), "asked for and not given by {RBAC:?}: {lacking:?}");
    assert!(idle.is_empty(), "given by {RBAC:?} and never used: {idle:?}");
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    right: Right,
    is_refused: bool,
}

fn of(asked: &BTreeSet<Asked>, which: impl Fn(&Asked) -> bool) -> BTreeSet<Right> {
    asked.iter().filter(|asked| which(asked)).map(|asked| asked.right.clone()).collect()
}

fn asked(file: &str) -> BTreeSet<Asked> {
    let lines = BufReader::new(File::open(file).expect(file)).lines();
    lines.map_while(Result::ok).filter(|line| line.contains(OPERATOR)).flat_map(|line| rights(&line)).collect()
}

/// What one line of the log tells: nothing, where it is of somebody else.
fn rights(line: &str) -> Vec<Asked> {
    let event: Value = serde_json::from_str(line).unwrap_or_default();
    if event["user"]["username"] != OPERATOR {
        return Vec::new();
    }
    let code = event["responseStatus"]["code"].as_u64().unwrap_or(0);
    let Some(verb) = event["verb"].as_str() else { return Vec::new() };
    let text = |field: &str| event["objectRef"][field].as_str().unwrap_or_default();
    let slash = if text("subresource").is_empty() { "" } else { "/" };
    let resource = format!("{}.{}{slash}{}", text("resource"), text("apiGroup"), text("subresource"));
    let mut rights = vec![(verb.to_owned(), resource.clone())];
    // An apply of what is not there takes both.
    if verb == "patch" && code == 201 {
        rights.push(("create".to_owned(), resource));
    }
    let is_refused = matches!(code, 401 | 403);
    rights.into_iter().map(|right| Asked { right, is_refused }).collect()
}

fn given() -> BTreeSet<Right> {
    let texts = RBAC.map(|file| std::fs::read_to_string(file).expect("the manifest"));
    let documents = texts.iter().flat_map(|text| text.split("\n---\n"));
    let documents = documents.map(|document| serde_saphyr::from_str::<Value>(document).expect("YAML"));
    // Those on the catalogue are in the operator's own namespace alone.
    let given_by = documents.filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role");
    let rules: Vec<Value> = given_by.flat_map(|role| role["rules"].as_array().expect("rules").clone()).collect();
    let mut given = BTreeSet::new();
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().expect("a list").iter().filter_map(|entry| Some(entry.as_str()?.to_owned())).collect()
    };
    for rule in &rules {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                let (resource, subresource) =
                    resource.split_once('/').map_or((&*resource, String::new()), |(one, two)| (one, format!("/{two}")));
                let resource = format!("{resource}.{group}{subresource}");
                given.extend(strings(&rule["verbs"]).into_iter().map(|verb| (verb, resource.clone())));
            }
        }
    }
    given
}
