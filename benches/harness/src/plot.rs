//! The plots of a run as SVG: memory over time, memory against the number of InferenceServices, and
//! the distribution of latencies. Each is None where the run has nothing to show in it.

mod latency;
mod memory;
mod style;

use anyhow::Result;

use crate::results::Run;

/// In the order of `report::PLOTS`.
pub fn all(run: &Run) -> Result<[Option<String>; 3]> {
    Ok([memory::over_time(run)?, memory::by_count(run)?, latency::distribution(run)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Round, ScalePoint, Span};
    use crate::sampler::Sample;
    use crate::settings::OPERATORS;

    /// As of a run of four operators at 5,000; with `scale`, at several counts.
    fn run(scale: bool) -> Run {
        let mut run = Run::default();
        run.plan.crs = 5_000;
        run.plan.operators = OPERATORS.map(str::to_owned).to_vec();
        for (operator, (least, most)) in OPERATORS.iter().zip([(2.3, 4.1), (31.0, 150.0), (24.0, 62.0), (9.8, 361.0)]) {
            let mut round = Round { operator: (*operator).to_owned(), number: 1, ..Round::default() };
            round.memory = (0..300_u32)
                .map(|second| {
                    let part = f64::from(second) / 300.0;
                    let rss_bytes = ((least + (most - least) * part) * 1e6) as u64;
                    Sample { seconds: f64::from(second), rss_bytes, anonymous_bytes: None }
                })
                .collect();
            round.phases = vec![Span { name: "create".into(), from_seconds: 10.0, to_seconds: 200.0 }];
            let latency = |position: u32| most / 10.0 + f64::from(position) / 50.0;
            for kind in ["one", "burst"] {
                round.latencies.insert(kind.into(), (0..500).map(latency).collect());
            }
            round.set("start.rss_bytes", least * 1e6);
            round.set("settled.rss_bytes", most * 1e6);
            for crs in if scale { &[0, 1_000, 5_000, 20_000][..] } else { &[] } {
                let bytes = (least + (most - least) * *crs as f64 / 5_000.0) * 1e6;
                round.scale.push(ScalePoint { crs: *crs, restarted_rss_bytes: bytes as u64, ..ScalePoint::default() });
            }
            run.rounds.push(round);
        }
        if scale {
            run.plan.scale_points = vec![0, 1_000, 5_000, 20_000];
        }
        run
    }

    #[test]
    fn every_axis_says_what_it_is_in() {
        let [over_time, by_count, latency] =
            all(&run(false)).expect("plots").map(|svg| svg.expect("something to show"));
        for label in ["2 MB", "500 MB", "minutes since the operator was started"] {
            assert!(over_time.contains(label), "{label}");
        }
        for label in ["2 MB", "500 MB", "5,000", "361 MB"] {
            assert!(by_count.contains(label), "{label}");
        }
        for label in ["10 ms", "100 %", "One at a time", "In a burst"] {
            assert!(latency.contains(label), "{label}");
        }
        let by_scale = all(&run(true)).expect("plots")[1].clone().expect("something to show");
        assert!(by_scale.contains("20,000"));
        if let Some(folder) = std::env::var_os("PLOTS") {
            let plots = [over_time, by_count, latency, by_scale];
            for (number, svg) in plots.iter().enumerate() {
                std::fs::write(std::path::Path::new(&folder).join(format!("{number}.svg")), svg).expect("written");
            }
        }
    }
}
