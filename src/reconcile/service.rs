//! Second step of reconcile: builds the desired Service. Pure, and cannot fail. Without `spec.service` it depends on the
//! InferenceService's name alone, so a change of the spec does not even read it.

use std::num::NonZeroU16;

use serde_json::{Value, json};

use super::deployment::{SELECTOR_LABEL, metadata};
use super::pod;
use super::validate::Valid;
use crate::api::ServiceSettings;
use crate::model::uid::Uid;
use crate::settings::Settings;

/// The Service's port: the default one of HTTP, so that the endpoint needs no port.
const PORT: NonZeroU16 = NonZeroU16::new(80).unwrap();

/// What the Service is to be.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// The Service for server-side apply: only the fields that this operator manages. Null: it is not asked for.
    pub object: Value,
    /// Its port if `spec.service` is set.
    pub port: Option<NonZeroU16>,
}

impl Desired {
    pub fn new(namespace: &str, name: &str, uid: Uid, settings: Option<&ServiceSettings>) -> Desired {
        Desired { object: object(namespace, name, uid, settings), port: settings.map(ServiceSettings::port) }
    }
}

pub fn build(valid: &Valid) -> Value {
    object(valid.namespace, valid.name, valid.uid, valid.spec.service.as_ref())
}

fn object(namespace: &str, name: &str, uid: Uid, settings: Option<&ServiceSettings>) -> Value {
    let defaults = ServiceSettings::default();
    let settings = settings.unwrap_or(&defaults);
    let mut port = json!({"name": pod::PORT, "port": settings.port(), "targetPort": pod::PORT, "protocol": "TCP"});
    if let Some(node_port) = settings.node_port {
        port["nodePort"] = json!(node_port);
    }
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {
            "type": settings.type_.as_deref().unwrap_or("ClusterIP"),
            "selector": {SELECTOR_LABEL: name}
        }
    });
    service["spec"]["ports"] = Value::Array(vec![port]);
    service["metadata"] = metadata(namespace, name, uid);
    if let Some(annotations) = &settings.annotations {
        service["metadata"]["annotations"] = json!(annotations);
    }
    service
}

impl ServiceSettings {
    /// The port to reach it by.
    pub fn port(&self) -> NonZeroU16 {
        self.port.unwrap_or(PORT)
    }
}

/// The ports that cannot be beside the desired one: those of its name, and one without a name. An apply removes only
/// those that an apply has set, and is refused beside the others.
pub fn other_ports(found: &Value, desired: &Value) -> Vec<Value> {
    let ours = &desired["spec"]["ports"][0];
    let ports = found["ports"].as_array().into_iter().flatten();
    let is_of_no_other = |port: &&Value| port["name"] == ours["name"] || port["name"].is_null();
    let others = ports.filter(|port| is_of_no_other(port) && port["port"] != ours["port"]);
    others.map(|port| port["port"].clone()).collect()
}

/// The Service's URL inside the cluster. `port`: None: the default.
pub fn endpoint(namespace: &str, name: &str, port: Option<NonZeroU16>, settings: &Settings) -> String {
    let domain = &settings.cluster_domain;
    let port = port.filter(|port| *port != PORT).map_or(String::new(), |port| format!(":{port}"));
    format!("http://{name}.{namespace}.svc.{domain}{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ServiceSettings {
        ServiceSettings {
            type_: Some("NodePort".to_owned()),
            port: NonZeroU16::new(8080),
            node_port: NonZeroU16::new(30080),
            annotations: Some([("a".to_owned(), "b".to_owned())].into()),
        }
    }

    #[test]
    fn what_is_built_is_a_service() {
        for settings in [None, Some(settings())] {
            let value = object("ns", "demo", Uid::default(), settings.as_ref());
            let typed: k8s_openapi::api::core::v1::Service = serde_json::from_value(value.clone()).expect("a Service");
            assert_eq!(serde_json::to_value(typed).expect("JSON"), value);
        }
    }

    #[test]
    fn an_endpoint_has_a_port_where_it_is_not_that_of_http() {
        let endpoint = |port| endpoint("ns", "demo", NonZeroU16::new(port), &Settings::default());
        assert_eq!([0, 80].map(endpoint), ["http://demo.ns.svc.cluster.local"; 2]);
        assert_eq!(endpoint(8080), "http://demo.ns.svc.cluster.local:8080");
    }

    #[test]
    fn a_port_of_ours_that_is_no_longer_wanted_is_told_from_those_of_others() {
        let desired = object("ns", "demo", Uid::default(), Some(&settings()));
        let found = |ports: Value| other_ports(&json!({ "ports": ports }), &desired);
        assert_eq!(found(json!([{"name": "http", "port": 80}, {"name": "x", "port": 81}])), [json!(80)]);
        assert_eq!(found(json!([{"name": "http", "port": 8080}, {"name": "x", "port": 80}])), [Value::Null; 0]);
        assert_eq!(found(json!([{"port": 99}])), [json!(99)], "each of several ports needs a name");
    }
}
