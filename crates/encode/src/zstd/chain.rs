//! A thorough parser: hash chains, and a match is taken only when the next places have none that is better.
#![expect(clippy::cast_possible_truncation, reason = "positions are below 2^32, which `begin` sees to")]

use super::bits::{load32, load64};
use super::parse::{Model, Parse, Parser, match_len};
use super::sequence::Match;
use crate::error::EncodeError;

/// How many bytes before the end of a block no search begins.
const MARGIN: usize = 12;
/// After so many bytes without a match the search takes longer steps, by one byte each time.
const PATIENCE: usize = 256;
/// How often the expected cost of literals without a match is looked at, in bytes.
const CHECK: usize = 512;
/// Of a longer stretch that was skipped only the end is entered into the chains.
const SKIPPED: usize = 384;
/// How much of its end.
const ENTERED: usize = 128;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c55;

/// How hard the parser tries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// How many candidates are looked at for one place.
    pub(super) depth: u32,
    /// How many places further a better match is looked for.
    pub(super) lazy: u32,
    /// A match of so many bytes is good enough.
    pub(super) nice: usize,
    /// How many bytes are hashed: 4 or 5.
    pub(super) min: u32,
}

/// The tables: chains that hold the last `CHAIN` positions, and a hash table of `SLOTS` slots; both are
/// powers of two. See [`super::doublefast::DoubleFast`] for how positions count.
pub(super) struct Chain<const CHAIN: usize, const SLOTS: usize> {
    heads: Box<[u32]>,
    links: Box<[u32]>,
    base: u32,
    window: u32,
    effort: Effort,
}

/// A match that could be taken; `distance` 0 stands for the most recent offset.
#[derive(Debug, Clone, Copy, Default)]
struct Candidate {
    at: usize,
    length: usize,
    distance: u32,
}

impl Candidate {
    /// What it saves, in about quarters of a byte: four for each byte less the bits of the offset.
    fn gain(self) -> i32 {
        let bits = if self.distance == 0 { 0 } else { self.distance.ilog2().cast_signed() + 1 };
        4 * (self.length as u32).cast_signed() - bits
    }
}

impl Candidate {
    /// Whether a recent offset one place on is better: it has no offset to pay for, but bytes count a little
    /// less.
    fn is_worth_more_than(self, best: Self) -> bool {
        let length = |candidate: Self| (candidate.length as u32).cast_signed();
        3 * length(self) > best.gain() - length(best) + 1
    }
}

struct Search<'a, const CHAIN: usize, const SLOTS: usize> {
    heads: &'a mut [u32; SLOTS],
    links: &'a mut [u32; CHAIN],
    base: u32,
    window: u32,
    effort: Effort,
    src: &'a [u8],
    end: usize,
    /// The next place to enter into the chains.
    entered: usize,
}

impl<const CHAIN: usize, const SLOTS: usize> Search<'_, CHAIN, SLOTS> {
    #[inline(always)]
    fn slot(&self, at: usize) -> usize {
        let bytes = load64(self.src, at) << (64 - 8 * self.effort.min);
        (bytes.wrapping_mul(MULTIPLIER) >> (64 - SLOTS.trailing_zeros())) as usize & (SLOTS - 1)
    }

    /// Enters `at` and gives the place that was entered before it under the same hash.
    #[inline(always)]
    fn enter(&mut self, at: usize) -> u32 {
        let slot = self.slot(at);
        let here = self.base + at as u32;
        let before = self.heads[slot];
        self.links[here as usize & (CHAIN - 1)] = before;
        self.heads[slot] = here;
        before
    }

    #[inline(always)]
    fn enter_to(&mut self, at: usize) {
        if at > self.entered + SKIPPED {
            self.entered = at - ENTERED;
        }
        while self.entered < at {
            self.enter(self.entered);
            self.entered += 1;
        }
    }

    /// The longest match at `at`, and the nearest among the longest.
    #[inline(always)]
    fn longest(&mut self, at: usize) -> Candidate {
        self.enter_to(at);
        let mut place = self.enter(at);
        self.entered = at + 1;
        let here = self.base + at as u32;
        let reach = self.window.min(at as u32).min(CHAIN as u32 - 1);
        let mut best = Candidate { at, length: 3, distance: 0 };
        for _ in 0..self.effort.depth {
            let back = here.wrapping_sub(place);
            if back.wrapping_sub(1) >= reach {
                break;
            }
            let earlier = at - back as usize;
            // Better than the best so far only if its last four bytes are the same.
            if load32(self.src, earlier + best.length - 3) == load32(self.src, at + best.length - 3) {
                let length = match_len(self.src, at, earlier);
                if length > best.length {
                    best = Candidate { at, length, distance: back };
                    if length >= self.effort.nice || at + length >= self.end {
                        break;
                    }
                }
            }
            place = self.links[place as usize & (CHAIN - 1)];
        }
        if best.distance == 0 { Candidate::default() } else { best }
    }

    /// The match at `at` with a recent offset; its length is 0 when there is none.
    #[inline(always)]
    fn repeated(&self, at: usize, offset: u32) -> Candidate {
        let earlier = at.wrapping_sub(offset as usize);
        if offset == 0 || offset as usize > at || load32(self.src, at) != load32(self.src, earlier) {
            return Candidate::default();
        }
        Candidate { at, length: 4 + match_len(self.src, at + 4, earlier + 4), distance: 0 }
    }

    /// The match to take at `at` or a little behind it, if there is one.
    fn best(&mut self, at: usize, first: u32) -> Option<Candidate> {
        let mut best = self.repeated(at + 1, first);
        let fresh = self.longest(at);
        if fresh.length >= 4 && fresh.gain() > best.gain() - 2 {
            best = fresh;
        }
        if best.length < 4 {
            return None;
        }
        let mut at = at;
        let mut tries = 0;
        while at < self.end && tries < self.effort.lazy && best.length < self.effort.nice {
            at += 1;
            tries += 1;
            let repeated = self.repeated(at, first);
            if repeated.length >= 4 && repeated.is_worth_more_than(best) {
                (best, tries) = (repeated, 0);
            }
            let fresh = self.longest(at);
            let margin = if tries <= 1 { 4 } else { 7 };
            if fresh.length >= 4 && fresh.gain() > best.gain() + margin {
                (best, tries) = (fresh, 0);
            }
        }
        Some(best)
    }
}

