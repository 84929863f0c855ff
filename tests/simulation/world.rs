//! One run: a cluster, its controllers, users, strangers, and an operator that is killed and restarted now and then;
//! then faults stop, and the end state is checked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use inference_operator::controller::{self, Memory};
use inference_operator::reconcile::Context;
use inference_operator::reconcile::event::Limit;
use inference_operator::reconcile::instances::Instances;
use inference_operator::settings::Settings;
use inference_operator::telemetry::metrics::Metrics;
use inference_operator::time::Utc;
use simulation::api_server::faults::Faults;
use simulation::api_server::{Key, Kind, server};
use simulation::chance::Chance;
use simulation::clock;
use simulation::cluster::{Cluster, Inner, Shared, controllers, pods};
use simulation::operator::{CONFIG_HASH, SETTINGS};
use simulation::oracle::violation::{Violation, ViolationKind, is_tolerated};
use simulation::oracle::{budget, end_state, invariants, leaders, memory, obstacles, pauses};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::administrator::Administrator;
use crate::election::{is_taken_over, stop_and_go};
use crate::specs::Draws;
use crate::totals::Totals;
use crate::users::Hazards;
use crate::{record, users};

/// Faults per thousand requests; each run draws one of these.
const RATES: [u64; 5] = [0, 10, 30, 100, 250];

/// Kills per thousand requests, in runs with kills.
const KILLS: u64 = 30;

/// Of a thousand runs, those in which two operators elect a leader.
const ELECTIONS: u64 = 200;

/// The lifetime of an operator process, and the pause before the next one.
const LONGEST_LIFE: Duration = Duration::from_secs(60);
const LONGEST_ABSENCE: Duration = Duration::from_secs(20);

/// Everything must match within this time after the last fault. The operator's longest wait is a watch that is silent
/// for ten minutes.
const SETTLES_WITHIN: Duration = Duration::from_secs(25 * 60);
/// The same where a rollout may have begun then: one InferenceService after the other, until one is down whose deadline is
/// over.
const ROLLED_OUT_WITHIN: Duration = Duration::from_secs(60 * 60);
/// The longest progress deadline of a Deployment, and a minute.
const LONGEST_DEADLINE: Duration = Duration::from_secs(300 + 600 + 60);
/// The most pods of one Deployment, including those of a stranger's edit.
const MOST_PODS: usize = 7;
/// The period without any request that follows.
const SILENCE: Duration = Duration::from_secs(3600);

pub const MOST_ACTIONS: usize = 50;
/// Lines of a trace, unless `TRACE` sets another number.
const TRACE: usize = 60;

/// The result of a run without a violation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Everything that happened, one line each.
    pub trace: String,
    pub totals: Totals,
}

/// The result of a run with a violation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    pub violations: Vec<Violation>,
    /// The last lines of the trace.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.trace)?;
        self.violations.iter().try_for_each(|violation| writeln!(out, "{violation}"))
    }
}

/// `most_actions`: the limit for actions of users and strangers.
pub fn run(seed: u64, most_actions: usize) -> Result<Run, Failure> {
    run_with(seed, most_actions, ELECTIONS)
}

/// The same where no leader is elected, as it was when most of the seeds that found something did.
pub fn run_without_election(seed: u64) -> Result<Run, Failure> {
    run_with(seed, MOST_ACTIONS, 0)
}

fn run_with(seed: u64, most_actions: usize, elections: u64) -> Result<Run, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(simulate(seed, most_actions, elections))
}

/// The fewest actions with which the seed still fails, and the failure. None: it does not fail.
pub fn cut_down(seed: u64) -> Option<(usize, Failure)> {
    (0..=MOST_ACTIONS).find_map(|actions| run(seed, actions).err().map(|problem| (actions, problem)))
}

