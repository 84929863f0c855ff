//! A run: all rounds of all operators, interleaved, each kept as soon as it is finished.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use k8s_openapi::jiff::{Timestamp, tz::TimeZone};

use crate::budgets;
use crate::check;
use crate::cluster;
use crate::command;
use crate::machine;
use crate::progress::{Progress, human_duration};
use crate::report;
use crate::results::{Folder, Identity, Round, Run};
use crate::round;
use crate::settings::{Mode, Plan, Settings, Target};
use crate::size::{self, Size};
use crate::verdict;

pub async fn run(settings: &Settings) -> Result<ExitCode> {
    let plan = &settings.plan;
    if plan.target == Target::Local {
        cluster::remove_stale(&settings.repository);
    }
    let sizes = sizes(settings)?;
    let programs = sizes.iter().map(|(name, size)| (name.clone(), size.sha256.clone())).collect();
    let identity = Identity { commit: commit(&settings.repository), plan: plan.clone(), programs };
    if plan.mode == Mode::Check {
        return check::run(settings, &sizes).await;
    }
    let folder = Folder(choose_folder(settings, &identity));
    let commit = folder.claim(&identity)?;
    let (machine, started) = (machine::describe(), Timestamp::now());
    eprintln!("bench: results go to {}", folder.0.display());

    let finished = folder.rounds(plan)?;
    let wanted = || (1..=plan.rounds).flat_map(|number| plan.operators.iter().map(move |name| (name, number)));
    let left: Vec<(&String, usize)> = wanted().filter(|(name, number)| !folder.has(name, *number)).collect();
    if !finished.is_empty() {
        eprintln!("bench: {} of {} rounds are finished already", finished.len(), finished.len() + left.len());
    }
    let taken: Vec<(String, f64)> =
        finished.iter().map(|round| (round.operator.clone(), round.duration_seconds)).collect();
    let names: Vec<String> = left.iter().map(|(name, _)| (*name).clone()).collect();
    let progress = Progress::new(plan, &taken, &names);
    for (position, (operator, number)) in left.into_iter().enumerate() {
        progress.begin_round(finished.len() + position, operator, number, plan.rounds);
        let files = folder.0.join("logs").join(format!("{operator}-{number}"));
        let round = round::run(settings, operator, number, &files, &progress).await;
        let round = round.with_context(|| format!("{operator}, round {number} (its files: {})", files.display()))?;
        folder.keep(&round)?;
        // Only a failure is worth its files.
        let _ = std::fs::remove_dir_all(&files);
        progress.end_round(round.duration_seconds);
    }
    let _ = std::fs::remove_dir(folder.0.join("logs"));

    let rounds = folder.rounds(plan)?;
    let run = Run {
        command: settings.command.clone(),
        commit,
        started: started.to_string(),
        machine,
        versions: versions(&rounds),
        plan: plan.clone(),
        sizes,
        notes: notes(settings),
        budgets: budgets::read(&settings.budgets)?.figures,
        rounds,
    };
    folder.finish(&run)?;
    report::write(&folder)?;
    let seconds: f64 = run.rounds.iter().map(|round| round.duration_seconds).sum();
    eprintln!("bench: finished; the rounds took {} · {}", human_duration(seconds), folder.0.display());
    Ok(if verdict::has_grown(&run) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn sizes(settings: &Settings) -> Result<BTreeMap<String, Size>> {
    let wanted = settings.binaries.iter().filter(|(name, _)| settings.plan.operators.contains(name));
    wanted.map(|(name, binary)| Ok((name.clone(), size::of(binary)?))).collect()
}

/// As asked for; else an unfinished one of the same options and programs; else a new one of today.
fn choose_folder(settings: &Settings, identity: &Identity) -> PathBuf {
    if let Some(out) = &settings.out {
        return out.clone();
    }
    let results = settings.repository.join("benches/results");
    let entries = std::fs::read_dir(&results).into_iter().flatten().flatten();
    let unfinished = entries.map(|entry| entry.path()).find(|path| Folder(path.clone()).can_go_on(identity));
    unfinished.unwrap_or_else(|| {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let name = format!("{today}-{}", identity.commit);
        let name = |number: usize| if number == 1 { name.clone() } else { format!("{name}-{number}") };
        (1..1_000).map(|number| results.join(name(number))).find(|path| !path.exists()).unwrap_or(results)
    })
}

fn commit(repository: &Path) -> String {
    let git = |arguments: &[&str]| command::output(Command::new("git").arg("-C").arg(repository).args(arguments));
    let Ok(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else { return "unknown".into() };
    // Results of earlier runs do not change what is measured.
    let changed = git(&["status", "--porcelain", "--", ".", ":!benches/results", ":!*.md"]);
    let dirty = if changed.is_ok_and(|changed| changed.trim().is_empty()) { "" } else { "-dirty" };
    format!("{}{dirty}", commit.trim())
}

fn versions(rounds: &[Round]) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    if let Some(round) = rounds.last() {
        versions.insert("Kubernetes".to_owned(), round.kubernetes.clone());
    }
    if let Ok(rustc) = command::output(Command::new("rustc").arg("--version")) {
        let version = rustc.split_whitespace().nth(1).unwrap_or_default();
        versions.insert("rustc".into(), version.to_owned());
    }
    versions
}

fn notes(settings: &Settings) -> Vec<String> {
    let plan: &Plan = &settings.plan;
    let mut notes = Vec::new();
    if plan.mode == Mode::Scale {
        notes.push("All InferenceServices have replicas 0, and there is no controller-manager: its work would take most of the time.".to_owned());
    } else if plan.zero_share > 0.0 {
        notes.push(format!(
            "{:.0}% of the InferenceServices have replicas 0, so that the control plane's own work on pods does not drown everything (--replicas-zero).",
            plan.zero_share * 100.0
        ));
    }
    let place = match plan.target {
        Target::Kind => Some("A kind cluster (scripts/kind.sh)"),
        Target::Node => Some("One real node (scripts/node.sh)"),
        Target::Local | Target::Context(_) => None,
    };
    if let Some(place) = place {
        notes.push(format!("{place}, on which the operators are pods; the working set is the kubelet's figure."));
    }
    if plan.mode == Mode::Run && plan.target == Target::Local {
        notes.push(
            "The controller-manager is stopped while specs are changed and while foreign objects are created."
                .to_owned(),
        );
    }
    if !settings.build_note.is_empty() {
        notes.push(settings.build_note.clone());
    }
    if plan.mode == Mode::Run {
        notes.push("Images are FROM scratch, with the program and the libraries it loads: as stored, the layer's tar archive; as pulled, the same compressed with gzip.".to_owned());
    }
    notes
}
