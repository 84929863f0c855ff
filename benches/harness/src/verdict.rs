//! What a soak came to: a line for people and logs, and whether it is a failure. Called when a run ends and when
//! its table is made again.

use crate::figures::{self, Unit};
use crate::results::Run;
use crate::settings::OURS;

/// Of memory, in percent.
const MOST_GROWTH: f64 = 3.0;

/// None: that was no soak.
pub fn line(run: &Run) -> Option<String> {
    let count = |name: &str| figure(run, name).map(figures::whole);
    let bytes = |name: &str| figure(run, name).map(|value| figures::format(Unit::Bytes, value));
    Some(format!(
        "soak of {} min: {} specs changed, {} InferenceServices made again; at rest {} and in the end {} ({:+.1}%), \
         files {} and {}, sockets {} and {}",
        run.plan.soak_minutes,
        count("changes")?,
        count("recreations")?,
        bytes("first_rss_bytes")?,
        bytes("last_rss_bytes")?,
        figure(run, "growth_percent")?,
        count("first_files")?,
        count("last_files")?,
        count("first_sockets")?,
        count("last_sockets")?,
    ))
}

/// Memory by more than a little, or what is open at all.
pub fn has_grown(run: &Run) -> bool {
    let more = |first: &str, last: &str| figure(run, last) > figure(run, first);
    figure(run, "growth_percent").is_some_and(|percent| percent > MOST_GROWTH)
        || more("first_files", "last_files")
        || more("first_sockets", "last_sockets")
}

fn figure(run: &Run, name: &str) -> Option<f64> {
    run.summary(OURS, &format!("soak.{name}")).map(|summary| summary.median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Round;

    /// In the end so much more memory and so many more files.
    fn soak(growth_percent: f64, more_files: f64) -> Run {
        let mut round = Round { operator: OURS.into(), ..Round::default() };
        for (name, value) in [
            ("changes", 36_000.0),
            ("recreations", 3_600.0),
            ("first_rss_bytes", 3e6),
            ("last_rss_bytes", 3e6 * (1.0 + growth_percent / 100.0)),
            ("growth_percent", growth_percent),
            ("first_files", 15.0),
            ("last_files", 15.0 + more_files),
            ("first_sockets", 6.0),
            ("last_sockets", 6.0),
        ] {
            round.set(&format!("soak.{name}"), value);
        }
        let mut run = Run { rounds: vec![round], ..Run::default() };
        run.plan.soak_minutes = 30;
        run
    }

    #[test]
    fn a_soak_is_told_in_one_line() {
        let expected = "soak of 30 min: 36,000 specs changed, 3,600 InferenceServices made again; at rest 3 MB and in the \
                        end 3.03 MB (+1.0%), files 15 and 15, sockets 6 and 6";
        assert_eq!(line(&soak(1.0, 0.0)).as_deref(), Some(expected));
        assert_eq!(line(&Run::default()), None);
    }

    #[test]
    fn growth_of_memory_or_of_what_is_open_is_a_failure() {
        assert!(!has_grown(&soak(2.9, 0.0)) && !has_grown(&soak(-5.0, 0.0)));
        assert!(has_grown(&soak(3.1, 0.0)) && has_grown(&soak(0.0, 1.0)));
    }
}
