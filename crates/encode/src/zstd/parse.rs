//! What the parsers have in common.

use super::fse::BIT;
use super::sequence::Match;

/// What things are expected to cost while a block is parsed, in 1/256 bit. The exact cost is counted
/// afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    /// One literal.
    pub(super) literal: u32,
    /// One sequence without the extra bits of its offset.
    pub(super) sequence: u32,
}

impl Default for Model {
    fn default() -> Self {
        Self { literal: 6 * BIT, sequence: 14 * BIT }
    }
}

/// What a recent offset saves against a sequence, in bits.
pub(super) const REPEATED_SAVES: u32 = 4;

impl Model {
    /// So many literals.
    #[inline(always)]
    pub(super) fn literals(self, count: usize) -> u64 {
        count as u64 * u64::from(self.literal)
    }

    /// A sequence with a recent offset.
    #[inline(always)]
    pub(super) fn repeated(self, literals: usize) -> u64 {
        self.literals(literals) + u64::from(self.sequence.saturating_sub(REPEATED_SAVES * BIT))
    }

    /// A sequence with a new offset.
    #[inline(always)]
    pub(super) fn fresh(self, literals: usize, distance: u32) -> u64 {
        self.literals(literals) + u64::from(self.sequence + (distance.ilog2() + 1) * BIT)
    }
}

/// A parse that can go on.
#[derive(Debug, Default)]
pub(super) struct Parse {
    /// Where the search goes on.
    pub(super) at: usize,
    /// Where the literals begin that belong to no match yet.
    pub(super) anchor: usize,
    /// The last two offsets of this frame; 0 where there are none.
    pub(super) recent: [u32; 2],
    /// Expected cost since it was set to zero, in 1/256 bit.
    pub(super) cost: u64,
    /// What was found.
    pub(super) matches: Vec<Match>,
}

/// Finds matches.
pub(super) trait Parser: Send {
    /// An input of `length` bytes comes.
    fn begin(&mut self, length: usize);
    /// The input is done with; `parsed` bytes of it were looked at.
    fn end(&mut self, parsed: usize);
    /// Parses from `run.at` to the end of `src`, or until the expected cost is above `limit` (in 1/256 bit).
    fn parse(&mut self, src: &[u8], run: &mut Parse, model: Model, limit: u64);
}

/// How many bytes at `at` and at `earlier` are the same, to the end of `src`.
#[inline(always)]
pub(super) fn match_len(src: &[u8], at: usize, earlier: usize) -> usize {
    let (Some(here), Some(there)) = (src.get(at..), src.get(earlier..)) else {
        return 0;
    };
    let mut length = 0;
    for (one, other) in here.as_chunks::<8>().0.iter().zip(there.as_chunks::<8>().0) {
        let difference = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if difference != 0 {
            return length + (difference.trailing_zeros() >> 3) as usize;
        }
        length += 8;
    }
    let same = here[length..].iter().zip(&there[length..]).take_while(|(one, other)| one == other);
    length + same.count()
}
