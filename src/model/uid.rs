//! A Kubernetes uid as the 16 bytes that it is, not as 36 characters on the heap.
//! Used wherever an object's identity is kept or compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Uid {
    // Not a u128, which would align every record to 16 bytes.
    high: u64,
    low: u64,
}

/// The text is not a UUID, which the API server gives to every object that it creates.
#[derive(Debug, thiserror::Error)]
#[error("uid {0:?} is not a UUID")]
pub struct NotAUid(String);

impl Uid {
    /// 4 of its 16 bytes' worth; of 4,000,000,000 random ones two are alike.
    pub fn folded(self) -> u32 {
        let both = self.high ^ self.low;
        #[allow(clippy::cast_possible_truncation)] // that is what it is for
        let folded = (both ^ both >> 32) as u32;
        folded
    }
}

impl FromStr for Uid {
    type Err = NotAUid;

    fn from_str(text: &str) -> Result<Self, NotAUid> {
        let refused = || NotAUid(text.chars().take(64).collect());
        if text.len() != 36 {
            return Err(refused());
        }
        let (mut high, mut low) = (0, 0);
        for (position, byte) in text.bytes().enumerate() {
            if matches!(position, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return Err(refused());
                }
                continue;
            }
            // Upper case is refused: printed again it would be another text.
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return Err(refused()),
            };
            high = high << 4 | low >> 60;
            low = low << 4 | u64::from(digit);
        }
        Ok(Uid { high, low })
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:016x}{:016x}", self.high, self.low);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
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

    #[test]
    fn what_is_not_a_uid_is_refused() {
        for text in [
            "",
            "abc",
            "0B1A2F3C-FFEE-4ABC-8DEF-0123456789AB",
            "0b1a2f3c0ffee-4abc-8def-0123456789ab",
            "é000000-0000-0000-0000-000000000000",
        ] {
            assert!(text.parse::<Uid>().is_err(), "{text}");
        }
    }
}
