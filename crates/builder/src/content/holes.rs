//! Holes: which pieces of a file are zeros and need no place, decided by content alone so that a sparse copy of a tree
//! and a full one give the same image.

use erofs_format::BlockBits;
use erofs_format::datalayout::chunk::MAP_ENTRY_SIZE;
use erofs_format::inode::EXTENDED_SIZE;

/// Files up to this many bytes are looked at as a whole; longer ones pass through in segments of this size.
pub(crate) const SEGMENT_SIZE: usize = 1 << SEGMENT_BITS;
/// The same as a power of two.
pub(crate) const SEGMENT_BITS: u8 = 20;

/// The unit in which holes of a file of `size` bytes are looked for, as a power of two of bytes: at least `least`, and
/// so large that the chunk table (4 bytes per unit) costs less than a single hole saves: about 4 × √size, and twice
/// that where the file is too long to be judged as a whole. At most a segment, so that each segment is judged alone.
pub(crate) fn unit_bits(size: u64, least: u8) -> u8 {
    let factor = if size > SEGMENT_SIZE as u64 { 8 } else { 4 };
    let wanted = factor * size.isqrt();
    let bits = u8::try_from(wanted.next_power_of_two().trailing_zeros()).unwrap_or(u8::MAX);
    bits.min(SEGMENT_BITS).max(least)
}

/// Whether all bytes are zero. Stops at the first that is not, so that ordinary data costs nothing.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    const STEP: usize = 64;
    let (steps, rest) = bytes.as_chunks::<STEP>();
    steps.iter().all(|step| step.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|&byte| byte == 0)
}

/// The bytes that the two forms of a file cost that fits in memory: flat with its tail behind the inode (if `inline`),
/// or in chunks of `unit` bytes of which `holes` need no place.
pub(crate) fn chunks_pay(content: &[u8], unit: usize, block_bits: BlockBits, reserved: u64) -> bool {
    let mut any = false;
    let mut blocks = 0;
    let mut units = 0;
    for piece in content.chunks(unit) {
        units += 1;
        if is_zero(piece) {
            any = true;
        } else {
            blocks += block_bits.blocks_ceil(piece.len() as u64);
        }
    }
    if !any {
        return false;
    }
    let block = block_bits.size();
    let size = content.len() as u64;
    let flat =
        if reserved == 0 { block_bits.blocks_ceil(size) } else { block_bits.blocks_floor(size) } * block;
    let table = MAP_ENTRY_SIZE as u64 * units;
    // A table that is longer than what the plan reserved makes the inode move, and the old place is lost.
    let moved = if table > reserved { EXTENDED_SIZE as u64 + table } else { 0 };
    blocks * block + moved < flat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_hole_pays_for_the_table() {
        for bits in 9..=16 {
            let block_bits = BlockBits::new(bits).unwrap();
            for size in [1_u64, 4096, 100_000, 1 << 20, 1 << 30, 1 << 36] {
                let unit = 1_u64 << unit_bits(size, bits);
                assert!(unit >= block_bits.size() && unit <= (SEGMENT_SIZE as u64).max(block_bits.size()));
                if unit < SEGMENT_SIZE as u64 {
                    assert!(4 * size.div_ceil(unit) <= unit, "{size} in units of {unit}");
                }
            }
        }
    }

    #[test]
    fn zeros_are_found_wherever_the_other_byte_is() {
        for length in [0, 1, 63, 64, 65, 4096] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in 0..length {
                bytes[at] = 1;
                assert!(!is_zero(&bytes), "{at} of {length}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn chunks_are_chosen_only_where_they_are_smaller() {
        let block_bits = BlockBits::DEFAULT;
        let with = |zeros: std::ops::Range<usize>, length: usize| {
            let mut content = vec![1; length];
            content[zeros].fill(0);
            content
        };
        for (content, reserved, pays) in [
            (with(0..0, 8192), 0, false),
            (with(0..4096, 8192), 0, true),
            (with(0..4096, 4096 + 100), 100, false),
            (with(0..8192, 8192 + 100), 100, true),
            (with(0..8192, 8192), 0, true),
        ] {
            assert_eq!(
                chunks_pay(&content, 4096, block_bits, reserved),
                pays,
                "{} {reserved}",
                content.len()
            );
        }
    }
}
