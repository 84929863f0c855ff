//! What single reconciles took, as the operator itself counts it, beside what the API server took for their requests.
//! Used where specs change one at a time; pure, but for the readings.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::audit::{Request, milliseconds};
use crate::operator::Operator;
use crate::prometheus::Page;

/// A reconcile is over so soon after its last answer.
const LANDS_WITHIN: SignedDuration = SignedDuration::from_millis(3);

/// One that begins sends its first request within this time.
const ASKS_WITHIN: SignedDuration = SignedDuration::from_millis(1);

/// The operator's count of its reconciles, and when it was asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    began: Timestamp,
    ended: Timestamp,
    count: f64,
    sum_seconds: f64,
}

/// Before a change and after it has come through.
pub struct Window {
    pub name: String,
    pub before: Reading,
    pub after: Reading,
}

/// The same reconciles by both clocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    pub own_milliseconds: f64,
    pub server_milliseconds: f64,
}

impl Reading {
    /// None: it does not tell.
    pub fn take(operator: &Operator) -> Option<Reading> {
        let began = Timestamp::now();
        let page = operator.metrics()?;
        let histogram = Page(&page).reconcile_time()?;
        let (count, sum_seconds) = (histogram.count(), histogram.sum_seconds);
        Some(Reading { began, ended: Timestamp::now(), count, sum_seconds })
    }

    /// Can a reconcile with this request have been at work while the operator was asked?
    fn cuts(&self, request: &Request) -> bool {
        request.received < self.ended + ASKS_WITHIN && request.at > self.began - LANDS_WITHIN
    }
}

impl Window {
    /// None: something else was at work too, or a reading has cut a reconcile in two. `requests`: all of the operator's.
    pub fn pair(&self, requests: &[Request]) -> Option<Pair> {
        let Window { name, before, after } = self;
        let is_watch = |request: &&Request| matches!(request.verb.as_str(), "watch" | "list");
        let asked = || requests.iter().filter(|request| !is_watch(request));
        if after.count <= before.count || asked().any(|request| before.cuts(request) || after.cuts(request)) {
            return None;
        }
        let within: Vec<&Request> =
            asked().filter(|request| request.received > before.ended && request.at < after.began).collect();
        let wrote = within.iter().any(|request| request.resource == "deployments" && request.verb != "get");
        if !wrote || within.iter().any(|request| request.name != *name) {
            return None;
        }
        Some(Pair {
            own_milliseconds: (after.sum_seconds - before.sum_seconds) * 1_000.0,
            server_milliseconds: within.iter().map(|request| milliseconds(request.received, request.at)).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).expect("a time")
    }

    fn request(verb: &str, name: &str, received: i64, at: i64) -> Request {
        let (received, at) = (time(received), time(at));
        Request { verb: verb.into(), resource: "deployments".into(), name: name.into(), code: 200, received, at }
    }

    fn window() -> Window {
        let reading =
            |began, count, sum_seconds| Reading { began: time(began), ended: time(began + 2), count, sum_seconds };
        Window { name: "a".into(), before: reading(1_000, 7.0, 1.5), after: reading(1_030, 8.0, 1.506) }
    }

    #[test]
    fn a_reconcile_is_told_by_both_clocks() {
        let requests =
            [request("get", "a", 1_005, 1_006), request("patch", "a", 1_007, 1_010), request("watch", "", 900, 1_001)];
        let pair = window().pair(&requests).expect("a pair");
        assert!(
            (pair.own_milliseconds - 6.0).abs() < 1e-6 && (pair.server_milliseconds - 4.0).abs() < 1e-6,
            "{pair:?}"
        );
    }

    #[test]
    fn what_is_not_of_this_reconcile_alone_is_no_pair() {
        let patch = request("patch", "a", 1_007, 1_010);
        for other in [
            request("patch", "b", 1_012, 1_014),
            request("get", "b", 990, 998),
            request("get", "b", 1_002, 1_010),
            request("get", "a", 1_020, 1_028),
            request("get", "b", 1_031, 1_040),
        ] {
            assert_eq!(window().pair(&[patch.clone(), other.clone()]), None, "{other:?}");
        }
        assert_eq!(window().pair(&[request("get", "a", 1_007, 1_010)]), None, "nothing was written");
        let idle = Window { after: Reading { count: 7.0, ..window().after }, ..window() };
        assert_eq!(idle.pair(&[patch]), None, "the operator has counted none");
    }
}
