//! Schemas of the fields that are passed on to the pod as they are. Written by hand: those of Kubernetes' own types
//! would make the CRD several times as long, and refuse a number where Kubernetes takes one as a quantity.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Source: `resource.Quantity` in Kubernetes' apimachinery, as its OpenAPI generator writes it for CRDs.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// How an administrator calls an engine or a GPU type: as the value of a label.
pub const NAME: &str = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";

/// An image: neither a container runtime nor kubectl tells of a blank in it.
pub const WITHOUT_BLANKS: &str = r"^\S+$";

/// The path of a probe.
pub const PATH: &str = r"^/\S*$";

/// The types that a Service of an InferenceService can have.
pub const SERVICE_TYPES: [&str; 3] = ["ClusterIP", "NodePort", "LoadBalancer"];

fn of_quantity() -> Value {
    json!({"x-kubernetes-int-or-string": true, "pattern": QUANTITY})
}

fn schema(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_default()
}

pub fn quantity(_: &mut SchemaGenerator) -> Schema {
    schema(of_quantity())
}

pub fn image_pull_policy(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": ["Always", "IfNotPresent", "Never"]})
}

pub fn image_pull_secrets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 16, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {"name": name("Name of the Secret.")}}
    })
}

pub fn env(_: &mut SchemaGenerator) -> Schema {
    let source = |description: &str, properties: Value, required: Value| json!({"type": "object", "description": description, "properties": properties, "required": required});
    let key = |object: &str| {
        let description = format!("A key of a {object} in this namespace.");
        let properties = json!({
            "name": name(&format!("Name of the {object}.")),
            "key": text("The key whose value is used.", 253),
            "optional": {"type": "boolean", "description": format!("Start without the variable if there is no such {object} or key.")}
        });
        source(&description, properties, json!(["name", "key"]))
    };
    let field = source(
        "A field of the pod.",
        json!({"fieldPath": text("Path of the field, such as status.podIP.", 253), "apiVersion": text("Version of the path; defaults to v1.", 63)}),
        json!(["fieldPath"]),
    );
    let resource = source(
        "A resource of a container of the pod.",
        json!({"resource": text("The resource, such as limits.memory.", 253), "containerName": text("Name of the container; defaults to this one.", 63), "divisor": of_quantity()}),
        json!(["resource"]),
    );
    json_schema!({
        "type": "array", "maxItems": 256, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {
            "name": text("Name of the variable.", 253),
            "value": {"type": "string", "maxLength": 8192, "description": "Its value. $(NAME) is replaced by another variable."},
            "valueFrom": {"type": "object", "description": "Where its value is taken from.", "properties": {
                "secretKeyRef": key("Secret"), "configMapKeyRef": key("ConfigMap"),
                "fieldRef": field, "resourceFieldRef": resource
            }}
        }}
    })
}

pub fn resources(_: &mut SchemaGenerator) -> Schema {
    let quantities = |description: &str| json!({"type": "object", "description": description, "maxProperties": 32, "additionalProperties": of_quantity()});
    json_schema!({"type": "object", "properties": {
        "limits": quantities("The most that the engine may use."),
        "requests": quantities("What a node must have free to run the engine. Defaults to the limits."),
        "claims": {
            "type": "array", "maxItems": 16, "description": "Claims of template.spec.resourceClaims that the engine uses.",
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": text("Name of the claim.", 63), "request": text("Name of a request in the claim.", 63)
            }}
        }
    }})
}

pub fn token_secret(_: &mut SchemaGenerator) -> Schema {
    let key = json!({"type": "string", "minLength": 1, "maxLength": 253, "default": "token", "description": "The key whose value is the token."});
    json_schema!({
        "type": "object", "required": ["name"],
        "properties": {"name": name("Name of the Secret."), "key": key}
    })
}

pub fn cache(_: &mut SchemaGenerator) -> Schema {
    let empty = json!({
        "type": "object", "description": "A folder of the node that lives as long as the pod.",
        "properties": {
            "sizeLimit": of_quantity(),
            "medium": {"type": "string", "enum": ["", "Memory"], "description": "Memory keeps it in the node's memory."}
        }
    });
    one_of(&json!({"persistentVolumeClaim": claim(), "hostPath": host_path(), "emptyDir": empty}))
}

