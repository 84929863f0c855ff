//! What can be known to fail is refused before anything is built or started, with what to do about it.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command;
use crate::settings::{Mode, Plan, Settings, Target};

/// Of the datastore, the audit log and the logs: measured at 5,000, with room to spare.
const BYTES_FOR_ANY: u64 = 1_000_000_000;
const BYTES_PER_CR: u64 = 150_000;
const BYTES_PER_FOREIGN: u64 = 100_000;

pub fn check(settings: &Settings) -> Result<()> {
    match &settings.plan.target {
        Target::Local => {
            let folder = std::env::var("INFERENCE_OPERATOR_RUN")
                .or_else(|_| std::env::var("XDG_RUNTIME_DIR"))
                .unwrap_or_else(|_| "/tmp".into());
            room(Path::new(&folder), needed_bytes(&settings.plan))?;
        }
        // Of the first two, bench.sh has asked kind.sh and node.sh.
        Target::Kind | Target::Node | Target::Context(_) => {}
    }
    if settings.plan.mode == Mode::Check {
        ensure!(settings.budgets.is_file(), "no budgets: {} is missing", settings.budgets.display());
    }
    ensure!(command::exists("ss"), "ss is missing, which tells the bytes on the wire: install iproute2");
    Ok(())
}

fn needed_bytes(plan: &Plan) -> u64 {
    let crs = plan.scale_points.last().copied().unwrap_or(plan.crs) as u64;
    BYTES_FOR_ANY + crs * BYTES_PER_CR + plan.noise as u64 * BYTES_PER_FOREIGN
}

fn room(folder: &Path, needed: u64) -> Result<()> {
    let existing = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let text = command::output(Command::new("df").args(["-P", "-k"]).arg(existing))?;
    let Some(free) = parse_df(&text) else { return Ok(()) };
    ensure!(
        free >= needed,
        "too little disk: {} has {:.1} GB free, and this run may need {:.1} GB (another folder: INFERENCE_OPERATOR_RUN)",
        existing.display(),
        free as f64 / 1e9,
        needed as f64 / 1e9
    );
    Ok(())
}

/// Free bytes in the last line of `df -Pk`.
fn parse_df(text: &str) -> Option<u64> {
    let kilobytes: u64 = text.lines().last()?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_the_fourth_column() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 264000000 28000000 2000000 31% /\n";
        assert_eq!(parse_df(text), Some(2_048_000_000));
    }

    #[test]
    fn too_little_disk_is_refused() {
        let error = room(Path::new("/tmp/not/there"), u64::MAX).expect_err("refused").to_string();
        assert!(error.starts_with("too little disk: "), "{error}");
        room(Path::new("/tmp"), 1).expect("enough");
    }
}
