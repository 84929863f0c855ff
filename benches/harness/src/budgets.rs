//! benches/budgets.json: the most that our own operator may need. `--check` fails beyond the first part
//! of it; the second is set beside what a run measured. Budgets are only ever lowered.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figures::{self, Unit};
use crate::results::{Run, ScalePoint};
use crate::settings::OURS;
use crate::stats::{self, Summary};
use crate::table;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// What the numbers are, for people.
    #[serde(rename = "about")]
    _about: Vec<String>,
    pub check: Check,
    pub figures: Vec<Budget>,
}

/// What does not depend on the machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Requests an InferenceService from creation to Ready, by "verb resource"; what is not named
    /// is not allowed, but for watches, and lists that belong to a start.
    pub create_requests_per_cr: BTreeMap<String, f64>,
    pub create_writes_per_cr: f64,
    /// In all, while settled; watches that begin anew do not count.
    pub settled_requests: u64,
    pub settled_writes: u64,
    pub restart_writes: u64,
    pub restart_gets: u64,
    pub binary_bytes: u64,
}

/// Of a figure of a run, or of one that is worked out of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub figure: String,
    pub label: String,
    /// The number of InferenceServices that it is about; None: any.
    pub crs: Option<usize>,
    pub most: f64,
    /// Better still.
    pub stretch: Option<f64>,
}

const RSS: &str = "scale.rss_bytes";
const RESTARTED_RSS: &str = "scale.restarted_rss_bytes";
const SLOPE: &str = "scale.bytes_per_cr";
const CPU_RATIO: &str = "create.cpu_to_controller_runtime";
const WORKED_OUT: [(&str, Unit); 4] =
    [(RSS, Unit::Bytes), (RESTARTED_RSS, Unit::Bytes), (SLOPE, Unit::Bytes), (CPU_RATIO, Unit::Ratio)];

pub fn read(file: &Path) -> Result<Budgets> {
    let text = std::fs::read_to_string(file).with_context(|| format!("no budgets {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not as expected", file.display()))
}

/// The budgets of which these runs have a figure, each with what the first of them measured. Empty without one.
pub fn table(runs: &[Run]) -> String {
    let mut budgets: Vec<&Budget> = Vec::new();
    for budget in runs.iter().flat_map(|run| &run.budgets) {
        if !budgets.iter().any(|known| known.figure == budget.figure && known.crs == budget.crs) {
            budgets.push(budget);
        }
    }
    let rows: String = budgets.into_iter().filter_map(|budget| row(runs, budget)).collect();
    if rows.is_empty() {
        return rows;
    }
    format!("| This operator | measured | budget | stretch | |\n|---|---:|---:|---:|---|\n{rows}")
}

fn row(runs: &[Run], budget: &Budget) -> Option<String> {
    let measured = runs.iter().find_map(|run| measured(run, budget))?;
    let unit = unit(&budget.figure);
    let shown = |value: f64| figures::format(unit, value);
    let verdict = match budget.stretch {
        _ if measured.median > budget.most => "**beyond**",
        Some(stretch) if measured.median <= stretch => "within stretch",
        _ => "within",
    };
    let mut text = format!("| {} | {} | {} |", budget.label, table::with_spread(unit, &measured), shown(budget.most));
    let _ = writeln!(text, " {} | {verdict} |", budget.stretch.map_or_else(String::new, shown));
    Some(text)
}

fn unit(figure: &str) -> Unit {
    let worked_out = WORKED_OUT.iter().find(|(key, _)| *key == figure).map(|(_, unit)| *unit);
    worked_out.or_else(|| figures::unit(figure)).unwrap_or(Unit::Ratio)
}

fn measured(run: &Run, budget: &Budget) -> Option<Summary> {
    if budget.figure.starts_with("scale.") {
        return of_scale(run, budget);
    }
    if budget.crs.is_some_and(|crs| crs != run.plan.crs) {
        return None;
    }
    if budget.figure != CPU_RATIO {
        return table::summary(run, OURS, &budget.figure);
    }
    let of = |operator: &str| table::summary(run, operator, "create.cpu_seconds");
    let (ours, theirs) = (of(OURS)?, of("controller-runtime")?.median);
    (theirs > 0.0).then_some(())?;
    Some(Summary { median: ours.median / theirs, least: ours.least / theirs, most: ours.most / theirs, ..ours })
}

