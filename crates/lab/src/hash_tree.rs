//! The hash tree of an image, as dm-verity wants it (`Documentation/admin-guide/device-mapper/verity.rst`):
//! SHA-256 without salt, blocks of 4096 bytes, the top level first. The lab makes it itself, so that what
//! proves the builder's images does not hang on the builder's own tree.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::{At as _, LabError};

const BLOCK: usize = 4096;

/// What dm-verity is told of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HashTree {
    /// Length of the image in blocks.
    pub(crate) blocks: u64,
    /// The root hash in hexadecimal digits.
    pub(crate) root: String,
}

/// Writes the hash tree of `image` to `to`.
///
/// # Errors
/// When a file cannot be read or written, or the image has no whole number of blocks.
pub(crate) fn write(image: &Path, to: &Path) -> Result<HashTree, LabError> {
    let mut source = File::open(image).at("open", image)?;
    let len = source.metadata().at("look at", image)?.len();
    if len == 0 || len % BLOCK as u64 != 0 {
        let reason = format!("found {len} bytes, want whole blocks of {BLOCK} bytes for dm-verity");
        return Err(LabError::Format { path: image.to_path_buf(), reason });
    }
    let (mut block, mut hashes) = ([0; BLOCK], Vec::new());
    for _ in 0..len / BLOCK as u64 {
        source.read_exact(&mut block).at("read", image)?;
        hashes.extend_from_slice(&Sha256::digest(block));
    }
    let levels = levels(hashes);
    // Of the highest level there is one hash: the root.
    let root = levels.last().map(Vec::as_slice).unwrap_or_default();
    let digits = root.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let root = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
    let tree: Vec<u8> = levels.iter().rev().skip(1).flat_map(|level| padded(level)).collect();
    fs::write(to, if tree.is_empty() { vec![0; BLOCK] } else { tree }).at("write", to)?;
    Ok(HashTree { blocks: len / BLOCK as u64, root })
}

/// All levels, beginning with the hashes of the data and ending with the root hash.
fn levels(hashes: Vec<u8>) -> Vec<Vec<u8>> {
    let mut levels = vec![hashes];
    while let Some(level) = levels.last().filter(|level| level.len() > Sha256::output_size()) {
        let next =
            padded(level).chunks_exact(BLOCK).flat_map(|block| Sha256::digest(block).to_vec()).collect();
        levels.push(next);
    }
    levels
}

/// A level in whole blocks.
fn padded(level: &[u8]) -> Vec<u8> {
    let mut level = level.to_vec();
    level.resize(level.len().next_multiple_of(BLOCK), 0);
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Roots that `veritysetup format --no-superblock --salt=- --hash=sha256` printed for these images.
    const ROOTS: [(usize, &str); 3] = [
        (1, "8a5987102bd1d76edaa9bb165430d2715597d1bae63fc8d29e6464845c0b6888"),
        (129, "af5c69571a133b86c8dd99ae421c6db9e856c757d20c3b3ced209603548355d8"),
        (3, "60f6178da4f1e1f9feceaefa2b7dc0b8209e677c6fc65562dafae446129cdaa3"),
    ];

    #[test]
    fn roots_are_those_of_veritysetup() {
        let dir = tempfile::tempdir().unwrap();
        let (image, tree) = (dir.path().join("image"), dir.path().join("tree"));
        for (blocks, root) in ROOTS {
            let bytes: Vec<u8> = (0..blocks * BLOCK).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect();
            fs::write(&image, bytes).unwrap();
            let found = write(&image, &tree).unwrap();
            assert_eq!((found.blocks, found.root.as_str()), (blocks as u64, root), "{blocks} blocks");
        }
        fs::write(&image, "x").unwrap();
        assert!(write(&image, &tree).unwrap_err().to_string().contains("want whole blocks"));
    }
}
