//! Where has this been before: the tables that find matches.
//!
//! Positions are kept in 16 bits, so that the tables stay in a core's nearest caches. What they say is a
//! hint: a distance is used when it lies within the window and the bytes there are equal. The tables are
//! cleared for every source, as far as it can fill them, so that no hint comes from an earlier one.

use super::symbol::MAX_MATCH;

/// The largest window of DEFLATE in bytes.
pub(super) const WINDOW: u32 = 1 << 15;
/// Matches of three bytes from further back cost more than their literals.
const MAX_DISTANCE_OF_THREE: u32 = 4096;
const HASH_LOG: u32 = 15;
const HASH_LOG_OF_THREE: u32 = 13;

/// A match: `length` is 0 when there is none.
#[derive(Clone, Copy, Default)]
pub(super) struct Match {
    pub(super) length: usize,
    pub(super) distance: u32,
}

/// The source of one call.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) bytes: &'a [u8],
    /// How far back a match may lie, at most [`WINDOW`].
    pub(super) window: u32,
}

impl Source<'_> {
    /// The largest distance at `at`.
    #[inline]
    fn farthest(&self, at: usize) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "not above the window")]
        let farthest = at.min(self.window as usize) as u32;
        farthest
    }
}

/// A position as the tables hold it.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the tables hold the low 16 bits")]
fn number(at: usize) -> u16 {
    at as u16
}

/// How far back from `at` a number lies; 65536 when it is the same.
#[inline]
fn distance(at: usize, earlier: u16) -> u32 {
    u32::from(number(at).wrapping_sub(earlier).wrapping_sub(1)) + 1
}

/// A way to find matches.
pub(super) trait Matcher {
    /// Makes ready for a source of `len` bytes.
    fn start(&mut self, len: usize);

