//! The labels of both children, which the operator sets, selects by and recognizes its own children by. Used by the
//! code that builds or reads a child; pure.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};

use crate::kubernetes::prune::{Fields, Keep};

pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
pub const MANAGED_BY: &str = "inference-operator";

/// The pod label that the Deployment, the Service and the scale subresource select by. It is our own, so that it never
/// selects the pods of others who use the recommended labels too.
pub const SELECTOR_LABEL: &str = "ai.example.com/inferenceservice";

const APP_NAME: &str = "inference-server";
const COMPONENT: &str = "model-server";

/// The labels that are kept of any object.
pub const FIELDS: Fields = &[
    ("app.kubernetes.io/name", Keep::Whole),
    ("app.kubernetes.io/instance", Keep::Whole),
    ("app.kubernetes.io/component", Keep::Whole),
    ("app.kubernetes.io/managed-by", Keep::Whole),
    (SELECTOR_LABEL, Keep::Whole),
];

/// The labels of the children of the InferenceService with this name.
pub fn labels(name: &str) -> Value {
    json!({
        "app.kubernetes.io/name": APP_NAME,
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": COMPONENT,
        MANAGED_BY_LABEL: MANAGED_BY,
        SELECTOR_LABEL: name
    })
}

/// What an object's labels say about it, given its name: a child has the name of its InferenceService.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// It has the label that the watches select by.
    pub managed: bool,
    /// It claims to belong to the InferenceService of its name: without a controller it may be adopted.
    pub ours: bool,
    /// Each label has the value that we set.
    pub complete: bool,
}

/// The labels as the API server sends them, in the order of `FIELDS`; an empty text is a missing label.
#[derive(Default)]
pub struct WireLabels<'a>([Cow<'a, str>; FIELDS.len()]);

/// By hand: 3 kB less code than serde's derive.
impl<'de: 'a, 'a> Deserialize<'de> for WireLabels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = WireLabels<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("labels")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut labels = WireLabels::default();
        while let Some((Text(name), Text(value))) = map.next_entry::<Text, Text>()? {
            if let Some(place) = FIELDS.iter().position(|(known, _)| *known == name) {
                labels.0[place] = value;
            }
        }
        Ok(labels)
    }
}

/// A text, borrowed if possible.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl WireLabels<'_> {
    pub fn of(&self, name: &str) -> Labels {
        let [app_name, instance, component, managed_by, selector] = &self.0;
        let managed = managed_by == MANAGED_BY;
        let ours = managed && selector == name;
        let complete = ours && instance == name && app_name == APP_NAME && component == COMPONENT;
        Labels { managed, ours, complete }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &Value) -> Labels {
        let text = labels.to_string();
        serde_json::from_str::<WireLabels>(&text).expect("labels").of("demo")
    }

    #[test]
    fn each_label_that_is_set_is_missed_when_it_is_gone_or_another() {
        let all = labels("demo");
        assert_eq!(read(&all), Labels { managed: true, ours: true, complete: true });
        for (name, _) in all.as_object().expect("labels") {
            let mut other = all.clone();
            other[name] = json!("other");
            let mut gone = all.clone();
            gone.as_object_mut().expect("labels").remove(name);
            let managed = name != "app.kubernetes.io/managed-by";
            let ours = managed && name != SELECTOR_LABEL;
            assert_eq!(read(&other), Labels { managed, ours, complete: false }, "{name}");
            assert_eq!(read(&gone), Labels { managed, ours, complete: false }, "{name}");
        }
    }

    #[test]
    fn each_label_that_is_set_is_let_through_by_the_filter() {
        let kept: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        let set = labels("demo");
        assert!(set.as_object().expect("labels").keys().all(|name| kept.contains(&name.as_str())));
        assert_eq!(kept.len(), set.as_object().expect("labels").len());
    }
}
