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
    client.request(apply_request::<K>(&task.namespace, &task.name, &desired, &parameters)?).await
}

/// The request of an apply; a test sends it with other parameters.
pub fn apply_request<K: kube::Resource<DynamicType = ()>>(
    namespace: &str,
    name: &str,
    desired: &Value,
    parameters: &PatchParams,
) -> Result<http::Request<Vec<u8>>, kube::Error> {
    kube::core::Request::new(K::url_path(&(), Some(namespace)))
        .patch(name, parameters, &Patch::Apply(desired))
        .map(|request| request.map(yaml_safe))
        .map_err(kube::Error::BuildRequest)
}

/// The API server reads the body of an apply as YAML, which takes JSON but for some characters that
/// JSON strings may hold: YAML refuses control characters and folds its own line breaks into blanks
/// (YAML 1.1, sections 5.1 and 5.4). They are only ever inside of strings, where \u says the same.
fn yaml_safe(json: Vec<u8>) -> Vec<u8> {
    let special = |character: char| {
        matches!(character, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    match std::str::from_utf8(&json) {
        Ok(text) if text.contains(special) => {
            let escape = |character: char| {
                if special(character) { format!("\\u{:04x}", u32::from(character)) } else { character.to_string() }
            };
            text.chars().map(escape).collect::<String>().into_bytes()
        }
        _ => json,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_the_same_value_when_it_is_made_safe_for_yaml() {
        let value = json!({"a": "plain", "b": "\u{7f}\u{85}\u{9f}\u{2028}\u{feff}\u{ffff} Zo\u{eb} \u{1f574} \n"});
        let safe = yaml_safe(value.to_string().into_bytes());
        assert_eq!(serde_json::from_slice::<Value>(&safe).expect("JSON"), value);
        let text = String::from_utf8(safe).expect("UTF-8");
        assert!(text.contains("\\u007f\\u0085\\u009f\\u2028\\ufeff\\uffff Zo\u{eb} \u{1f574} "), "{text}");
    }
}
