//! Unused rests of blocks, and which of them something fits best.
//!
//! Every inode asks here, so each length has a heap of its own and a bit that tells whether there is anything
//! in it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use erofs_format::units::INODE_SLOT_SIZE;

/// When there are more gaps than this, most are out of reach: a block has one at most, but for what fills
/// gaps.
const GAPS_MAX: usize = 4096;
/// Bits of a word of the map.
const WORD: usize = 64;

/// Gaps whose first byte and length are multiples of 32, none of them longer than a block; some are out of
/// reach.
#[derive(Debug)]
pub(super) struct Gaps {
    /// The first bytes of all gaps of a length, by that length in slots of an inode.
    by_length: Vec<BinaryHeap<Reverse<u64>>>,
    /// A bit for each length of which there are gaps.
    occupied: Vec<u64>,
    count: usize,
}

impl Gaps {
    /// No gaps yet, of blocks of so many bytes.
    pub(super) fn new(block: u64) -> Self {
        let longest = slots(block);
        let by_length = (0..=longest).map(|_| BinaryHeap::new()).collect();
        Self { by_length, occupied: vec![0; longest / WORD + 1], count: 0 }
    }

    /// Adds `length` bytes at byte `at`. Those before byte `first` may be forgotten.
    pub(super) fn add(&mut self, at: u64, length: u64, first: u64) {
        let slots = slots(length);
        if slots == 0 {
            return;
        }
        self.by_length[slots].push(Reverse(at));
        self.occupied[slots / WORD] |= 1 << (slots % WORD);
        self.count += 1;
        if self.count > GAPS_MAX {
            self.forget(first);
        }
    }

    /// Takes the shortest gap of at least `size` bytes that does not lie before byte `first`, of equally long
    /// ones the one that lies first: its first byte and its length.
    pub(super) fn take(&mut self, size: u64, first: u64) -> Option<(u64, u64)> {
        let wanted = slots(size.next_multiple_of(INODE_SLOT_SIZE));
        while let Some(slots) = self.next_occupied(wanted) {
            let gaps = &mut self.by_length[slots];
            let taken = gaps.pop();
            self.count -= usize::from(taken.is_some());
            if gaps.is_empty() {
                self.occupied[slots / WORD] &= !(1 << (slots % WORD));
            }
            if let Some(Reverse(at)) = taken.filter(|taken| taken.0 >= first) {
                return Some((at, slots as u64 * INODE_SLOT_SIZE));
            }
        }
        None
    }

    /// The shortest length of at least `from` slots of which there is a gap.
    fn next_occupied(&self, from: usize) -> Option<usize> {
        let mut seen = !0 << (from % WORD);
        for (number, word) in self.occupied.iter().enumerate().skip(from / WORD) {
            let bits = word & seen;
            if bits != 0 {
                return Some(number * WORD + bits.trailing_zeros() as usize);
            }
            seen = !0;
        }
        None
    }

    fn forget(&mut self, first: u64) {
        self.count = 0;
        for (slots, gaps) in self.by_length.iter_mut().enumerate() {
            gaps.retain(|at| at.0 >= first);
            self.count += gaps.len();
            if gaps.is_empty() {
                self.occupied[slots / WORD] &= !(1 << (slots % WORD));
            }
        }
    }
}

fn slots(bytes: u64) -> usize {
    usize::try_from(bytes / INODE_SLOT_SIZE).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The same, slowly: by length and first byte.
    #[derive(Default)]
    struct Slow(BTreeSet<(u64, u64)>);

    impl Slow {
        fn add(&mut self, at: u64, length: u64, first: u64) {
            if length != 0 {
                self.0.insert((length, at));
            }
            if self.0.len() > GAPS_MAX {
                self.0.retain(|&(_, at)| at >= first);
            }
        }

        fn take(&mut self, size: u64, first: u64) -> Option<(u64, u64)> {
            loop {
                let &(length, at) = self.0.range((size, 0)..).next()?;
                self.0.remove(&(length, at));
                if at >= first {
                    return Some((at, length));
                }
            }
        }
    }

    #[test]
    fn the_best_gap_is_found_as_by_looking_at_all() {
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for block in [512, 4096, 65_536] {
            for reach in [10, 1000, 1 << 20] {
                let (mut gaps, mut slow) = (Gaps::new(block), Slow::default());
                let (mut found, mut forgotten) = (0, false);
                for step in 1..9000_u64 {
                    let first = (step * block).saturating_sub(reach * block);
                    let mut add = |at, length| {
                        let before = slow.0.len();
                        gaps.add(at, length, first);
                        slow.add(at, length, first);
                        forgotten |= slow.0.len() < before;
                    };
                    add(step * block, INODE_SLOT_SIZE * random(block / INODE_SLOT_SIZE));
                    // Nothing but additions at first, until they are too many.
                    if step > 5000 && random(3) == 0 {
                        let size = 1 + random(block);
                        let want = slow.take(size, first);
                        assert_eq!(gaps.take(size, first), want, "{size} bytes from {first} on");
                        if let Some((at, length)) = want {
                            // What is left lies before most others.
                            let used = size.next_multiple_of(INODE_SLOT_SIZE);
                            gaps.add(at + used, length - used, first);
                            slow.add(at + used, length - used, first);
                            found += 1;
                        }
                    }
                    assert_eq!(gaps.count, slow.0.len());
                }
                assert_eq!(forgotten, reach < 1 << 20, "{block} {reach}");
                assert!(found > 100, "{block} {reach} {found}");
            }
        }
    }
}
