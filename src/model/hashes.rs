//! Two hashes that tell, without keeping or comparing objects, whether an InferenceService would get other children than
//! it has. Written to the Deployment when it is applied, and from there to each status.

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use fnv::FnvHasher;
use serde::Serialize;

/// The annotation of the Deployment.
pub const ANNOTATION: &str = "ai.example.com/hashes";

/// As text: two numbers of 16 hexadecimal digits, with a '-' between, and how they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// Over what the children are built from: spec, settings and release. While it stays the same, so do they.
    pub inputs: u64,
    /// Over the children, or over the reason why there are none.
    pub children: u64,
    /// They were built for other settings or another release, and not for another spec. In a status: and were not Ready
    /// since.
    pub by_rollout: bool,
}

const BY_ROLLOUT: &str = "-rollout";

impl fmt::Display for Hashes {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let how = if self.by_rollout { BY_ROLLOUT } else { "" };
        write!(formatter, "{:016x}-{:016x}{how}", self.inputs, self.children)
    }
}

impl FromStr for Hashes {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| u64::from_str_radix(text, 16).map_err(|_| ());
        let numbers = text.strip_suffix(BY_ROLLOUT);
        let (inputs, children) = numbers.unwrap_or(text).split_once('-').ok_or(())?;
        Ok(Hashes { inputs: number(inputs)?, children: number(children)?, by_rollout: numbers.is_some() })
    }
}

/// How it stands with an InferenceService of the first list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has the children that it should have.
    UpToDate,
    /// The same, and it was a rollout that brought them: of these settings, or of others and it was not Ready since.
    RolledOut,
    /// It would get other children. `replicas`: as its spec has them.
    Outdated { replicas: u32 },
    /// The same, and a rollout had brought those that it has, and it was not Ready since. At least one replica.
    TakenDown { replicas: u32 },
}

/// FNV-1a: the same on every machine and in every release, which the standard library's hashers do not promise.
#[derive(Default)]
pub struct Hash(FnvHasher);

impl Hash {
    /// Adds a text, so that it is told from the next one.
    pub fn text(mut self, text: &str) -> Hash {
        self.0.write(text.as_bytes());
        self.0.write(&[0xff]);
        self
    }

    /// Adds a value as its JSON, which is not kept.
    pub fn json(mut self, value: &impl Serialize) -> Hash {
        // Writing to a hasher cannot fail, and no value here is without JSON.
        let _ = serde_json::to_writer(Writer(&mut self.0), value);
        self.text("")
    }

    pub fn finish(&self) -> u64 {
        self.0.finish()
    }
}

struct Writer<'a>(&'a mut FnvHasher);

impl std::io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hashes_are_read_back_as_they_are_written() {
        for (by_rollout, end) in [(false, ""), (true, "-rollout")] {
            let hashes = Hashes { inputs: 7, children: u64::MAX, by_rollout };
            assert_eq!(hashes.to_string(), format!("0000000000000007-ffffffffffffffff{end}"));
            assert_eq!(hashes.to_string().parse(), Ok(hashes));
        }
        for other in ["", "-", "7", "7-", "x-7", "7-7-7", "7-7-rollout-rollout"] {
            assert_eq!(other.parse::<Hashes>(), Err(()), "{other}");
        }
    }

    /// Another hash in a release would make it write every InferenceService once.
    #[test]
    fn a_hash_is_the_same_in_every_release() {
        let of = |hash: Hash| hash.finish();
        assert_eq!(of(Hash::default().text("a").json(&json!({"b": [1, "c"]}))), 0x6761_dc63_dff4_2124);
        assert_ne!(of(Hash::default().text("ab").text("c")), of(Hash::default().text("a").text("bc")));
    }
}
