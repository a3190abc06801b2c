//! Contents that are stored as they are: which pieces are zeros and take no space, and which bytes may follow
//! the inode. Decided by content alone, so that a sparse copy of a tree and a full one give the same image.

use std::ops::Range;

use erofs_format::BlockBits;
use erofs_format::datalayout::chunk::MAP_ENTRY_SIZE;

/// Files up to this many bytes are looked at as a whole; longer ones in parts that are multiples of this
/// size.
pub(crate) const SEGMENT_SIZE: usize = 1 << SEGMENT_BITS;
/// The same as a power of two.
pub(crate) const SEGMENT_BITS: u8 = 20;

/// Bytes of a part that are stored, or not, as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where they are in the part.
    pub(crate) range: Range<usize>,
    /// They are zeros.
    pub(crate) is_hole: bool,
    /// What tells equal chunks, where these are to be found.
    pub(crate) key: Option<[u8; 32]>,
}

/// A part of a file that is stored as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plain {
    /// In the order of the part, without gaps.
    pub(crate) pieces: Vec<Piece>,
    /// So many bytes behind them may follow the inode, if nothing else of the file is a hole.
    pub(crate) tail: usize,
}

impl Plain {
    /// A part of so many bytes in one piece.
    pub(crate) fn flat(length: usize) -> Self {
        Self { pieces: vec![Piece { range: 0..length, is_hole: false, key: None }], tail: 0 }
    }
}

/// A part of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'b> {
    pub(crate) bytes: &'b [u8],
    /// Length of the file in bytes.
    pub(crate) size: u64,
    /// The file ends with it.
    pub(crate) last: bool,
    /// As many bytes of the end of the file may follow its inode.
    pub(crate) tail_room: u32,
}

/// The rules for files that are stored as they are.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "all are powers of two of bytes")]
pub(crate) struct PlainCoder {
    pub(crate) block_bits: BlockBits,
    /// The least unit in which holes are looked for, as a power of two of bytes; `None` for no holes.
    pub(crate) hole_bits: Option<u8>,
    /// Every file is in chunks of at most so many bytes, as a power of two.
    pub(crate) chunk_bits: Option<u8>,
}

impl PlainCoder {
    /// The pieces of a part, which is a whole file if that has no more than [`SEGMENT_SIZE`] bytes.
    pub(crate) fn encode(self, part: &Part<'_>) -> Plain {
        let Part { bytes, size, last, tail_room } = *part;
        let tail = self.block_bits.within(size);
        let tail = if last && self.chunk_bits.is_none() && tail <= u64::from(tail_room) { tail } else { 0 };
        let tail = usize::try_from(tail).unwrap_or(0).min(bytes.len());
        let whole = |tail: usize| Piece { range: 0..bytes.len() - tail, is_hole: false, key: None };
        if self.chunk_bits.is_none() {
            let judged_as_a_whole = size <= SEGMENT_SIZE as u64;
            let bits = self.hole_bits.map(|least| unit_bits(size, least));
            let any = match bits {
                Some(bits) if judged_as_a_whole => chunks_pay(bytes, 1 << bits, self.block_bits, tail as u64),
                Some(bits) => bytes.chunks(1 << bits).any(is_zero),
                None => false,
            };
            if !any {
                let pieces = if bytes.len() == tail { Vec::new() } else { vec![whole(tail)] };
                return Plain { pieces, tail };
            }
        }
        Plain { pieces: self.units(bytes, self.piece_bits(size)), tail: 0 }
    }

    /// The size of pieces of a file of `size` bytes as a power of two of bytes, at most that of a segment.
    pub(crate) fn piece_bits(self, size: u64) -> u8 {
        match self.chunk_bits {
            Some(bits) => bits.min(SEGMENT_BITS).max(self.block_bits.bits()),
            None => unit_bits(size, self.hole_bits.unwrap_or(self.block_bits.bits())),
        }
    }

    fn units(self, bytes: &[u8], bits: u8) -> Vec<Piece> {
        let keyed = self.chunk_bits.is_some_and(|bits| bits <= SEGMENT_BITS);
        let piece = |(number, unit): (usize, &[u8])| {
            let start = number << bits;
            let is_hole = self.hole_bits.is_some() && is_zero(unit);
            let key = (keyed && !is_hole).then(|| erofs_algo::chunk_key(unit));
            Piece { range: start..start + unit.len(), is_hole, key }
        };
        bytes.chunks(1 << bits).enumerate().map(piece).collect()
    }
}

