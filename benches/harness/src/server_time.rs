//! How long the API server itself took for what an operator asked of it in one reconcile, and how long
//! that was from the first request to the last answer. From the audit log; pure.

use std::collections::{HashMap, HashSet};

use crate::audit::{self, Request, milliseconds};

/// After a pause of this length the next request is another reconcile's: operators wait on purpose
/// before they write a status once more.
const PAUSE_MILLISECONDS: f64 = 100.0;

/// One reconcile, as it can be told from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconcile {
    pub wrote_deployment: bool,
    /// All its requests added up.
    pub server_milliseconds: f64,
    /// From having the first request to having answered the last.
    pub busy_milliseconds: f64,
}

/// All requests of these objects added up. `names`: of the changed objects; their children have the same.
pub fn total_milliseconds(requests: &[Request], names: &HashSet<String>) -> f64 {
    of_names(requests, names).map(Request::server_milliseconds).sum()
}

/// In no order.
pub fn reconciles(requests: &[Request], names: &HashSet<String>) -> Vec<Reconcile> {
    let mut by_name: HashMap<&str, Vec<&Request>> = HashMap::new();
    for request in of_names(requests, names) {
        by_name.entry(&request.name).or_default().push(request);
    }
    by_name.into_values().flat_map(of_one).collect()
}

fn of_names<'a>(requests: &'a [Request], names: &'a HashSet<String>) -> impl Iterator<Item = &'a Request> {
    let is_asked_again = |request: &Request| matches!(request.verb.as_str(), "watch" | "list");
    requests.iter().filter(move |request| !is_asked_again(request) && names.contains(&request.name))
}

fn of_one(mut requests: Vec<&Request>) -> Vec<Reconcile> {
    requests.sort_by_key(|request| request.received);
    let is_same = |before: &&Request, after: &&Request| milliseconds(before.at, after.received) <= PAUSE_MILLISECONDS;
    requests.chunk_by(is_same).filter_map(of_run).collect()
}

fn of_run(requests: &[&Request]) -> Option<Reconcile> {
    let writes = |request: &&Request| request.resource == "deployments" && audit::is_write(&request.verb);
    let first = requests.iter().map(|request| request.received).min()?;
    let last = requests.iter().map(|request| request.at).max()?;
    Some(Reconcile {
        wrote_deployment: requests.iter().any(writes),
        server_milliseconds: requests.iter().map(|request| request.server_milliseconds()).sum(),
        busy_milliseconds: milliseconds(first, last),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: &str, name: &str, received: i64, at: i64) -> Request {
        let time = |milliseconds| k8s_openapi::jiff::Timestamp::from_millisecond(milliseconds).expect("a time");
        Request {
            verb: verb.into(),
            resource: "deployments".into(),
            name: name.into(),
            code: 200,
            received: time(received),
            at: time(at),
        }
    }

    #[test]
    fn a_reconcile_is_what_the_api_server_took_and_what_is_between() {
        let requests = [
            request("get", "a", 1_000, 1_002),
            request("patch", "b", 1_001, 1_009),
            request("patch", "a", 1_003, 1_007),
            request("get", "a", 1_507, 1_510),
            request("watch", "a", 0, 9_000),
            request("get", "stranger", 0, 9_000),
        ];
        let names: HashSet<String> = ["a", "never asked for"].map(str::to_owned).into();
        assert_eq!(
            reconciles(&requests, &names),
            [
                Reconcile { wrote_deployment: true, server_milliseconds: 6.0, busy_milliseconds: 7.0 },
                Reconcile { wrote_deployment: false, server_milliseconds: 3.0, busy_milliseconds: 3.0 }
            ],
        );
        assert!((total_milliseconds(&requests, &names) - 9.0).abs() < 1e-9);
    }
}
