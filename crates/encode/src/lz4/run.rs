//! The pass of LZ4's fast encoder through all but the ends of source and output.
//!
//! Bytes are read and written without a check of bounds: with checks the encoder is a fifth slower, and
//! slower than liblz4. What makes that sound is written at `run`; every function that relies on it asserts it
//! in builds with assertions, with which the tests and the fuzz targets run.

#![expect(
    unsafe_code,
    reason = "with bounds checks the encoder is slower than liblz4; nothing else here is unsafe"
)]

use super::block::{
    DISTANCE_MAX, LITERALS_LONG, MATCH_LONG, RESERVE, State, extend, low, put_length, token_of,
};
use super::positions::Table;

/// As much of the source must be behind a position that is looked at: a match is compared 32 bytes at a time,
/// literals are copied 16 bytes at a time.
const SOURCE_MARGIN: usize = 48;
/// As much of the output must be left where a sequence begins: a token, 14 literals copied as 16, the
/// distance, a byte of length, and what `finish` needs.
const OUTPUT_MARGIN: usize = 64;
/// As many literals are searched again for shorter matches where the margin begins; behind more of them, only
/// what was found is looked at again.
const SEARCHED_AGAIN: usize = 200;
/// Bytes that are compared at once: two vectors, as a third of all matches is longer than one.
const WIDTH: usize = 32;
/// From this length on, more than one byte of it follows the token.
const LENGTH_LONG: usize = MATCH_LONG + 255;
/// Bytes that are copied at once.
const COPIED: usize = 16;

/// Clears the table and encodes up to where a margin begins; `None` where there is nothing but margins.
///
/// `HASHED` bytes find a match, one that directly follows another is taken from `NEXT_MIN` bytes on, and
/// after each 2^`PATIENCE` positions without a match the next ones are one byte further apart.
///
/// What holds, and the unsafe code relies on:
///
/// 1. Positions `at` that are looked at are at most `source_end`, so [`SOURCE_MARGIN`] bytes can be read from
///    there.
/// 2. They ascend from 1, so each slot of the table stands for a position before `at`, or for 0, and the
///    nearest position before `at` that it can stand for is one of the source: `distance <= at`.
/// 3. `anchor <= at`, so literals can be read in whole widths.
/// 4. A sequence begins at `written <= output_end`, and with many literals only if they end at most two bytes
///    behind that.
pub(super) fn run<const HASHED: u32, const NEXT_MIN: usize, const PATIENCE: u32>(
    table: &mut Table,
    src: &[u8],
    dst: &mut [u8],
) -> Option<State> {
    table.clear();
    let source_end = src.len().checked_sub(SOURCE_MARGIN)?;
    let output_end = dst.len().checked_sub(OUTPUT_MARGIN)?;
    let State { mut anchor, mut at, mut written } = State::START;
    loop {
        let last = source_end.min(anchor + dst.len() - written);
        // SAFETY: `last` is at most `source_end`, and the table has seen nothing from `at` on.
        let Some((found, distance)) = (unsafe { search::<HASHED, PATIENCE>(table, src, at, last) }) else {
            return Some(State { anchor, at: at.max(last + 1), written });
        };
        // SAFETY: `found` is at most `source_end`, and `distance` at most `found`.
        let (mut length, back) = unsafe { (equal(src, found, distance), equal_before(src, found, distance)) };
        let back = back.min(found - anchor);
        let literals = found - back - anchor;
        let needed = if literals < LITERALS_LONG { written } else { written + literals + literals / 255 };
        if needed > output_end {
            let at = if literals > SEARCHED_AGAIN { found } else { anchor.max(1) };
            return Some(State { anchor, at, written });
        }
        if length == WIDTH {
            let most = 255 * (dst.len() - written - literals);
            length = extend(src, found + WIDTH, distance, most) - found;
        }
        // SAFETY: `written` is at most `output_end`.
        unsafe { store(dst, written, [token_of(literals, length + back)]) };
        written += 1;
        if literals >= LITERALS_LONG {
            written = put_length(dst, written, literals - LITERALS_LONG);
        }
        // SAFETY: literals end at `found` at most, and in the output at most 15 bytes behind the beginning of
        // the margin.
        unsafe { copy(src, anchor, dst, written, literals) };
        written += literals;
        // SAFETY: at most 18 bytes behind the beginning of the margin.
        unsafe { store(dst, written, distance_and_rest(distance, length + back)) };
        (at, written) = put_match_length(dst, written + 2, found + length, length + back);
        // What follows a match is often found as well.
        loop {
            anchor = at;
            if at > source_end || written > output_end {
                return Some(State { anchor, at, written });
            }
            // SAFETY: a match has four bytes, so `at` is not below 2, and it is at most `source_end`.
            let distance = unsafe {
                table.put::<HASHED>(load_8(src, at - 2), at - 2);
                table.exchange::<HASHED>(load_8(src, at), at)
            };
            // SAFETY: as above; `distance` is at most `at`.
            let mut length = unsafe { equal(src, at, distance) };
            if length < NEXT_MIN || distance > DISTANCE_MAX {
                break;
            }
            if length == WIDTH {
                length = extend(src, at + WIDTH, distance, 255 * (dst.len() - written)) - at;
            }
            let [first, second, rest] = distance_and_rest(distance, length);
            // SAFETY: `written` is at most `output_end`.
            unsafe { store(dst, written, [token_of(0, length), first, second, rest]) };
            (at, written) = put_match_length(dst, written + 3, at + length, length);
        }
        at += 1;
    }
}

