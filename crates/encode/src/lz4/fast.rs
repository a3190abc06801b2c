//! LZ4's fast encoder for an output of fixed size: one pass, greedy, no more of the source looked at than will fit.
//!
//! ```text
//! search: a position whose bytes stood somewhere before ─► back to where they begin to be equal ─► literals, match
//!                                        ▲                                                             │
//!                                        └── none ── next: what follows a match, without literals ◄───┘
//! ```
//!
//! Three things make it faster than liblz4's at no larger output. Thirty-two bytes are compared at once, so that one
//! comparison tells whether there is a match and, mostly, how long it is; and what a length takes behind the token is written without
//! asking whether it is there. What directly follows a match has a loop of its own,
//! which takes only matches that are worth their three bytes: fewer sequences, fewer mispredicted branches. And how many bytes
//! are hashed, and how short a match may be, depends on whether the content is text. Where source or output come
//! near their ends, `finish` goes on with every check.
//!
//! The rules of the end are those of the block format (`lz4_Block_format.md` of liblz4), which Linux checks: the last five
//! bytes are literals, and the last match starts at least twelve bytes before the end.

use super::run::run;

/// Slots of the table, as a power of two: 16 KiB, a third of a first-level cache.
const SLOTS_LOG: u32 = 13;
/// How far back a match may lie: 16 bits, and 0 is none.
pub(super) const DISTANCE_MAX: usize = 0xffff;
/// The shortest match that the format knows.
const MATCH_MIN: usize = 4;
/// Lengths from these on continue in further bytes.
pub(super) const LITERALS_LONG: usize = 15;
pub(super) const MATCH_LONG: usize = MATCH_MIN + 15;
/// As many bytes at the end of a block are literals, and the last match starts so many bytes before the end.
const LAST_LITERALS: usize = 5;
const LAST_MATCH: usize = 12;
/// What a sequence leaves of the output: a token and as many literals as keep the shortest match [`LAST_MATCH`] bytes away.
pub(super) const RESERVE: usize = 1 + LAST_MATCH - MATCH_MIN;
/// Shorter outputs are filled with more care.
const OUTPUT_SMALL: usize = 32 << 10;
/// The shortest output that is worth a try.
const OUTPUT_MIN: usize = 16;

/// The last position of each hash, modulo 2^16. There is always a position before the present one that a slot stands for: 0 stands
/// for the first byte of the source, and whatever a slot means, the bytes are compared.
pub(super) struct Table(Box<[u16; 1 << SLOTS_LOG]>);

impl Table {
    pub(super) fn new() -> Self {
        Self(Box::new([0; 1 << SLOTS_LOG]))
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Puts `at` in the slot of `bytes`; tells how far before `at` the position is that was there, 1 to 2^16.
    #[inline]
    pub(super) fn exchange<const HASHED: u32>(&mut self, bytes: u64, at: usize) -> usize {
        let slot = &mut self.0[slot::<HASHED>(bytes)];
        let before = std::mem::replace(slot, low(at));
        // In this order, because the encoder waits for `before`.
        usize::from(low(at).wrapping_sub(1).wrapping_sub(before)) + 1
    }

    #[inline]
    pub(super) fn put<const HASHED: u32>(&mut self, bytes: u64, at: usize) {
        self.0[slot::<HASHED>(bytes)] = low(at);
    }
}

/// Where encoding stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// The first byte that is not encoded.
    pub(super) anchor: usize,
    /// The next byte at which a match may start.
    pub(super) at: usize,
    /// How much is written.
    pub(super) written: usize,
}

impl State {
    /// Before the first byte, at which no match can start.
    pub(super) const START: Self = Self { anchor: 0, at: 1, written: 0 };
}

/// Encodes as much of the beginning of `src` into `dst` as one pass gets in: bytes consumed and written, both 0 when `dst` is
/// too short to be worth a try.
pub(super) fn encode(table: &mut Table, src: &[u8], dst: &mut [u8]) -> (usize, usize) {
    if src.is_empty() || dst.len() < OUTPUT_MIN {
        return (0, 0);
    }
    // Where little fits, little has been seen, and short matches are what there is.
    if dst.len() < OUTPUT_SMALL {
        encode_as::<5, 5, 6>(table, src, dst)
    } else if is_binary(src) {
        encode_as::<5, 8, 4>(table, src, dst)
    } else {
        encode_as::<6, 7, 5>(table, src, dst)
    }
}

