//! Whether a hash tree covers the file system of its image: what it leaves out can be changed without anybody
//! noticing, and cannot be read through dm-verity.

use std::fmt;

use anyhow::Context as _;
use erofs_format::superblock::{self, Superblock};
use erofs_format::words;
use erofs_verity::{Checked, FileBytes, ReadAt as _};

/// Bytes that hold any superblock with its extensions.
const SUPERBLOCK_ROOM: usize = 512;

/// A tree that leaves a part of the file system out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Uncovered {
    covered: u64,
    file_system: u64,
}

impl Uncovered {
    /// What was wanted, in the form of findings and errors.
    pub(super) const WANTED: &'static str = "a tree over the whole file system";
}

impl fmt::Display for Uncovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { covered, file_system } = self;
        write!(f, "one over {covered} of the {} of the file system", words::bytes(*file_system))
    }
}

/// Holds what a tree covers to the length that the superblock of the image gives its file system.
///
/// # Errors
/// When the image has no superblock that can be read.
pub(super) fn uncovered(image: &FileBytes, checked: &Checked) -> anyhow::Result<Option<Uncovered>> {
    let mut record = [0; SUPERBLOCK_ROOM];
    let left = image.len().saturating_sub(superblock::OFFSET);
    let length = usize::try_from(left).unwrap_or(SUPERBLOCK_ROOM).min(SUPERBLOCK_ROOM);
    image.read_at(superblock::OFFSET, &mut record[..length]).context("superblock")?;
    let superblock = Superblock::decode(&record)?;
    let file_system = superblock.blocks.saturating_mul(superblock.block_bits.size());
    let uncovered = Uncovered { covered: checked.data_bytes, file_system };
    Ok((uncovered.covered < file_system).then_some(uncovered))
}
