//! Records the objects that kstatus was asked about, with this simulation's own verdict, for scripts/kstatus.sh to
//! compare with the library itself. Called at the end of each run, if the environment names a file.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

/// Runs may end at the same time.
static FILE: Mutex<()> = Mutex::new(());

/// One verdict and object per line.
pub fn write(lines: &BTreeSet<String>) {
    let Some(path) = std::env::var_os("KSTATUS_RECORD") else { return };
    let _one_at_a_time = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = lines.iter().cloned().collect::<Vec<_>>().join("\n");
    text.push('\n');
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("KSTATUS_RECORD can be written");
    file.write_all(text.as_bytes()).expect("written");
}
