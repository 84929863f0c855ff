//! Outages of some minutes, which reject requests consistently: a failing webhook, a missing permission, an
//! unavailable backend. Checked by the server for each request; pure.

use super::request::ApiRequest;
use super::{Kind, Refusal, refusal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// No Deployment can be written: 500.
    WebhookDown,
    /// No child can be read, listed or watched: 403.
    ReadsForbidden,
    /// All requests for children fail: 503.
    Unavailable,
}

impl Outage {
    pub const ALL: [Outage; 3] = [Outage::WebhookDown, Outage::ReadsForbidden, Outage::Unavailable];

    /// None: this request is not affected.
    pub fn refuses(self, request: &ApiRequest) -> Option<Refusal> {
        let kind = match request {
            ApiRequest::Watch(watch) => watch.selection.kind,
            ApiRequest::List(list) => list.selection.kind,
            ApiRequest::Get(key)
            | ApiRequest::Pods(key)
            | ApiRequest::Create { key, .. }
            | ApiRequest::Apply { key, .. }
            | ApiRequest::ReplacePorts { key, .. } => key.kind,
            ApiRequest::Nodes
            | ApiRequest::Lease(_)
            | ApiRequest::Status { .. }
            | ApiRequest::CatalogStatus { .. }
            | ApiRequest::Event { .. } => return None,
        };
        let writes =
            matches!(request, ApiRequest::Create { .. } | ApiRequest::Apply { .. } | ApiRequest::ReplacePorts { .. });
        let is_child = kind.is_child();
        match self {
            Outage::WebhookDown => (writes && kind == Kind::Deployment).then(|| {
                refusal(500, "InternalError", "failed calling webhook \"pods.example.com\": connection refused")
            }),
            Outage::ReadsForbidden => (is_child && !writes).then(|| {
                refusal(403, "Forbidden", "the operator cannot get resource in API group at the cluster scope")
            }),
            Outage::Unavailable => is_child
                .then(|| refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request")),
        }
    }
}
