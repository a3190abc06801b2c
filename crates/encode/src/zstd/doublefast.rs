//! A fast parser: two hash tables, for matches of eight bytes and of four or five, one candidate each.
#![expect(clippy::cast_possible_truncation, reason = "positions are below 2^32, which `begin` sees to")]

use super::bits::{load32, load64};
use super::parse::{Model, Parse, Parser, match_len};
use super::sequence::Match;

/// How many bytes before the end of a block no search begins.
const MARGIN: usize = 12;
/// How often the expected cost of literals without a match is looked at, in bytes.
const CHECK: usize = 512;
/// A match of four bytes from farther away than this costs as much as its literals.
const FAR: u32 = 1 << 14;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c55;

/// The tables. Positions count on from call to call, so that tables need no clearing: what lies before the
/// current input is recognised by its distance.
pub(super) struct DoubleFast<const LONG: usize, const SHORT: usize, const MIN: u32> {
    long: Box<[u32]>,
    short: Box<[u32]>,
    base: u32,
    window: u32,
    patience: usize,
}

/// What a search ends with.
enum Found {
    /// A match at `at` with a new offset.
    Fresh { at: usize, length: usize, distance: u32 },
    /// A match at `at` with the most recent offset.
    Repeated { at: usize, length: usize },
    /// Nothing up to `at`: the block ends, or the literals have used the budget up.
    Nothing { at: usize },
}

/// One parse: the tables and the input.
struct Search<'a, const LONG: usize, const SHORT: usize, const MIN: u32> {
    long: &'a mut [u32; LONG],
    short: &'a mut [u32; SHORT],
    base: u32,
    window: u32,
    patience: usize,
    src: &'a [u8],
    end: usize,
}

impl<const LONG: usize, const SHORT: usize, const MIN: u32> DoubleFast<LONG, SHORT, MIN> {
    /// Matches reach `window` bytes back; after `patience` bytes without a match the search takes longer
    /// steps, by one byte each time.
    pub(super) fn new(window: u32, patience: usize) -> Self {
        let table = |size| vec![0_u32; size].into_boxed_slice();
        let long = table(LONG).try_into().unwrap_or_else(|_| Box::new([0; LONG]));
        let short = table(SHORT).try_into().unwrap_or_else(|_| Box::new([0; SHORT]));
        Self { long, short, base: 1, window, patience }
    }
}

impl<const LONG: usize, const SHORT: usize, const MIN: u32> Search<'_, LONG, SHORT, MIN> {
    #[inline(always)]
    fn long_slot(bytes: u64) -> usize {
        (bytes.wrapping_mul(MULTIPLIER) >> (64 - LONG.trailing_zeros())) as usize & (LONG - 1)
    }

    #[inline(always)]
    fn short_slot(bytes: u64) -> usize {
        ((bytes << (64 - 8 * MIN)).wrapping_mul(MULTIPLIER) >> (64 - SHORT.trailing_zeros())) as usize
            & (SHORT - 1)
    }

    #[inline(always)]
    fn insert_long(&mut self, at: usize) {
        self.long[Self::long_slot(load64(self.src, at))] = self.base + at as u32;
    }

    #[inline(always)]
    fn insert_short(&mut self, at: usize) {
        self.short[Self::short_slot(load64(self.src, at))] = self.base + at as u32;
    }

    /// Whether the eight bytes `back` before `at` are `bytes`. Only the answer is a branch, not the way to
    /// it: where a slot points to nothing is as hard to foresee as where it points.
    #[inline(always)]
    fn is_long(&self, at: usize, back: u32, bytes: u64) -> bool {
        let reach = self.window.min(at as u32);
        let valid = back.wrapping_sub(1) < reach;
        let place = at - if valid { back as usize } else { 0 };
        (load64(self.src, place) == bytes) & valid
    }

    /// The same for four bytes.
    #[inline(always)]
    fn is_short(&self, at: usize, back: u32, bytes: u32) -> bool {
        let reach = self.window.min(at as u32);
        let valid = back.wrapping_sub(1) < reach;
        let place = at - if valid { back as usize } else { 0 };
        (load32(self.src, place) == bytes) & valid
    }

    /// Whether the four bytes at `at` are those one offset before; an offset of 0 is none.
    #[inline(always)]
    fn is_repeat(&self, at: usize, offset: u32) -> bool {
        let valid = offset.wrapping_sub(1) < at as u32;
        let place = at - if valid { offset as usize } else { 0 };
        (load32(self.src, at) == load32(self.src, place)) & valid
    }

    /// The whole length of a match whose first `known` bytes are known.
    #[inline(always)]
    fn length(&self, at: usize, distance: u32, known: usize) -> usize {
        known + match_len(self.src, at + known, at + known - distance as usize)
    }

    /// Searches from `start` on. Literals may go on for `budget` bytes from `anchor`.
    #[inline(always)]
    fn next(&mut self, start: usize, anchor: usize, first: u32, budget: usize) -> Found {
        let mut at = start;
        let mut step = 1 + ((at - anchor) / self.patience);
        let mut longer = at + self.patience;
        let mut check = at + CHECK;
        let mut bytes = load64(self.src, at);
        let mut long_slot = Self::long_slot(bytes);
        let mut long_seen = self.long[long_slot];
        while at < self.end {
            let here = self.base + at as u32;
            let short_slot = Self::short_slot(bytes);
            let short_back = here.wrapping_sub(self.short[short_slot]);
            let long_back = here.wrapping_sub(long_seen);
            self.long[long_slot] = here;
            self.short[short_slot] = here;
            let after = at + step;
            let after_bytes = load64(self.src, after);
            let after_slot = Self::long_slot(after_bytes);
            let after_seen = self.long[after_slot];
            if self.is_repeat(at + 1, first) {
                return Found::Repeated { at: at + 1, length: self.length(at + 1, first, 4) };
            }
            if self.is_long(at, long_back, bytes) {
                return Found::Fresh { at, length: self.length(at, long_back, 8), distance: long_back };
            }
            if self.is_short(at, short_back, bytes as u32) {
                // Perhaps a long match begins at the next place.
                let after_back = (self.base + after as u32).wrapping_sub(after_seen);
                // Steps get long in noise: the next place may lie behind the end, where loads give zeros.
                if after + 8 <= self.src.len() && self.is_long(after, after_back, after_bytes) {
                    self.long[after_slot] = self.base + after as u32;
                    return Found::Fresh {
                        at: after,
                        length: self.length(after, after_back, 8),
                        distance: after_back,
                    };
                }
                let length = self.length(at, short_back, 4);
                if length > 4 || short_back <= FAR {
                    return Found::Fresh { at, length, distance: short_back };
                }
            }
            if at >= longer {
                step += 1;
                longer += self.patience;
                if at >= check {
                    check = at + CHECK;
                    if at - anchor > budget {
                        return Found::Nothing { at };
                    }
                }
            }
            at = after;
            bytes = after_bytes;
            long_slot = after_slot;
            long_seen = after_seen;
        }
        Found::Nothing { at }
    }

    /// How many bytes before `at` match as well, down to `anchor`.
    #[inline(always)]
    fn backward(&self, at: usize, anchor: usize, distance: u32) -> usize {
        let earlier = at - distance as usize;
        let limit = (at - anchor).min(earlier);
        let (here, there) = (&self.src[at - limit..at], &self.src[earlier - limit..earlier]);
        here.iter().rev().zip(there.iter().rev()).take_while(|(one, other)| one == other).count()
    }
}

