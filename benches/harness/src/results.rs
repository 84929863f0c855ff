//! What was measured, as it is kept: a JSON file for each finished round, and one for the run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::audit::Counts;
use crate::budgets::Budget;
use crate::machine::{Machine, Noise};
use crate::prometheus::Histogram;
use crate::sampler::Sample;
use crate::settings::Plan;
use crate::size::Size;
use crate::stats::Summary;

/// All that a reader needs to judge a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// As a person would type it.
    pub command: String,
    /// Of the repository; "-dirty" behind it if files differed from it.
    pub commit: String,
    pub started: String,
    pub machine: Machine,
    pub versions: BTreeMap<String, String>,
    pub plan: Plan,
    pub sizes: BTreeMap<String, Size>,
    pub notes: Vec<String>,
    /// As they were when it was measured.
    #[serde(default)]
    pub budgets: Vec<Budget>,
    pub rounds: Vec<Round>,
}

/// One operator, measured once through all phases.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Round {
    pub operator: String,
    /// From 1.
    pub number: usize,
    pub started: String,
    pub duration_seconds: f64,
    /// Version of the API server.
    pub kubernetes: String,
    pub noise: Noise,
    /// By the keys of `figures`, with the unit at the end.
    pub figures: BTreeMap<String, f64>,
    /// By phase.
    pub requests: BTreeMap<String, Counts>,
    /// Milliseconds, by "one" and "burst".
    pub latencies: BTreeMap<String, Vec<f64>>,
    /// The operator's own reconcile times, by phase.
    pub reconcile_times: BTreeMap<String, Histogram>,
    pub phases: Vec<Span>,
    pub memory: Vec<Sample>,
    /// For each point of --scale.
    pub scale: Vec<ScalePoint>,
    pub notes: BTreeSet<String>,
}

/// Seconds since the round's first start of the operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Span {
    pub name: String,
    pub from_seconds: f64,
    pub to_seconds: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScalePoint {
    pub crs: usize,
    /// Of the process that made them all.
    pub rss_bytes: u64,
    pub anonymous_bytes: Option<u64>,
    /// Of a process that was started with all of them settled.
    pub restarted_rss_bytes: u64,
    pub restarted_anonymous_bytes: Option<u64>,
    pub restarted_peak_bytes: Option<u64>,
    pub restart_seconds: Option<f64>,
}

impl Round {
    pub fn set(&mut self, key: &str, value: f64) {
        self.figures.insert(key.to_owned(), value);
    }

    /// Only where there is something to say.
    pub fn set_if(&mut self, key: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.insert(note.into());
    }
}

impl Run {
    pub fn rounds_of<'a>(&'a self, operator: &'a str) -> impl Iterator<Item = &'a Round> {
        self.rounds.iter().filter(move |round| round.operator == operator)
    }

    /// Operators with at least one finished round, in the plan's order.
    pub fn operators(&self) -> Vec<&str> {
        let has_round = |operator: &&str| self.rounds_of(operator).next().is_some();
        self.plan.operators.iter().map(String::as_str).filter(has_round).collect()
    }

    pub fn summary(&self, operator: &str, figure: &str) -> Option<Summary> {
        let samples: Vec<f64> =
            self.rounds_of(operator).filter_map(|round| round.figures.get(figure).copied()).collect();
        Summary::of(&samples)
    }

    /// The median of each kind of request in a phase.
    pub fn requests(&self, operator: &str, phase: &str) -> BTreeMap<String, f64> {
        let rounds: Vec<&Counts> = self.rounds_of(operator).filter_map(|round| round.requests.get(phase)).collect();
        let kinds: BTreeSet<&String> = rounds.iter().flat_map(|counts| counts.keys()).collect();
        let median = |kind: &String| {
            let samples: Vec<f64> = rounds.iter().map(|counts| counts.get(kind).copied().unwrap_or(0) as f64).collect();
            Summary::of(&samples).map(|summary| (kind.clone(), summary.median))
        };
        kinds.into_iter().filter_map(median).collect()
    }

    pub fn is_complete(&self) -> bool {
        self.rounds.len() == self.plan.operators.len() * self.plan.rounds
    }
}

/// A folder of results: `plan.json` while it grows, `rounds/`, and at the end `result.json` with
/// table and plots.
pub struct Folder(pub PathBuf);

/// Rounds of the same options and the same programs are put together; the commit is that of the
/// first of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub commit: String,
    pub plan: Plan,
    /// SHA-256 of the programs.
    pub programs: BTreeMap<String, String>,
}

impl Folder {
    /// Takes the folder for `identity`, or refuses one that holds rounds of another. Returns the
    /// commit that its rounds began at.
    pub fn claim(&self, identity: &Identity) -> Result<String> {
        let file = self.0.join("plan.json");
        if file.exists() {
            let found: Identity = read(&file)?;
            if let Some(difference) = difference(&found, identity) {
                bail!("{} holds rounds of {difference}: choose another --out, or remove it", self.0.display());
            }
            return Ok(found.commit);
        }
        fs::create_dir_all(self.0.join("rounds")).with_context(|| format!("cannot make {}", self.0.display()))?;
        write(&file, identity)?;
        Ok(identity.commit.clone())
    }

    /// Is it of the same options and programs, and not finished?
    pub fn can_go_on(&self, identity: &Identity) -> bool {
        let found = read::<Identity>(&self.0.join("plan.json"));
        found.is_ok_and(|found| difference(&found, identity).is_none()) && !self.0.join("result.json").exists()
    }

    fn round_file(&self, operator: &str, number: usize) -> PathBuf {
        self.0.join("rounds").join(format!("{operator}-{number}.json"))
    }

    pub fn has(&self, operator: &str, number: usize) -> bool {
        self.round_file(operator, number).exists()
    }

    pub fn keep(&self, round: &Round) -> Result<()> {
        write(&self.round_file(&round.operator, round.number), round)
    }

    /// Finished rounds, in the order in which they were run.
    pub fn rounds(&self, plan: &Plan) -> Result<Vec<Round>> {
        let each = (1..=plan.rounds).flat_map(|number| plan.operators.iter().map(move |name| (name, number)));
        each.filter(|(name, number)| self.has(name, *number))
            .map(|(name, number)| read(&self.round_file(name, number)))
            .collect()
    }

    pub fn finish(&self, run: &Run) -> Result<()> {
        write(&self.0.join("result.json"), run)
    }

    pub fn result(&self) -> Result<Run> {
        read(&self.0.join("result.json"))
    }
}

fn difference(found: &Identity, wanted: &Identity) -> Option<String> {
    if found.plan != wanted.plan {
        return Some("other options".into());
    }
    let other = wanted.programs.iter().find(|(name, hash)| found.programs.get(*name) != Some(*hash));
    other.map(|(name, _)| format!("another build of {name}"))
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not what it should be", file.display()))
}

/// Whole or not at all, so that an interruption leaves no half file.
fn write(file: &Path, value: &impl Serialize) -> Result<()> {
    let partial = file.with_extension("partial");
    fs::write(&partial, serde_json::to_vec(value)?).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, file)?;
    Ok(())
}
