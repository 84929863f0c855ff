//! Decodes one line of a watch. Called by the watch with a line that is already pruned; pure.

use std::borrow::Cow;

use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::kubernetes::refusal::WireStatus;
use crate::kubernetes::resource::{Watched, decode, resource_version};

#[derive(Debug)]
pub enum Line<K> {
    /// ADDED or MODIFIED.
    Applied(K),
    Deleted(K),
    /// No other events up to this resourceVersion.
    Bookmark {
        resource_version: u64,
        /// The initial list is complete.
        ends_list: bool,
    },
    Error(Box<Status>),
}

/// Why a line cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    /// An error of this one object, never of its list.
    #[error("skipping an object that cannot be decoded: {0}")]
    Object(serde_json::Error),
    #[error("not a watch event: {0}")]
    Line(serde_json::Error),
}

pub fn read<K: Watched>(line: &[u8]) -> Result<Line<K>, Unclear> {
    let wire: Wire = decode(line).map_err(Unclear::Line)?;
    let text = wire.object.get();
    let object = || serde_json::from_str(text).map_err(Unclear::Object);
    match &*wire.kind {
        "BOOKMARK" => {
            let Bookmark { metadata } = serde_json::from_str(text).map_err(Unclear::Line)?;
            let ends_list = metadata.annotations.initial_events_end.is_some();
            Ok(Line::Bookmark { resource_version: metadata.resource_version, ends_list })
        }
        "ERROR" => serde_json::from_str::<WireStatus>(text)
            .map(|status| Line::Error(Box::new(status.into())))
            .map_err(Unclear::Line),
        "DELETED" => object().map(Line::Deleted),
        _ => object().map(Line::Applied),
    }
}

pub fn object<K: Watched>(text: &[u8]) -> Result<K, Unclear> {
    decode(text).map_err(Unclear::Object)
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMetadata {
    #[serde(deserialize_with = "resource_version")]
    resource_version: u64,
    #[serde(default)]
    annotations: BookmarkAnnotations,
}

#[derive(Default, Deserialize)]
struct BookmarkAnnotations {
    #[serde(rename = "k8s.io/initial-events-end")]
    initial_events_end: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::resource::Resource;
    use crate::model::view::{Meta, PartialService};

    fn line(text: &str) -> Result<Line<Meta>, Unclear> {
        let mut pruner = crate::kubernetes::prune::Pruner::new(PartialService::EVENT);
        pruner.advance(&mut bytes::Bytes::copy_from_slice(text.as_bytes())).expect("JSON");
        read(pruner.kept())
    }

    #[test]
    fn a_line_says_what_happened_in_whatever_order_it_is_written() {
        let object = r#""object":{"metadata":{"name":"a","resourceVersion":"7"}}"#;
        for (type_, is_gone) in [("ADDED", false), ("MODIFIED", false), ("DELETED", true)] {
            for text in [format!(r#"{{"type":"{type_}",{object}}}"#), format!(r#"{{{object},"type":"{type_}"}}"#)] {
                let (found, version) = match line(&text).expect("a line") {
                    Line::Applied(service) => (false, service.resource_version),
                    Line::Deleted(service) => (true, service.resource_version),
                    other => panic!("{other:?}"),
                };
                assert_eq!((found, version), (is_gone, 7));
            }
        }
    }

    #[test]
    fn the_bookmark_that_ends_a_list_is_told_from_others() {
        for (annotations, expected) in [
            ("", false),
            (r#","annotations":{"other":"x"}"#, false),
            (r#","annotations":{"k8s.io/initial-events-end":"true"}"#, true),
        ] {
            let text =
                format!(r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"9"{annotations}}}}}}}"#);
            let Line::Bookmark { resource_version: 9, ends_list } = line(&text).expect("a line") else {
                panic!("{text}");
            };
            assert_eq!(ends_list, expected);
        }
    }

    #[test]
    fn an_error_keeps_the_servers_words() {
        let text = r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410,"message":"too old","reason":"Expired"}}"#;
        let Line::Error(status) = line(text).expect("a line") else { panic!("no error") };
        assert_eq!((status.code, &*status.message), (410, "too old"));
    }

    #[test]
    fn an_object_that_is_unclear_is_told_from_a_line_that_is_none() {
        let text = r#"{"type":"ADDED","object":{"metadata":{"resourceVersion":"x"}}}"#;
        assert!(matches!(line(text), Err(Unclear::Object(_))));
        assert!(matches!(line("{}"), Err(Unclear::Line(_))));
    }
}