/// The first position from `at` to `last` with a match; how far back that is.
///
/// # Safety
/// Points 1 and 2 of [`run`] hold for `at` and `last`.
#[inline]
unsafe fn search<const HASHED: u32, const PATIENCE: u32>(
    table: &mut Table,
    src: &[u8],
    mut at: usize,
    last: usize,
) -> Option<(usize, usize)> {
    let mut tries = 1_usize << PATIENCE;
    while at <= last {
        // SAFETY: `at` is at most `last`.
        let bytes = unsafe { load_8(src, at) };
        let distance = table.exchange::<HASHED>(bytes, at);
        // SAFETY: `distance` is at most `at`.
        let candidate = unsafe { load_8(src, at - distance) };
        if low_4(candidate) == low_4(bytes) && distance <= DISTANCE_MAX {
            return Some((at, distance));
        }
        at += tries >> PATIENCE;
        tries += 1;
    }
    None
}

/// How many bytes from `at` on equal those `distance` before them, up to [`WIDTH`].
///
/// # Safety
/// `distance <= at`, and [`WIDTH`] bytes of the source stand from `at` on.
#[inline]
unsafe fn equal(src: &[u8], at: usize, distance: usize) -> usize {
    // SAFETY: the caller's.
    let (bytes, candidate) = unsafe { (load::<WIDTH>(src, at), load::<WIDTH>(src, at - distance)) };
    equal_bytes(bytes, candidate)
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn equal_bytes(a: [u8; WIDTH], b: [u8; WIDTH]) -> usize {
    use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_movemask_epi8};
    // SAFETY: every x86-64 processor has SSE2; both types are 32 bytes of any value.
    let [low, high] = unsafe {
        let vectors = |bytes| std::mem::transmute::<[u8; WIDTH], [__m128i; 2]>(bytes);
        let ([a, a_2], [b, b_2]) = (vectors(a), vectors(b));
        [_mm_movemask_epi8(_mm_cmpeq_epi8(a, b)), _mm_movemask_epi8(_mm_cmpeq_epi8(a_2, b_2))]
    };
    (!(i64::from(low) | i64::from(high) << 16)).trailing_zeros() as usize
}

#[cfg(not(target_arch = "x86_64"))]
use equal_bytes_portably as equal_bytes;

#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline]
fn equal_bytes_portably(a: [u8; WIDTH], b: [u8; WIDTH]) -> usize {
    let mut equal = 0;
    for (a, b) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
        let differ = u128::from_le_bytes(*a) ^ u128::from_le_bytes(*b);
        equal += (differ.trailing_zeros() / 8) as usize;
        if differ != 0 {
            break;
        }
    }
    equal
}