impl<const LONG: usize, const SHORT: usize, const MIN: u32> Parser for DoubleFast<LONG, SHORT, MIN> {
    fn begin(&mut self, length: usize) {
        if self.base.checked_add(length as u32 + 1).is_none_or(|end| end > u32::MAX - (1 << 20)) {
            self.long.fill(0);
            self.short.fill(0);
            self.base = 1;
        }
    }

    fn end(&mut self, parsed: usize) {
        // A little more than was parsed keeps every later position apart from these.
        self.base += parsed as u32 + 16;
    }

    fn parse(&mut self, src: &[u8], run: &mut Parse, model: Model, limit: u64) {
        let end = src.len().saturating_sub(MARGIN);
        let (base, window, patience) = (self.base, self.window, self.patience.max(1));
        let (Some(long), Some(short)) = (self.long.first_chunk_mut(), self.short.first_chunk_mut()) else {
            return;
        };
        let mut search = Search::<LONG, SHORT, MIN> { long, short, base, window, patience, src, end };
        let matches = &mut run.matches;
        let mut anchor = run.anchor;
        let mut at = run.at.max(1);
        let [mut first, mut second] = run.recent;
        let mut cost = run.cost;
        while at < end && cost <= limit {
            let budget = ((limit - cost) / u64::from(model.literal.max(1))) as usize;
            let start;
            let mut length;
            match search.next(at, anchor, first, budget) {
                Found::Nothing { at: there } => {
                    at = there;
                    if there < end {
                        cost += model.literals(there - anchor);
                    }
                    break;
                }
                Found::Repeated { at: there, length: found } => {
                    (start, length) = (there, found);
                    cost += model.repeated(start - anchor);
                }
                Found::Fresh { at: there, length: found, distance } => {
                    let more = search.backward(there, anchor, distance);
                    (start, length) = (there - more, found + more);
                    cost += model.fresh(start - anchor, distance);
                    (second, first) = (first, distance);
                }
            }
            matches.push(Match { literals: (start - anchor) as u32, length: length as u32, distance: first });
            at = start + length;
            if at < end {
                search.insert_long(start + 2);
                search.insert_short(start + 2);
                search.insert_long(at - 2);
                search.insert_short(at - 1);
                while at < end && search.is_repeat(at, second) {
                    length = search.length(at, second, 4);
                    (first, second) = (second, first);
                    search.insert_long(at);
                    search.insert_short(at);
                    matches.push(Match { literals: 0, length: length as u32, distance: first });
                    cost += model.repeated(0);
                    at += length;
                }
            }
            anchor = at;
        }
        (run.at, run.anchor, run.recent, run.cost) = (at, anchor, [first, second], cost);
    }
}
