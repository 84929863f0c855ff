//! The operator's requests, parsed from HTTP. Used by the server; pure.

use bytes::Bytes;
use http::{Method, request::Parts};
use inference_operator::api::catalog::CATALOG_PLURAL;
use serde_json::{Map, Value};

use super::lease::{self, LeaseRequest};
use super::{Key, Kind};

const STRATEGIC_MERGE: &str = "application/strategic-merge-patch+json";

/// A label selector of the pods of one InferenceService, before its name.
const OF_NAME: &str = "ai.example.com%2Finferenceservice%3D";

pub enum ApiRequest {
    Watch(WatchRequest),
    List(ListRequest),
    Get(Key),
    /// The pods of this Deployment.
    Pods(Key),
    /// Is there a node with some labels?
    Nodes,
    Create {
        key: Key,
        object: Value,
    },
    Apply {
        key: Key,
        desired: Value,
        force: bool,
    },
    /// A strategic merge patch of a Service's ports and owners, with a resourceVersion as precondition.
    ReplacePorts {
        key: Key,
        version: Value,
        owners: Value,
        ports: Vec<Value>,
    },
    /// A JSON patch that tests the uid and sets the status.
    Status {
        key: Key,
        uid: Value,
        status: Value,
    },
    /// The same for a catalogue: `status` as a whole, or the fields of it that are set one by one.
    CatalogStatus {
        key: Key,
        uid: Value,
        status: Value,
        is_whole: bool,
    },
    /// About the Lease by which operators elect a leader.
    Lease(LeaseRequest),
    /// A Kubernetes Event.
    Event {
        namespace: String,
        event: Value,
    },
}

impl ApiRequest {
    /// The verb in the request log.
    pub fn verb(&self) -> &'static str {
        match self {
            ApiRequest::Watch(_) => "watch",
            ApiRequest::List(_) => "list",
            ApiRequest::Get(_) => "get",
            ApiRequest::Pods(_) => "list pods",
            ApiRequest::Nodes => "list nodes",
            ApiRequest::Create { .. } => "create",
            ApiRequest::Apply { .. } => "apply",
            ApiRequest::ReplacePorts { .. } => "replace ports",
            ApiRequest::Status { .. } | ApiRequest::CatalogStatus { .. } => "status",
            ApiRequest::Event { .. } => "event",
            ApiRequest::Lease(_) => "lease",
        }
    }

    /// None: it is about more than one object.
    pub fn about(&self) -> Option<&Key> {
        match self {
            ApiRequest::Get(key)
            | ApiRequest::Create { key, .. }
            | ApiRequest::Apply { key, .. }
            | ApiRequest::ReplacePorts { key, .. }
            | ApiRequest::Status { key, .. }
            | ApiRequest::CatalogStatus { key, .. } => Some(key),
            ApiRequest::Watch(_)
            | ApiRequest::List(_)
            | ApiRequest::Pods(_)
            | ApiRequest::Nodes
            | ApiRequest::Lease(_)
            | ApiRequest::Event { .. } => None,
        }
    }

    /// What a fault of this request is a disturbance for; None: for all objects.
    pub fn concerns(&self) -> Option<&Key> {
        if let ApiRequest::Pods(key) = self { Some(key) } else { self.about() }
    }
}

/// Which objects, and which of their fields.
pub struct Selection {
    pub kind: Kind,
    /// None: all namespaces.
    pub namespace: Option<String>,
    /// None: of any name.
    pub name: Option<String>,
    pub managed_only: bool,
    pub metadata_only: bool,
}

pub struct ListRequest {
    pub selection: Selection,
    pub limit: Option<usize>,
    pub token: Option<String>,
}

pub struct WatchRequest {
    pub selection: Selection,
    /// The watch starts with a list.
    pub initial_events: bool,
    pub version: u64,
}

