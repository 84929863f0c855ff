//! The command line -> Settings, checked once. Called by main; everything else is handed the result.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

pub const OURS: &str = "ours";
pub const OPERATORS: [&str; 4] = [OURS, "controller-runtime", "controller-runtime-tuned", "kube-rs"];

/// The points of --scale. Above the last of PEERS_POINTS only our own operator is measured.
pub const SCALE_POINTS: [usize; 5] = [0, 1_000, 5_000, 20_000, 50_000];
pub const MOST_FOR_PEERS: usize = 20_000;

/// What decides the numbers: rounds of different plans are not put together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub mode: Mode,
    pub target: Target,
    pub crs: usize,
    /// The part of the InferenceServices that has replicas 0; the others have 1.
    pub zero_share: f64,
    pub operators: Vec<String>,
    pub rounds: usize,
    pub settled_seconds: u64,
    /// Specs that are changed, one at a time and again in a burst.
    pub changes: usize,
    /// Foreign Deployments, Services, Secrets and ConfigMaps, so many of each.
    pub noise: usize,
    /// InferenceServices of half a megabyte.
    pub bulky: usize,
    pub scale_points: Vec<usize>,
    #[serde(default)]
    pub soak_minutes: u64,
    pub quick: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    Run,
    Scale,
    Soak,
    Check,
}

/// On which kind of cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A control plane that scripts/cluster.sh starts afresh for each round; operators are processes.
    #[default]
    Local,
    /// The cluster of scripts/kind.sh, inside of whose `exec` this runs; operators are pods.
    Kind,
    /// The node of scripts/node.sh in whose namespaces this runs; operators are pods.
    Node,
    /// A cluster that is there; operators are pods if there is an image, else processes.
    Context(String),
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub plan: Plan,
    pub out: Option<PathBuf>,
    /// Of each operator's program, by the operator's name.
    pub binaries: BTreeMap<String, PathBuf>,
    /// `{operator}` in it is replaced.
    pub image: Option<String>,
    pub audit_log: Option<PathBuf>,
    pub kubeconfig: Option<PathBuf>,
    pub repository: PathBuf,
    pub budgets: PathBuf,
    /// As a person would type it, to be told in the results.
    pub command: String,
    pub build_note: String,
}

#[derive(Clone, Debug)]
pub enum Invocation {
    Help,
    /// Print the names of the operators to build, after all that can be refused was refused.
    Operators(Box<Settings>),
    Measure(Box<Settings>),
    /// Draw and tabulate again what a folder holds.
    Render(PathBuf),
    /// Rewrite the block of docs/benchmarks.md from the results of folders.
    Readme {
        readme: PathBuf,
        results: Vec<PathBuf>,
    },
}

pub const HELP: &str = "\
Measures operators beside each other: memory, latency, requests, at thousands of InferenceServices.

usage: scripts/bench.sh [OPTION]...
       scripts/bench.sh --readme RESULTS     rewrite the block in docs/benchmarks.md from a folder of results; may
                                             be repeated, for a run and a --scale
       scripts/bench.sh --render RESULTS     make the table and the plots of a folder again

what is measured
  --crs COUNT             InferenceServices (default 5000)
  --operators A,B,...     of ours, controller-runtime, controller-runtime-tuned, kube-rs (default: all)
  --rounds COUNT          rounds of each operator, interleaved (default 3)
  --quick                 a first look: 500 InferenceServices, one round, shorter phases
  --replicas-zero SHARE   part of the InferenceServices with replicas 0 (default 0.9: the control plane's
                          own work on pods would drown the rest; 1 on kind and on a node, because a kubelet
                          runs 110 pods)
  --changes COUNT         specs changed one at a time, and again in a burst (default 500)
  --settled-seconds N     length of the settled phase (default 60; 45 with --quick)
  --noise COUNT           foreign Deployments, Services, Secrets and ConfigMaps, each (default: as --crs)
  --scale                 instead: memory and restart at 0, 1000, 5000, 20000 and 50000 InferenceServices
                          with replicas 0 and without controller-manager (above 20000 only ours)
  --scale-points A,B,...  other points for it
  --soak MINUTES          instead: churn for so long, our own operator; exit code 1 where it grows by more than 3%
  --check                 instead: our own operator's deterministic figures against benches/budgets.json

