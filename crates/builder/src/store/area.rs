//! The data area of an image: gives out addresses in ascending order.

use erofs_format::{BlockBits, FormatError};

/// The largest image in blocks: 32-bit addresses, or 48-bit ones.
const BLOCKS_32: u64 = u32::MAX as u64 - 1;
const BLOCKS_48: u64 = (1 << 48) - 1;

/// The data area of an image.
#[derive(Debug)]
pub(crate) struct Area {
    next: u64,
    block_bits: BlockBits,
    dsunit: u64,
    blocks_max: u64,
    /// Bytes that nobody writes although something follows them: first one and length.
    gaps: Vec<(u64, u64)>,
}

impl Area {
    /// An area that starts at byte `at`; plain files start at multiples of `dsunit` blocks.
    pub(crate) fn new(at: u64, block_bits: BlockBits, dsunit: u32, wide: bool) -> Self {
        let blocks_max = if wide { BLOCKS_48 } else { BLOCKS_32 };
        Self { next: at, block_bits, dsunit: u64::from(dsunit).max(1), blocks_max, gaps: Vec::new() }
    }

    /// The first of `count` bytes, if there are any, that start at a multiple of `unit`.
    pub(crate) fn take_from(&mut self, unit: u64, count: u64) -> Result<u64, FormatError> {
        if count != 0 {
            self.align(unit.max(1));
        }
        self.take(count)
    }

    /// The first of `count` bytes, wherever they start.
    pub(crate) fn take(&mut self, count: u64) -> Result<u64, FormatError> {
        let start = self.next;
        self.next += count;
        let blocks = self.block_bits.blocks_ceil(self.next);
        if blocks > self.blocks_max {
            return Err(FormatError::limit("image size in blocks", blocks, self.blocks_max));
        }
        Ok(start)
    }

    /// The first of `count` bytes that start at a block.
    pub(crate) fn take_blocks(&mut self, count: u64) -> Result<u64, FormatError> {
        self.align(self.block_bits.size());
        self.take(count)
    }

    /// Leaves out the next block.
    pub(crate) fn leave_block(&mut self) {
        self.gaps.push((self.next, self.block_bits.size()));
        self.next += self.block_bits.size();
    }

    /// The first of `count` bytes of a plain file.
    pub(crate) fn take_plain(&mut self, count: u64) -> Result<u64, FormatError> {
        self.take_from(self.block_bits.size() * self.dsunit, count)
    }

    fn align(&mut self, unit: u64) {
        let start = self.next.next_multiple_of(unit);
        if start != self.next {
            self.gaps.push((self.next, start - self.next));
            self.next = start;
        }
    }

    /// The first byte that is not taken.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Gives everything from byte `start` on back.
    pub(crate) fn rewind(&mut self, start: u64) {
        self.next = start;
        self.gaps.retain(|gap| gap.0 < start);
    }

    /// The bytes that are to be zeros.
    pub(crate) fn into_gaps(self) -> Vec<(u64, u64)> {
        self.gaps
    }
}
