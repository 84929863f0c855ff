//! A Kubernetes uid in 16 bytes, instead of 36 characters on the heap.
//! Used wherever an object's identity is stored or compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Uid(Uuid);

/// The text is not a UUID; the API server gives one to every object that it creates.
#[derive(Debug, thiserror::Error)]
#[error("uid {0:?} is not a UUID")]
pub struct NotAUid(String);

impl Uid {
    /// Folds the 16 bytes into 4; two random uids are equal once in 4,000,000,000 times.
    pub fn folded(self) -> u32 {
        let (high, low) = self.0.as_u64_pair();
        let both = high ^ low;
        #[allow(clippy::cast_possible_truncation)] // truncation is the purpose
        let folded = (both ^ both >> 32) as u32;
        folded
    }
}

impl FromStr for Uid {
    type Err = NotAUid;

    /// Accepts lower case with hyphens alone: any other form would be printed as a different text.
    fn from_str(text: &str) -> Result<Self, NotAUid> {
        let has_form = text.len() == 36 && !text.contains(|letter: char| letter.is_ascii_uppercase());
        let uuid = Some(text).filter(|_| has_form).and_then(|text| Uuid::try_parse(text).ok());
        uuid.map(Uid).ok_or_else(|| NotAUid(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_printed_as_it_was_read() {
        for text in ["00000000-0000-0000-0000-000000000000", "0b1a2f3c-ffee-4abc-8def-0123456789ab"] {
            assert_eq!(text.parse::<Uid>().map(|uid| uid.to_string()).ok().as_deref(), Some(text));
        }
    }

    /// Each record has one, whose alignment must not add padding.
    #[test]
    fn a_uid_is_16_bytes_of_any_alignment() {
        assert_eq!((size_of::<Uid>(), align_of::<Uid>()), (16, 1));
    }

    /// Statuses store it: another number would cause a read of each child after an upgrade.
    #[test]
    fn a_uid_is_folded_as_ever() {
        let uid: Uid = "0b1a2f3c-ffee-4abc-8def-0123456789ab".parse().expect("a uid");
        assert_eq!(uid.folded(), 0x3c7c_ed08);
    }

    #[test]
    fn what_is_not_a_uid_is_refused() {
        for text in [
            "",
            "abc",
            "0B1A2F3C-FFEE-4ABC-8DEF-0123456789AB",
            "0b1a2f3cffee4abc8def0123456789ab",
            "{0b1a2f3c-ffee-4abc-8def-0123456789ab}",
            "urn:uuid:0b1a2f3c-ffee-4abc-8def-0123456789ab",
            "0b1a2f3cf-fee-4abc-8def-0123456789ab",
            "0b1a2f3c-ffee-4abc-8def-0123456789a+",
            "+b1a2f3c-ffee-4abc-8def-0123456789ab",
            " b1a2f3c-ffee-4abc-8def-0123456789ab",
            "0b1a2f3c0ffee-4abc-8def-0123456789ab",
            "é000000-0000-0000-0000-000000000000",
        ] {
            assert!(text.parse::<Uid>().is_err(), "{text}");
        }
    }
}
