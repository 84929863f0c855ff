//! What the bench is doing and how far it is, on standard error: a line that is written over on a
//! terminal, lines from time to time elsewhere.

use std::cell::RefCell;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::settings::{Mode, Plan};

/// Between two lines about the same thing where there is no terminal.
const PATIENCE: Duration = Duration::from_secs(15);

pub struct Progress {
    rounds: usize,
    /// What was known before of how long rounds take, and what is still to do.
    estimate: RefCell<Estimate>,
    state: RefCell<State>,
}

struct State {
    round_began: Instant,
    heading: String,
    operator: String,
    last_line: Option<Instant>,
    last_activity: String,
    is_open: bool,
}

/// Seconds that rounds take, from a guess that is corrected by those that were finished.
#[derive(Default)]
struct Estimate {
    guessed: f64,
    taken: f64,
    /// Guesses of the rounds that are left, the present one first.
    left: Vec<(String, f64)>,
}

impl Estimate {
    fn seconds_left(&self, into_present: f64) -> f64 {
        let correction = if self.guessed > 0.0 { self.taken / self.guessed } else { 1.0 };
        let mut left = self.left.iter().map(|(_, guess)| guess * correction);
        let present = left.next().unwrap_or(0.0);
        (present - into_present).max(5.0) + left.sum::<f64>()
    }
}

impl Progress {
    /// `finished`: (operator, seconds) of rounds that are there; `left`: operators of those to come.
    pub fn new(plan: &Plan, finished: &[(String, f64)], left: &[String]) -> Progress {
        let guess = |operator: &String| (operator.clone(), guess_seconds(plan, operator));
        let estimate = Estimate {
            guessed: finished.iter().map(|(operator, _)| guess_seconds(plan, operator)).sum(),
            taken: finished.iter().map(|(_, seconds)| seconds).sum(),
            left: left.iter().map(guess).collect(),
        };
        Progress {
            rounds: finished.len() + left.len(),
            estimate: RefCell::new(estimate),
            state: RefCell::new(State {
                round_began: Instant::now(),
                heading: String::new(),
                operator: String::new(),
                last_line: None,
                last_activity: String::new(),
                is_open: false,
            }),
        }
    }

    pub fn begin_round(&self, position: usize, operator: &str, number: usize, of: usize) {
        let mut state = self.state.borrow_mut();
        state.round_began = Instant::now();
        state.heading = format!("[{}/{}] {operator}, round {number} of {of}", position + 1, self.rounds);
        operator.clone_into(&mut state.operator);
        state.last_line = None;
    }

    pub fn end_round(&self, seconds: f64) {
        let mut estimate = self.estimate.borrow_mut();
        if !estimate.left.is_empty() {
            let (_, guess) = estimate.left.remove(0);
            estimate.guessed += guess;
            estimate.taken += seconds;
        }
        drop(estimate);
        self.line(&format!("done in {}", human_duration(seconds)));
    }

    /// `activity`: what is done; a new one is always told. `detail`: how far it is.
    pub fn at(&self, activity: &str, detail: &str) {
        let mut state = self.state.borrow_mut();
        let is_new = state.last_activity != activity;
        let is_terminal = stderr().is_terminal();
        if !is_new && !is_terminal && state.last_line.is_some_and(|last| last.elapsed() < PATIENCE) {
            return;
        }
        let left = self.estimate.borrow().seconds_left(state.round_began.elapsed().as_secs_f64());
        let colon = if detail.is_empty() { "" } else { ": " };
        let text =
            format!("bench: {} · {activity}{colon}{detail} · about {} left", state.heading, human_duration(left));
        if is_terminal {
            // Back to the beginning of the line, and clear what was longer before.
            eprint!("{}\r{text}\x1b[K", if is_new && state.is_open { "\n" } else { "" });
            let _ = stderr().flush();
            state.is_open = true;
        } else {
            eprintln!("{text}");
        }
        activity.clone_into(&mut state.last_activity);
        state.last_line = Some(Instant::now());
    }

    /// A line of its own, that stays.
    pub fn line(&self, text: &str) {
        let mut state = self.state.borrow_mut();
        if state.is_open {
            eprintln!();
            state.is_open = false;
        }
        state.last_activity.clear();
        eprintln!("bench: {}{}{text}", state.heading, if state.heading.is_empty() { "" } else { " · " });
    }
}

/// Rough, from 2 cores; the first finished round corrects it.
fn guess_seconds(plan: &Plan, operator: &str) -> f64 {
    let (create, change) = match operator {
        "controller-runtime" => (0.22, 0.15),
        "kube-rs" => (0.11, 0.04),
        _ => (0.075, 0.03),
    };
    match plan.mode {
        Mode::Scale => plan.scale_points.last().map_or(60.0, |last| 60.0 + *last as f64 * create * 0.6),
        Mode::Soak => 180.0 + plan.crs as f64 * create + 60.0 * plan.soak_minutes as f64,
        Mode::Run | Mode::Check => {
            let (crs, changes, noise) = (plan.crs as f64, plan.changes as f64, plan.noise as f64);
            60.0 + plan.settled_seconds as f64 + crs * create + 2.0 * changes * change + noise * 0.018
        }
    }
}

pub fn human_duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) if minutes >= 10 => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_exact_as_they_deserve() {
        for (seconds, expected) in [(7.4, "7 s"), (65.0, "1 min 5 s"), (659.0, "10 min"), (3_700.0, "1 h 1 min")] {
            assert_eq!(human_duration(seconds), expected);
        }
    }

    #[test]
    fn what_rounds_took_corrects_the_guess() {
        let left = vec![("ours".to_owned(), 100.0), ("kube-rs".to_owned(), 200.0)];
        let fresh = Estimate { guessed: 0.0, taken: 0.0, left: left.clone() };
        assert!((fresh.seconds_left(30.0) - 270.0).abs() < 1e-9);
        let slower = Estimate { guessed: 100.0, taken: 200.0, left };
        assert!((slower.seconds_left(0.0) - 600.0).abs() < 1e-9);
        assert!((slower.seconds_left(1_000.0) - 405.0).abs() < 1e-9);
    }
}
