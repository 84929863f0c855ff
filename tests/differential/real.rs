//! The real API server, by a kubeconfig. Used by the tests; must never leave its namespace behind.

use http::Request;
use kube::Client;
use serde_json::{Value, json};
use simulation::api_server::{Key, Propagation};

use crate::action_result::ActionResult;
use crate::api_server::{ApiServer, Places};
use crate::objects::path;

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

impl ApiServer for Real {
    fn client(&self) -> &Client {
        &self.client
    }

    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    async fn make(&mut self, key: &Key, object: Value) -> ActionResult {
        let (api_version, kind) = key.kind.type_meta();
        let mut object = object;
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind);
        let request = Request::post(format!("{}?fieldManager=stranger", path(key, false)));
        self.ask(key, request.header("content-type", "application/json").body(object.to_string().into())).await
    }

    async fn edit(&mut self, key: &Key, patch: &Value) -> ActionResult {
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