/// A table of zeros, which takes memory where it is used alone.
///
/// # Errors
/// [`EncodeError::Memory`]: a pcluster of 1 MiB takes several MiB, too much to end the program for it.
fn zeros(length: usize) -> Result<Box<[u32]>, EncodeError> {
    // Tried first, because zeros that the system gives cannot be asked for in a way that fails.
    let tried = Vec::<u32>::new().try_reserve_exact(length);
    tried.map_err(|_| EncodeError::Memory { algorithm: "zstd" })?;
    Ok(vec![0; length].into_boxed_slice())
}

/// A parser whose matches reach `window` bytes back: a power of two up to 1 MiB, the largest dictionary size
/// of zstd.
///
/// The chains hold a window. With 256 KiB for each of them, windows of 1 MiB made joined fragments of C
/// headers larger by up to 2 %, because equal parts of files stand that far apart.
pub(super) fn parser(window: u32, effort: Effort) -> Result<Box<dyn Parser>, EncodeError> {
    Ok(match window {
        ..=0x4_0000 => Box::new(Chain::<{ 1 << 18 }, { 1 << 17 }>::new(window, effort)?),
        0x4_0001..=0x8_0000 => Box::new(Chain::<{ 1 << 19 }, { 1 << 18 }>::new(window, effort)?),
        _ => Box::new(Chain::<{ 1 << 20 }, { 1 << 19 }>::new(window, effort)?),
    })
}

impl<const CHAIN: usize, const SLOTS: usize> Chain<CHAIN, SLOTS> {
    fn new(window: u32, effort: Effort) -> Result<Self, EncodeError> {
        Ok(Self { heads: zeros(SLOTS)?, links: zeros(CHAIN)?, base: 1, window, effort })
    }
}

impl<const CHAIN: usize, const SLOTS: usize> Parser for Chain<CHAIN, SLOTS> {
    fn begin(&mut self, length: usize) {
        if self.base.checked_add(length as u32 + 1).is_none_or(|end| end > u32::MAX - (1 << 20)) {
            self.heads.fill(0);
            self.links.fill(0);
            self.base = 1;
        }
    }

    fn end(&mut self, parsed: usize) {
        // A little more than was parsed keeps every later position apart from these.
        self.base += parsed as u32 + 16;
    }

    fn parse(&mut self, src: &[u8], run: &mut Parse, model: Model, limit: u64) {
        let end = src.len().saturating_sub(MARGIN);
        let (base, window, effort) = (self.base, self.window, self.effort);
        let (Some(heads), Some(links)) = (self.heads.first_chunk_mut(), self.links.first_chunk_mut()) else {
            return;
        };
        let mut search =
            Search::<'_, CHAIN, SLOTS> { heads, links, base, window, effort, src, end, entered: run.at };
        let mut anchor = run.anchor;
        let mut at = run.at.max(1);
        let [mut first, mut second] = run.recent;
        let mut check = at + CHECK;
        while at < end && run.cost <= limit {
            let Some(found) = search.best(at, first) else {
                at += 1 + (at - anchor) / PATIENCE;
                if at >= check {
                    check = at + CHECK;
                    if run.cost + model.literals(at - anchor) > limit {
                        run.cost += model.literals(at - anchor);
                        break;
                    }
                }
                continue;
            };
            let Candidate { at: mut start, mut length, distance } = found;
            if distance != 0 {
                while start > anchor
                    && start > distance as usize
                    && src[start - 1] == src[start - 1 - distance as usize]
                {
                    (start, length) = (start - 1, length + 1);
                }
            }
            run.cost += if distance == 0 || distance == first {
                model.repeated(start - anchor)
            } else {
                (second, first) = (first, distance);
                model.fresh(start - anchor, distance)
            };
            run.matches.push(Match {
                literals: (start - anchor) as u32,
                length: length as u32,
                distance: first,
            });
            at = start + length;
            while at < end {
                let again = search.repeated(at, second);
                if again.length == 0 {
                    break;
                }
                (first, second) = (second, first);
                run.matches.push(Match { literals: 0, length: again.length as u32, distance: first });
                run.cost += model.repeated(0);
                at += again.length;
            }
            anchor = at;
        }
        search.enter_to(at.min(end));
        (run.at, run.anchor, run.recent) = (at, anchor, [first, second]);
    }
}