/// Whether there are zeros among the first bytes.
fn is_binary(src: &[u8]) -> bool {
    src.iter().take(1024).filter(|&&byte| byte == 0).count() > 8
}

fn encode_as<const HASHED: u32, const NEXT_MIN: usize, const PATIENCE: u32>(
    table: &mut Table,
    src: &[u8],
    dst: &mut [u8],
) -> (usize, usize) {
    let state = run::<HASHED, NEXT_MIN, PATIENCE>(table, src, dst).unwrap_or(State::START);
    finish::<HASHED>(table, src, dst, state)
}

/// Goes on with checks of everything, and ends the block with literals: bytes consumed and written.
#[cold]
#[inline(never)]
fn finish<const HASHED: u32>(
    table: &mut Table,
    src: &[u8],
    dst: &mut [u8],
    State { mut anchor, mut at, mut written }: State,
) -> (usize, usize) {
    while at + LAST_MATCH <= src.len() && written + (at - anchor) + RESERVE + 3 <= dst.len() {
        let bytes = load_8(src, at);
        let distance = table.exchange::<HASHED>(bytes, at);
        // `run` may have been further already.
        let candidate = at.checked_sub(distance).filter(|_| distance <= DISTANCE_MAX);
        let Some(mut candidate) = candidate.filter(|&candidate| load_4(src, candidate) == low_4(bytes))
        else {
            at += 1;
            continue;
        };
        let most = 255 * (dst.len() - written - (at - anchor));
        let end = extend(src, at + MATCH_MIN, distance, most);
        while at > anchor && candidate > 0 && src[at - 1] == src[candidate - 1] {
            at -= 1;
            candidate -= 1;
        }
        let literals = at - anchor;
        let fixed = written + 1 + length_bytes(literals, LITERALS_LONG) + literals + 2;
        let Some(room) = dst.len().checked_sub(fixed + RESERVE) else { break };
        let length = (end - at).min(MATCH_LONG - 1 + 255 * room);
        dst[written] = token_of(literals, length);
        written = put_literals(dst, written + 1, &src[anchor..at]);
        dst[written..][..2].copy_from_slice(&low(distance).to_le_bytes());
        written += 2;
        if length >= MATCH_LONG {
            written = put_length(dst, written, length - MATCH_LONG);
        }
        at += length;
        anchor = at;
    }
    let room = dst.len() - written;
    let mut literals = (src.len() - anchor).min(room - 1);
    while 1 + length_bytes(literals, LITERALS_LONG) + literals > room {
        literals -= 1;
    }
    dst[written] = token_of(literals, MATCH_MIN);
    (anchor + literals, put_literals(dst, written + 1, &src[anchor..anchor + literals]))
}

/// The first byte of a sequence.
#[inline]
pub(super) fn token_of(literals: usize, length: usize) -> u8 {
    let nibbles = literals.min(LITERALS_LONG) << 4 | (length - MATCH_MIN).min(MATCH_LONG - MATCH_MIN);
    nibbles.to_le_bytes()[0]
}

/// How many bytes follow a token for a length whose longer values begin at `long`.
fn length_bytes(length: usize, long: usize) -> usize {
    length.checked_sub(long).map_or(0, |rest| rest / 255 + 1)
}

/// Writes what a token could not say of a length; tells where that ends.
pub(super) fn put_length(dst: &mut [u8], at: usize, rest: usize) -> usize {
    let end = at + rest / 255;
    dst[at..end].fill(255);
    dst[end] = (rest % 255).to_le_bytes()[0];
    end + 1
}

/// Writes literals behind the rest of their length; tells where that ends.
fn put_literals(dst: &mut [u8], mut at: usize, literals: &[u8]) -> usize {
    if let Some(rest) = literals.len().checked_sub(LITERALS_LONG) {
        at = put_length(dst, at, rest);
    }
    dst[at..at + literals.len()].copy_from_slice(literals);
    at + literals.len()
}

