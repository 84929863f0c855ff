//! Which process of this operator has brought children, and which of two is the newer one. Written to the Deployment
//! when it is applied, and from there to each status.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::time::Utc;

/// The annotation of the Deployment.
pub const ANNOTATION: &str = "ai.example.com/instance";

/// A longer one was not written by this operator.
const LONGEST_RELEASE: usize = 64;

/// One process of this operator. As text: the time of its start, and its release: `2026-11-28T15:00:00.123456Z 0.1.0`.
/// The greater one is the newer one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    /// Microseconds since 1970: after a power cut, two start in the same second.
    pub started: u64,
    pub release: Cow<'static, str>,
}

impl Instance {
    /// A process of this release.
    pub fn of_this_release(started: u64) -> Instance {
        Instance { started, release: Cow::Borrowed(env!("CARGO_PKG_VERSION")) }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{:.6} {}", Utc(Duration::from_micros(self.started)), self.release)
    }
}

impl FromStr for Instance {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (time, release) = text.split_once(' ').ok_or(())?;
        let is_release = release.len() <= LONGEST_RELEASE && release.bytes().all(|byte| byte.is_ascii_graphic());
        let time = Utc::parse_microseconds(time).filter(|_| is_release && !release.is_empty()).ok_or(())?;
        let started = u64::try_from(time.0.as_micros()).map_err(|_| ())?;
        Ok(Instance { started, release: Cow::Owned(release.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(text: &str) -> Instance {
        text.parse().expect("an instance")
    }

    #[test]
    fn an_instance_is_read_back_as_it_is_written() {
        for text in ["2026-11-28T15:00:00.123456Z 0.1.0", "1970-01-01T00:00:00.000000Z 1.0.0-rc.1+build"] {
            assert_eq!(instance(text).to_string(), text);
        }
        assert_eq!(instance("1970-01-01T00:00:01.000002Z 1").started, 1_000_002);
        assert_eq!(instance(&Instance::of_this_release(7).to_string()), Instance::of_this_release(7));
        for other in [
            String::new(),
            "0.1.0".to_owned(),
            "2026-11-28T15:00:00Z 0.1.0".to_owned(),
            "2026-11-28T15:00:00.123456Z".to_owned(),
            "2026-11-28T15:00:00.123456Z ".to_owned(),
            "2026-11-28T15:00:00.123456Z 0.1.0 ".to_owned(),
            "2026-11-28T15:00:00.123456Z 0.1\n".to_owned(),
            "2026-11-28T15:00:00.123456Z \u{e9}".to_owned(),
            format!("2026-11-28T15:00:00.123456Z {}", "1".repeat(65)),
        ] {
            assert_eq!(other.parse::<Instance>(), Err(()), "{other:?}");
        }
    }

    #[test]
    fn the_one_that_started_later_is_newer_and_of_two_at_once_that_of_the_greater_release() {
        let sorted = [
            "2026-11-28T15:00:00.000001Z 0.2.0",
            "2026-11-28T15:00:00.000002Z 0.1.0",
            "2026-11-28T15:00:00.000002Z 0.2.0",
            "2027-01-01T00:00:00.000000Z 0.1.0",
        ];
        assert!(sorted.map(instance).is_sorted_by(|before, after| before < after));
    }
}
