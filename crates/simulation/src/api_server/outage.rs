//! What is refused for minutes, always alike: a webhook that is down, a right that is missing, a backend that is away.
//! Asked by the server for each request; pure.

use super::request::Question;
use super::{Kind, Refusal, refusal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// No Deployment can be written: 500.
    WebhookDown,
    /// No child can be read, listed or watched: 403.
    ReadsForbidden,
    /// 503 for all that is about children.
    Unavailable,
}

impl Lasting {
    pub const ALL: [Lasting; 3] = [Lasting::WebhookDown, Lasting::ReadsForbidden, Lasting::Unavailable];

    /// None: this request gets through.
    pub fn refuses(self, question: &Question) -> Option<Refusal> {
        let kind = match question {
            Question::Watch(watch) => watch.selection.kind,
            Question::List(list) => list.selection.kind,
            Question::Get(key) | Question::Create { key, .. } | Question::Apply { key, .. } => key.kind,
            Question::Status { .. } | Question::Event { .. } => return None,
        };
        let writes = matches!(question, Question::Create { .. } | Question::Apply { .. });
        let is_child = kind != Kind::InferenceService;
        match self {
            Lasting::WebhookDown => (writes && kind == Kind::Deployment).then(|| {
                refusal(500, "InternalError", "failed calling webhook \"pods.example.com\": connection refused")
            }),
            Lasting::ReadsForbidden => (is_child && !writes).then(|| {
                refusal(403, "Forbidden", "the operator cannot get resource in API group at the cluster scope")
            }),
            Lasting::Unavailable => is_child
                .then(|| refusal(503, "ServiceUnavailable", "the server is currently unable to handle the request")),
        }
    }
}
