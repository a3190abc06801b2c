//! LZ4's fast encoder for an output of fixed size: one pass, greedy, no more of the source looked at than
//! will fit.
//!
//! ```text
//! search: a position whose bytes stood somewhere before ─► back to where they begin to be equal ─► literals, match
//!                                        ▲                                                             │
//!                                        └── none ── next: what follows a match, without literals ◄───┘
//! ```
//!
//! Three things make it faster than liblz4's at no larger output. Thirty-two bytes are compared at once, so
//! that one comparison tells whether there is a match and, mostly, how long it is; and what a length takes
//! behind the token is written without asking whether it is there. What directly follows a match has a loop
//! of its own, which takes only matches that are worth their three bytes: fewer sequences, fewer mispredicted
//! branches. And how many bytes are hashed, and how short a match may be, depends on whether the content is
//! text. Where source or output come near their ends, `finish` goes on with every check.
//!
//! The rules of the end are those of the block format (`lz4_Block_format.md` of liblz4), which Linux checks:
//! the last five bytes are literals, and the last match starts at least twelve bytes before the end.

use super::block::{
    DISTANCE_MAX, LAST_MATCH, LITERALS_LONG, MATCH_LONG, MATCH_MIN, RESERVE, State, extend, length_bytes,
    load_4, load_8, low, low_4, put_length, put_literals, token_of,
};
use super::positions::Table;
use super::run::run;

/// Shorter outputs are filled with more care.
const OUTPUT_SMALL: usize = 32 << 10;
/// The shortest output that is worth a try.
const OUTPUT_MIN: usize = 16;

/// Encodes as much of the beginning of `src` into `dst` as one pass gets in: bytes consumed and written, both
/// 0 when `dst` is too short to be worth a try.
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

#[cfg(test)]
mod tests {
    use super::super::block::LAST_LITERALS;
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

    /// Words of a small vocabulary, noise, zeros and copies of what was before, in turn; `kinds` says how
    /// many of these.
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

    /// The rules of the end of a block, read off its sequences: the length of the last literals, and how far
    /// before the end the last match starts.
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