/// Where the bytes from `at` on stop to equal those that lie `distance` before them, at most where the last literals
/// begin, and hardly more than `most` bytes on: what the output does not hold is not looked at.
pub(super) fn extend(src: &[u8], mut at: usize, distance: usize, most: usize) -> usize {
    let end = (src.len() - LAST_LITERALS).min(at + most);
    while at + 8 <= end {
        let differ = load_8(src, at) ^ load_8(src, at - distance);
        if differ != 0 {
            return at + (differ.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < end && src[at] == src[at - distance] {
        at += 1;
    }
    at
}

/// The slot of the first `HASHED` of eight bytes. The multiplier is 2^64 divided by the golden ratio.
#[inline]
fn slot<const HASHED: u32>(bytes: u64) -> usize {
    ((bytes << (64 - 8 * HASHED)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS_LOG)) as usize
}

#[inline]
pub(super) fn low(number: usize) -> u16 {
    let [first, second, ..] = number.to_le_bytes();
    u16::from_le_bytes([first, second])
}

#[inline]
fn low_4(bytes: u64) -> u32 {
    (bytes & 0xffff_ffff) as u32
}

#[inline]
fn load<const N: usize>(src: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&src[at..at + N]);
    bytes
}

#[inline]
fn load_4(src: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(load(src, at))
}

#[inline]
fn load_8(src: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(load(src, at))
}

#[cfg(test)]
mod tests {
    use super::super::ffi;
    use super::*;

    /// A generator of numbers below a bound.
    fn random(seed: u64) -> impl FnMut(usize) -> usize {
        let mut state = seed;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        }
    }

    /// Words of a small vocabulary, noise, zeros and copies of what was before, in turn; `kinds` says how many of these.
    fn content(seed: u64, length: usize, kinds: usize) -> Vec<u8> {
        let mut random = random(seed);
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let most = if random(9) == 0 { 5000 } else { 40 };
            let count = 1 + random(most);
            match random(kinds) {
                0 => (0..=count / 4).for_each(|_| {
                    bytes.extend_from_slice([&b"static "[..], b"inode", b"(", b"EROFS_", b"\n\t"][random(5)]);
                }),
                1 => (0..count).for_each(|_| bytes.push(random(256).to_le_bytes()[0])),
                2 => bytes.resize(bytes.len() + count, 0),
                _ => {
                    let from = random(bytes.len() + 1);
                    let end = bytes.len().min(from + count);
                    bytes.extend_from_within(from..end);
                }
            }
        }
        bytes.truncate(length);
        bytes
    }

    /// The rules of the end of a block, read off its sequences: the length of the last literals, and how far before the end the
    /// last match starts.
    fn end_of(block: &[u8], length: usize) -> (usize, Option<usize>) {
        let (mut at, mut decoded, mut last) = (0, 0, None);
        let take = |at: &mut usize, nibble: u8| {
            let mut length = usize::from(nibble);
            if nibble == 15 {
                let more = block[*at..].iter().take_while(|&&byte| byte == 255).count();
                length += 255 * more + usize::from(block[*at + more]);
                *at += more + 1;
            }
            length
        };
        loop {
            let token = block[at];
            at += 1;
            let literals = take(&mut at, token >> 4);
            at += literals;
            decoded += literals;
            if at == block.len() {
                assert_eq!(decoded, length);
                return (literals, last.map(|start| length - start));
            }
            last = Some(decoded);
            at += 2;
            decoded += take(&mut at, token & 15) + MATCH_MIN;
        }
    }

    /// Encodes `src` into `room` bytes and decodes that again; how much was consumed and written.
    fn checked(table: &mut Table, src: &[u8], room: usize) -> (usize, usize) {
        let mut dst = vec![0xa5; room + 8];
        let (consumed, written) = encode(table, src, &mut dst[..room]);
        assert_eq!(dst[room..], [0xa5; 8]);
        assert!(consumed <= src.len() && written <= room, "{consumed} {written}");
        if written != 0 {
            let mut decoded = vec![0; consumed];
            let got = lz4_flex::block::decompress_into(&dst[..written], &mut decoded).unwrap();
            assert!(got == consumed && decoded == src[..consumed], "{} bytes into {room}", src.len());
            let (literals, start) = end_of(&dst[..written], consumed);
            if let Some(start) = start {
                assert!(literals >= LAST_LITERALS && start >= LAST_MATCH, "{literals} {start}");
            }
            // What is left does not hold one more literal, or there is none.
            let more = 1 + length_bytes(literals + 1, LITERALS_LONG) - length_bytes(literals, LITERALS_LONG);
            assert!(
                consumed == src.len() || written + more > room,
                "{consumed} of {} in {written} of {room}",
                src.len()
            );
        }
        (consumed, written)
    }

    #[test]
    fn prefixes_decode_and_end_by_the_rules() {
        let mut table = Table::new();
        let mut random = random(7);
        for seed in 0..3000 {
            let length = random(if seed % 10 == 0 { 300_000 } else { 3000 });
            let src = content(seed, length, 1 + random(4));
            let room = match random(4) {
                0 => random(200),
                1 => random(5000),
                2 => length + length / 250 + 16,
                _ => 65_536,
            };
            let (consumed, written) = checked(&mut table, &src, room);
            assert!(written != 0 || length == 0 || room < OUTPUT_MIN);
            assert!(
                room < length + length / 250 + 16 || consumed == length,
                "{consumed} of {length} in {room}"
            );
        }
    }

    #[test]
    fn every_small_room_is_used() {
        let mut table = Table::new();
        for seed in 0..6 {
            let src = content(seed, 5000, 4);
            let mut last = 0;
            for room in 0..600 {
                let (consumed, _) = checked(&mut table, &src, room);
                // A greedy pass is not monotonic, but nearly so.
                assert!(2 * consumed + 100 >= last, "{consumed} after {last} in {room}");
                last = last.max(consumed);
            }
        }
        // Matches of every length around those that take another byte.
        for length in 0..700 {
            let (consumed, written) = checked(&mut table, &vec![b'x'; length], 100);
            assert!(consumed == length && written <= length.min(20) + 4, "{written} for {length}");
        }
    }

    #[test]
    fn extremes() {
        let mut table = Table::new();
        let zeros = vec![0; 8 << 20];
        let (consumed, _) = checked(&mut table, &zeros, 4096);
        assert!(consumed > 4000 * 255, "{consumed}");
        let (consumed, written) = checked(&mut table, &zeros, 65_536);
        assert!(consumed == zeros.len() && written > zeros.len() / 256, "{written}");
        let mut random = random(3);
        let noise: Vec<u8> = (0..200_000).map(|_| random(256).to_le_bytes()[0]).collect();
        let (consumed, _) = checked(&mut table, &noise, 65_536);
        assert!((65_200..65_536).contains(&consumed), "{consumed}");
        // A match behind many literals, where the margin has begun.
        let (consumed, _) = checked(&mut table, &noise[..4032].repeat(50), 4096);
        assert!(consumed > 9000, "{consumed}");
        // The farthest match, and one byte more.
        for (distance, matched) in [(DISTANCE_MAX, true), (DISTANCE_MAX + 1, false)] {
            let src = [&noise[..distance], &noise[..2000], &noise[150_000..150_100]].concat();
            let (_, written) = checked(&mut table, &src, 80_000);
            assert_eq!(written < distance + 1000, matched, "{written} at {distance}");
        }
    }

    #[test]
    fn no_larger_than_what_liblz4_makes() {
        let mut table = Table::new();
        let mut dst = vec![0; 1 << 20];
        for kinds in 1..=4 {
            let src = content(99, 400_000, kinds);
            let (_, ours) = checked(&mut table, &src, 1 << 20);
            let (consumed, theirs) = ffi::compress_fast(&src, &mut dst);
            assert_eq!(consumed, src.len());
            assert!(ours <= theirs + theirs / 20, "{ours} of {theirs} with {kinds} kinds");
        }
    }
}