    /// The longest match at `at` that is longer than `longer_than`; remembers the position. Four bytes must
    /// be there.
    fn find(&mut self, source: &Source<'_>, at: usize, longer_than: usize) -> Match;

    /// Remembers the positions `from..to`; four bytes must be there at each.
    fn insert(&mut self, source: &Source<'_>, from: usize, to: usize);
}

/// The last two positions of every hash of four bytes: one memory access for a position.
pub(super) struct Buckets {
    rows: Box<[[u16; 2]; 1 << HASH_LOG]>,
    /// 32 less the logarithm of how many rows are used.
    shift: u32,
    nice: usize,
}

impl Buckets {
    pub(super) fn new(nice: usize) -> Self {
        Self { rows: boxed([0; 2]), shift: 32 - HASH_LOG, nice }
    }

    #[inline]
    fn row(&mut self, value: u32) -> &mut [u16; 2] {
        &mut self.rows[hash(value, self.shift) & ((1 << HASH_LOG) - 1)]
    }
}

impl Matcher for Buckets {
    fn start(&mut self, len: usize) {
        let log = hash_log(len, HASH_LOG);
        self.shift = 32 - log;
        self.rows[..1 << log].fill([0; 2]);
    }

    #[inline]
    fn find(&mut self, source: &Source<'_>, at: usize, longer_than: usize) -> Match {
        let value = load4(source.bytes, at);
        let row = self.row(value);
        let candidates = *row;
        *row = [number(at), candidates[0]];
        let farthest = source.farthest(at);
        let most = (source.bytes.len() - at).min(MAX_MATCH);
        let mut best = Match::default();
        let mut longest = longer_than.max(3);
        for candidate in candidates {
            let distance = distance(at, candidate);
            if distance > farthest {
                continue;
            }
            let from = at.wrapping_sub(distance as usize);
            if load4(source.bytes, from) == value
                && source.bytes.get(from.wrapping_add(longest)) == source.bytes.get(at.wrapping_add(longest))
            {
                let length = match_length(source.bytes, from, at, most);
                if length > longest {
                    longest = length;
                    best = Match { length, distance };
                    if length >= self.nice {
                        break;
                    }
                }
            }
        }
        best
    }

    #[inline]
    fn insert(&mut self, source: &Source<'_>, from: usize, to: usize) {
        let mut at = from;
        while at < to {
            // One load serves five positions.
            let mut values = load8(source.bytes, at);
            let end = to.min(at.wrapping_add(5));
            while at < end {
                #[expect(clippy::cast_possible_truncation, reason = "the next four bytes")]
                let row = self.row(values as u32);
                *row = [number(at), row[0]];
                values >>= 8;
                at = at.wrapping_add(1);
            }
        }
    }
}

/// Chains of all positions with the same hash of four bytes, and the last position of every hash of three.
pub(super) struct Chains {
    heads: Box<[u16; 1 << HASH_LOG]>,
    threes: Box<[u16; 1 << HASH_LOG_OF_THREE]>,
    previous: Box<[u16; WINDOW as usize]>,
    /// 32 less the logarithms of how many heads are used.
    shifts: (u32, u32),
    depth: u32,
    nice: usize,
}

impl Chains {
    /// Chains of which `depth` positions are looked at, fewer when a match of `nice` bytes is among them.
    pub(super) fn new(depth: u32, nice: usize) -> Self {
        let shifts = (32 - HASH_LOG, 32 - HASH_LOG_OF_THREE);
        Self { heads: boxed(0), threes: boxed(0), previous: boxed(0), shifts, depth, nice }
    }

    /// Enters a position and returns the ones that were last before it: of the same four bytes, and of the
    /// same three.
    #[inline]
    fn enter(&mut self, value: u32, at: usize) -> (u16, u16) {
        let head = &mut self.heads[hash(value, self.shifts.0) & ((1 << HASH_LOG) - 1)];
        let three = &mut self.threes[hash(value << 8, self.shifts.1) & ((1 << HASH_LOG_OF_THREE) - 1)];
        let last = (*head, *three);
        self.previous[slot(number(at))] = last.0;
        *head = number(at);
        *three = number(at);
        last
    }
}

#[inline]
fn slot(number: u16) -> usize {
    usize::from(number) & (WINDOW as usize - 1)
}

impl Matcher for Chains {
    fn start(&mut self, len: usize) {
        let logs = (hash_log(len, HASH_LOG), hash_log(len, HASH_LOG_OF_THREE));
        self.shifts = (32 - logs.0, 32 - logs.1);
        self.heads[..1 << logs.0].fill(0);
        self.threes[..1 << logs.1].fill(0);
        self.previous[..len.min(WINDOW as usize)].fill(0);
    }

    #[inline]
    fn find(&mut self, source: &Source<'_>, at: usize, longer_than: usize) -> Match {
        let bytes = source.bytes;
        let value = load4(bytes, at);
        let (candidate, three) = self.enter(value, at);
        let farthest = source.farthest(at);
        let most = (bytes.len() - at).min(MAX_MATCH);
        let mut best = Match::default();
        let mut longest = longer_than.max(2);
        if longest < 3 {
            let distance = distance(at, three);
            if distance <= farthest.min(MAX_DISTANCE_OF_THREE)
                && (load4(bytes, at.wrapping_sub(distance as usize)) ^ value) << 8 == 0
            {
                best = Match { length: 3, distance };
            }
            longest = 3;
        }
        if longest >= most {
            return best;
        }
        let ending_at =
            |place: usize, longest: usize| load4(bytes, place.wrapping_add(longest).wrapping_sub(3));
        let mut ending = ending_at(at, longest);
        let mut back = distance(at, candidate);
        let mut depth = self.depth;
        while back <= farthest {
            let from = at.wrapping_sub(back as usize);
            if ending_at(from, longest) == ending && load4(bytes, from) == value {
                let length = match_length(bytes, from, at, most);
                if length > longest {
                    longest = length;
                    best = Match { length, distance: back };
                    if length >= self.nice || length >= most {
                        break;
                    }
                    ending = ending_at(at, longest);
                }
            }
            depth = depth.wrapping_sub(1);
            let next = distance(at, self.previous[slot(number(from))]);
            // A slot that has been taken by a later position ends the chain.
            if depth == 0 || next <= back {
                break;
            }
            back = next;
        }
        best
    }

    #[inline]
    fn insert(&mut self, source: &Source<'_>, from: usize, to: usize) {
        for at in from..to {
            let _last = self.enter(load4(source.bytes, at), at);
        }
    }
}

/// The size of a hash table for `len` positions, as a power of two: small sources need not clear a large
/// table.
fn hash_log(len: usize, most: u32) -> u32 {
    (len.max(1).ilog2() + 1).clamp(8, most)
}

fn boxed<T: Clone, const N: usize>(value: T) -> Box<[T; N]> {
    match vec![value; N].into_boxed_slice().try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("a vector of N elements is an array of N elements"),
    }
}

#[inline]
fn hash(value: u32, shift: u32) -> usize {
    (value.wrapping_mul(0x9E37_79B1) >> (shift & 31)) as usize
}

#[inline]
fn load4(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at.wrapping_add(4)).and_then(|bytes| bytes.first_chunk());
    four.map_or(0, |four| u32::from_le_bytes(*four))
}

/// Eight bytes, or zeros behind those that are there.
#[inline]
fn load8(bytes: &[u8], at: usize) -> u64 {
    if let Some(eight) = bytes.get(at..at.wrapping_add(8)).and_then(|bytes| bytes.first_chunk()) {
        return u64::from_le_bytes(*eight);
    }
    bytes[at..].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// How many bytes are equal at `from` and at the later place `at`, up to `most`, which must not reach behind
/// the end.
#[inline]
fn match_length(bytes: &[u8], from: usize, at: usize, most: usize) -> usize {
    let earlier = &bytes[from..from.wrapping_add(most)];
    let later = &bytes[at..at.wrapping_add(most)];
    let mut length = 0;
    for (left, right) in earlier.chunks_exact(8).zip(later.chunks_exact(8)) {
        let (Some(left), Some(right)) = (left.first_chunk(), right.first_chunk()) else { break };
        let different = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if different != 0 {
            return length + (different.trailing_zeros() >> 3) as usize;
        }
        length += 8;
    }
    let equal =
        earlier[length..].iter().zip(&later[length..]).take_while(|(left, right)| left == right).count();
    length + equal
}
