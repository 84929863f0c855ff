//! The bench harness: measures operators beside each other. Started by scripts/bench.sh, which builds
//! what it needs; everything that decides a number is in here.

#![forbid(unsafe_code)]

mod audit;
mod bench;
mod budgets;
mod check;
mod cluster;
mod command;
mod figures;
mod isvc;
mod ledger;
mod load;
mod machine;
mod operator;
mod pairs;
mod phases;
mod plot;
mod preflight;
mod process;
mod progress;
mod prometheus;
mod quiet;
mod readme;
mod report;
mod results;
mod round;
mod run;
mod sampler;
mod server_time;
mod settings;
mod size;
mod stats;
mod table;
mod verdict;
mod wire;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use settings::{Invocation, Settings};
use tokio::signal::unix::{SignalKind, signal};

/// As shells have it for a program that a signal ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match settings::parse(std::env::args_os().skip(1)).and_then(start) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(invocation: Invocation) -> Result<ExitCode> {
    match invocation {
        Invocation::Help => print!("{}", settings::HELP),
        Invocation::Operators(settings) => {
            preflight::check(&settings)?;
            // An image brings its program along.
            let built = if settings.image.is_some() { &[][..] } else { &settings.plan.operators };
            for operator in built {
                println!("{operator}");
            }
        }
        Invocation::Measure(settings) => return measure(&settings),
        Invocation::Render(folder) => report::write(&results::Folder(folder))?,
        Invocation::Readme { readme, results } => readme::rewrite(&readme, &results)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(settings: &Settings) -> Result<ExitCode> {
    preflight::check(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = run::run(settings) => done,
            signal = interrupted() => {
                // What it had begun was dropped, and so ended, with the other branch.
                eprintln!("\nbench: {}: what was started is ended; finished rounds are kept, and the same command goes on", signal?);
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    })
}

async fn interrupted() -> Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "told to end",
        _ = hang_up.recv() => "the terminal went away",
    })
}
