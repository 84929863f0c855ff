//! The two API servers, each asked in its own uids and resourceVersions: what a action is in them.

use std::collections::BTreeMap;

use http::Request;
use inference_operator::api::InferenceServiceSpec;
use inference_operator::catalog::Catalog;
use inference_operator::model::uid::Uid;
use inference_operator::reconcile::validate::Valid;
use inference_operator::reconcile::{deployment, service};
use inference_operator::settings::Settings;
use kube::Client;
use serde_json::{Value, json};
use simulation::api_server::faults::Faults;
use simulation::api_server::server;
use simulation::api_server::{Key, Kind, Propagation, Refusal, is_deleting};
use simulation::chance::Chance;
use simulation::cluster::{Cluster, Shared};

use crate::action::{Action, From, Name, Precondition};
use crate::answer::{Answer, Told};
use crate::reading::{self, Last, Selection};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const MANAGER: &str = "fieldManager=inference-operator";

/// Where the last list or watch of each kind has ended.
type Places = BTreeMap<Kind, String>;

pub trait Side {
    fn client(&self) -> &Client;
    fn namespace(&self) -> &str;
    fn places(&mut self) -> &mut Places;
    /// What users and strangers do, who are not simulated over HTTP.
    async fn make(&mut self, key: &Key, object: Value) -> Answer;
    async fn edit(&mut self, key: &Key, patch: &Value) -> Answer;
    async fn delete_as(&mut self, key: &Key, propagation: Propagation);
    async fn read(&self, key: &Key) -> Option<Value>;

    async fn act(&mut self, action: &Action) -> Answer {
        let namespace = self.namespace().to_owned();
        let key = |kind: Kind, name: &str| Key::new(kind, &namespace, name);
        match *action {
            Action::Make(name) => {
                let spec = json!({"model": "m", "gpuType": "L40S", "replicas": 1});
                self.make(&key(Kind::InferenceService, name), json!({"metadata": {"name": name}, "spec": spec})).await
            }
            Action::Relabel(kind, name) => {
                let patch = json!({"metadata": {"labels": {MANAGED_BY: "somebody"}}});
                self.edit(&key(kind, name), &patch).await
            }
            Action::List { kind, managed_only, limit } => {
                let selection = Selection { kind, namespace: &namespace, managed_only };
                let (answer, end) = reading::pages(self.client(), &selection, limit).await;
                self.places().extend(end.map(|end| (kind, end)));
                answer
            }
            Action::Watch { kind, managed_only, from } => {
                self.watch(&Selection { kind, namespace: &namespace, managed_only }, from).await
            }
            Action::Remove(name) => self.remove(&key(Kind::InferenceService, name)).await,
            Action::Delete(kind, name) => self.remove(&key(kind, name)).await,
            Action::DeleteAs(kind, name, propagation) => {
                self.delete_as(&key(kind, name), propagation).await;
                // What is left of it.
                let request = Request::get(path(&key(kind, name), true)).body(Vec::new());
                self.ask(&key(kind, name), request).await
            }
            Action::Annotate(kind, name) => {
                self.edit(&key(kind, name), &json!({"metadata": {"annotations": {"x": "y"}}})).await
            }
            Action::Hold(kind, name) => {
                let key = key(kind, name);
                // Else it is too late.
                if self.read(&key).await.is_some_and(|object| is_deleting(&object)) {
                    return Ok(Told::Object { object: Value::Null, wrote: false });
                }
                self.edit(&key, &json!({"metadata": {"finalizers": ["example.com/hold"]}})).await
            }
            Action::LetGo(kind, name) => {
                let key = key(kind, name);
                let answer = self.edit(&key, &json!({"metadata": {"finalizers": null}})).await;
                // Of what is gone by this only that it is gone is told.
                let is_gone = self.read(&key).await.is_none();
                if is_gone && answer.is_ok() { Ok(Told::Object { object: Value::Null, wrote: true }) } else { answer }
            }
            Action::Take(kind, name) => self.make(&key(kind, name), strangers(kind, name)).await,
            Action::Edit(kind, name) => {
                let patch = match kind {
                    Kind::Deployment => json!({"spec": {"replicas": 7}}),
                    _ => json!({"metadata": {"labels": {"app.kubernetes.io/instance": "edited"}}}),
                };
                self.edit(&key(kind, name), &patch).await
            }
            Action::Get(kind, name) => {
                let request = Request::get(path(&key(kind, name), true)).body(Vec::new());
                self.ask(&key(kind, name), request).await
            }
            Action::CreateService(name) => {
                let object = desired(Kind::Service, &namespace, name, self.owner(name).await, 1, None);
                let path = format!("{}?{MANAGER}", path(&key(Kind::Service, name), false));
                let request =
                    Request::post(path).header("content-type", "application/json").body(object.to_string().into());
                self.ask(&key(Kind::Service, name), request).await
            }
            Action::Apply { kind, name, replicas, batch, force, known } => {
                let mut object = desired(kind, &namespace, name, self.owner(name).await, replicas, batch);
                self.tell(&mut object, &key(kind, name), known).await;
                let force = if force { "&force=true" } else { "" };
                let path = format!("{}?{MANAGER}{force}", path(&key(kind, name), true));
                let request = Request::patch(path).header("content-type", "application/apply-patch+yaml");
                self.ask(&key(kind, name), request.body(object.to_string().into())).await
            }
            Action::Status { name, replicas, known } => {
                let key = key(Kind::InferenceService, name);
                let mut object = json!({"metadata": {}});
                self.tell(&mut object, &key, known).await;
                let status = json!({"phase": "Progressing", "observedGeneration": 1, "readyReplicas": replicas, "conditions": []});
                let patch = json!([
                    {"op": "test", "path": "/metadata/uid", "value": object["metadata"]["uid"]},
                    {"op": "add", "path": "/status", "value": status}
                ]);
                let path = format!("{}/status?{MANAGER}", path(&key, true));
                let request = Request::patch(path).header("content-type", "application/json-patch+json");
                self.ask(&key, request.body(patch.to_string().into())).await
            }
        }
    }

