//! An image `FROM scratch` of a binary and, where it is not static, the libraries that it loads: made for kind and for a
//! node, and weighed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command;

/// Makes `tag` with buildah, as an archive that containerd and kind take; nothing is pulled for it. Its path.
pub fn archive(tag: &str, binary: &Path, folder: &Path) -> Result<PathBuf> {
    let (store, archive) = (folder.with_extension("store"), folder.with_extension("tar"));
    let buildah = || {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(store.join("root")).arg("--runroot").arg(store.join("run"));
        command.args(["--storage-driver", "vfs"]);
        command
    };
    prepare(binary, folder)?;
    let _ = fs::remove_file(&archive);
    command::output(buildah().args(["build", "--isolation", "chroot", "--tag", tag]).arg(folder))?;
    let target = format!("docker-archive:{}:docker.io/{tag}", archive.display());
    command::output(buildah().args(["push", "--quiet", tag, &target]))?;
    let _ = fs::remove_dir_all(store);
    Ok(archive)
}

/// What an image is built from.
fn prepare(binary: &Path, folder: &Path) -> Result<()> {
    let root = folder.join("root");
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(&root)?;
    for (file, place) in files(binary) {
        let target = root.join(place);
        fs::create_dir_all(target.parent().unwrap_or(&root))?;
        fs::copy(&file, &target).with_context(|| format!("no file {}", file.display()))?;
    }
    fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY root/ /\nUSER 65532:65532\nENTRYPOINT [\"/operator\"]\n")?;
    Ok(())
}

/// The one layer of that image, as a tar archive: what a registry gets, before it is compressed.
pub fn layer(binary: &Path) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    // The same file is the same layer, whenever it was built.
    archive.mode(tar::HeaderMode::Deterministic);
    for (file, place) in files(binary) {
        archive.append_path_with_name(&file, place).with_context(|| format!("no file {}", file.display()))?;
    }
    Ok(archive.into_inner()?)
}

/// What is in the image: each file here, and its place there.
fn files(binary: &Path) -> Vec<(PathBuf, PathBuf)> {
    let place = |library: PathBuf| {
        let place = library.strip_prefix("/").map_or_else(|_| library.clone(), Path::to_path_buf);
        (library, place)
    };
    let program = (binary.to_owned(), PathBuf::from("operator"));
    std::iter::once(program).chain(libraries(binary).into_iter().map(place)).collect()
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

    #[test]
    fn a_layer_is_a_tar_archive_of_the_program_and_its_libraries() {
        let binary = std::env::current_exe().expect("this test");
        let layer = layer(&binary).expect("a layer");
        let mut archive = tar::Archive::new(&layer[..]);
        let entries = archive.entries().expect("entries").filter_map(Result::ok);
        let sizes: Vec<(PathBuf, u64)> =
            entries.map(|entry| (entry.path().expect("a path").into_owned(), entry.size())).collect();
        let size = fs::metadata(&binary).expect("this test").len();
        assert_eq!(sizes.first(), Some(&(PathBuf::from("operator"), size)));
        assert_eq!(sizes.len(), 1 + libraries(&binary).len());
    }
}
