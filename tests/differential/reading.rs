//! Reads like the operator: lists page by page, watches line by line, pruned as they arrive. Called with a client of
//! either API server.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use inference_operator::kubernetes::prune::{Fields, Piece, Pruner};
use inference_operator::kubernetes::request;
use inference_operator::kubernetes::resource::Resource as _;
use inference_operator::model::view::catalog::CatalogView;
use inference_operator::model::view::{DeploymentView, InferenceServiceView, PartialDeployment, PartialService};
use kube::Client;
use serde_json::{Value, json};
use simulation::api_server::Kind;

use crate::action_result::{ActionResult, Told};

/// All that is read exists already; this only keeps a wrong test from hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough for any event that would come at once.
const SILENCE: Duration = Duration::from_secs(1);

/// The objects of one list or watch.
pub struct Collection<'a> {
    pub kind: Kind,
    pub namespace: &'a str,
    pub managed_only: bool,
}

impl Collection<'_> {
    fn request(&self, query: &str, is_list: bool) -> Request<Vec<u8>> {
        let namespace = Some(self.namespace);
        let (path, accept, accept_list) = match self.kind {
            Kind::InferenceService => {
                (InferenceServiceView::path(namespace), InferenceServiceView::ACCEPT, InferenceServiceView::ACCEPT_LIST)
            }
            Kind::Deployment => {
                (PartialDeployment::path(namespace), PartialDeployment::ACCEPT, PartialDeployment::ACCEPT_LIST)
            }
            Kind::Service => (PartialService::path(namespace), PartialService::ACCEPT, PartialService::ACCEPT_LIST),
            Kind::InferenceCatalog => (CatalogView::path(namespace), CatalogView::ACCEPT, CatalogView::ACCEPT_LIST),
        };
        let selector =
            if self.managed_only { "&labelSelector=app.kubernetes.io%2Fmanaged-by%3Dinference-operator" } else { "" };
        let accept = if is_list { accept_list } else { accept };
        Request::get(format!("{path}?{query}{selector}"))
            .header(header::ACCEPT, accept)
            .body(Vec::new())
            .expect("a request")
    }

    fn list(&self) -> Fields {
        match self.kind {
            Kind::InferenceService => InferenceServiceView::LIST,
            Kind::Deployment => PartialDeployment::LIST,
            Kind::Service => PartialService::LIST,
            Kind::InferenceCatalog => CatalogView::LIST,
        }
    }

    fn event(&self) -> Fields {
        match self.kind {
            Kind::InferenceService => InferenceServiceView::EVENT,
            Kind::Deployment => PartialDeployment::EVENT,
            Kind::Service => PartialService::EVENT,
            Kind::InferenceCatalog => CatalogView::EVENT,
        }
    }
}

/// The pages of a list, and its resourceVersion.
pub async fn pages(client: &Client, collection: &Collection<'_>, limit: usize) -> (ActionResult, Option<String>) {
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let request = collection.request(&format!("limit={limit}&continue={token}"), true);
        let mut answer = match request::send(client, request, collection.list()).await {
            Ok(answer) => answer,
            Err(error) => return (refused(error), None),
        };
        let mut items = Vec::new();
        let document = loop {
            let piece = answer.next().await.expect("a list");
            let kept: Value = serde_json::from_slice(answer.kept()).expect("JSON");
            match piece.expect("a whole list") {
                Piece::Item => items.push(kept),
                Piece::Document => break kept,
            }
        };
        let metadata = &document["metadata"];
        metadata["continue"].as_str().unwrap_or_default().clone_into(&mut token);
        pages.push(alike(json!({"items": items, "metadata": metadata})));
        if token.is_empty() {
            return (Ok(Told::Read(pages)), metadata["resourceVersion"].as_str().map(str::to_owned));
        }
    }
}

/// The last line of a watch to read. An error is always the last.
pub enum Last {
    EndOfList,
    /// An event of the object with this uid.
    Object(Value),
}

impl Last {
    fn is(&self, event: &Value) -> bool {
        match self {
            _ if event["type"] == "ERROR" => true,
            Last::EndOfList => ends_list(event),
            Last::Object(uid) => event["object"]["metadata"]["uid"] == *uid,
        }
    }
}

fn ends_list(event: &Value) -> bool {
    !event["object"]["metadata"]["annotations"].is_null()
}

/// The lines of a watch up to the last, and the resourceVersion of that one. The lines of an initial list are sorted;
/// bookmarks are left out except for the one at its end.
pub async fn events(
    client: &Client,
    collection: &Collection<'_>,
    query: &str,
    last: &Last,
) -> (ActionResult, Option<String>) {
    let request = collection.request(&format!("watch=true&allowWatchBookmarks=true&{query}"), false);
    let read = async {
        let mut answer = match request::send(client, request, collection.event()).await {
            Ok(answer) => answer,
            Err(error) => return (refused(error), None),
        };
        let mut events: Vec<Value> = Vec::new();
        loop {
            answer.next().await.expect("a watch").expect("more lines");
            let mut event: Value = serde_json::from_slice(answer.kept()).expect("JSON");
            if ends_list(&event) {
                events.sort_by_key(|event| event["object"]["metadata"]["name"].to_string());
            } else if event["type"] == "BOOKMARK" {
                continue;
            }
            event["object"]["message"] = Value::Null;
            let is_last = last.is(&event);
            let version = event["object"]["metadata"]["resourceVersion"].as_str().map(str::to_owned);
            events.push(alike(event));
            if is_last {
                return (Ok(Told::Read(events)), version);
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the line that was waited for")
}

/// A watch that stays silent although something has happened: it neither ends nor sends an error.
pub async fn is_silent(client: &Client, collection: &Collection<'_>, query: &str) -> ActionResult {
    let request = collection.request(&format!("watch=true&allowWatchBookmarks=true&{query}"), false);
    let read = async {
        let mut answer = match request::send(client, request, collection.event()).await {
            Ok(answer) => answer,
            Err(error) => return refused(error),
        };
        let heard = answer.next().await.map(|line| line.is_some());
        Ok(Told::Read(vec![json!(format!("{heard:?}"))]))
    };
    tokio::time::timeout(SILENCE, read).await.unwrap_or(Ok(Told::Read(vec![json!("silence")])))
}

/// The fields that the operator keeps of a response about one object.
pub fn kept(object: &Value) -> Value {
    let fields = match object["kind"].as_str() {
        Some("InferenceService") => InferenceServiceView::FIELDS,
        Some("Deployment") => DeploymentView::FIELDS,
        Some(_) => PartialService::FIELDS,
        None => return Value::Null,
    };
    let mut object = object.clone();
    // managedFields differ between API servers.
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    let mut pruner = Pruner::new(fields);
    pruner.advance(&mut Bytes::from(object.to_string())).expect("JSON");
    alike(serde_json::from_slice(pruner.kept()).unwrap_or_default())
}

/// Removes what always differs: uids, versions, and whether an absent value is null, empty or left out.
fn alike(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let is_own = matches!(name.as_str(), "uid" | "resourceVersion" | "continue" | "deletionTimestamp")
                    && !is_empty(field);
                *field = if is_own { json!("one of its own") } else { alike(field.take()) };
            }
            fields.retain(|_, field| !is_empty(field));
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| *element = alike(element.take())),
        _ => {}
    }
    value
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        _ => false,
    }
}

pub fn refused(error: kube::Error) -> ActionResult {
    match error {
        kube::Error::Api(status) => Err((status.code, status.reason.clone())),
        error => panic!("{error}"),
    }
}
