//! What two answers must have in common: the code and reason of a refusal; of an object, what the operator reads of
//! it. Pure.

use serde_json::Value;

/// An object, and whether the request changed it; or code and reason of a refusal.
pub type Answer = Result<(Value, bool), (u16, String)>;

/// What the real one answers otherwise than the simulated one; None: nothing.
pub fn difference(real: &Answer, simulated: &Answer) -> Option<String> {
    match (real, simulated) {
        (Err(real), Err(simulated)) => (real != simulated).then(|| format!("refused with {real:?}, not {simulated:?}")),
        (Err(real), Ok(_)) => Some(format!("refused with {real:?}")),
        (Ok(_), Err(simulated)) => Some(format!("not refused with {simulated:?}")),
        (Ok((real, real_wrote)), Ok((simulated, simulated_wrote))) => {
            if real_wrote != simulated_wrote {
                return Some(format!("written: {real_wrote}, not {simulated_wrote}"));
            }
            for field in ["generation", "labels"] {
                if let Some(path) = missing(&real["metadata"][field], &simulated["metadata"][field], field) {
                    return Some(format!(
                        "{path} is {}, not {}",
                        real["metadata"][field], simulated["metadata"][field]
                    ));
                }
            }
            if owner(real) != owner(simulated) {
                return Some(format!("the controller is {:?}, not {:?}", owner(real), owner(simulated)));
            }
            ["spec", "status"].iter().find_map(|part| {
                // Defaults come on top.
                let path = missing(&real[part], &simulated[part], part)?;
                Some(format!("{path} differs: {} and {}", real[part], simulated[part]))
            })
        }
    }
}

/// Their uids cannot be the same.
fn owner(object: &Value) -> Option<(&str, &str)> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    Some((owner["kind"].as_str()?, owner["name"].as_str()?))
}

/// The first path of `part` that is not so in `whole`.
fn missing(whole: &Value, part: &Value, path: &str) -> Option<String> {
    match (whole, part) {
        (_, Value::Null) => None,
        (Value::Object(whole), Value::Object(part)) => part.iter().find_map(|(name, value)| {
            missing(whole.get(name).unwrap_or(&Value::Null), value, &format!("{path}.{name}"))
        }),
        (Value::Array(whole), Value::Array(part)) if whole.len() == part.len() => whole
            .iter()
            .zip(part)
            .enumerate()
            .find_map(|(index, (whole, part))| missing(whole, part, &format!("{path}[{index}]"))),
        _ => (whole != part).then(|| path.to_owned()),
    }
}
