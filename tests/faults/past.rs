//! The behavior of a stale API server: a watch that starts earlier than requested, a list of an earlier version,
//! small pages. Requests are rewritten so that the real server does it. Used by the proxy; pure except for the
//! recorded versions.

use std::collections::BTreeMap;

use simulation::api_server::faults::Faults;

/// The whole cluster shares one resourceVersion counter, so the simulation's small offsets would have no effect.
const VERSIONS: u64 = 40;

/// Items per page, whatever limit the client sets.
const PAGE: u64 = 7;

/// The resourceVersion of the last watch of each path.
#[derive(Default)]
pub struct Past(BTreeMap<String, u64>);

pub struct Turned {
    pub path_and_query: String,
    /// The response may repeat an earlier state.
    pub is_past: bool,
}

impl Past {
    /// The rewritten request. `small_pages`: rewrite lists too.
    pub fn turn(&mut self, path_and_query: &str, faults: &mut Faults, small_pages: bool) -> Turned {
        let as_it_is = || Turned { path_and_query: path_and_query.to_owned(), is_past: false };
        let Some((path, query)) = path_and_query.split_once('?') else { return as_it_is() };
        let mut pairs: Vec<(&str, String)> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name, value.to_owned()))
            .collect();
        let has = |name: &str| pairs.iter().any(|(found, value)| *found == name && !value.is_empty());
        let mut is_past = false;
        if has("watch") && !has("sendInitialEvents") {
            let version = pairs.iter_mut().find(|(name, _)| *name == "resourceVersion");
            if let Some((Some(number), value)) = version.map(|(_, value)| (value.parse::<u64>().ok(), value)) {
                self.0.insert(path.to_owned(), number);
                let back = faults.repeats() * VERSIONS;
                is_past = back > 0;
                *value = number.saturating_sub(back).max(1).to_string();
            }
        } else if has("limit") && small_pages {
            let (begins, known) = (!has("continue"), self.0.get(path));
            pairs.iter_mut().filter(|(name, _)| *name == "limit").for_each(|(_, value)| *value = PAGE.to_string());
            let back = if begins { faults.staleness() } else { 0 };
            if let (Some(known), true) = (known, back > 0) {
                is_past = true;
                pairs.push(("resourceVersion", known.saturating_sub(back).max(1).to_string()));
                pairs.push(("resourceVersionMatch", "Exact".to_owned()));
            }
        } else {
            return as_it_is();
        }
        let query: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        Turned { path_and_query: format!("{path}?{}", query.join("&")), is_past }
    }
}