where
  (default)               on a local control plane, fresh for each round
  --kind                  on a kind cluster that is made for it (scripts/kind.sh); operators as pods
  --node                  on one real node that is made for it (scripts/node.sh; Linux, root); operators as pods
  --context NAME          on a cluster of yours that holds no InferenceService; operators as pods of --image,
                          or without it as processes on this machine
  --image IMAGE           of the operators; {operator} in it is replaced by the operator's name
  --kubeconfig FILE       of --context (default: what kubectl uses)
  --audit-log FILE        of that cluster's API server, if it can be read here

results
  --out DIR               (default benches/results/DATE-COMMIT; an unfinished run of the same commit and the
                          same options goes on where it was: finished rounds are kept)
";

/// `arguments`: without the program's name. `bench.sh` adds --repository, --binary and --build-note.
pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Invocation> {
    use lexopt::prelude::*;
    let arguments: Vec<std::ffi::OsString> = arguments.into_iter().collect();
    let mut given = Given::default();
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Invocation::Help),
            Long("crs") => given.crs = Some(number(&mut parser, "--crs", 1)?),
            Long("operators") => given.operators = Some(list(&text(&mut parser)?)),
            Long("rounds") => given.rounds = Some(number(&mut parser, "--rounds", 1)?),
            Long("quick") => given.quick = true,
            Long("replicas-zero") => given.zero_share = Some(share(&text(&mut parser)?)?),
            Long("changes") => given.changes = Some(number(&mut parser, "--changes", 0)?),
            Long("settled-seconds") => {
                given.settled_seconds = Some(number(&mut parser, "--settled-seconds", 5)? as u64);
            }
            Long("noise") => given.noise = Some(number(&mut parser, "--noise", 0)?),
            Long("scale") => given.mode = Some(Mode::Scale),
            Long("soak") => {
                given.mode = Some(Mode::Soak);
                given.soak_minutes = number(&mut parser, "--soak", 1)? as u64;
            }
            Long("check") => given.mode = Some(Mode::Check),
            Long("scale-points") => given.scale_points = Some(points(&text(&mut parser)?)?),
            Long("kind") => given.target = Some(Target::Kind),
            Long("node") => given.target = Some(Target::Node),
            Long("context") => given.target = Some(Target::Context(text(&mut parser)?)),
            Long("image") => given.image = Some(text(&mut parser)?),
            Long("kubeconfig") => given.kubeconfig = Some(text(&mut parser)?.into()),
            Long("audit-log") => given.audit_log = Some(text(&mut parser)?.into()),
            Long("out") => given.out = Some(text(&mut parser)?.into()),
            Long("readme") => given.readme.push(text(&mut parser)?.into()),
            Long("readme-file") => given.readme_file = Some(text(&mut parser)?.into()),
            Long("render") => given.render = Some(text(&mut parser)?.into()),
            Long("repository") => given.repository = Some(text(&mut parser)?.into()),
            Long("build-note") => given.build_note = text(&mut parser)?,
            Long("list-operators") => given.list_operators = true,
            Long("binary") => {
                let value = text(&mut parser)?;
                let (operator, path) = value.split_once('=').context("--binary expects OPERATOR=PATH")?;
                given.binaries.insert(operator.to_owned(), path.into());
            }
            other => bail!("{} (see --help)", other.unexpected()),
        }
    }
    given.into_invocation(command_line(&arguments))
}

#[derive(Default)]
struct Given {
    mode: Option<Mode>,
    target: Option<Target>,
    crs: Option<usize>,
    zero_share: Option<f64>,
    operators: Option<Vec<String>>,
    rounds: Option<usize>,
    settled_seconds: Option<u64>,
    changes: Option<usize>,
    noise: Option<usize>,
    scale_points: Option<Vec<usize>>,
    soak_minutes: u64,
    quick: bool,
    list_operators: bool,
    image: Option<String>,
    kubeconfig: Option<PathBuf>,
    audit_log: Option<PathBuf>,
    out: Option<PathBuf>,
    readme: Vec<PathBuf>,
    readme_file: Option<PathBuf>,
    render: Option<PathBuf>,
    repository: Option<PathBuf>,
    binaries: BTreeMap<String, PathBuf>,
    build_note: String,
}