async fn simulate(seed: u64, most_actions: usize, elections: u64) -> Result<Run, Failure> {
    clock::begin();
    let mut chance = Chance::new(seed);
    let mut faults = Faults {
        on: true,
        rate: chance.pick(&RATES).copied().unwrap_or(0),
        streams_lists: chance.per_mille(700),
        breaks_streams: chance.per_mille(30),
        ..Faults::none(Chance::new(seed ^ 0xfa17))
    };
    let is_killed = chance.per_mille(500);
    if is_killed {
        faults.kills = KILLS;
    }
    let hazards = Hazards::draw(&mut chance);
    let actions = (10 + usize::try_from(chance.below(40)).unwrap_or(0)).min(most_actions);
    let mut administrator = Administrator::draw(seed);
    faults.spares_catalog = administrator.is_none();
    let cluster = Cluster::new(faults);
    let knows_catalogs = administrator.as_mut().is_some_and(Administrator::begins_with_the_kind);
    cluster.lock().store.lacks_catalog = !knows_catalogs;
    let _world = AbortOnDrop(tokio::spawn(controllers::run(cluster.clone(), Chance::new(seed ^ 0xc047))));
    let _oracle = AbortOnDrop(tokio::spawn(check_obstacles(cluster.clone())));
    // When faults stop, this process goes on with whatever it remembers.
    let elect = Chance::new(seed ^ 0x1ea5e).per_mille(elections);
    cluster.lock().invariants.elect = elect;
    let mut process = AbortOnDrop(tokio::spawn(run_and_kill(cluster.clone(), seed, is_killed)));
    // A second operator, started by mistake or as a standby. It keeps running.
    let is_mistake = !elect && Chance::new(seed ^ 0x7717).per_mille(100);
    let twin = (elect || is_mistake).then(|| Process::start(&cluster, !seed, None));
    cluster.lock().invariants.operators = 1 + u8::from(is_mistake);
    let mut draws = Draws { chance, fields: Chance::new(seed ^ 0xf1e1d) };
    users::act(&cluster, &mut draws, actions, hazards, &mut administrator).await;

    cluster.with(|inner| {
        inner.faults.on = false;
        users::strangers_leave(inner, &mut draws.fields);
    });
    if let Some(administrator) = &mut administrator {
        administrator.conclude(&cluster);
    }
    cluster.wake();
    let settles_within = administrator.map_or(SETTLES_WITHIN, |_| ROLLED_OUT_WITHIN);
    if comes_to_rest(&cluster, settles_within).await {
        let process = (&mut process.0).await.expect("no panic");
        let mut processes: Vec<Process> = twin.into_iter().chain([process]).collect();
        if elect {
            // The one that leads comes last.
            processes.sort_by_key(|process| cluster.lock().leases.holder() == Some(process.number));
            if let Some(leader) = processes.pop() {
                end(&cluster, leader).await;
                is_taken_over(&cluster).await;
            }
        }
        for process in processes {
            end(&cluster, process).await;
        }
    }
    let inner = cluster.lock();
    record::write(&inner.invariants.seen);
    let violations: Vec<Violation> =
        inner.violations.iter().filter(|violation| !is_tolerated(violation.kind)).cloned().collect();
    if violations.is_empty() {
        let totals = Totals { requests: inner.answered, faults: inner.faults.kinds.clone() };
        Ok(Run { trace: trace(&inner, usize::MAX), totals })
    } else {
        let lines = std::env::var("TRACE").ok().and_then(|lines| lines.parse().ok()).unwrap_or(TRACE);
        Err(Failure { violations, trace: trace(&inner, lines) })
    }
}

/// Checks periodically, until the result is known.
async fn check_obstacles(cluster: Shared) {
    while !cluster.lock().is_over {
        tokio::time::sleep(obstacles::PACE).await;
        let mut inner = cluster.lock();
        leaders::check(&mut inner);
        obstacles::check(&mut inner);
    }
}

/// Runs the operator's process again and again. Returns the one that is alive when faults stop.
async fn run_and_kill(cluster: Shared, seed: u64, is_killed: bool) -> Process {
    let mut chance = Chance::new(seed ^ 0x11fe);
    loop {
        let killed = Arc::new(Notify::new());
        let process = Process::start(&cluster, chance.below(u64::MAX), Some(killed.clone()));
        let life = chance.up_to(LONGEST_LIFE);
        tokio::select! {
            biased;
            () = killed.notified() => {}
            () = tokio::time::sleep(life) => {
                if !is_killed || !cluster.lock().faults.on {
                    return process;
                }
            }
        }
        drop(process);
        // A process that starts at once finds the cluster unchanged.
        if chance.per_mille(500) {
            tokio::time::sleep(chance.up_to(LONGEST_ABSENCE)).await;
        }
    }
}

/// An operator process, killed when dropped.
struct Process {
    number: pauses::Process,
    task: AbortOnDrop<Memory>,
    ends: oneshot::Sender<()>,
}

impl Process {
    /// `killed`: notified when the process is to be killed.
    fn start(cluster: &Shared, seed: u64, killed: Option<Arc<Notify>>) -> Process {
        let mut inner = cluster.lock();
        inner.disturbances.add(None);
        invariants::process_starts(&mut inner);
        drop(inner);
        let (client, number) = server::client(cluster.clone(), killed);
        let (config_hash, events) = (*CONFIG_HASH, Arc::<Limit>::default());
        // Two that start at the same moment do so some microseconds apart.
        let started = Utc(clock::precise().0 + Duration::from_micros(seed & 0xff));
        let elect = cluster.lock().invariants.elect;
        let settings = Settings { leader_elect: elect, ..SETTINGS.clone() };
        let (now, instances) = (clock::now, Arc::new(Instances::new(started)));
        let context = Arc::new(Context { client, settings, config_hash, now, events, instances });
        let (ends, ended) = oneshot::channel();
        let shutdown = async { drop(ended.await) };
        let operator = controller::run(context, Arc::new(Metrics::default()), seed, shutdown);
        let task = if elect {
            tokio::spawn(stop_and_go(cluster.clone(), Chance::new(seed ^ 0x5709), operator))
        } else {
            tokio::spawn(operator)
        };
        Process { number, task: AbortOnDrop(task), ends }
    }

