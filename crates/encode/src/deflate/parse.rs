//! The parse: from bytes to runs of literals and matches.

use super::matcher::{Match, Matcher, Source};

/// A run of literals and the match behind it; a match of length 0 is none.
#[derive(Clone, Copy)]
pub(super) struct Sequence {
    pub(super) literals: u32,
    pub(super) length: u16,
    pub(super) distance: u16,
}

/// How the parser weighs its choices.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    /// Positions in which a longer match is looked for before one is taken: 0, 1 or 2.
    pub(super) lazy: u8,
    /// A match of this length is taken at once.
    pub(super) nice: usize,
    /// After 2 to the power of this many bytes without a match every second position is looked at, and so on.
    pub(super) skip_log: u32,
}

/// What symbols are thought to cost, in sixteenths of a bit.
#[derive(Clone, Copy)]
pub(super) struct Prices {
    pub(super) literal: u64,
    /// A match but for the extra bits of its distance.
    pub(super) matched: u64,
}

impl Prices {
    /// Before anything is known.
    pub(super) const FIRST: Self = Self { literal: 6 * 16, matched: 12 * 16 };
}

/// Where to stop.
#[derive(Clone, Copy)]
pub(super) struct Until {
    /// Symbols of one unit.
    pub(super) symbols: u32,
    /// Sixteenths of bits.
    pub(super) price: u64,
}

/// What a stretch of the parse came to.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    /// The position behind it.
    pub(super) end: usize,
    /// Its price.
    pub(super) price: u64,
}

/// Matches begin at least so far before the end of the source: four bytes are loaded.
const TAIL: usize = 4;

/// Parses from `start` on, appending to `sequences`, up to the end of the source or to what `until` says. All
/// of the stretch is in the sequences: a last one without a match takes up literals that are left.
pub(super) fn parse<M: Matcher, const LAZY: bool>(
    matcher: &mut M,
    source: &Source<'_>,
    start: usize,
    effort: &Effort,
    (prices, until): (Prices, Until),
    sequences: &mut Vec<Sequence>,
) -> Stretch {
    let stop = source.bytes.len().saturating_sub(TAIL - 1);
    let (mut at, mut anchor) = (start, start);
    let (mut symbols, mut price) = (0_u32, 0_u64);
    let mut run_end = stop.min(anchor + until.symbols as usize);
    while at < run_end {
        let mut found = matcher.find(source, at, 0);
        if found.length == 0 {
            at = at.wrapping_add(1 + ((at - anchor) >> effort.skip_log));
            continue;
        }
        let mut inserted = at.wrapping_add(1);
        if LAZY {
            (at, found, inserted) = defer(matcher, source, at, found, effort, stop);
        }
        let literals = at.wrapping_sub(anchor);
        sequences.push(sequence(literals, found));
        let end = at.wrapping_add(found.length);
        matcher.insert(source, inserted, end.min(stop));
        at = end;
        anchor = end;
        symbols =
            symbols.wrapping_add(sequences.last().map_or(0, |sequence| sequence.literals)).wrapping_add(1);
        price = price
            .wrapping_add(prices.literal.wrapping_mul(literals as u64))
            .wrapping_add(prices.matched)
            .wrapping_add(u64::from(distance_price(found.distance)));
        if symbols >= until.symbols || price > until.price {
            return Stretch { end: at, price };
        }
        run_end = stop.min(anchor.wrapping_add((until.symbols.wrapping_sub(symbols)) as usize));
    }
    // The end of the source, or a unit's worth of literals.
    let end = if run_end == stop { source.bytes.len() } else { at.min(source.bytes.len()) };
    let literals = end - anchor;
    if literals > 0 {
        sequences.push(sequence(literals, Match::default()));
        price += prices.literal * literals as u64;
    }
    Stretch { end, price }
}

/// Looks for a better match one or two positions further on, as long as there is one. Returns where the match
/// that is taken begins, the match, and the first position that is not yet in the tables.
#[inline]
fn defer<M: Matcher>(
    matcher: &mut M,
    source: &Source<'_>,
    mut at: usize,
    mut found: Match,
    effort: &Effort,
    stop: usize,
) -> (usize, Match, usize) {
    let mut inserted = at + 1;
    'better: while found.length < effort.nice && inserted < stop {
        for ahead in 1..=usize::from(effort.lazy) {
            if at + ahead < inserted || at + ahead >= stop {
                break 'better;
            }
            let other = matcher.find(source, at + ahead, found.length - 1);
            inserted = at + ahead + 1;
            let gain = worth(other) - worth(found);
            if other.length > 0 && gain > if ahead == 1 { 2 } else { 6 } {
                at += ahead;
                found = other;
                continue 'better;
            }
        }
        break;
    }
    (at, found, inserted)
}

/// A measure of matches to compare two of them: four for a byte saved, one for a bit of the distance.
#[inline]
fn worth(found: Match) -> i64 {
    let saved = 4 * found.length as u64;
    saved.cast_signed() - i64::from(32 - found.distance.leading_zeros())
}

/// The extra bits of a distance, and the rarity of great ones, in sixteenths of a bit.
#[inline]
fn distance_price(distance: u32) -> u32 {
    (32 - distance.leading_zeros()) << 4
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "lengths are at most 258, distances 32768, literals a unit"
)]
fn sequence(literals: usize, found: Match) -> Sequence {
    Sequence { literals: literals as u32, length: found.length as u16, distance: found.distance as u16 }
}
