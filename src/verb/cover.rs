//! Where the hash tree behind an image is, and whether a tree covers the file system of its image: what it
//! leaves out can be changed without anybody noticing, and cannot be read through dm-verity.

use std::fmt;

use anyhow::Context as _;
use erofs_format::superblock::{self, Superblock};
use erofs_format::words;
use erofs_verity::superblock::{Superblock as TreeSuperblock, find_appended};
use erofs_verity::{BlockSize, Checked, FileBytes, ReadAt as _};

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
    let uncovered = Uncovered { covered: checked.data_bytes, file_system: file_system(image)? };
    Ok((uncovered.covered < uncovered.file_system).then_some(uncovered))
}

/// First byte of the hash tree behind an image, if there is one. `mkfs-erofs --verity` puts it at the first
/// multiple of 4096 bytes behind the file system, and other bytes may follow it on a device. Of a tree over
/// more than the file system only the length of the whole tells where it begins.
pub(super) fn hash_tree(image: &FileBytes) -> Option<u64> {
    let block = BlockSize::DEFAULT;
    // An image without a superblock has a finding of its own.
    let end = file_system(image).ok().and_then(|end| end.checked_next_multiple_of(block.bytes()));
    let covers = |at: u64| {
        TreeSuperblock::read(image, at)
            .is_ok_and(|found| found.data_blocks.checked_mul(found.params.data_block.bytes()) == Some(at))
    };
    end.filter(|&at| covers(at)).or_else(|| find_appended(image, block))
}

/// Length of the file system in bytes by the superblock of the image.
fn file_system(image: &FileBytes) -> anyhow::Result<u64> {
    let mut record = [0; SUPERBLOCK_ROOM];
    let left = image.len().saturating_sub(superblock::OFFSET);
    let length = usize::try_from(left).unwrap_or(SUPERBLOCK_ROOM).min(SUPERBLOCK_ROOM);
    image.read_at(superblock::OFFSET, &mut record[..length]).context("superblock")?;
    let superblock = Superblock::decode(&record)?;
    Ok(superblock.blocks.saturating_mul(superblock.block_bits.size()))
}
