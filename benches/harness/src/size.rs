//! The size of a program: the file, and the image that it makes, as stored and as pulled. And its hash.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::operator;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Size {
    pub binary_bytes: u64,
    /// The image's one layer as it lies on a node: a tar archive of the program, and of the libraries
    /// it loads where it is not static.
    pub image_bytes: u64,
    /// The same layer compressed with gzip, as a registry has it.
    pub image_gzip_bytes: u64,
    pub sha256: String,
}

pub fn of(binary: &Path) -> Result<Size> {
    let bytes = fs::read(binary).with_context(|| format!("no program {}", binary.display()))?;
    let layer = operator::image_layer(binary)?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&layer)?;
    Ok(Size {
        binary_bytes: bytes.len() as u64,
        image_bytes: layer.len() as u64,
        image_gzip_bytes: gzip.finish()?.len() as u64,
        sha256: format!("{:x}", Sha256::digest(&bytes)),
    })
}