pub fn model_volume(_: &mut SchemaGenerator) -> Schema {
    let image = json!({
        "type": "object", "required": ["reference"], "description": "An OCI image or artifact whose files are the models.",
        "properties": {
            "reference": text("Name of the image.", 512),
            "pullPolicy": {"type": "string", "enum": ["Always", "IfNotPresent", "Never"], "description": "When the kubelet pulls it."}
        }
    });
    let mut schema = one_of(&json!({"persistentVolumeClaim": claim(), "image": image, "hostPath": host_path()}));
    if let Some(properties) = schema.ensure_object().get_mut("properties") {
        properties["subPath"] = json!({
            "type": "string", "minLength": 1, "maxLength": 1024,
            "description": "Folder of the volume that is mounted, instead of all of it.",
            "x-kubernetes-validations": [relative()]
        });
    }
    schema
}

pub fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "maxItems": 64, "x-kubernetes-list-type": "atomic",
        "items": {"type": "object", "properties": {
            "key": {"type": "string", "maxLength": 317, "description": "Key of the taint. If unset, every key."},
            "operator": {"type": "string", "maxLength": 16, "description": "How the value is compared: Equal (the default) or Exists."},
            "value": {"type": "string", "maxLength": 63, "description": "Value of the taint."},
            "effect": {"type": "string", "enum": ["", "NoSchedule", "PreferNoSchedule", "NoExecute"], "description": "Effect of the taint. If unset, every effect."},
            "tolerationSeconds": {"type": "integer", "format": "int64", "description": "How long a NoExecute taint is tolerated. If unset, forever."}
        }}
    })
}

pub fn service(_: &mut SchemaGenerator) -> Schema {
    let port = |description: &str| json!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535, "description": description});
    json_schema!({
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": SERVICE_TYPES, "description": "From where it can be reached: ClusterIP (the default) from the cluster, NodePort from outside through every node, LoadBalancer at an address of its own."},
            "port": port("Port of the Service. Defaults to 80."),
            "nodePort": port("Port of every node. If unset, Kubernetes chooses one."),
            "annotations": {"type": "object", "maxProperties": 64, "additionalProperties": {"type": "string", "maxLength": 4096}, "description": "Annotations of the Service, such as those that a load balancer reads."}
        },
        "x-kubernetes-validations": [{
            "rule": "!has(self.nodePort) || has(self.type) && self.type != 'ClusterIP'",
            "message": "nodePort needs the type NodePort or LoadBalancer"
        }]
    })
}

pub fn template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

pub fn max_unavailable(_: &mut SchemaGenerator) -> Schema {
    let rule = "type(self) == int ? self > 0 : type(self) == string && self.matches('^([1-9][0-9]?|100)%$')";
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "x-kubernetes-validations": [{"rule": rule, "message": "expected a number from 1, or a percentage from 1% to 100%"}]
    })
}

/// An object with exactly one of these properties.
fn one_of(sources: &Value) -> Schema {
    let names: Vec<&str> = sources.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let is_set: Vec<String> = names.iter().map(|name| format!("has(self.{name})")).collect();
    let rule = format!("[{}].filter(x, x).size() == 1", is_set.join(", "));
    json_schema!({
        "type": "object", "properties": sources,
        "x-kubernetes-validations": [{"rule": rule, "message": format!("expected exactly one of {}", names.join(", "))}]
    })
}

fn claim() -> Value {
    json!({
        "type": "object", "required": ["claimName"], "description": "A PersistentVolumeClaim in this namespace.",
        "properties": {"claimName": name("Name of the claim.")}
    })
}

fn host_path() -> Value {
    let rule = "self.startsWith('/') && !self.split('/').exists(part, part == '..')";
    let path = json!({
        "type": "string", "minLength": 1, "maxLength": 1024,
        "description": "Absolute path of the folder on the node, below one that the administrator allows.",
        "x-kubernetes-validations": [{"rule": rule, "message": "expected an absolute path without '..'"}]
    });
    json!({
        "type": "object", "required": ["path"], "description": "A folder of the node.",
        "properties": {
            "path": path,
            "type": {"type": "string", "enum": ["", "Directory", "DirectoryOrCreate"], "description": "Directory: it must exist. DirectoryOrCreate: it is made if it does not."}
        }
    })
}

fn relative() -> Value {
    let rule = "!self.startsWith('/') && !self.split('/').exists(part, part == '..')";
    json!({"rule": rule, "message": "expected a relative path without '..'"})
}

fn name(description: &str) -> Value {
    text(description, 253)
}

fn text(description: &str, longest: usize) -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": longest, "description": description})
}
