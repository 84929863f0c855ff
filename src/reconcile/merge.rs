//! Lays one fragment of a pod template over another, as Kubernetes does it: the layers of a pod are put together by
//! this alone. Pure; knows no field but the lists whose items have keys.

use serde_json::Value;

/// Puts `overlay` over `base`: objects are merged by key, lists of things that have a name by that, and everything
/// else is replaced. Null removes what the layers below say, see `drop_nulls`. Unlike Kubernetes, which replaces
/// `nodeSelector` as a whole, what the layers say there is added up.
pub fn merge(base: &mut Value, overlay: Value) {
    match (base, overlay) {
        (Value::Object(base), Value::Object(overlay)) => {
            for (field, value) in overlay {
                match (base.get_mut(&field), value) {
                    (Some(Value::Array(below)), Value::Array(above)) => merge_list(&field, below, above),
                    (Some(below), value) => merge(below, value),
                    (None, value) => {
                        base.insert(field, value);
                    }
                }
            }
        }
        (base, overlay) => *base = overlay,
    }
}

/// Removes the fields that are null, once all layers are merged: a layer may remove what a later one sets again.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn merge_list(field: &str, below: &mut Vec<Value>, above: Vec<Value>) {
    if field == "tolerations" {
        let new = above.into_iter().filter(|toleration| !below.contains(toleration)).collect::<Vec<_>>();
        return below.extend(new);
    }
    let keys = keys(field);
    if keys.is_empty() {
        *below = above;
        return;
    }
    // An item of the layers below takes one item of this layer. Another one of the same name is kept beside it, for
    // the API server to refuse.
    let mut free: Vec<bool> = below.iter().map(|_| true).collect();
    for item in above {
        let is_same = |place: &usize| free[*place] && keys.iter().all(|&key| below[*place].get(key) == item.get(key));
        match (0..free.len()).find(is_same) {
            Some(place) => {
                free[place] = false;
                merge(&mut below[place], item);
            }
            None => below.push(item),
        }
    }
}

/// The fields that tell the items of this list apart: `patchMergeKey` and `x-kubernetes-list-map-keys` in Kubernetes'
/// API (`api/openapi-spec/swagger.json`). None: the list is replaced as a whole.
fn keys(list: &str) -> &'static [&'static str] {
    match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "schedulingGates"
        | "claims" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "ports" => &["containerPort"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests;