    /// Ends the process by a shutdown. Returns its memory.
    async fn end(mut self) -> Memory {
        drop(self.ends);
        (&mut self.task.0).await.expect("no panic")
    }
}

/// Ends the process, and checks what it remembers.
async fn end(cluster: &Shared, process: Process) {
    let memory = process.end().await;
    let mut inner = cluster.lock();
    if let Some(violation) = memory::violation(&inner.store, &memory) {
        inner.report(ViolationKind::Memory, violation);
    }
}

/// A task that is aborted when its handle is dropped.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// False: it does not settle, and there is nothing more to check.
async fn comes_to_rest(cluster: &Shared, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let (mut violations, mut looked_at) = (Vec::new(), None);
    let violations = loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let inner = cluster.lock();
        if looked_at.replace(inner.store.version) != Some(inner.store.version) {
            violations = end_state::violations(&inner.store);
        }
        drop(inner);
        if violations.is_empty() || Instant::now() >= deadline {
            break violations;
        }
    };
    let is_settled = violations.is_empty();
    cluster.with(|inner| {
        inner.is_over = true;
        for (kind, key, violation) in violations {
            // Objects whose changes the watches missed may or may not converge.
            if inner.store.is_observed(&key) {
                inner.report(kind, violation);
            }
        }
    });
    if !is_settled {
        return false;
    }
    if within == ROLLED_OUT_WITHIN {
        // What has halted a rollout may have a deadline still, after which its status is another.
        tokio::time::sleep(LONGEST_DEADLINE).await;
    }
    // Pods that are still loading one by one, a postponed check, and the statuses that follow.
    for _ in 0..MOST_PODS {
        let version = cluster.lock().store.version;
        tokio::time::sleep(pods::SLOWEST_LOAD + Duration::from_secs(120)).await;
        if cluster.lock().store.version == version {
            break;
        }
    }
    let (quiet_since, version) = cluster.with(|inner| (inner.log.len(), inner.store.version));
    tokio::time::sleep(SILENCE).await;
    let mut inner = cluster.lock();
    // The operator notices late what a restored datastore does not report.
    let nothing_missed = inner.store.missed.is_empty();
    if nothing_missed && (inner.store.version != version || !is_quiet(&inner, quiet_since)) {
        let last = inner.store.history.last().map(|change| {
            format!(
                "{:?} at {:?}: {:?}",
                change.key,
                clock::elapsed(change.at),
                change.after.as_ref().map(|after| &after["status"])
            )
        });
        inner.report(ViolationKind::NotQuiet, format!("it is not quiet; the last change is {last:?}"));
        return false;
    }
    for violation in budget::violations(&inner) {
        inner.report(ViolationKind::OverBudget, violation);
    }
    true
}

/// Nothing is asked since then, but from time to time what is missing replicas.
fn is_quiet(inner: &Inner, since: usize) -> bool {
    let mut asked: BTreeMap<&Key, u64> = BTreeMap::new();
    inner.log[since..].iter().for_each(|request| *asked.entry(&request.key).or_default() += 1);
    let looks = u64::from(inner.invariants.operators) * (SILENCE.as_secs() / obstacles::LONGEST_LOOK.as_secs() + 1);
    asked.into_iter().all(|(key, count)| {
        let owner = inner.store.get(&Key { kind: Kind::InferenceService, ..key.clone() });
        let phase = owner.and_then(|owner| owner["status"]["phase"].as_str());
        matches!(phase, Some("Progressing" | "Degraded")) && count <= looks
    })
}

/// The last lines of what happened, requests and actions in order, with the seconds since the start.
fn trace(inner: &Inner, most_lines: usize) -> String {
    let requests = inner.log.iter().map(|request| (request.at, request.to_string()));
    let actions = inner.actions.iter().map(|action| (action.at, action.to_string()));
    let mut lines: Vec<(Instant, String)> = actions.chain(requests).collect();
    lines.sort_by_key(|(at, _)| *at);
    let lines = lines.split_off(lines.len().saturating_sub(most_lines));
    let line = |(at, what): (Instant, String)| format!("{:10.3} {what}", clock::elapsed(at).as_secs_f64());
    lines.into_iter().map(line).collect::<Vec<_>>().join("\n")
}
