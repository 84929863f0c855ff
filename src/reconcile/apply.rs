//! The requests of reconcile, one thin function each: read a child, apply a child, write a status. Decides nothing;
//! the caller has checked what may be written.

use http::{Request, header};
use serde::Serialize;
use serde_json::{Value, json};

use super::deployment::MANAGED_BY as FIELD_MANAGER;
use crate::api::InferenceServiceStatus;
use crate::error::Error;
use crate::kubernetes::refusal::{describe, is_of_fields};
use crate::kubernetes::request;
use crate::kubernetes::resource::Resource;
use crate::model::Task;
use crate::model::view::{DeploymentView, InferenceServiceView};

/// A resourceVersion that no object has: the datastores' own first entries come before any object.
const ABSENT_RESOURCE_VERSION: &str = "1";

/// None: the object does not exist.
pub async fn get<K: Resource>(client: &kube::Client, task: &Task) -> Result<Option<K>, kube::Error> {
    get_of(client, &task.namespace, &task.name).await
}

/// The same for an object that is not the task's.
pub async fn get_of<K: Resource>(client: &kube::Client, namespace: &str, name: &str) -> Result<Option<K>, kube::Error> {
    let path = format!("{}/{name}", K::path(Some(namespace)));
    match request::object(client, build_request(Request::get(path), Vec::new())?).await {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The precondition of an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// It was read and does not exist. The write creates it or is rejected: a resourceVersion does not require the
    /// object to exist (`Store.Update` of the API server's generic registry), but an object that another client
    /// created meanwhile has a different one.
    Absent,
    /// It was read, or reported by the watch, at this resourceVersion, as a child of this InferenceService. The apply
    /// is forced, because our fields must win over other field managers. The API server rejects it if the
    /// resourceVersion has changed: the object may have been replaced, or released by removing its owner reference.
    ResourceVersion(u64),
}

/// Applies a child.
pub async fn apply<K: Resource>(
    client: &kube::Client,
    task: &Task,
    mut desired: Value,
    known: Precondition,
) -> Result<K, kube::Error> {
    let force = match known {
        Precondition::Absent => {
            desired["metadata"]["resourceVersion"] = json!(ABSENT_RESOURCE_VERSION);
            ""
        }
        Precondition::ResourceVersion(version) => {
            desired["metadata"]["resourceVersion"] = json!(version.to_string());
            "&force=true"
        }
    };
    request::object(client, apply_request::<K>(&task.namespace, &task.name, &desired, force)?).await
}

/// Creates a child; 409 if any object of that name exists. Only for an object that never loses a field: a field set
/// by a POST stays when a later apply omits it.
pub async fn create<K: Resource>(client: &kube::Client, task: &Task, desired: &Value) -> Result<K, kube::Error> {
    let path = format!("{}?fieldManager={FIELD_MANAGER}", K::path(Some(&task.namespace)));
    let builder = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    request::object(client, build_request(builder, encode(desired)?)?).await
}

/// Replaces ports of a Service by the desired one, with this resourceVersion as precondition. An apply would leave those
/// that a POST has set, beside a new one of the same name, which is refused. A strategic merge patch knows ports by their
/// number. It sets the owner too: a Service without one is not changed before it is adopted.
pub async fn replace_ports<K: Resource>(
    client: &kube::Client,
    task: &Task,
    version: u64,
    numbers: &[Value],
    desired: &Value,
) -> Result<K, kube::Error> {
    let mut ports: Vec<Value> = numbers.iter().map(|port| json!({"$patch": "delete", "port": port})).collect();
    ports.push(desired["spec"]["ports"][0].clone());
    let owners = &desired["metadata"]["ownerReferences"];
    let metadata = json!({"resourceVersion": version.to_string(), "ownerReferences": owners});
    let body = json!({"metadata": metadata, "spec": {"ports": ports}});
    let path = format!("{}/{}?fieldManager={FIELD_MANAGER}", K::path(Some(&task.namespace)), task.name);
    let builder = Request::patch(path).header(header::CONTENT_TYPE, "application/strategic-merge-patch+json");
    request::object(client, build_request(builder, encode(&body)?)?).await
}

/// Why the API server would not create this Deployment, if it is the Deployment's own fault: what is mistyped, named twice or out
/// of bounds. To an apply it answers such a mistake like a fault of its own, with 500.
pub async fn fault(client: &kube::Client, namespace: &str, desired: &Value) -> Option<String> {
    let path = format!("{}?dryRun=All&fieldValidation=Strict", DeploymentView::path(Some(namespace)));
    let builder = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    let request = build_request(builder, encode(desired).ok()?).ok()?;
    match request::send(client, request, &[]).await {
        Err(kube::Error::Api(status)) if status.code == 400 => Some(describe(&kube::Error::Api(status))),
        Err(error) if is_of_fields(&error) => Some(describe(&error)),
        _ => None,
    }
}

/// Sends a JSON patch (RFC 6902) to this path.
pub async fn patch_json(client: &kube::Client, path: &str, operations: &Value) -> Result<(), kube::Error> {
    let builder = Request::patch(format!("{path}?fieldManager={FIELD_MANAGER}"));
    let builder = builder.header(header::CONTENT_TYPE, "application/json-patch+json");
    request::send(client, build_request(builder, encode(operations)?)?, &[]).await?;
    Ok(())
}

/// The request of an apply. `options`: further query parameters, each with its '&'; a test passes others.
pub fn apply_request<K: Resource>(
    namespace: &str,
    name: &str,
    desired: &Value,
    options: &str,
) -> Result<Request<Vec<u8>>, kube::Error> {
    let path = format!("{}/{name}?fieldManager={FIELD_MANAGER}{options}", K::path(Some(namespace)));
    let builder = Request::patch(path).header(header::CONTENT_TYPE, "application/apply-patch+yaml");
    build_request(builder, yaml_safe(encode(desired)?))
}

fn build_request(builder: http::request::Builder, body: Vec<u8>) -> Result<Request<Vec<u8>>, kube::Error> {
    builder.body(body).map_err(kube::Error::HttpError)
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, kube::Error> {
    serde_json::to_vec(value).map_err(kube::Error::SerdeError)
}

/// The API server reads the body of an apply as YAML. YAML accepts JSON except for some characters that JSON strings
/// may hold: it rejects control characters and folds its own line breaks into blanks (YAML 1.1, sections 5.1 and
/// 5.4). They occur only inside strings, where a \u escape is equivalent.
fn yaml_safe(json: Vec<u8>) -> Vec<u8> {
    let special = |character: char| {
        matches!(character, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    // The usual case, detected without decoding the characters.
    if json.is_ascii() && memchr::memchr(0x7f, &json).is_none() {
        return json;
    }
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

/// One operation of a JSON patch (RFC 6902).
#[derive(Serialize)]
struct Operation<'a, T> {
    op: &'static str,
    path: &'static str,
    value: &'a T,
}

/// Writes the status of this very InferenceService, and not of one that was recreated under the same name. A JSON
/// patch tests the uid, because at the status subresource the API server ignores the metadata of a merge patch. A
/// failed test is answered with 422.
pub async fn write_status(
    client: &kube::Client,
    task: &Task,
    status: &InferenceServiceStatus,
) -> Result<InferenceServiceView, Error> {
    let body = (
        Operation { op: "test", path: "/metadata/uid", value: &task.uid.to_string() },
        Operation { op: "add", path: "/status", value: status },
    );
    let collection = InferenceServiceView::path(Some(&task.namespace));
    let path = format!("{collection}/{}/status?fieldManager={FIELD_MANAGER}", task.name);
    let builder = Request::patch(path).header(header::CONTENT_TYPE, "application/json-patch+json");
    Ok(request::object(client, build_request(builder, encode(&body)?)?).await?)
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

    #[test]
    fn a_character_that_yaml_refuses_is_escaped_where_it_is_the_only_one() {
        for character in ['\u{7f}', '\u{80}', '\u{9f}', '\u{2028}', '\u{2029}', '\u{feff}', '\u{fffe}', '\u{ffff}'] {
            let expected = format!("\"\\u{:04x}\"", u32::from(character));
            assert_eq!(yaml_safe(json!(character.to_string()).to_string().into_bytes()), expected.as_bytes());
        }
    }
}
