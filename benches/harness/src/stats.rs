//! Medians, percentiles and spreads: pure functions over samples, called by whatever makes a table.

use serde::{Deserialize, Serialize};

/// A spread of more than this part of the median is told to the reader.
pub const NOTABLE_SPREAD: f64 = 0.10;

/// What is said of some samples of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub median: f64,
    pub least: f64,
    pub most: f64,
    pub samples: usize,
}

impl Summary {
    /// None for no samples.
    pub fn of(samples: &[f64]) -> Option<Summary> {
        let sorted = sorted(samples);
        let (&least, &most) = (sorted.first()?, sorted.last()?);
        Some(Summary { median: percentile_of_sorted(&sorted, 50.0), least, most, samples: sorted.len() })
    }

    /// (most - least) / median; 0 where the median is 0 and nothing differs from it.
    pub fn relative_spread(&self) -> f64 {
        let spread = self.most - self.least;
        if spread <= 0.0 {
            0.0
        } else if self.median.abs() < f64::EPSILON {
            f64::INFINITY
        } else {
            spread / self.median.abs()
        }
    }
}

/// The percentile by linear interpolation between the closest ranks; None for no samples.
pub fn percentile(samples: &[f64], percent: f64) -> Option<f64> {
    let sorted = sorted(samples);
    (!sorted.is_empty()).then(|| percentile_of_sorted(&sorted, percent))
}

/// (value, part of all samples that are not above it), rising: for a plot.
pub fn cumulative(samples: &[f64]) -> Vec<(f64, f64)> {
    let sorted = sorted(samples);
    let count = sorted.len() as f64;
    sorted.into_iter().enumerate().map(|(position, value)| (value, (position + 1) as f64 / count)).collect()
}

/// How much y grows where x grows by one, on the line through two points of different x.
pub fn slope_between(from: (f64, f64), to: (f64, f64)) -> f64 {
    (to.1 - from.1) / (to.0 - from.0)
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn percentile_of_sorted(sorted: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0).clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    below + (above - below) * rank.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_and_the_spread_is_relative_to_it() {
        let summary = Summary::of(&[12.0, 10.0, 11.0]).expect("samples");
        assert_eq!((summary.median, summary.least, summary.most, summary.samples), (11.0, 10.0, 12.0, 3));
        assert!((summary.relative_spread() - 2.0 / 11.0).abs() < 1e-9);
        assert_eq!(Summary::of(&[1.0, 2.0]).map(|summary| summary.median), Some(1.5));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn nothing_that_differs_from_nothing_is_an_infinite_spread() {
        assert_eq!(Summary::of(&[0.0, 0.0]).map(|summary| summary.relative_spread()), Some(0.0));
        assert_eq!(Summary::of(&[0.0, 0.0, 1.0]).map(|summary| summary.relative_spread()), Some(f64::INFINITY));
    }

    #[test]
    fn percentiles_lie_between_the_samples() {
        let samples: Vec<f64> = (1..=101).map(f64::from).collect();
        assert_eq!(percentile(&samples, 50.0), Some(51.0));
        assert_eq!(percentile(&samples, 99.0), Some(100.0));
        assert_eq!(percentile(&samples, 100.0), Some(101.0));
        assert_eq!(percentile(&[f64::NAN], 50.0), None);
    }

    #[test]
    fn a_cumulative_distribution_ends_at_one() {
        assert_eq!(cumulative(&[3.0, 1.0]), [(1.0, 0.5), (3.0, 1.0)]);
    }

    #[test]
    fn a_slope_is_bytes_a_record() {
        assert!((slope_between((5_000.0, 2_700_000.0), (50_000.0, 9_000_000.0)) - 140.0).abs() < 1e-9);
    }
}
