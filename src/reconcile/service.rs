//! Second step of reconcile: builds the desired Service. Pure, and cannot fail. It depends on the InferenceService's
//! name alone, so a spec change never writes it.

use serde_json::{Value, json};

use super::deployment::{SELECTOR_LABEL, metadata};
use super::pod;
use super::validate::Valid;
use crate::model::uid::Uid;
use crate::settings::Settings;

/// The Service's port: the default one of HTTP, so that the endpoint needs no port.
const PORT: u16 = 80;

/// The Service for server-side apply: only the fields that this operator manages.
pub fn build(valid: &Valid) -> Value {
    desired(valid.namespace, valid.name, valid.uid)
}

/// The same, before the spec is known.
pub fn desired(namespace: &str, name: &str, uid: Uid) -> Value {
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {
            "type": "ClusterIP",
            "selector": {SELECTOR_LABEL: name},
            "ports": [{"name": "http", "port": PORT, "targetPort": pod::PORT, "protocol": "TCP"}]
        }
    });
    service["metadata"] = metadata(namespace, name, uid);
    service
}

/// The Service's URL inside the cluster.
pub fn endpoint(namespace: &str, name: &str, settings: &Settings) -> String {
    format!("http://{name}.{namespace}.svc.{}", settings.cluster_domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_a_service() {
        let settings = Settings::default();
        let value = desired("ns", "demo", Uid::default());
        let typed: k8s_openapi::api::core::v1::Service = serde_json::from_value(value.clone()).expect("a Service");
        assert_eq!(serde_json::to_value(typed).expect("JSON"), value);
        assert_eq!(endpoint("ns", "demo", &settings), "http://demo.ns.svc.cluster.local");
    }
}
