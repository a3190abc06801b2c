//! The data area: gives out blocks in ascending order.

use erofs_format::{BlockBits, FormatError};

use super::super::layout::compose::block_32;

/// The data area of an image.
#[derive(Debug)]
pub(crate) struct DataArea {
    next: u64,
    dsunit: u64,
    /// The next blocks that are taken are the first of a file.
    begins: bool,
    /// Blocks that are to be zeros, because nobody has them or a file begins with them: first one and count.
    gaps: Vec<(u64, u64)>,
}

impl DataArea {
    /// An area that starts at byte `at`, a multiple of the block size; files start at multiples of `dsunit` blocks.
    pub(crate) fn new(at: u64, block_bits: BlockBits, dsunit: u32) -> Self {
        Self {
            next: block_bits.blocks_floor(at),
            dsunit: u64::from(dsunit).max(1),
            begins: false,
            gaps: Vec::new(),
        }
    }

    /// Begins a file: its first block, if it takes any, is one at which a file may start.
    pub(crate) fn begin_file(&mut self) {
        self.begins = true;
    }

    fn align(&mut self) {
        let start = self.next.next_multiple_of(self.dsunit);
        if start != self.next {
            self.gaps.push((self.next, start - self.next));
            self.next = start;
        }
    }

    /// The first of `count` consecutive blocks, which are taken; an error if the image would exceed 2^32 - 1 blocks.
    pub(crate) fn take(&mut self, count: u64) -> Result<u32, FormatError> {
        if count != 0 && std::mem::take(&mut self.begins) {
            self.align();
        }
        let start = block_32(self.next)?;
        block_32(self.next + count)?;
        self.next += count;
        Ok(start)
    }

    /// The first block that is not taken.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Gives everything from block `start` on back.
    pub(crate) fn rewind(&mut self, start: u64) {
        self.next = start;
        self.gaps.retain(|gap| gap.0 < start);
    }

    /// Says that blocks which were taken are zeros and will not be written with their file.
    pub(crate) fn leave_zeros(&mut self, start: u64, count: u64) {
        if count != 0 {
            self.gaps.push((start, count));
        }
    }

    /// The blocks that are to be zeros.
    pub(crate) fn into_gaps(self) -> Vec<(u64, u64)> {
        self.gaps
    }
}
