//! The requests of reconcile, one thin function each: read a child, apply a child, write a status.
//! Decides nothing; what may be written was decided before.

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Task;
use super::deployment::MANAGED_BY as FIELD_MANAGER;
use crate::api::InferenceServiceStatus;
use crate::projection::InferenceService;
use crate::uid::Uid;

/// None: there is no such object.
pub async fn get<K>(client: &kube::Client, task: &Task) -> Result<Option<K>, kube::Error>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    Api::<K>::namespaced(client.clone(), &task.namespace).get_opt(&task.name).await
}

/// Applies a child. `known`: the uid of the child that was seen and found to be the
/// InferenceService's own. With it the write is forced, because whoever changed our fields must
/// give way, and the uid in the body makes the API server refuse when another object has taken its
/// place. Without it the child was not there, and the write is not forced: the selector, which is
/// atomic and which every object of the kind has, conflicts with that of an object that came in
/// between.
pub async fn apply<K>(
    client: &kube::Client,
    task: &Task,
    mut desired: Value,
    known: Option<Uid>,
) -> Result<K, kube::Error>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let mut parameters = PatchParams::apply(FIELD_MANAGER);
    if let Some(uid) = known {
        desired["metadata"]["uid"] = json!(uid.to_string());
        parameters = parameters.force();
    }
    Api::<K>::namespaced(client.clone(), &task.namespace).patch(&task.name, &parameters, &Patch::Apply(desired)).await
}

/// Writes the status of exactly this InferenceService: one that was made anew under the same name
/// has another uid, and the API server refuses.
pub async fn write_status(
    client: &kube::Client,
    task: &Task,
    status: &InferenceServiceStatus,
) -> Result<InferenceService, kube::Error> {
    let patch = json!({"metadata": {"uid": task.uid.to_string()}, "status": status});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    Api::<InferenceService>::namespaced(client.clone(), &task.namespace)
        .patch_status(&task.name, &parameters, &Patch::Merge(patch))
        .await
}
