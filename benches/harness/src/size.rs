//! The size of a program on disk, compressed as a registry would have it, and its hash.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Size {
    pub binary_bytes: u64,
    pub gzip_bytes: u64,
    pub sha256: String,
}

pub fn of(binary: &Path) -> Result<Size> {
    let bytes = fs::read(binary).with_context(|| format!("no program {}", binary.display()))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&bytes)?;
    let hash = Sha256::digest(&bytes);
    Ok(Size { binary_bytes: bytes.len() as u64, gzip_bytes: gzip.finish()?.len() as u64, sha256: format!("{hash:x}") })
}
