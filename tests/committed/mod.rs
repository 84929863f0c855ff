//! A file in the repository that the code can write again: it must be what the code writes now.

use std::path::Path;

/// Holds the file at this path, from the root of the repository, against what it should be. Where the variable
/// `UPDATE_NAME` is set it is written first; NAME is that of the test program.
pub fn check(test: &str, file: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let variable = format!("UPDATE_{}", test.to_uppercase());
    if std::env::var_os(&variable).is_some() {
        std::fs::write(&path, generated).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{file} differs; look at the difference, then: {variable}=1 cargo test --test {test}\n{generated}"
    );
}
