//! Writing: data to its blocks, inodes with their xattrs, tails and chunk tables to their places.

use std::io::IoSlice;
use std::ops::Range;

use erofs_format::BlockBits;

use super::commit::{Ready, Run};
use super::read::Reader;
use crate::error::BuildError;
use crate::image_file::ImageFile;
use crate::layout::compose::Data;
use crate::metabox::InodeArea;
use crate::zeros::ZEROS;

/// How many pieces go into one system call (Linux's `UIO_MAXIOV` is 1024).
const VECTOR_MAX: usize = 512;
/// Inodes go out when there are so many bytes of them.
const FLUSH_AT: usize = 1 << 20;

/// Writes runs of a buffer to their blocks; runs that follow each other in the image go out together.
pub(crate) fn data(
    image: &ImageFile,
    block_size: usize,
    buffer: &[u8],
    runs: &[Run],
) -> Result<(), BuildError> {
    let mut vector: Vec<IoSlice<'_>> = Vec::new();
    let (mut start, mut end) = (0, 0);
    for run in runs {
        let at = u64::from(run.block) * block_size as u64;
        if at != end || vector.len() >= VECTOR_MAX {
            image.write_vectored_at(start, &mut vector)?;
            vector.clear();
            start = at;
        }
        let bytes = &buffer[run.range.clone()];
        let padding = bytes.len().next_multiple_of(block_size) - bytes.len();
        vector.push(IoSlice::new(bytes));
        if padding != 0 {
            vector.push(IoSlice::new(&ZEROS[..padding]));
        }
        end = at + (bytes.len() + padding) as u64;
    }
    image.write_vectored_at(start, &mut vector)
}

/// Inodes on their way to their area: those that follow each other go out together.
#[derive(Debug)]
pub(crate) struct Inodes {
    start: u64,
    bytes: Vec<u8>,
    /// How many bytes between two inodes are nobody's, at most, and may become zeros.
    gap: u64,
}

impl Inodes {
    /// For inodes among others: a slot of 32 bytes belongs to one inode, so its rest can be filled with zeros.
    pub(crate) fn among_others() -> Self {
        Self { start: 0, bytes: Vec::new(), gap: erofs_format::units::INODE_SLOT_SIZE - 1 }
    }

    /// For all inodes of an area, in the order of their places: there is nothing between them but whole blocks.
    pub(crate) fn all(block_bits: BlockBits) -> Self {
        Self { start: 0, bytes: Vec::new(), gap: block_bits.size() - 1 }
    }

    /// Adds the inode of a file with its tail.
    pub(crate) fn add(
        &mut self,
        reader: &Reader<'_>,
        area: InodeArea<'_>,
        ready: &Ready,
        tail: &[u8],
    ) -> Result<(), BuildError> {
        let inode = reader.files[ready.file].inode;
        let plan = reader.plan;
        if plan.wants_fingerprints() && ready.fingerprint.as_ref().is_none_or(Vec::is_empty) {
            let path = crate::error::shown(&plan.tree.path_of(inode));
            return Err(BuildError::Internal(format!("{path}: no fingerprint was made")));
        }
        let placed = plan.placed[inode.index()];
        self.begin(area, placed.at)?;
        plan.encode_inode(inode, &placed, &ready.data, ready.fingerprint.as_deref(), &mut self.bytes)
            .map_err(|cause| BuildError::at(&plan.tree.path_of(inode), cause))?;
        if matches!(ready.data, Data::Flat { .. }) {
            self.bytes.extend_from_slice(tail);
        }
        Ok(())
    }

    /// Goes to byte `at`, which is behind everything that was added.
    pub(crate) fn begin(&mut self, area: InodeArea<'_>, at: u64) -> Result<(), BuildError> {
        let end = self.start + self.bytes.len() as u64;
        let follows = !self.bytes.is_empty() && at >= end && at - end <= self.gap;
        if follows && self.bytes.len() < FLUSH_AT {
            self.bytes.resize(usize::try_from(at - self.start).unwrap_or(usize::MAX), 0);
            return Ok(());
        }
        self.flush(area)?;
        self.start = at;
        Ok(())
    }

    /// More bytes at the place that [`Self::begin`] went to.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes what is left.
    pub(crate) fn flush(&mut self, area: InodeArea<'_>) -> Result<(), BuildError> {
        if !self.bytes.is_empty() {
            area.write_at(self.start, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

/// Writes the data of a job and the inodes of the small files in it.
pub(crate) fn batch(
    reader: &Reader<'_>,
    image: &ImageFile,
    area: InodeArea<'_>,
    buffer: &[u8],
    runs: &[Run],
    inodes: &[(Ready, Range<usize>)],
) -> Result<(), BuildError> {
    data(image, reader.plan.block_bits.bytes(), buffer, runs)?;
    let mut out = Inodes::among_others();
    for (ready, tail) in inodes {
        out.add(reader, area, ready, &buffer[tail.clone()])?;
    }
    out.flush(area)
}
