//! Reading what an operator tells on /metrics: single samples and histograms. Pure.

use serde::{Deserialize, Serialize};

const RECONCILE_TIME: &str = "controller_runtime_reconcile_time_seconds";

/// A page of /metrics, in Prometheus' text format or OpenMetrics'.
pub struct Page<'a>(pub &'a str);

impl Page<'_> {
    /// The sum of all samples of this name whose labels hold `label` ("" for any).
    pub fn sum(&self, name: &str, label: &str) -> Option<f64> {
        let values: Vec<f64> =
            self.samples(name).filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    fn samples<'b>(&'b self, name: &'b str) -> impl Iterator<Item = (&'b str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once('}')?,
                None if rest.starts_with(' ') => ("", rest),
                None => return None,
            };
            Some((labels, value.split_whitespace().next()?.parse().ok()?))
        })
    }

    /// The longest pause of the garbage collector in seconds, where there is one.
    pub fn longest_gc_pause(&self) -> Option<f64> {
        self.sum("go_gc_duration_seconds", "quantile=\"1\"")
    }

    pub fn resident_bytes(&self) -> Option<f64> {
        self.sum("process_resident_memory_bytes", "")
    }

    pub fn cpu_seconds(&self) -> Option<f64> {
        self.sum("process_cpu_seconds_total", "")
    }

    /// InferenceServices that wait for a reconcile.
    pub fn queue_depth(&self) -> Option<f64> {
        self.sum("workqueue_depth", "inferenceservice")
    }

    pub fn reconciles(&self) -> Option<f64> {
        self.sum(&format!("{RECONCILE_TIME}_count"), "inferenceservice")
    }

    pub fn reconcile_time(&self) -> Option<Histogram> {
        let bucket = |(labels, count): (&str, f64)| {
            let bound = labels.split(',').find_map(|label| label.strip_prefix("le=\"")?.strip_suffix('"'))?;
            Some((if bound == "+Inf" { None } else { Some(bound.parse().ok()?) }, count))
        };
        let name = format!("{RECONCILE_TIME}_bucket");
        let mut buckets: Vec<(Option<f64>, f64)> =
            self.samples(&name).filter(|(labels, _)| labels.contains("inferenceservice")).filter_map(bucket).collect();
        buckets.sort_by(|one, other| one.0.unwrap_or(f64::INFINITY).total_cmp(&other.0.unwrap_or(f64::INFINITY)));
        let sum_seconds = self.sum(&format!("{RECONCILE_TIME}_sum"), "inferenceservice")?;
        (!buckets.is_empty()).then_some(Histogram { buckets, sum_seconds })
    }
}

/// Cumulative counts up to each bound in seconds; None is infinity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    pub buckets: Vec<(Option<f64>, f64)>,
    pub sum_seconds: f64,
}

impl Histogram {
    /// What came since `before`, which is of the same process.
    pub fn since(&self, before: &Histogram) -> Histogram {
        let earlier =
            |bound: Option<f64>| before.buckets.iter().find(|bucket| bucket.0 == bound).map_or(0.0, |bucket| bucket.1);
        let buckets = self.buckets.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect();
        Histogram { buckets, sum_seconds: self.sum_seconds - before.sum_seconds }
    }

    pub fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |bucket| bucket.1)
    }

    /// Estimated as Prometheus' histogram_quantile does: evenly within a bucket.
    pub fn percentile_seconds(&self, percent: f64) -> Option<f64> {
        if self.count() <= 0.0 {
            return None;
        }
        let rank = self.count() * percent / 100.0;
        let (mut lower_bound, mut lower_count) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            let Some(bound) = *bound else { return (lower_bound > 0.0).then_some(lower_bound) };
            if *count >= rank && *count > lower_count {
                return Some(lower_bound + (bound - lower_bound) * (rank - lower_count) / (count - lower_count));
            }
            (lower_bound, lower_count) = (bound, *count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP go_gc_duration_seconds A summary.\n\
        go_gc_duration_seconds{quantile=\"0.75\"} 0.0001\n\
        go_gc_duration_seconds{quantile=\"1\"} 0.0055\n\
        go_gc_duration_seconds_count 12\n\
        process_resident_memory_bytes 2.5e+06\n\
        workqueue_depth{controller=\"inferenceservice\",name=\"inferenceservice\",priority=\"0\"} 3\n\
        workqueue_depth{controller=\"inferenceservice\",name=\"inferenceservice\",priority=\"-100\"} 4\n\
        controller_runtime_reconcile_time_seconds_bucket{controller=\"inferenceservice\",le=\"0.01\"} 90\n\
        controller_runtime_reconcile_time_seconds_bucket{controller=\"inferenceservice\",le=\"+Inf\"} 100\n\
        controller_runtime_reconcile_time_seconds_bucket{controller=\"inferenceservice\",le=\"0.1\"} 100\n\
        controller_runtime_reconcile_time_seconds_sum{controller=\"inferenceservice\"} 1.5\n\
        controller_runtime_reconcile_time_seconds_count{controller=\"inferenceservice\"} 100\n";

    #[test]
    fn samples_are_found_by_name_and_label() {
        let page = Page(PAGE);
        assert_eq!(page.longest_gc_pause(), Some(0.0055));
        assert_eq!(page.resident_bytes(), Some(2.5e6));
        assert_eq!(page.queue_depth(), Some(7.0));
        assert_eq!(page.reconciles(), Some(100.0));
        assert_eq!(page.sum("process_resident", ""), None);
    }

    #[test]
    fn a_histogram_gives_percentiles() {
        let histogram = Page(PAGE).reconcile_time().expect("a histogram");
        assert_eq!(histogram.buckets, [(Some(0.01), 90.0), (Some(0.1), 100.0), (None, 100.0)]);
        assert_eq!(histogram.percentile_seconds(45.0), Some(0.005));
        assert!((histogram.percentile_seconds(95.0).expect("within") - 0.055).abs() < 1e-9);
        let nothing = histogram.since(&histogram);
        assert_eq!((nothing.count(), nothing.percentile_seconds(50.0)), (0.0, None));
    }
}
