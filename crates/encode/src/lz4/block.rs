//! The LZ4 block format (`lz4_Block_format.md` of liblz4): its limits, how a sequence is written, how far a
//! match goes.

/// How far back a match may lie: 16 bits, and 0 is none.
pub(super) const DISTANCE_MAX: usize = 0xffff;
/// The shortest match that the format knows.
pub(super) const MATCH_MIN: usize = 4;
/// Lengths from these on continue in further bytes.
pub(super) const LITERALS_LONG: usize = 15;
pub(super) const MATCH_LONG: usize = MATCH_MIN + 15;
/// As many bytes at the end of a block are literals, and the last match starts so many bytes before the end.
pub(super) const LAST_LITERALS: usize = 5;
pub(super) const LAST_MATCH: usize = 12;
/// What a sequence leaves of the output: a token and as many literals as keep the shortest match
/// [`LAST_MATCH`] bytes away.
pub(super) const RESERVE: usize = 1 + LAST_MATCH - MATCH_MIN;

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

/// The first byte of a sequence.
#[inline]
pub(super) fn token_of(literals: usize, length: usize) -> u8 {
    let nibbles = literals.min(LITERALS_LONG) << 4 | (length - MATCH_MIN).min(MATCH_LONG - MATCH_MIN);
    nibbles.to_le_bytes()[0]
}

/// How many bytes follow a token for a length whose longer values begin at `long`.
pub(super) fn length_bytes(length: usize, long: usize) -> usize {
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
pub(super) fn put_literals(dst: &mut [u8], mut at: usize, literals: &[u8]) -> usize {
    if let Some(rest) = literals.len().checked_sub(LITERALS_LONG) {
        at = put_length(dst, at, rest);
    }
    dst[at..at + literals.len()].copy_from_slice(literals);
    at + literals.len()
}

/// Where the bytes from `at` on stop to equal those that lie `distance` before them, at most where the last
/// literals begin, and hardly more than `most` bytes on: what the output does not hold is not looked at.
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

#[inline]
pub(super) fn low(number: usize) -> u16 {
    let [first, second, ..] = number.to_le_bytes();
    u16::from_le_bytes([first, second])
}

#[inline]
pub(super) fn low_4(bytes: u64) -> u32 {
    (bytes & 0xffff_ffff) as u32
}

#[inline]
fn load<const N: usize>(src: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&src[at..at + N]);
    bytes
}

#[inline]
pub(super) fn load_4(src: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(load(src, at))
}

#[inline]
pub(super) fn load_8(src: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(load(src, at))
}