/// How many bytes before `at` equal those `distance` before them, up to 8, or, near the beginning, more.
///
/// # Safety
/// `distance <= at`, and `at` is within the source.
#[inline]
unsafe fn equal_before(src: &[u8], at: usize, distance: usize) -> usize {
    let candidate = at - distance;
    if candidate >= 8 {
        // SAFETY: 8 bytes in front of both are in the source.
        let differ = unsafe { load_8(src, at - 8) ^ load_8(src, candidate - 8) };
        return (differ.leading_zeros() / 8) as usize;
    }
    let pairs = src[..at].iter().rev().zip(src[..candidate].iter().rev());
    pairs.take_while(|(a, b)| a == b).count()
}

/// Copies literals, and up to [`COPIED`] bytes more.
///
/// # Safety
/// `length + COPIED` bytes stand from `from` on in the source, and from `to` on in the output.
#[inline]
unsafe fn copy(src: &[u8], from: usize, dst: &mut [u8], to: usize, length: usize) {
    let mut copied = 0;
    loop {
        // SAFETY: `copied` is at most `length`.
        unsafe { store(dst, to + copied, load::<COPIED>(src, from + copied)) };
        copied += COPIED;
        if copied >= length {
            break;
        }
    }
}

/// The distance, and the byte behind it: what the token does not tell of a length below [`LENGTH_LONG`]. It
/// is overwritten where the token tells all; to ask first would cost more, because no processor could predict
/// the answer.
#[inline]
fn distance_and_rest(distance: usize, length: usize) -> [u8; 3] {
    let [first, second] = low(distance).to_le_bytes();
    [first, second, length.wrapping_sub(MATCH_LONG).to_le_bytes()[0]]
}

/// Goes behind what [`distance_and_rest`] wrote of the length of a match that ends at byte `end` of the
/// source, or writes all of a longer one. The match is cut where the output would not hold that; the margin
/// holds one byte at least. Tells where match and output end.
#[inline]
fn put_match_length(dst: &mut [u8], at: usize, end: usize, length: usize) -> (usize, usize) {
    if length < LENGTH_LONG {
        return (end, at + usize::from(length >= MATCH_LONG));
    }
    let room = dst.len() - at - RESERVE;
    let kept = length.min(MATCH_LONG - 1 + 255 * room);
    (end - (length - kept), put_length(dst, at, kept - MATCH_LONG))
}

#[inline]
fn low_4(bytes: u64) -> u32 {
    (bytes & 0xffff_ffff) as u32
}

/// # Safety
/// 8 bytes of the source stand from `at` on.
#[inline]
unsafe fn load_8(src: &[u8], at: usize) -> u64 {
    // SAFETY: the caller's.
    u64::from_le_bytes(unsafe { load(src, at) })
}

/// # Safety
/// `N` bytes of the source stand from `at` on.
#[inline]
unsafe fn load<const N: usize>(src: &[u8], at: usize) -> [u8; N] {
    debug_assert!(src.len() >= N && at <= src.len() - N, "{N} bytes at {at} of {}", src.len());
    // SAFETY: the caller's; arrays of bytes have no alignment.
    unsafe { src.as_ptr().add(at).cast::<[u8; N]>().read() }
}

/// # Safety
/// `N` bytes of the output stand from `at` on.
#[inline]
unsafe fn store<const N: usize>(dst: &mut [u8], at: usize, bytes: [u8; N]) {
    debug_assert!(dst.len() >= N && at <= dst.len() - N, "{N} bytes at {at} of {}", dst.len());
    // SAFETY: the caller's; arrays of bytes have no alignment.
    unsafe { dst.as_mut_ptr().add(at).cast::<[u8; N]>().write(bytes) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_compare_as_numbers_do() {
        let bytes: [u8; WIDTH] = std::array::from_fn(|at| at.to_le_bytes()[0]);
        for first in 0..=WIDTH {
            for second in first..=WIDTH {
                let mut other = bytes;
                for at in [first, second] {
                    other.get_mut(at).into_iter().for_each(|byte| *byte ^= 0x80);
                }
                let want = bytes.iter().zip(&other).take_while(|(a, b)| a == b).count();
                assert_eq!(equal_bytes(bytes, other), want);
                assert_eq!(equal_bytes_portably(bytes, other), want);
            }
        }
    }
}