fn of_scale(run: &Run, budget: &Budget) -> Option<Summary> {
    let at = |get: fn(&ScalePoint) -> u64| {
        let points = run.rounds_of(OURS).flat_map(|round| &round.scale);
        let samples: Vec<f64> =
            points.filter(|point| Some(point.crs) == budget.crs).map(|point| get(point) as f64).collect();
        Summary::of(&samples)
    };
    match budget.figure.as_str() {
        RSS => at(|point| point.rss_bytes),
        RESTARTED_RSS => at(|point| point.restarted_rss_bytes),
        SLOPE => slope(run, OURS).map(|(_, _, slope)| slope),
        _ => None,
    }
}

/// Anonymous bytes that one more InferenceService takes after a restart: between 5,000 (else the first
/// point that is not 0) and the last point. With the two points.
pub fn slope(run: &Run, operator: &str) -> Option<(usize, usize, Summary)> {
    const FROM: usize = 5_000;
    let points = || run.rounds_of(operator).flat_map(|round| &round.scale);
    let counts = || points().map(|point| point.crs).filter(|crs| *crs > 0);
    let from = counts().find(|crs| *crs == FROM).or(counts().min())?;
    let to = counts().max().filter(|to| *to > from)?;
    let of_round = |points: &[ScalePoint]| {
        let at = |crs| points.iter().find(|point| point.crs == crs)?.restarted_anonymous_bytes;
        Some(stats::slope_between((from as f64, at(from)? as f64), (to as f64, at(to)? as f64)))
    };
    let slopes: Vec<f64> = run.rounds_of(operator).filter_map(|round| of_round(&round.scale)).collect();
    Some((from, to, Summary::of(&slopes)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Round;

    #[test]
    fn every_committed_budget_is_of_a_figure() {
        let budgets: Budgets = serde_json::from_str(include_str!("../../budgets.json")).expect("benches/budgets.json");
        for budget in budgets.figures {
            let is_worked_out = WORKED_OUT.iter().any(|(key, _)| *key == budget.figure);
            assert!(is_worked_out || figures::unit(&budget.figure).is_some(), "{}", budget.figure);
            assert!(budget.stretch.is_none_or(|stretch| stretch <= budget.most), "{}", budget.figure);
        }
    }

    fn point(crs: usize, anonymous: u64) -> ScalePoint {
        ScalePoint {
            crs,
            rss_bytes: anonymous + 2_000_000,
            anonymous_bytes: Some(anonymous),
            restarted_rss_bytes: anonymous + 1_000_000,
            restarted_anonymous_bytes: Some(anonymous),
            restarted_peak_bytes: None,
            restart_seconds: None,
        }
    }

    #[test]
    fn a_budget_is_set_beside_what_was_measured() {
        let mut run = Run::default();
        let budget = |figure: &str, crs: Option<usize>, most: f64, stretch: f64| Budget {
            figure: figure.into(),
            label: figure.into(),
            crs,
            most,
            stretch: Some(stretch),
        };
        run.plan.crs = 5_000;
        run.budgets = vec![
            budget("settled.rss_bytes", Some(5_000), 4e6, 3.4e6),
            budget("start.rss_bytes", Some(1), 4e6, 3.4e6),
            budget(RSS, Some(50_000), 10e6, 8e6),
            budget(SLOPE, None, 140.0, 100.0),
            budget(CPU_RATIO, None, 0.2, 0.1),
        ];
        let mut ours = Round { operator: OURS.into(), ..Round::default() };
        ours.set("settled.rss_bytes", 3.5e6);
        ours.set("create.cpu_seconds", 2.0);
        ours.scale = vec![point(0, 500_000), point(5_000, 1_000_000), point(50_000, 6_400_000)];
        let mut theirs = Round { operator: "controller-runtime".into(), ..Round::default() };
        theirs.set("create.cpu_seconds", 40.0);
        run.rounds = vec![ours, theirs];
        let text = table(&[run]);
        let expected = [
            "| settled.rss_bytes | 3.50 MB | 4 MB | 3.40 MB | within |",
            "| scale.rss_bytes | 8.40 MB | 10.0 MB | 8 MB | within |",
            "| scale.bytes_per_cr | 120 B | 140 B | 100 B | within |",
            "| create.cpu_to_controller_runtime | 0.05 | 0.20 | 0.10 | within stretch |",
        ];
        assert_eq!(text.lines().skip(2).collect::<Vec<_>>(), expected);
    }
}
