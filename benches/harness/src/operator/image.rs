//! An image `FROM scratch` of a binary and, where it is not static, the libraries that it loads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::docker_program;
use crate::command;

/// Builds `tag`; nothing is pulled for it.
pub fn build(tag: &str, binary: &Path, folder: &Path) -> Result<()> {
    let root = folder.join("root");
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(&root)?;
    fs::copy(binary, root.join("operator")).with_context(|| format!("no binary {}", binary.display()))?;
    for library in libraries(binary) {
        let target = root.join(library.strip_prefix("/").unwrap_or(&library));
        fs::create_dir_all(target.parent().unwrap_or(&root))?;
        fs::copy(&library, &target).with_context(|| format!("no library {}", library.display()))?;
    }
    fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY root/ /\nUSER 65532:65532\nENTRYPOINT [\"/operator\"]\n")?;
    command::output(Command::new(docker_program()).args(["build", "--quiet", "--tag", tag]).arg(folder)).map(drop)
}

/// ldd fails for a static binary.
fn libraries(binary: &Path) -> Vec<PathBuf> {
    command::output(Command::new("ldd").arg(binary)).map(|text| parse_ldd(&text)).unwrap_or_default()
}

fn parse_ldd(text: &str) -> Vec<PathBuf> {
    text.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_what_ldd_finds_in_the_file_system() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x0)\n\t/lib64/ld-linux-x86-64.so.2 (0x0)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(parse_ldd(text), expected);
        assert!(parse_ldd("\tstatically linked\n").is_empty());
    }
}
