//! How many InferenceServices a change by the administrator may take down at a time.

use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxUnavailable {
    Number(u32),
    /// Of all InferenceServices.
    Percent(u8),
}

impl MaxUnavailable {
    /// At least one, because otherwise nothing would ever be brought up to date.
    pub fn of(self, all: usize) -> usize {
        let number = match self {
            MaxUnavailable::Number(number) => usize::try_from(number).unwrap_or(usize::MAX),
            MaxUnavailable::Percent(percent) => all.saturating_mul(percent.into()) / 100,
        };
        number.max(1)
    }
}

impl FromStr for MaxUnavailable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a number from 1, or a percentage from 1% to 100%".to_owned();
        let number = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(MaxUnavailable::Percent),
            None => text.parse().ok().map(MaxUnavailable::Number),
        };
        let is_none = matches!(number, Some(MaxUnavailable::Number(0) | MaxUnavailable::Percent(0)));
        number.filter(|_| !is_none).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_all_is_rounded_down_and_at_least_one() {
        let of = |text: &str, all| text.parse::<MaxUnavailable>().expect("a share").of(all);
        assert_eq!([of("1", 0), of("3", 5000), of("10%", 5000), of("10%", 19), of("10%", 5)], [1, 3, 500, 1, 1]);
        for wrong in ["", "0", "0%", "101%", "-1", "1.5", "%", "all"] {
            assert!(wrong.parse::<MaxUnavailable>().is_err(), "{wrong}");
        }
    }
}
