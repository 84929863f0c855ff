//! Times as Kubernetes and people read them: RFC 3339 in UTC. Used by whatever writes one down; must
//! never know of time zones or leap seconds, which is what keeps it so small.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A time since 1970. `{}` writes whole seconds, `{:.6}` microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc(pub Duration);

impl Utc {
    /// What the machine's clock says.
    pub fn now() -> Utc {
        Utc(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if out.precision().is_some() {
            write!(out, ".{:06}", self.0.subsec_micros())?;
        }
        out.write_str("Z")
    }
}

/// Year, month and day of a day since 1970-01-01. Counted in years that begin in March, so that the
/// leap day comes last: Howard Hinnant's `civil_from_days`, for days that are not negative.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468; // since 0000-03-01
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn seconds_or_microseconds() {
        let time = Utc(Duration::from_micros(1_795_528_093_013_280));
        assert_eq!(time.to_string(), "2026-11-24T13:48:13Z");
        assert_eq!(format!("{time:.6}"), "2026-11-24T13:48:13.013280Z");
        assert_eq!(Utc(Duration::ZERO).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn every_day_until_2300_is_the_one_that_jiff_names() {
        for day in 0..120_530 {
            let seconds = day * 86_400 + day % 86_400;
            let expected = Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
            assert_eq!(Utc(Duration::from_secs(seconds)).to_string(), expected.to_string(), "day {day}");
        }
    }
}
