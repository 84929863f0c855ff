//! What an API server may do that is not quite up to date: a watch that begins earlier than it was asked to, a list from
//! the past, small pages. Requests are turned so that the real one does it. Used by the proxy; pure but for what it
//! remembers.

use std::collections::BTreeMap;

use simulation::api_server::faults::Faults;

/// The whole cluster shares one count, so that the few versions of the simulation would show nothing.
const VERSIONS: u64 = 40;

/// Items, whatever the client asks for.
const PAGE: u64 = 7;

/// The resourceVersion from which each path was watched last.
#[derive(Default)]
pub struct Past(BTreeMap<String, u64>);

pub struct Turned {
    pub path_and_query: String,
    /// What was seen once may be seen again.
    pub is_past: bool,
}

impl Past {
    /// The request as it is to be asked. `small_pages`: in lists too.
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