    async fn delete(&mut self, key: &Key) {
        self.delete_as(key, Propagation::Background).await;
    }

    async fn remove(&mut self, key: &Key) -> Answer {
        self.delete(key).await;
        Ok(Told::Object { object: Value::Null, wrote: true })
    }

    /// Reads until the event of an object that is made for this is seen: then all before it was.
    async fn watch(&mut self, selection: &Selection<'_>, from: From) -> Answer {
        let (_, now) = reading::pages(self.client(), selection, 0).await;
        let key = Key::new(selection.kind, selection.namespace, "the-end");
        let mut object = strangers(key.kind, &key.name);
        object["metadata"]["labels"][MANAGED_BY] = json!("inference-operator");
        let made = match self.make(&key, object).await {
            Ok(Told::Object { object, .. }) => object,
            other => return other,
        };
        let query = match from {
            From::LongAgo => "resourceVersion=1".to_owned(),
            From::TheFuture => {
                let silent = reading::is_silent(self.client(), selection, "resourceVersion=900000000").await;
                self.delete(&key).await;
                return silent;
            }
            From::AList => {
                // A streaming list is read from the server's memory. After a list that must not be from the past that
                // memory is not behind.
                drop(reading::pages(self.client(), selection, 0).await);
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0".to_owned()
            }
            From::WhereItWas => {
                let place = self.places().get(&selection.kind).cloned().or(now);
                format!("resourceVersion={}", place.unwrap_or_default())
            }
        };
        let last = if from == From::AList { Last::EndOfList } else { Last::Object(made["metadata"]["uid"].clone()) };
        let (answer, end) = reading::events(self.client(), selection, &query, &last).await;
        self.places().extend(end.map(|end| (selection.kind, end)));
        self.delete(&key).await;
        answer
    }

