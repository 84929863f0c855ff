//! One API server with its own uids and resourceVersions, and how each action is sent to it. Implemented for the real
//! and the simulated one.

use std::collections::BTreeMap;

use http::Request;
use inference_operator::model::uid::Uid;
use inference_operator::reconcile::service;
use kube::Client;
use serde_json::{Value, json};
use simulation::api_server::{Key, Kind, Propagation, is_deleting};

use crate::action::{Action, From, Name, Precondition};
use crate::action_result::{ActionResult, Told};
use crate::objects::{desired, path, strangers};
use crate::reading::{self, Collection, Last};

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const MANAGER: &str = "fieldManager=inference-operator";

/// The resourceVersion at which the last list or watch of each kind ended.
pub type Places = BTreeMap<Kind, String>;

pub trait ApiServer {
    fn client(&self) -> &Client;
    fn namespace(&self) -> &str;
    fn places(&mut self) -> &mut Places;
    /// The actions of users and strangers, which the simulation does not do over HTTP.
    async fn make(&mut self, key: &Key, object: Value) -> ActionResult;
    async fn edit(&mut self, key: &Key, patch: &Value) -> ActionResult;
    async fn delete_as(&mut self, key: &Key, propagation: Propagation);
    async fn read(&self, key: &Key) -> Option<Value>;

    async fn act(&mut self, action: &Action) -> ActionResult {
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
                let collection = Collection { kind, namespace: &namespace, managed_only };
                let (answer, end) = reading::pages(self.client(), &collection, limit).await;
                self.places().extend(end.map(|end| (kind, end)));
                answer
            }
            Action::Watch { kind, managed_only, from } => {
                self.watch(&Collection { kind, namespace: &namespace, managed_only }, from).await
            }
            Action::Remove(name) => self.remove(&key(Kind::InferenceService, name)).await,
            Action::Delete(kind, name) => self.remove(&key(kind, name)).await,
            Action::DeleteAs(kind, name, propagation) => {
                self.delete_as(&key(kind, name), propagation).await;
                // The remaining object, if any.
                let request = Request::get(path(&key(kind, name), true)).body(Vec::new());
                self.ask(&key(kind, name), request).await
            }
            Action::Annotate(kind, name) => {
                self.edit(&key(kind, name), &json!({"metadata": {"annotations": {"x": "y"}}})).await
            }
            Action::Hold(kind, name) => {
                let key = key(kind, name);
                // A finalizer cannot be added to an object that is being deleted.
                if self.read(&key).await.is_some_and(|object| is_deleting(&object)) {
                    return Ok(Told::Object { object: Value::Null, wrote: false });
                }
                self.edit(&key, &json!({"metadata": {"finalizers": ["example.com/hold"]}})).await
            }
            Action::LetGo(kind, name) => {
                let key = key(kind, name);
                let answer = self.edit(&key, &json!({"metadata": {"finalizers": null}})).await;
                // If this removed the object, only that fact is compared.
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
            Action::EditPorts(name) => {
                let ports = [json!({"port": 99, "targetPort": 99, "protocol": "TCP"})];
                self.edit(&key(Kind::Service, name), &json!({"spec": {"ports": ports}})).await
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
                self.set_precondition(&mut object, &key(kind, name), known).await;
                let force = if force { "&force=true" } else { "" };
                let path = format!("{}?{MANAGER}{force}", path(&key(kind, name), true));
                let request = Request::patch(path).header("content-type", "application/apply-patch+yaml");
                self.ask(&key(kind, name), request.body(object.to_string().into())).await
            }
            Action::ReplacePorts { name, batch, deletes, known } => {
                self.replace_ports(name, batch, deletes, known).await
            }
            Action::Status { name, replicas, known } => {
                let key = key(Kind::InferenceService, name);
                let mut object = json!({"metadata": {}});
                self.set_precondition(&mut object, &key, known).await;
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

    async fn replace_ports(
        &mut self,
        name: Name,
        batch: Option<u32>,
        deletes: bool,
        known: Precondition,
    ) -> ActionResult {
        let key = Key::new(Kind::Service, self.namespace(), name);
        let desired = desired(Kind::Service, &key.namespace, name, self.owner(name).await, 1, batch);
        let found = self.read(&key).await.unwrap_or_default();
        let others = service::other_ports(&found["spec"], &desired).into_iter().filter(|_| deletes);
        let deleted = others.map(|port| json!({"$patch": "delete", "port": port}));
        let ports: Vec<Value> = deleted.chain([desired["spec"]["ports"][0].clone()]).collect();
        let owners = &desired["metadata"]["ownerReferences"];
        let mut patch = json!({"metadata": {"ownerReferences": owners}, "spec": {"ports": ports}});
        self.set_precondition(&mut patch, &key, known).await;
        let path = format!("{}?{MANAGER}", path(&key, true));
        let request = Request::patch(path).header("content-type", "application/strategic-merge-patch+json");
        self.ask(&key, request.body(patch.to_string().into())).await
    }

    async fn delete(&mut self, key: &Key) {
        self.delete_as(key, Propagation::Background).await;
    }

    async fn remove(&mut self, key: &Key) -> ActionResult {
        self.delete(key).await;
        Ok(Told::Object { object: Value::Null, wrote: true })
    }

    /// Creates a marker object and reads until its event: by then everything before it was read.
    async fn watch(&mut self, collection: &Collection<'_>, from: From) -> ActionResult {
        let (_, now) = reading::pages(self.client(), collection, 0).await;
        let key = Key::new(collection.kind, collection.namespace, "the-end");
        let mut object = strangers(key.kind, &key.name);
        object["metadata"]["labels"][MANAGED_BY] = json!("inference-operator");
        let made = match self.make(&key, object).await {
            Ok(Told::Object { object, .. }) => object,
            other => return other,
        };
        let query = match from {
            From::LongAgo => "resourceVersion=1".to_owned(),
            From::TheFuture => {
                let silent = reading::is_silent(self.client(), collection, "resourceVersion=900000000").await;
                self.delete(&key).await;
                return silent;
            }
            From::AList => {
                // A streaming list reads the watch cache. After a list that must be consistent, the cache is not
                // behind.
                drop(reading::pages(self.client(), collection, 0).await);
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0".to_owned()
            }
            From::WhereItWas => {
                let place = self.places().get(&collection.kind).cloned().or(now);
                format!("resourceVersion={}", place.unwrap_or_default())
            }
        };
        let last = if from == From::AList { Last::EndOfList } else { Last::Object(made["metadata"]["uid"].clone()) };
        let (answer, end) = reading::events(self.client(), collection, &query, &last).await;
        self.places().extend(end.map(|end| (collection.kind, end)));
        self.delete(&key).await;
        answer
    }

    /// The owner's uid, as the operator would know it.
    async fn owner(&self, name: Name) -> Uid {
        let found = self.read(&Key::new(Kind::InferenceService, self.namespace(), name)).await;
        let uid = found.and_then(|object| object["metadata"]["uid"].as_str()?.parse().ok());
        uid.unwrap_or_else(|| "00000000-0000-4000-8000-0123456789ab".parse().unwrap_or_default())
    }

    async fn set_precondition(&self, object: &mut Value, key: &Key, known: Precondition) {
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

    async fn ask(&self, key: &Key, request: http::Result<Request<Vec<u8>>>) -> ActionResult {
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
