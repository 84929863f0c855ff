//! The objects of the actions: their paths, what the operator would apply, and what a stranger creates under the same
//! name. Used by both API servers; pure.

use std::num::NonZeroU16;

use inference_operator::api::{InferenceServiceSpec, ServiceSettings};
use inference_operator::catalog::Catalog;
use inference_operator::model::uid::Uid;
use inference_operator::reconcile::validate::validate;
use inference_operator::reconcile::{deployment, service};
use inference_operator::settings::Pods;
use serde_json::{Value, json};
use simulation::api_server::{Key, Kind};

use crate::action::Action;

pub fn path(key: &Key, with_name: bool) -> String {
    let (api, plural) = match key.kind {
        Kind::InferenceService => ("apis/ai.example.com/v1", "inferenceservices"),
        Kind::Deployment => ("apis/apps/v1", "deployments"),
        Kind::Service => ("api/v1", "services"),
        Kind::InferenceCatalog => ("apis/ai.example.com/v1", "inferencecatalogs"),
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
        Action::CreateService(_) | Action::EditPorts(_) | Action::ReplacePorts { .. } => Kind::Service,
        _ => return Value::Null,
    };
    let mut built = desired(kind, "any", "any", Uid::default(), 1, Some(1));
    // Without the owner references: their uids differ.
    built["metadata"] = json!({"labels": built["metadata"]["labels"], "annotations": built["metadata"]["annotations"]});
    built
}

/// With a batch size the spec has a Service of its own shape too.
pub fn desired(kind: Kind, namespace: &str, name: &str, uid: Uid, replicas: i32, batch: Option<u32>) -> Value {
    let catalog = Catalog::default();
    let annotations = Some([("example.com/load-balancer".to_owned(), "inside".to_owned())].into());
    let service = ServiceSettings { port: NonZeroU16::new(8080), annotations, ..ServiceSettings::default() };
    let spec = InferenceServiceSpec {
        replicas,
        max_batch_size: batch,
        service: batch.map(|_| service),
        ..InferenceServiceSpec::new("m", "L40S")
    };
    let valid = validate(namespace, name, uid, &spec, &catalog).expect("valid");
    match kind {
        Kind::Deployment => deployment::build(&valid, &Pods::default()).expect("built"),
        _ => service::build(&valid),
    }
}

pub fn strangers(kind: Kind, name: &str) -> Value {
    let labels = json!({"app": "foreign"});
    let spec = match kind {
        Kind::Deployment => json!({
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
        }),
        // With all fields set that the API server would default: they may end up among the operator's own.
        Kind::Service => {
            let ports = [json!({"name": "web", "port": 81, "targetPort": 81, "protocol": "TCP"})];
            json!({"type": "ClusterIP", "selector": labels, "ports": ports})
        }
        Kind::InferenceService => json!({"model": "m", "gpuType": "L40S", "replicas": 0}),
        Kind::InferenceCatalog => json!({}),
    };
    json!({"metadata": {"name": name, "labels": labels}, "spec": spec})
}
