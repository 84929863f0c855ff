//! A temporary file for kubectl, deleted when dropped.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub struct Temporary(PathBuf);

impl Temporary {
    pub fn new(text: &str) -> Temporary {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("inference-operator-test-{}-{number}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("written");
        Temporary(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
