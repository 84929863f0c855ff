//! --check: the figures of our own operator that do not depend on the machine, against the committed
//! budgets. Fails beyond them, and never makes them looser.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::audit::{self, Counts};
use crate::budgets::{self, Check};
use crate::progress::Progress;
use crate::results::Round;
use crate::round;
use crate::settings::{OURS, Settings};
use crate::size::Size;

struct Finding {
    what: String,
    value: f64,
    most: f64,
}

pub async fn run(settings: &Settings, sizes: &BTreeMap<String, Size>) -> Result<ExitCode> {
    let budgets = budgets::read(&settings.budgets)?.check;
    let folder = std::env::temp_dir().join(format!("bench-check-{}", std::process::id()));
    let progress = Progress::new(&settings.plan, &[], &[OURS.to_owned()]);
    progress.begin_round(0, OURS, 1, 1);
    let round = round::run(settings, OURS, 1, &folder, &progress).await;
    let round = round.with_context(|| format!("the operator's files: {}", folder.display()))?;
    let _ = std::fs::remove_dir_all(&folder);
    progress.end_round(round.duration_seconds);
    // A stand-in, built where the static program cannot be, says nothing about its size.
    let ships = settings.binaries.get(OURS).is_some_and(|path| path.starts_with(settings.repository.join("dist")));
    let findings = compare(&budgets, &round, settings.plan.crs, sizes.get(OURS).filter(|_| ships));
    if !ships {
        println!("the program is not the static one that ships: its size is not looked at");
    }
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    let mut beyond = 0;
    for Finding { what, value, most } in &findings {
        let is_beyond = value > most;
        beyond += usize::from(is_beyond);
        println!("{what:width$}  {:>10}  of at most {most}{}", shown(*value), if is_beyond { "  BEYOND" } else { "" });
    }
    println!("budgets: {} passed; {beyond} failed", findings.len() - beyond);
    Ok(if beyond == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compare(budgets: &Check, round: &Round, crs: usize, size: Option<&Size>) -> Vec<Finding> {
    let none = Counts::new();
    let of = |phase: &str| round.requests.get(phase).unwrap_or(&none);
    let (create, settled, restart) = (of("create"), of("settled"), of("restart"));
    let finding = |what: &str, value: f64, most: f64| Finding { what: what.to_owned(), value, most };
    let mut findings: Vec<Finding> = budgets
        .create_requests_per_cr
        .iter()
        .map(|(kind, most)| {
            let count = create.get(kind).copied().unwrap_or(0);
            finding(&format!("creation, an InferenceService: {kind}"), count as f64 / crs as f64, *most)
        })
        .collect();
    let unnamed =
        create.keys().filter(|kind| !budgets.create_requests_per_cr.contains_key(*kind) && !kind.starts_with("watch "));
    findings.extend(unnamed.map(|kind| finding(&format!("creation, in all: {kind}"), create[kind] as f64, 0.0)));
    let gets: u64 = restart.iter().filter(|(kind, _)| kind.starts_with("get ")).map(|(_, count)| count).sum();
    findings.extend([
        finding(
            "creation, an InferenceService: writes",
            audit::writes(create) as f64 / crs as f64,
            budgets.create_writes_per_cr,
        ),
        finding("settled: requests", audit::requests_without_watches(settled) as f64, budgets.settled_requests as f64),
        finding("settled: writes", audit::writes(settled) as f64, budgets.settled_writes as f64),
        finding("restart: writes", audit::writes(restart) as f64, budgets.restart_writes as f64),
        finding("restart: GETs", gets as f64, budgets.restart_gets as f64),
    ]);
    findings.extend(size.map(|size| finding("binary: bytes", size.binary_bytes as f64, budgets.binary_bytes as f64)));
    findings
}

fn shown(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets() -> Check {
        let budgets: budgets::Budgets =
            serde_json::from_str(include_str!("../../budgets.json")).expect("benches/budgets.json");
        budgets.check
    }

    #[test]
    fn the_committed_budgets_can_be_read_and_more_than_they_allow_is_found() {
        let mut round = Round::default();
        round
            .requests
            .insert("create".into(), [("patch deployments".to_owned(), 25), ("delete pods".to_owned(), 1)].into());
        round
            .requests
            .insert("settled".into(), [("watch services".to_owned(), 1), ("get deployments".to_owned(), 2)].into());
        let findings = compare(&budgets(), &round, 10, None);
        let beyond: Vec<&str> = findings
            .iter()
            .filter(|finding| finding.value > finding.most)
            .map(|finding| finding.what.as_str())
            .collect();
        let expected =
            ["creation, an InferenceService: patch deployments", "creation, in all: delete pods", "settled: requests"];
        assert_eq!(beyond, expected);
    }
}
