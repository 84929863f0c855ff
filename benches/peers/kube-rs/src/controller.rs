//! The reconciler: get each child, apply it where it is not as it should be, update the status, look
//! again after 30 s.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::{info, warn};

use crate::Error;
use crate::api::{InferenceService, Phase};
use crate::children;
use crate::metrics::Metrics;
use crate::status::{self, Assessment};
use crate::validate::validate;

const FIELD_MANAGER: &str = "inference-operator";

pub struct Context {
    client: Client,
    recorder: Recorder,
    metrics: Arc<Metrics>,
}

pub async fn run(client: Client, metrics: Arc<Metrics>, concurrency: u16) {
    let context = Arc::new(Context {
        client: client.clone(),
        recorder: Recorder::new(client.clone(), FIELD_MANAGER.into()),
        metrics,
    });
    Controller::new(Api::<InferenceService>::all(client.clone()), watcher::Config::default())
        .owns(Api::<Deployment>::all(client.clone()), watcher::Config::default())
        .owns(Api::<Service>::all(client), watcher::Config::default())
        .with_config(Config::default().concurrency(concurrency))
        .shutdown_on_signal()
        .run(reconcile, error_policy, context)
        .for_each(|_| futures::future::ready(()))
        .await;
}

async fn reconcile(isvc: Arc<InferenceService>, context: Arc<Context>) -> Result<Action, Error> {
    let _timer = context.metrics.time();
    if isvc.metadata.deletion_timestamp.is_some() {
        // The garbage collector takes the children away.
        return Ok(Action::await_change());
    }
    match bring(&isvc, &context).await {
        Ok(deployment) => {
            let said = status::assess(&isvc, &deployment);
            update_status(&isvc, &context, Some(&deployment), &said).await?;
        }
        Err(error) => match status::refuse(&isvc, &error) {
            Some(said) => update_status(&isvc, &context, None, &said).await?,
            None => return Err(error),
        },
    }
    Ok(Action::requeue(Duration::from_secs(30)))
}

fn error_policy(isvc: Arc<InferenceService>, error: &Error, context: Arc<Context>) -> Action {
    warn!(namespace = isvc.namespace(), name = isvc.name_any(), "reconcile failed: {error}");
    context.metrics.failed();
    Action::requeue(Duration::from_secs(5))
}

/// Brings both children to the spec.
async fn bring(isvc: &InferenceService, context: &Context) -> Result<Deployment, Error> {
    let gpu = validate(&isvc.spec)?;
    let deployment = get_or_apply(isvc, context, children::deployment(isvc, gpu)).await?;
    get_or_apply(isvc, context, children::service(isvc)).await?;
    Ok(deployment)
}

async fn get_or_apply<K>(isvc: &InferenceService, context: &Context, desired: K) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
{
    let (namespace, name) = (isvc.namespace().unwrap_or_default(), isvc.name_any());
    let api = Api::<K>::namespaced(context.client.clone(), &namespace);
    if let Some(found) = api.get_opt(&name).await? {
        check_owned(isvc, &found)?;
        if children::is_as_desired(&found, &desired)? {
            return Ok(found);
        }
    }
    info!(namespace, name, "applying the {}", K::kind(&()));
    Ok(api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&desired)).await?)
}

/// Refuses an object that exists and that the InferenceService does not control.
fn check_owned<K: Resource<DynamicType = ()>>(isvc: &InferenceService, child: &K) -> Result<(), Error> {
    let controller = child.owner_references().iter().find(|owner| owner.controller == Some(true));
    if controller.is_some_and(|owner| Some(&owner.uid) == isvc.metadata.uid.as_ref()) {
        return Ok(());
    }
    Err(Error::NameTaken {
        kind: K::kind(&()).into_owned(),
        namespace: isvc.namespace().unwrap_or_default(),
        name: isvc.name_any(),
        owner: match controller {
            Some(owner) => format!("is controlled by {} {}", owner.kind, owner.name),
            None => "has no controller".into(),
        },
    })
}

/// Writes the status where it differs from what it says already, and makes an Event of what a person
/// should look at.
async fn update_status(
    isvc: &InferenceService,
    context: &Context,
    deployment: Option<&Deployment>,
    said: &Assessment,
) -> Result<(), Error> {
    let status = status::compose(isvc, deployment, said);
    if isvc.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api = Api::<InferenceService>::namespaced(context.client.clone(), &isvc.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(&isvc.name_any(), &PatchParams::default(), &patch).await?;
    if matches!(said.phase, Phase::Failed | Phase::Degraded | Phase::Pending) {
        let event = Event {
            type_: EventType::Warning,
            reason: said.reason.clone(),
            note: Some(said.message.clone()),
            action: "Reconcile".into(),
            secondary: None,
        };
        context.recorder.publish(&event, &isvc.object_ref(&())).await?;
    }
    Ok(())
}
