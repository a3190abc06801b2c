//! The metadata area: gives out places, in order, and fills the gaps that block boundaries leave.
//!
//! Two rules of the format decide: an inode starts at a multiple of 32 bytes, and a tail behind it must end
//! in the block in which it starts. What does not fit into the rest of a block begins the next one; the rest
//! is remembered and given to the next thing that fits it best, as long as it is near. So places ascend but
//! for a short way back, and walking a mounted tree reads the area from front to end.

use erofs_format::BlockBits;
use erofs_format::units::INODE_SLOT_SIZE;
use erofs_format::xattr::SHARED_ID_UNIT;

use super::gaps::Gaps;

/// How far back a gap may be, in blocks. Further would fill a little better and let places jump further back.
const REACH_BLOCKS: u64 = 1024;

/// A metadata area that grows from some byte on.
#[derive(Debug)]
pub(crate) struct Zone {
    block_bits: BlockBits,
    end: u64,
    /// Unused rests of blocks.
    gaps: Gaps,
}

impl Zone {
    /// An area whose first free byte is `start`.
    pub(crate) fn new(block_bits: BlockBits, start: u64) -> Self {
        Self { block_bits, end: start, gaps: Gaps::new(block_bits.size()) }
    }

    /// The size of a block in bytes.
    pub(crate) fn block_size(&self) -> u64 {
        self.block_bits.size()
    }

    /// The first byte behind everything that was given out, rounded up to a whole block.
    pub(crate) fn end(&self) -> u64 {
        self.end.next_multiple_of(self.block_bits.size())
    }

    /// A place for `size` bytes that starts at a multiple of 32 and, if `size` is no more than a block, stays
    /// inside one block.
    pub(crate) fn place(&mut self, size: u64) -> u64 {
        let block = self.block_bits.size();
        if size > block {
            let at = self.end.next_multiple_of(INODE_SLOT_SIZE);
            self.end = at + size;
            return at;
        }
        if let Some(at) = self.take_gap(size) {
            return at;
        }
        let mut at = self.end.next_multiple_of(INODE_SLOT_SIZE);
        if self.block_bits.within(at) + size > block {
            let next = at.next_multiple_of(block);
            self.remember(at, next - at);
            at = next;
        }
        self.end = at + size;
        at
    }

    /// A place for something longer than a block: `header` bytes, and a tail of `tail` bytes behind them that
    /// ends in the block in which it starts. The tail must be 32 bytes shorter than a block. With `apart` it
    /// does not start at the first byte of a block.
    pub(crate) fn place_long(&mut self, header: u64, tail: u64, apart: bool) -> u64 {
        let block = self.block_bits.size();
        let mut at = self.end.next_multiple_of(INODE_SLOT_SIZE);
        let tail_at = self.block_bits.within(at + header);
        let mut next = at;
        if tail_at + tail > block {
            next += (block - tail_at).next_multiple_of(INODE_SLOT_SIZE);
        }
        if apart && self.block_bits.within(next + header) == 0 {
            next += INODE_SLOT_SIZE;
        }
        if next != at {
            self.remember(at, (next - at).min(block - self.block_bits.within(at)));
            at = next;
        }
        self.end = at + header + tail;
        at
    }

    /// A place for `count` whole blocks, which starts at a block.
    pub(crate) fn place_blocks(&mut self, count: u64) -> u64 {
        let at = self.end.next_multiple_of(self.block_bits.size());
        let rest = self.end.next_multiple_of(INODE_SLOT_SIZE);
        self.remember(rest, at.saturating_sub(rest));
        self.end = at + count * self.block_bits.size();
        at
    }

    /// A place for `size` bytes of xattr tables, which start at multiples of 4, right behind what was given
    /// out last.
    pub(crate) fn append(&mut self, size: u64) -> u64 {
        let at = self.end.next_multiple_of(SHARED_ID_UNIT);
        self.end = at + size;
        at
    }

    fn remember(&mut self, at: u64, length: u64) {
        self.gaps.add(at, length, self.first_in_reach());
    }

    fn first_in_reach(&self) -> u64 {
        self.end.saturating_sub(REACH_BLOCKS * self.block_bits.size())
    }

    /// Room for `size` bytes in the smallest gap that holds them, the first of equal ones.
    fn take_gap(&mut self, size: u64) -> Option<u64> {
        let (at, length) = self.gaps.take(size, self.first_in_reach())?;
        let used = size.next_multiple_of(INODE_SLOT_SIZE);
        self.remember(at + used, length - used);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_things_stay_inside_a_block_and_gaps_are_filled() {
        let mut zone = Zone::new(BlockBits::DEFAULT, 1152);
        assert_eq!(zone.place(2000), 1152);
        assert_eq!(zone.place(1500), 4096, "945 bytes are left, so the next block begins");
        assert_eq!(zone.place(100), 3168, "the gap is filled first");
        assert_eq!(zone.place(9000), 5600, "what is longer than a block need not start in a new one");
        assert_eq!(zone.place_blocks(2), 16384);
        assert_eq!(zone.place(64), 3296, "the smallest gap that fits");
        assert_eq!(zone.end(), 16384 + 8192);
    }

    #[test]
    fn long_things_keep_their_tails_in_one_block() {
        for (start, header, tail, apart, want) in [
            (4096, 5000, 100, false, 4096),
            (4096, 8000, 200, false, 4288),
            (4096, 8192, 200, false, 4096),
            (4096, 8192, 200, true, 4128),
            (4096, 8000, 4064, false, 4288),
            (4096, 8160, 4064, true, 4160),
            (4096, 8160, 4064, false, 4128),
        ] {
            let mut zone = Zone::new(BlockBits::DEFAULT, start);
            let at = zone.place_long(header, tail, apart);
            assert_eq!(at, want, "{header} {tail} {apart}");
            let first = (at + header) % 4096;
            assert!(first + tail <= 4096 && !(apart && first == 0), "{header} {tail} {apart}");
        }
    }

    #[test]
    fn places_never_overlap() {
        let mut state = 12345_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for bits in [9, 12, 16] {
            let block_bits = BlockBits::new(bits).unwrap();
            let mut zone = Zone::new(block_bits, 1152);
            let mut taken: Vec<(u64, u64)> = vec![(0, 1152)];
            for _ in 0..3000 {
                let size = 32 + random(block_bits.size() + 200);
                let at = zone.place(size);
                assert_eq!(at % 32, 0);
                if size <= block_bits.size() {
                    assert!(block_bits.within(at) + size <= block_bits.size());
                }
                taken.push((at, size));
            }
            taken.sort_unstable();
            assert!(taken.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
            assert!(taken.last().unwrap().0 < zone.end());
        }
    }
}
