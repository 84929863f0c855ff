//! Times as Kubernetes and people read them: RFC 3339 in UTC. Used by all code that writes a time; must never know of
//! time zones or leap seconds, which keeps it small.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A time since 1970. `{}` writes whole seconds, `{:.6}` microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc(pub Duration);

/// The same in whole seconds and 4 bytes, which are enough until 2106: the form kept in memory. The default is an
/// unknown time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u32);

impl Timestamp {
    pub fn now() -> Timestamp {
        Timestamp::from(Utc::now())
    }

    pub fn is_known(self) -> bool {
        self != Timestamp::default()
    }

    /// Zero if `earlier` is in the future.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_secs(u64::from(self.0.saturating_sub(earlier.0)))
    }
}

impl From<Utc> for Timestamp {
    fn from(time: Utc) -> Timestamp {
        Timestamp(u32::try_from(time.0.as_secs()).unwrap_or(u32::MAX))
    }
}

impl From<Timestamp> for Utc {
    fn from(time: Timestamp) -> Utc {
        Utc(Duration::from_secs(u64::from(time.0)))
    }
}

impl Utc {
    /// The time of the system clock.
    pub fn now() -> Utc {
        Utc(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }
}

impl Utc {
    /// Parses whole seconds as `{}` writes them; None for any other text, even another form of a time.
    pub fn parse(text: &str) -> Option<Utc> {
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        let time = Utc(Duration::from_secs(seconds));
        // Accepted only if it formats to the same text.
        (time.to_string() == text).then_some(time)
    }

    /// The same for microseconds, as `{:.6}` writes them.
    pub fn parse_microseconds(text: &str) -> Option<Utc> {
        let (seconds, rest) = text.split_once('.')?;
        let micros = rest.strip_suffix('Z')?.parse().ok()?;
        let time = Utc(Utc::parse(&format!("{seconds}Z"))?.0 + Duration::from_micros(micros));
        (format!("{time:.6}") == text).then_some(time)
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

/// Days since 1970-01-01: Howard Hinnant's `days_from_civil`, for years that are not negative.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day = (153 * month + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day - 719_468
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
        assert_eq!(Utc::parse_microseconds("2026-11-24T13:48:13.013280Z"), Some(time));
        assert_eq!(Utc(Duration::ZERO).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn every_day_until_2300_is_the_one_that_jiff_names() {
        for day in 0..120_530 {
            let seconds = day * 86_400 + day % 86_400;
            let expected = Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
            let time = Utc(Duration::from_secs(seconds));
            assert_eq!(time.to_string(), expected.to_string(), "day {day}");
            assert_eq!(Utc::parse(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn what_is_not_written_like_this_is_no_time() {
        for text in [
            "",
            "2026-11-24T13:48:13",
            "2026-11-24T13:48:13.5Z",
            "2026-11-24T13:48:13+01:00",
            "2026-02-30T13:48:13Z",
            "2026-00-24T13:48:13Z",
            "1969-11-24T13:48:13Z",
            "2026-11-24T25:48:13Z",
            "+026-11-24T13:48:13Z",
            "2026-11-2\u{e9}T13:48:13Z",
        ] {
            assert_eq!(Utc::parse(text), None, "{text}");
        }
        for text in ["", ".", "2026-11-24T13:48:13Z", "2026-11-24T13:48:13.5Z", "2026-11-24T13:48:13.1000000Z"] {
            assert_eq!(Utc::parse_microseconds(text), None, "{text}");
        }
    }
}
