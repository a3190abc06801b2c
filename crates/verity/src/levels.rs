//! Where the blocks of a tree lie. The level that hashes the data is level 0; the one with a single block is
//! the last, and lies first, right behind the superblock, as Linux computes it in `verity_ctr`.

use crate::params::{BlockSize, DIGEST_SIZE, SUPERBLOCK_SIZE};

/// A level: consecutive hash blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Its first byte in the hash device.
    pub at: u64,
    /// How many blocks it has.
    pub blocks: u64,
}

/// The levels of a tree, lowest first. Data of a single block has none: its digest is the root hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    lowest_first: Vec<Level>,
    fanout_bits: u32,
    start: u64,
    end: u64,
}

impl Levels {
    /// The levels over this many data blocks, whose hash area begins at byte `hash_offset` with a superblock.
    /// Nothing if there is no data, or more of something than 64 bits can count.
    pub fn new(
        data_blocks: u64,
        data_block: BlockSize,
        hash_block: BlockSize,
        hash_offset: u64,
    ) -> Option<Self> {
        data_blocks.checked_mul(data_block.bytes())?;
        let last = data_blocks.checked_sub(1)?;
        let fanout_bits = (hash_block.len() / DIGEST_SIZE).ilog2();
        let mut counts = Vec::new();
        let mut top = last;
        while top > 0 {
            top >>= fanout_bits;
            counts.push(top + 1);
        }
        let start = hash_offset.checked_add(SUPERBLOCK_SIZE)?.checked_next_multiple_of(hash_block.bytes())?;
        let mut at = start;
        let mut levels = Vec::with_capacity(counts.len());
        for blocks in counts.into_iter().rev() {
            levels.push(Level { at, blocks });
            at = blocks.checked_mul(hash_block.bytes()).and_then(|length| at.checked_add(length))?;
        }
        levels.reverse();
        Some(Self { lowest_first: levels, fanout_bits, start, end: at })
    }

    /// The levels, lowest first.
    pub fn as_slice(&self) -> &[Level] {
        &self.lowest_first
    }

    /// How many digests a block holds, as a power of two.
    pub(crate) fn fanout_bits(&self) -> u32 {
        self.fanout_bits
    }

    /// The first byte behind the superblock and the zeros that follow it.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The first byte behind the tree.
    pub fn end(&self) -> u64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(blocks: u64, block: u32, offset: u64) -> Option<Levels> {
        let block = BlockSize::new(block).unwrap();
        Levels::new(blocks, block, block, offset)
    }

    #[test]
    fn places() {
        type Row = (u64, u32, u64, &'static [(u64, u64)], u64);
        let rows: &[Row] = &[
            (1, 4096, 0, &[], 4096),
            (2, 4096, 0, &[(4096, 1)], 8192),
            (128, 4096, 0, &[(4096, 1)], 8192),
            (129, 4096, 0, &[(8192, 2), (4096, 1)], 16384),
            (129, 4096, 129 * 4096, &[(131 * 4096, 2), (130 * 4096, 1)], 133 * 4096),
            (128 * 128 + 1, 4096, 0, &[(16384, 129), (8192, 2), (4096, 1)], 16384 + 129 * 4096),
            (17, 512, 512, &[(1536, 2), (1024, 1)], 2560),
        ];
        for &(blocks, size, offset, want, end) in rows {
            let found = levels(blocks, size, offset).unwrap();
            let places: Vec<_> = found.as_slice().iter().map(|level| (level.at, level.blocks)).collect();
            assert_eq!((places.as_slice(), found.end()), (want, end), "{blocks} of {size} at {offset}");
        }
        assert_eq!(
            (levels(0, 4096, 0), levels(u64::MAX, 512, 0), levels(1, 512, u64::MAX)),
            (None, None, None)
        );
    }
}