    /// As the operator would know it.
    async fn owner(&self, name: Name) -> Uid {
        let found = self.read(&Key::new(Kind::InferenceService, self.namespace(), name)).await;
        let uid = found.and_then(|object| object["metadata"]["uid"].as_str()?.parse().ok());
        uid.unwrap_or_else(|| "00000000-0000-4000-8000-0123456789ab".parse().unwrap_or_default())
    }

    async fn tell(&self, object: &mut Value, key: &Key, known: Precondition) {
        let found = self.read(key).await.unwrap_or_default();
        let metadata = &found["metadata"];
        match known {
            Precondition::Nothing => {}
            Precondition::Uid if metadata["uid"].is_null() => {
                object["metadata"]["uid"] = json!("00000000-0000-4000-8000-0123456789ac");
            }
            Precondition::Uid => object["metadata"]["uid"] = metadata["uid"].clone(),
            Precondition::AnotherUid => object["metadata"]["uid"] = json!("00000000-0000-4000-8000-0123456789ad"),
            Precondition::ResourceVersion if !metadata["resourceVersion"].is_null() => {
                object["metadata"]["resourceVersion"] = metadata["resourceVersion"].clone();
            }
            Precondition::ResourceVersion | Precondition::AnotherResourceVersion => {
                object["metadata"]["resourceVersion"] = json!("1");
            }
        }
    }

    async fn ask(&self, key: &Key, request: http::Result<Request<Vec<u8>>>) -> Answer {
        let before = self.read(key).await.unwrap_or_default();
        match self.client().request::<Value>(request.expect("a request")).await {
            Ok(object) => {
                let wrote = object["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"];
                Ok(Told::Object { object, wrote })
            }
            Err(error) => reading::refused(error),
        }
    }
}

fn path(key: &Key, with_name: bool) -> String {
    let (api, plural) = match key.kind {
        Kind::InferenceService => ("apis/ai.example.com/v1", "inferenceservices"),
        Kind::Deployment => ("apis/apps/v1", "deployments"),
        Kind::Service => ("api/v1", "services"),
    };
    let collection = format!("/{api}/namespaces/{}/{plural}", key.namespace);
    if with_name { format!("{collection}/{}", key.name) } else { collection }
}

/// An object of this kind with every field that the operator may apply.
pub fn built(action: &Action) -> Value {
    let kind = match *action {
        Action::Apply { kind, .. }
        | Action::Get(kind, _)
        | Action::Edit(kind, _)
        | Action::Annotate(kind, _)
        | Action::Hold(kind, _)
        | Action::LetGo(kind, _)
        | Action::DeleteAs(kind, ..)
        | Action::Relabel(kind, _)
        | Action::Take(kind, _)
            if kind != Kind::InferenceService =>
        {
            kind
        }
        Action::CreateService(_) => Kind::Service,
        _ => return Value::Null,
    };
    let mut built = desired(kind, "", "", Uid::default(), 1, Some(1));
    // Its owners have uids.
    built["metadata"] = json!({"labels": built["metadata"]["labels"]});
    built
}

fn desired(kind: Kind, namespace: &str, name: &str, uid: Uid, replicas: i32, batch: Option<u32>) -> Value {
    let (catalog, server) = (Catalog::default(), Settings::default().server);
    let gpu = catalog.get("L40S").expect("built in");
    let spec = InferenceServiceSpec { replicas, max_batch_size: batch, ..InferenceServiceSpec::new("m", "L40S") };
    let valid = Valid { namespace, name, uid, spec: &spec, gpu };
    if kind == Kind::Deployment { deployment::build(&valid, &server) } else { service::build(&valid, &server) }
}

fn strangers(kind: Kind, name: &str) -> Value {
    let labels = json!({"app": "foreign"});
    let spec = match kind {
        Kind::Deployment => json!({
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
        }),
        // As complete as the API server would make them: they may come to stand among the operator's own.
        Kind::Service => {
            json!({"selector": labels, "ports": [{"name": "web", "port": 81, "targetPort": 81, "protocol": "TCP"}]})
        }
        Kind::InferenceService => json!({"model": "m", "gpuType": "L40S", "replicas": 0}),
    };
    json!({"metadata": {"name": name, "labels": labels}, "spec": spec})
}

