//! Sequences: their codes, the predefined tables and the recent offsets (RFC 8878, 3.1.1.3.2).
#![expect(clippy::cast_possible_truncation, reason = "codes are below 64")]

use super::fse::{Norm, SYMBOLS};

/// Extra bits of each literals length code.
pub(super) const LITERALS_BITS: [u8; SYMBOLS] =
    bits(&[1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], 16);
/// Extra bits of each match length code.
pub(super) const MATCH_BITS: [u8; SYMBOLS] =
    bits(&[1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], 32);
/// The value that each literals length code begins with.
pub(super) const LITERALS_BASE: [u32; SYMBOLS] = bases(&LITERALS_BITS);
/// The match length less three that each match length code begins with.
pub(super) const MATCH_BASE: [u32; SYMBOLS] = bases(&MATCH_BITS);
/// The most states of the tables for literals length, match length and offset, as powers of two.
pub(super) const MAX_LOG: [u32; 3] = [9, 9, 8];
/// The shortest match.
pub(super) const MIN_MATCH: u32 = 3;

static LITERALS_CODE: [u8; 64] = codes(&LITERALS_BASE);
static MATCH_CODE: [u8; 128] = codes(&MATCH_BASE);

const fn bits(tail: &[u8], from: usize) -> [u8; SYMBOLS] {
    let mut table = [0; SYMBOLS];
    let mut place = 0;
    while place < tail.len() {
        table[from + place] = tail[place];
        place += 1;
    }
    table
}

const fn bases(bits: &[u8; SYMBOLS]) -> [u32; SYMBOLS] {
    let mut table = [u32::MAX; SYMBOLS];
    let mut base = 0;
    let mut code = 0;
    // Codes behind the last one with extra bits are not in use.
    while code < SYMBOLS && (code < 32 || bits[code] > 0) {
        table[code] = base;
        base += 1 << bits[code];
        code += 1;
    }
    table
}

const fn codes<const N: usize>(bases: &[u32; SYMBOLS]) -> [u8; N] {
    let mut table = [0; N];
    let mut value = 0;
    while value < N {
        let mut code = 0;
        while code + 1 < SYMBOLS && bases[code + 1] as usize <= value {
            code += 1;
        }
        table[value] = code as u8;
        value += 1;
    }
    table
}

/// What a parser finds: literals, then a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Match {
    /// Number of literals before the match.
    pub(super) literals: u32,
    /// Length of the match, at least [`MIN_MATCH`].
    pub(super) length: u32,
    /// How far back it lies, at least 1.
    pub(super) distance: u32,
}

/// A sequence as it is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sequence {
    /// Number of literals.
    pub(super) literals: u32,
    /// Length of the match less [`MIN_MATCH`].
    pub(super) length: u32,
    /// Offset value: 1 to 3 for a recent offset, the distance and three otherwise.
    pub(super) offset: u32,
    /// Codes of literals length, match length and offset.
    pub(super) codes: [u8; 3],
}

impl Sequence {
    /// How many bytes of the input it stands for.
    pub(super) fn span(&self) -> usize {
        (self.literals + self.length + MIN_MATCH) as usize
    }
}

/// The three recent offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recent([u32; 3]);

impl Default for Recent {
    fn default() -> Self {
        Self([1, 4, 8])
    }
}

impl Recent {
    /// Codes a match and moves on.
    #[inline(always)]
    pub(super) fn code(&mut self, found: &Match) -> Sequence {
        let [first, second, third] = self.0;
        let distance = found.distance;
        // Without literals the first offset would only have made the match before longer: the numbers mean
        // the next ones.
        let (one, two, three) =
            if found.literals > 0 { (first, second, third) } else { (second, third, first.wrapping_sub(1)) };
        let offset = if distance == one {
            1
        } else if distance == two {
            2
        } else if distance == three {
            3
        } else {
            distance + 3
        };
        if offset > 1 || found.literals == 0 {
            self.0 = [distance, first, if distance == second { third } else { second }];
        }
        let length = found.length - MIN_MATCH;
        let codes = [literals_code(found.literals), match_code(length), offset.ilog2() as u8];
        Sequence { literals: found.literals, length, offset, codes }
    }
}

#[inline(always)]
fn literals_code(value: u32) -> u8 {
    if value < 64 { LITERALS_CODE[value as usize] } else { (value.ilog2() + 19) as u8 }
}

#[inline(always)]
fn match_code(value: u32) -> u8 {
    if value < 128 { MATCH_CODE[value as usize] } else { (value.ilog2() + 36) as u8 }
}

/// The predefined tables: literals length, match length, offset.
pub(super) fn predefined() -> [Norm; 3] {
    [
        Norm::fixed(
            &[
                4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1,
                1, -1, -1, -1, -1,
            ],
            6,
        ),
        Norm::fixed(
            &[
                1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
            ],
            6,
        ),
        Norm::fixed(
            &[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
            5,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_cover_their_values() {
        // RFC 8878, tables 14 and 16, less three for match lengths.
        for (value, code) in [
            (0, 0),
            (15, 15),
            (16, 16),
            (17, 16),
            (18, 17),
            (24, 20),
            (32, 22),
            (48, 24),
            (63, 24),
            (64, 25),
            (127, 25),
            (128, 26),
            (65536, 35),
        ] {
            assert_eq!(literals_code(value), code, "{value}");
            assert!(LITERALS_BASE[usize::from(code)] <= value);
        }
        for (value, code) in [
            (0, 0),
            (31, 31),
            (32, 32),
            (34, 33),
            (40, 36),
            (48, 38),
            (64, 40),
            (80, 41),
            (96, 42),
            (127, 42),
            (128, 43),
            (65536, 52),
        ] {
            assert_eq!(match_code(value), code, "{value}");
            assert!(MATCH_BASE[usize::from(code)] <= value);
        }
        assert_eq!((LITERALS_BASE[25], LITERALS_BASE[35]), (64, 65536));
        assert_eq!((MATCH_BASE[43], MATCH_BASE[52]), (128, 65536));
    }

    #[test]
    fn recent_offsets_move_as_the_decoder_moves_them() {
        let mut recent = Recent::default();
        let mut code = |literals, distance| {
            let offset = recent.code(&Match { literals, length: 4, distance }).offset;
            (offset, recent.0)
        };
        assert_eq!(code(1, 4), (2, [4, 1, 8]));
        assert_eq!(code(1, 8), (3, [8, 4, 1]));
        assert_eq!(code(1, 8), (1, [8, 4, 1]));
        assert_eq!(code(0, 4), (1, [4, 8, 1]));
        assert_eq!(code(0, 1), (2, [1, 4, 8]));
        assert_eq!(code(0, 1), (4, [1, 1, 4]));
    }

    #[test]
    fn without_literals_three_means_one_less_than_the_first() {
        let mut recent = Recent([9, 20, 30]);
        assert_eq!(recent.code(&Match { literals: 0, length: 4, distance: 8 }).offset, 3);
        assert_eq!(recent.0, [8, 9, 20]);
    }
}
