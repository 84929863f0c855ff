//! The requests of a watch, and the list metadata of the responses. Used by the watch; pure.

use std::borrow::Cow;

use http::{HeaderValue, Request, header};
use serde::Deserialize;

use crate::kubernetes::prune::Fields;
use crate::kubernetes::resource::Kind;
use crate::kubernetes::selector::Selector;

/// Objects per page of a paged list. A page is decoded as it arrives, so its size costs no memory.
const PAGE_SIZE: u32 = 500;

/// What a request opens.
#[derive(Clone, Copy)]
pub enum Opened {
    StreamingList,
    FirstPage,
    NextPage,
    Watch(u64),
}

/// The request, and the fields to keep of its response. `token`: the continue token of the next page.
pub fn request(
    kind: &Kind,
    what: Opened,
    namespace: Option<&str>,
    selector: &Selector,
    token: &str,
) -> (http::Result<Request<Vec<u8>>>, Fields) {
    let (accept, fields) = match what {
        Opened::StreamingList | Opened::Watch(_) => (kind.accept, kind.event),
        Opened::FirstPage | Opened::NextPage => (kind.accept_list, kind.list),
    };
    (request_of(&(kind.path)(namespace), accept, what, selector.as_query(), token), fields)
}

fn request_of(
    path: &str,
    accept: &'static str,
    what: Opened,
    selector: &str,
    token: &str,
) -> http::Result<Request<Vec<u8>>> {
    // resourceVersion 0: served from the API server's memory, which may lag a little. The watch that follows catches
    // up, and every write has a precondition.
    let query: Cow<str> = match what {
        Opened::StreamingList => {
            "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0".into()
        }
        // No timeoutSeconds: the API server then chooses 30 to 60 minutes, with its own jitter.
        Opened::Watch(version) => format!("watch=true&allowWatchBookmarks=true&resourceVersion={version}").into(),
        Opened::FirstPage => format!("limit={PAGE_SIZE}").into(),
        Opened::NextPage => format!("limit={PAGE_SIZE}&continue={token}").into(),
    };
    let uri = format!("{path}?{query}{selector}");
    Request::get(uri).header(header::ACCEPT, HeaderValue::from_static(accept)).body(Vec::new())
}

/// A page without its items.
#[derive(Deserialize)]
pub struct ListEnvelope {
    pub metadata: ListMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListMetadata {
    pub r#continue: Option<String>,
    #[serde(deserialize_with = "crate::kubernetes::resource::resource_version")]
    pub resource_version: u64,
}
