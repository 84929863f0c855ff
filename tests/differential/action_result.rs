//! What two responses must have in common: code and reason of an error; for an object, the fields that the operator
//! reads and those that it wrote; for lists and watches, everything read. Pure.

use std::fmt;

use serde_json::Value;

use crate::reading;

/// A response; or code and reason of an error.
pub type ActionResult = Result<Told, (u16, String)>;

pub enum Told {
    Object {
        object: Value,
        /// Did the request change it?
        wrote: bool,
    },
    /// Pages of a list or lines of a watch, as they are read.
    Read(Vec<Value>),
}

impl fmt::Debug for Told {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Object { object, wrote } => write!(out, "{}, written: {wrote}", reading::kept(object)),
            Told::Read(values) => values.iter().try_for_each(|value| write!(out, "\n  {value}")),
        }
    }
}

/// The first difference between the real and the simulated response; None: they agree. `built`: what an operator
/// applies to an object of this kind, with every field that it may have.
pub fn difference(real: &ActionResult, simulated: &ActionResult, built: &Value) -> Option<String> {
    match (real, simulated) {
        (Err(real), Err(simulated)) => (real != simulated).then(|| format!("refused with {real:?}, not {simulated:?}")),
        (Err(real), Ok(_)) => Some(format!("refused with {real:?}")),
        (Ok(_), Err(simulated)) => Some(format!("not refused with {simulated:?}")),
        (Ok(Told::Read(real)), Ok(Told::Read(simulated))) => (real != simulated).then(|| "read otherwise".to_owned()),
        (
            Ok(Told::Object { object: real, wrote: real_wrote }),
            Ok(Told::Object { object: simulated, wrote: simulated_wrote }),
        ) => {
            if real_wrote != simulated_wrote {
                return Some(format!("written: {real_wrote}, not {simulated_wrote}"));
            }
            object_difference(real, simulated, built)
        }
        _ => Some("an answer of another kind".to_owned()),
    }
}

fn object_difference(real: &Value, simulated: &Value, built: &Value) -> Option<String> {
    let (kept, simulated_kept) = (reading::kept(real), reading::kept(simulated));
    if kept != simulated_kept {
        return Some(format!("read as\n  {kept}\nnot\n  {simulated_kept}"));
    }
    if let Some(path) = missing(&real["metadata"]["labels"], &simulated["metadata"]["labels"], "labels") {
        return Some(format!("{path} is {}, not {}", real["metadata"]["labels"], simulated["metadata"]["labels"]));
    }
    // The real object has defaults in addition.
    let path = ["spec", "status"].iter().find_map(|part| missing(&real[part], &simulated[part], part));
    // Except in what the operator has written: there no field may be missing or left over.
    let is_ours = || owner(real) == Some("InferenceService");
    let written = |part: &&str| alone(&real[*part], &simulated[*part], &built[*part], part);
    let path = path.or_else(|| ["metadata", "spec"].iter().filter(|_| is_ours()).find_map(written))?;
    Some(format!("{path} differs: {real}\nand {simulated}"))
}

fn owner(object: &Value) -> Option<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)?["kind"].as_str()
}

/// The first path at which `whole` does not contain `part`.
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

/// The first path in `built` at which `real` and `simulated` differ.
fn alone(real: &Value, simulated: &Value, built: &Value, path: &str) -> Option<String> {
    match (real, built) {
        (Value::Null, _) => None,
        (Value::Object(real), Value::Object(built)) => built.iter().find_map(|(name, built)| {
            let real = real.get(name).unwrap_or(&Value::Null);
            alone(real, &simulated[name], built, &format!("{path}.{name}"))
        }),
        (Value::Array(real), Value::Array(built)) if built.first().is_some_and(Value::is_object) => {
            let places = real.iter().enumerate();
            places
                .into_iter()
                .find_map(|(index, real)| alone(real, &simulated[index], &built[0], &format!("{path}[{index}]")))
        }
        _ => (real != simulated).then(|| path.to_owned()),
    }
}
