//! A label or field selector, encoded for the query of a list or watch. Built by the code that opens a watch.

use std::fmt::Write;

/// `&labelSelector=...` or `&fieldSelector=...`, encoded; empty: all objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(String);

impl Selector {
    pub fn everything() -> Selector {
        Selector::default()
    }

    /// Objects with this label and value.
    pub fn label(key: &str, value: &str) -> Selector {
        Selector::of("labelSelector", key.bytes().chain(*b"=").chain(value.bytes()))
    }

    /// Objects that this label selector selects, as kubectl's `-l` takes it.
    pub fn labels(selector: &str) -> Selector {
        Selector::of("labelSelector", selector.bytes())
    }

    /// The object of this name.
    pub fn name(name: &str) -> Selector {
        Selector::of("fieldSelector", b"metadata.name=".iter().copied().chain(name.bytes()))
    }

    fn of(kind: &str, selector: impl Iterator<Item = u8>) -> Selector {
        let mut query = format!("&{kind}=");
        for byte in selector {
            match byte {
                // RFC 3986, section 2.3: unreserved characters.
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => query.push(char::from(byte)),
                // Writing to a String cannot fail.
                _ => drop(write!(query, "%{byte:02X}")),
            }
        }
        Selector(query)
    }

    pub fn as_query(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_encoded_for_a_query() {
        assert_eq!(Selector::everything().as_query(), "");
        let selector = Selector::label("app.kubernetes.io/managed-by", "inference-operator");
        assert_eq!(selector.as_query(), "&labelSelector=app.kubernetes.io%2Fmanaged-by%3Dinference-operator");
        assert_eq!(Selector::name("default").as_query(), "&fieldSelector=metadata.name%3Ddefault");
        assert_eq!(Selector::labels("a in (b,c)").as_query(), "&labelSelector=a%20in%20%28b%2Cc%29");
        assert_eq!(Selector::label("a b&c", "é").as_query(), "&labelSelector=a%20b%26c%3D%C3%A9");
    }
}