// === the real one ===

pub struct Real {
    client: Client,
    namespace: String,
    places: Places,
}

impl Real {
    pub async fn new(namespace: &str) -> Real {
        let client = Client::try_default().await.expect("KUBECONFIG");
        let object = json!({"metadata": {"name": namespace}});
        let request = Request::post("/api/v1/namespaces").header("content-type", "application/json");
        client.request::<Value>(request.body(object.to_string().into()).expect("a request")).await.expect("created");
        Real { client, namespace: namespace.to_owned(), places: Places::new() }
    }

    pub async fn clean_up(self) {
        let request = Request::delete(format!("/api/v1/namespaces/{}", self.namespace)).body(Vec::new());
        let _ = self.client.request::<Value>(request.expect("a request")).await;
    }
}

impl Side for Real {
    fn client(&self) -> &Client {
        &self.client
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    async fn make(&mut self, key: &Key, object: Value) -> Answer {
        let (api_version, kind) = key.kind.type_meta();
        let mut object = object;
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        let request = Request::post(format!("{}?fieldManager=stranger", path(key, false)));
        self.ask(key, request.header("content-type", "application/json").body(object.to_string().into())).await
    }

    async fn edit(&mut self, key: &Key, patch: &Value) -> Answer {
        let request = Request::patch(format!("{}?fieldManager=stranger", path(key, true)));
        self.ask(key, request.header("content-type", "application/merge-patch+json").body(patch.to_string().into()))
            .await
    }

    async fn delete_as(&mut self, key: &Key, propagation: Propagation) {
        let request = Request::delete(path(key, true)).header("content-type", "application/json");
        let options = json!({"propagationPolicy": format!("{propagation:?}")}).to_string();
        let _ = self.client.request::<Value>(request.body(options.into()).expect("a request")).await;
    }

    async fn read(&self, key: &Key) -> Option<Value> {
        let request = Request::get(path(key, true)).body(Vec::new()).expect("a request");
        self.client.request::<Value>(request).await.ok()
    }
}

// === the simulated one ===

pub struct Simulated {
    cluster: Shared,
    client: Client,
    namespace: String,
    places: Places,
}

impl Simulated {
    pub fn new(namespace: &str, streams_lists: bool) -> Simulated {
        let cluster = Cluster::new(Faults { streams_lists, ..Faults::none(Chance::new(0)) });
        // Else "1" could be right.
        cluster.with(|inner| {
            inner.store.version = 1_000;
            inner.store.compact(1_000);
        });
        let client = server::client(cluster.clone(), None);
        Simulated { client, cluster, namespace: namespace.to_owned(), places: Places::new() }
    }
}

impl Side for Simulated {
    fn client(&self) -> &Client {
        &self.client
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    async fn make(&mut self, key: &Key, object: Value) -> Answer {
        let refused = |no: Refusal| (no.code, no.reason.to_owned());
        self.cluster
            .with(|inner| inner.store.create(key, object))
            .map(|object| Told::Object { object, wrote: true })
            .map_err(refused)
    }

    async fn edit(&mut self, key: &Key, patch: &Value) -> Answer {
        let before = self.read(key).await.unwrap_or_default();
        let edited = self.cluster.with(|inner| inner.store.update(key, |object| merge(object, patch)));
        let edited = edited.ok_or_else(|| (404, "NotFound".to_owned()))?;
        let wrote = edited != before;
        Ok(Told::Object { object: edited, wrote })
    }

    async fn delete_as(&mut self, key: &Key, propagation: Propagation) {
        self.cluster.with(|inner| inner.store.delete_as(key, propagation));
    }

    async fn read(&self, key: &Key) -> Option<Value> {
        self.cluster.lock().store.get(key).cloned()
    }
}

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
