//! How long the API server itself took for what an operator asked of it to bring one change through,
//! and how long that took from the first request to the last answer. From the audit log; pure.

use std::collections::HashMap;

use crate::audit::{Request, milliseconds};

/// Of one changed object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// All its requests added up.
    pub server_milliseconds: f64,
    /// From having the first request to having answered the last.
    pub busy_milliseconds: f64,
}

/// `names`: of the changed objects; their children have the same. In no order.
pub fn of_changes<'a>(requests: &[Request], names: impl Iterator<Item = &'a str>) -> Vec<Change> {
    let mut by_name: HashMap<&str, Vec<&Request>> = names.map(|name| (name, Vec::new())).collect();
    for request in requests.iter().filter(|request| !matches!(request.verb.as_str(), "watch" | "list")) {
        if let Some(of_name) = by_name.get_mut(request.name.as_str()) {
            of_name.push(request);
        }
    }
    by_name.into_values().filter_map(|requests| of_one(&requests)).collect()
}

fn of_one(requests: &[&Request]) -> Option<Change> {
    let first = requests.iter().map(|request| request.received).min()?;
    let last = requests.iter().map(|request| request.at).max()?;
    Some(Change {
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
    fn the_api_server_s_time_is_apart_from_the_time_between_its_answers() {
        let requests = [
            request("get", "a", 1_000, 1_002),
            request("patch", "b", 1_001, 1_009),
            request("patch", "a", 1_003, 1_007),
            request("watch", "a", 0, 9_000),
            request("get", "stranger", 0, 9_000),
        ];
        let changes = of_changes(&requests, ["a", "never asked for"].into_iter());
        assert_eq!(changes, [Change { server_milliseconds: 6.0, busy_milliseconds: 7.0 }]);
    }
}