/// The unit in which holes of a file of `size` bytes are looked for, as a power of two of bytes: at least
/// `least`, and so large that the chunk table (4 bytes per unit) costs less than a single hole saves: about 4
/// × √size, and twice that where the file is too long to be judged as a whole. At most a segment, so that
/// each segment is judged alone.
pub(crate) fn unit_bits(size: u64, least: u8) -> u8 {
    let factor = if size > SEGMENT_SIZE as u64 { 8 } else { 4 };
    let wanted = factor * size.isqrt();
    let bits = u8::try_from(wanted.next_power_of_two().trailing_zeros()).unwrap_or(u8::MAX);
    bits.min(SEGMENT_BITS).max(least)
}

/// Whether all bytes are zero. Stops at the first that is not, so that ordinary data costs nothing.
fn is_zero(bytes: &[u8]) -> bool {
    const STEP: usize = 64;
    let (steps, rest) = bytes.as_chunks::<STEP>();
    steps.iter().all(|step| step.iter().fold(0, |all, byte| all | byte) == 0)
        && rest.iter().all(|&byte| byte == 0)
}

/// Whether a file of one segment takes fewer bytes in chunks of `unit` bytes, of which those of zeros take
/// none, than as one run of blocks with `tail` bytes that follow the inode.
fn chunks_pay(content: &[u8], unit: usize, block_bits: BlockBits, tail: u64) -> bool {
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
    // The tail is among inodes, where it mostly fills what would be lost.
    let flat = block_bits.blocks_ceil(size - tail) * block;
    blocks * block + MAP_ENTRY_SIZE as u64 * units < flat
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
        let with = |zeros: Range<usize>, length: usize| {
            let mut content = vec![1; length];
            content[zeros].fill(0);
            content
        };
        for (content, tail, pays) in [
            (with(0..0, 8192), 0, false),
            (with(0..4096, 8192), 0, true),
            // The tail would need a block.
            (with(0..4096, 4096 + 100), 100, false),
            (with(0..8192, 8192 + 100), 100, true),
            (with(0..8192, 8192), 0, true),
        ] {
            assert_eq!(chunks_pay(&content, 4096, block_bits, tail), pays, "{} {tail}", content.len());
        }
    }

    #[test]
    fn pieces_cover_a_part() {
        let coder =
            |hole_bits, chunk_bits| PlainCoder { block_bits: BlockBits::DEFAULT, hole_bits, chunk_bits };
        let mut holed = vec![1; 3 << 20];
        holed[1 << 20..2 << 20].fill(0);
        let part = |bytes, tail_room| Part { bytes, size: 3 << 20, last: true, tail_room };
        for (name, coder, part, pieces, tail) in [
            ("small", coder(Some(12), None), Part { size: 5000, ..part(&holed[..5000], 1000) }, 1, 904),
            (
                "no room for the tail",
                coder(Some(12), None),
                Part { size: 5000, ..part(&holed[..5000], 903) },
                1,
                0,
            ),
            (
                "nothing but a tail",
                coder(Some(12), None),
                Part { size: 50, ..part(&holed[..50], 903) },
                0,
                50,
            ),
            (
                "not the end",
                coder(Some(12), None),
                Part { last: false, ..part(&holed[..1 << 20], 900) },
                1,
                0,
            ),
            ("a hole", coder(Some(12), None), part(&holed[..], 0), 192, 0),
            ("no holes", coder(None, None), part(&holed[..], 0), 1, 0),
            ("chunks", coder(Some(12), Some(16)), part(&holed[..], 900), 48, 0),
            ("long chunks", coder(Some(12), Some(30)), part(&holed[..], 900), 3, 0),
        ] {
            let plain = coder.encode(&part);
            assert_eq!((plain.pieces.len(), plain.tail), (pieces, tail), "{name}");
            let mut at = 0;
            for piece in plain.pieces {
                assert_eq!(piece.range.start, at, "{name}");
                assert_eq!(
                    piece.is_hole,
                    coder.hole_bits.is_some()
                        && part.bytes[piece.range.clone()].iter().all(|byte| *byte == 0),
                    "{name}"
                );
                at = piece.range.end;
            }
            assert_eq!(at + tail, part.bytes.len(), "{name}");
        }
    }
}