/// The error names the request that this server does not know.
pub fn parse(parts: &Parts, body: &Bytes) -> Result<ApiRequest, String> {
    let unknown = || format!("a request that the simulation does not know: {} {}", parts.method, parts.uri);
    let query = parts.uri.query().unwrap_or_default();
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let path: Vec<&str> = parts.uri.path().trim_start_matches('/').split('/').collect();
    if let Some(request) = lease::parse(parts, body) {
        return Ok(ApiRequest::Lease(request));
    }
    let (kind, rest) = match path.as_slice() {
        ["apis", "events.k8s.io", "v1", "namespaces", namespace, "events"] if parts.method == Method::POST => {
            let event = serde_json::from_slice(body).map_err(|error| format!("{}: {error}", parts.uri))?;
            return Ok(ApiRequest::Event { namespace: (*namespace).to_owned(), event });
        }
        ["api", "v1", "namespaces", namespace, "pods"] if parts.method == Method::GET => {
            let name =
                parameter("labelSelector").and_then(|labels| labels.strip_prefix(OF_NAME)).ok_or_else(unknown)?;
            return Ok(ApiRequest::Pods(Key::new(Kind::Deployment, namespace, name)));
        }
        ["api", "v1", "nodes"] if parts.method == Method::GET && parameter("limit") == Some("1") => {
            return Ok(ApiRequest::Nodes);
        }
        ["apis", "ai.example.com", "v1", rest @ ..] if rest.contains(&CATALOG_PLURAL) => (Kind::InferenceCatalog, rest),
        ["apis", "ai.example.com", "v1", rest @ ..] => (Kind::InferenceService, rest),
        ["apis", "apps", "v1", rest @ ..] => (Kind::Deployment, rest),
        ["api", "v1", rest @ ..] => (Kind::Service, rest),
        _ => return Err(unknown()),
    };
    let plural = match kind {
        Kind::InferenceService => "inferenceservices",
        Kind::Deployment => "deployments",
        Kind::Service => "services",
        Kind::InferenceCatalog => CATALOG_PLURAL,
    };
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let metadata_only = header("accept").contains("PartialObjectMetadata");
    let managed_only = match parameter("labelSelector") {
        None => false,
        Some("app.kubernetes.io%2Fmanaged-by%3Dinference-operator") => true,
        Some(_) => return Err(unknown()),
    };
    let name = match parameter("fieldSelector").map(|selector| selector.strip_prefix("metadata.name%3D")) {
        None => None,
        Some(Some(name)) => Some(name.to_owned()),
        Some(None) => return Err(unknown()),
    };
    let object = || serde_json::from_slice::<Value>(body).map_err(|error| format!("{}: {error}", parts.uri));
    let many = |namespace: Option<&str>| {
        let namespace = namespace.map(str::to_owned);
        let selection = Selection { kind, namespace, name: name.clone(), managed_only, metadata_only };
        if parameter("watch") == Some("true") {
            let initial_events = parameter("sendInitialEvents") == Some("true");
            let version = parameter("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
            return ApiRequest::Watch(WatchRequest { selection, initial_events, version });
        }
        let limit = parameter("limit").and_then(|limit| limit.parse().ok());
        ApiRequest::List(ListRequest { selection, limit, token: parameter("continue").map(str::to_owned) })
    };
    match (&parts.method, rest) {
        (&Method::GET, [found]) if *found == plural => Ok(many(None)),
        (&Method::GET, ["namespaces", namespace, found]) if *found == plural => Ok(many(Some(namespace))),
        (&Method::GET, ["namespaces", namespace, found, name]) if *found == plural => {
            Ok(ApiRequest::Get(Key::new(kind, namespace, name)))
        }
        (&Method::POST, ["namespaces", namespace, "services"]) => {
            let object = object()?;
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            Ok(ApiRequest::Create { key: Key::new(kind, namespace, &name), object })
        }
        (&Method::PATCH, ["namespaces", namespace, "services", name]) if header("content-type") == STRATEGIC_MERGE => {
            replace_ports(Key::new(kind, namespace, name), object()?).ok_or_else(unknown)
        }
        (&Method::PATCH, ["namespaces", namespace, found, name]) if *found == plural && kind.is_child() => {
            let force = parameter("force") == Some("true");
            Ok(ApiRequest::Apply { key: Key::new(kind, namespace, name), desired: object()?, force })
        }
        (&Method::PATCH, ["namespaces", namespace, found, name, "status"]) if *found == plural && !kind.is_child() => {
            status(Key::new(kind, namespace, name), &object()?).ok_or_else(unknown)
        }
        _ => Err(unknown()),
    }
}

/// A JSON patch of a status: the test of the uid comes first.
fn status(key: Key, operations: &Value) -> Option<ApiRequest> {
    let [test, sets @ ..] = operations.as_array()?.as_slice() else { return None };
    let uid = (test["op"] == "test" && test["path"] == "/metadata/uid").then(|| test["value"].clone())?;
    if let [one] = sets
        && one["op"] == "add"
        && one["path"] == "/status"
    {
        let status = one["value"].clone();
        return Some(match key.kind {
            Kind::InferenceCatalog => ApiRequest::CatalogStatus { key, uid, status, is_whole: true },
            _ => ApiRequest::Status { key, uid, status },
        });
    }
    let field = |set: &Value| {
        let name = set["path"].as_str()?.strip_prefix("/status/")?;
        (set["op"] == "add" && !name.contains('/')).then(|| (name.to_owned(), set["value"].clone()))
    };
    let fields: Map<String, Value> = sets.iter().map(field).collect::<Option<_>>()?;
    let is_catalog = key.kind == Kind::InferenceCatalog && !fields.is_empty();
    is_catalog.then(|| ApiRequest::CatalogStatus { key, uid, status: fields.into(), is_whole: false })
}

fn replace_ports(key: Key, mut patch: Value) -> Option<ApiRequest> {
    let ports = std::mem::take(patch["spec"]["ports"].as_array_mut()?);
    let [version, owners] = ["resourceVersion", "ownerReferences"].map(|name| patch["metadata"][name].take());
    Some(ApiRequest::ReplacePorts { key, version, owners, ports })
}