impl Given {
    fn into_invocation(self, command: String) -> Result<Invocation> {
        let repository = self.repository.clone().unwrap_or_else(|| PathBuf::from("."));
        if let Some(folder) = self.render {
            return Ok(Invocation::Render(folder));
        }
        if !self.readme.is_empty() {
            let readme = self.readme_file.unwrap_or_else(|| repository.join("docs/benchmarks.md"));
            return Ok(Invocation::Readme { readme, results: self.readme });
        }
        let plan = self.plan()?;
        let settings = Box::new(Settings {
            plan,
            out: self.out,
            binaries: self.binaries,
            image: self.image,
            audit_log: self.audit_log,
            kubeconfig: self.kubeconfig,
            budgets: repository.join("benches/budgets.json"),
            repository,
            command,
            build_note: self.build_note,
        });
        Ok(if self.list_operators { Invocation::Operators(settings) } else { Invocation::Measure(settings) })
    }

    fn plan(&self) -> Result<Plan> {
        let mode = self.mode.unwrap_or(Mode::Run);
        let check = mode == Mode::Check;
        let quick = self.quick || check;
        let crs = self.crs.unwrap_or(if check {
            200
        } else if quick {
            500
        } else {
            5_000
        });
        ensure!(crs <= 100_000, "--crs expects at most 100000; got {crs}");
        let target = self.target.clone().unwrap_or(Target::Local);
        let pods_run = !matches!(target, Target::Kind | Target::Node);
        ensure!(
            mode == Mode::Run || target == Target::Local,
            "--scale, --soak and --check run on the local control plane only: leave out --kind, --node and --context"
        );
        let operators = match &self.operators {
            Some(operators) => operators.clone(),
            None if check || mode == Mode::Soak => vec![OURS.to_owned()],
            None => OPERATORS.map(str::to_owned).to_vec(),
        };
        for operator in &operators {
            ensure!(
                OPERATORS.contains(&operator.as_str()),
                "no such operator: {operator:?} (expected: {})",
                OPERATORS.join(", ")
            );
        }
        ensure!(!operators.is_empty(), "--operators expects at least one of {}", OPERATORS.join(", "));
        ensure!(!check || operators == [OURS], "--check measures our own operator only");
        Ok(Plan {
            mode,
            target,
            crs,
            zero_share: self.zero_share.unwrap_or(if mode == Mode::Scale || !pods_run { 1.0 } else { 0.9 }),
            operators,
            rounds: self.rounds.unwrap_or(if quick || mode != Mode::Run { 1 } else { 3 }),
            settled_seconds: self.settled_seconds.unwrap_or(if check {
                10
            } else if quick {
                45
            } else {
                60
            }),
            changes: self
                .changes
                .unwrap_or(if check {
                    0
                } else if quick {
                    100
                } else {
                    500
                })
                .min(crs),
            noise: self.noise.unwrap_or(if check { 0 } else { crs.min(5_000) }),
            bulky: if check {
                0
            } else if quick {
                20
            } else {
                100
            },
            scale_points: match mode {
                Mode::Scale => self.scale_points.clone().unwrap_or_else(|| SCALE_POINTS.to_vec()),
                _ => Vec::new(),
            },
            soak_minutes: self.soak_minutes,
            quick,
        })
    }
}

fn text(parser: &mut lexopt::Parser) -> Result<String> {
    let value = parser.value()?;
    value.into_string().map_err(|value| anyhow::anyhow!("not UTF-8: {}", value.display()))
}

fn number(parser: &mut lexopt::Parser, flag: &str, least: usize) -> Result<usize> {
    let value = text(parser)?;
    let number = value.parse().ok().filter(|number| *number >= least);
    number.with_context(|| format!("{flag} expects a whole number of at least {least}; got {value:?}"))
}

fn share(value: &str) -> Result<f64> {
    let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.with_context(|| format!("--replicas-zero expects a number from 0 to 1; got {value:?}"))
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn points(value: &str) -> Result<Vec<usize>> {
    let points: Result<Vec<usize>, _> = list(value).iter().map(|word| word.parse()).collect();
    let points = points.ok().filter(|points| !points.is_empty() && points.is_sorted());
    points.with_context(|| format!("--scale-points expects rising whole numbers, such as 0,1000,5000; got {value:?}"))
}

/// What a person typed: without what bench.sh adds.
fn command_line(arguments: &[std::ffi::OsString]) -> String {
    let mut words = vec!["scripts/bench.sh".to_owned()];
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--repository" | "--binary" | "--build-note" => drop(arguments.next()),
            _ => words.push(argument),
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests;
