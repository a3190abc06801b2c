//! The symbols of RFC 1951: lengths and distances of matches, and the bits behind them.

/// The symbol that ends a block.
pub(super) const END: usize = 256;
/// The first of the symbols for lengths.
const FIRST_LENGTH: u16 = 257;
/// The longest match.
pub(super) const MAX_MATCH: usize = 258;
/// Symbols of the literal and length alphabet that may occur.
pub(super) const LITLENS: usize = 286;
/// Symbols of the distance alphabet that may occur.
pub(super) const DISTANCES: usize = 30;

/// Section 3.2.5: the shortest length of each length symbol.
const LENGTH_BASE: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
];
/// Section 3.2.5: the extra bits of each length symbol.
pub(super) const LENGTH_EXTRA: [u8; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// What stands for one length.
#[derive(Clone, Copy, Default)]
pub(super) struct LengthCode {
    /// The symbol, 257 to 285.
    pub(super) symbol: u16,
    /// The value of the extra bits.
    pub(super) extra: u8,
    /// The number of extra bits.
    pub(super) extra_bits: u8,
}

/// By length; the first three are not used.
pub(super) static LENGTHS: [LengthCode; MAX_MATCH + 1] = length_codes();

#[expect(clippy::cast_possible_truncation, reason = "a length less its base is below 32, a symbol below 286")]
const fn length_codes() -> [LengthCode; MAX_MATCH + 1] {
    let mut codes = [LengthCode { symbol: 0, extra: 0, extra_bits: 0 }; MAX_MATCH + 1];
    let mut length = 3;
    while length <= MAX_MATCH {
        let mut row = LENGTH_BASE.len() - 1;
        while LENGTH_BASE[row] as usize > length {
            row -= 1;
        }
        codes[length] = LengthCode {
            symbol: FIRST_LENGTH + row as u16,
            extra: (length - LENGTH_BASE[row] as usize) as u8,
            extra_bits: LENGTH_EXTRA[row],
        };
        length += 1;
    }
    codes
}

/// The symbol of a distance of 1 to 32768: two symbols for each power of two.
#[inline]
pub(super) const fn distance_symbol(distance: u32) -> u32 {
    let less_one = distance.wrapping_sub(1);
    if less_one < 2 {
        return less_one;
    }
    let log = less_one.ilog2();
    (log << 1) | ((less_one >> (log - 1)) & 1)
}

/// The extra bits of a distance symbol.
#[inline]
pub(super) const fn distance_extra(symbol: u32) -> u32 {
    if symbol < 4 { 0 } else { (symbol >> 1) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edges_of_lengths_and_distances_are_those_of_the_standard() {
        for (length, symbol, extra, extra_bits) in [
            (3, 257, 0, 0),
            (10, 264, 0, 0),
            (11, 265, 0, 1),
            (12, 265, 1, 1),
            (257, 284, 30, 5),
            (258, 285, 0, 0),
        ] {
            let code = LENGTHS[length];
            assert_eq!((code.symbol, code.extra, code.extra_bits), (symbol, extra, extra_bits), "{length}");
        }
        for (distance, symbol, extra) in [
            (1, 0, 0),
            (2, 1, 0),
            (4, 3, 0),
            (5, 4, 1),
            (6, 4, 1),
            (7, 5, 1),
            (8, 5, 1),
            (9, 6, 2),
            (24576, 28, 13),
            (24577, 29, 13),
            (32768, 29, 13),
        ] {
            assert_eq!(distance_symbol(distance), symbol, "{distance}");
            assert_eq!(distance_extra(symbol), extra, "{distance}");
        }
    }
}
