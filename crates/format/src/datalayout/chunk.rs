//! Chunk-based data: pieces of equal size, each with an address of its own, or none where it is a hole
//! (`struct erofs_inode_chunk_info`, `struct erofs_inode_chunk_index`; Linux 5.15).
//!
//! ```text
//! i_u         bits 0-4: chunk size = block size << bits   bit 5: indexes   bit 6: 48-bit addresses
//! block map   0 startblk:4
//! index       0 startblk_hi:2   2 device_id:2   4 startblk_lo:4
//! ```
//!
//! The entries follow the inode and its xattrs, at a multiple of their own size.

use crate::error::{FormatError, Rule};
use crate::units::BlockBits;

const BITS_MASK: u32 = 0x1f;
const INDEXES: u32 = 0x20;
const WIDE: u32 = 0x40;
const ALL: u32 = 0x7f;

/// The largest chunk, as a power of two of bytes: what 5 bits on top of the largest block size say.
pub const CHUNK_BITS_MAX: u8 = 31;

/// The length of an entry of a block map, in bytes (`EROFS_BLOCK_MAP_ENTRY_SIZE`).
pub const MAP_ENTRY_SIZE: usize = 4;
/// The length of a chunk index, in bytes.
pub const INDEX_SIZE: usize = 8;

/// What `i_u` of a chunk-based inode says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkFormat {
    /// Powers of two that a chunk is larger than a block; 0 to 31.
    pub blkbits: u8,
    /// 8-byte indexes instead of a 4-byte block map.
    pub indexes: bool,
    /// `startblk_hi` counts.
    pub wide: bool,
}

impl ChunkFormat {
    /// Reads `i_u` of the inode at byte `at`.
    pub fn decode(i_u: u32, at: u64) -> Result<Self, FormatError> {
        // The upper half is reserved and Linux does not look at it.
        let format = i_u & 0xffff;
        if format & !ALL != 0 {
            return Err(FormatError::field(
                "inode.i_u.c.format",
                at.saturating_add(16),
                format!("{format:#x}"),
                "bits 0 to 6 only",
            )
            .of(Rule::Inode));
        }
        let blkbits = u8::try_from(format & BITS_MASK).unwrap_or(0);
        Ok(Self { blkbits, indexes: format & INDEXES != 0, wide: format & WIDE != 0 })
    }

    /// The value of `i_u`.
    pub fn encode(self) -> u32 {
        let flag = |set, bit| if set { bit } else { 0 };
        (u32::from(self.blkbits) & BITS_MASK) | flag(self.indexes, INDEXES) | flag(self.wide, WIDE)
    }

    /// The length of an entry in bytes; entries are aligned to it as well.
    pub fn entry_size(self) -> usize {
        if self.indexes { INDEX_SIZE } else { MAP_ENTRY_SIZE }
    }

    /// The size of a chunk as a power of two of bytes; up to 47.
    pub fn chunk_bits(self, block_bits: BlockBits) -> u32 {
        u32::from(block_bits.bits()).saturating_add(u32::from(self.blkbits))
    }

    /// How many chunks a file of `size` bytes has.
    pub fn chunks(self, size: u64, block_bits: BlockBits) -> u64 {
        size.div_ceil(1_u64.checked_shl(self.chunk_bits(block_bits)).unwrap_or(u64::MAX))
    }

    /// Where the entries start: behind the inode and its xattrs, which end at byte `header_end` of the
    /// metadata area, aligned to the size of an entry (`erofs_map_blocks`: `ALIGN(iloc + isize + xattr_isize,
    /// unit)`).
    pub fn entries_at(self, header_end: u64) -> Option<u64> {
        header_end.checked_next_multiple_of(crate::error::units_u64(self.entry_size()))
    }
}

/// The address of one chunk; `None` where it is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkAddress {
    /// Device; 0 is the primary one or the unified space.
    pub device: u16,
    /// First block.
    pub block: u64,
}

/// Appends the entry of one chunk; an error if the format has no room for the address.
pub fn encode_entry(
    format: ChunkFormat,
    chunk: Option<ChunkAddress>,
    out: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let Some(address) = chunk else {
        out.extend(std::iter::repeat_n(0xff, 4));
        if format.indexes {
            // A hole of a 48-bit index has all 48 bits set; older readers only look at the low 32, which
            // stand last.
            let end = out.len().saturating_sub(4);
            let high: u16 = if format.wide { u16::MAX } else { 0 };
            let [a, b] = high.to_le_bytes();
            out.splice(end..end, [a, b, 0, 0]);
        }
        return Ok(());
    };
    let low = u32::try_from(address.block & 0xffff_ffff).unwrap_or(u32::MAX);
    let high = u16::try_from(address.block >> 32)
        .map_err(|_| FormatError::limit("block address of a chunk", address.block, "fewer than 2^48"))?;
    let narrow_hole = low == u32::MAX && high == 0 && !format.wide;
    if (high != 0 && !format.wide) || narrow_hole {
        return Err(FormatError::limit(
            "block address of a chunk",
            address.block,
            "addresses below 2^32 - 1",
        ));
    }
    if format.indexes {
        out.extend_from_slice(&high.to_le_bytes());
        out.extend_from_slice(&address.device.to_le_bytes());
    } else if address.device != 0 {
        return Err(FormatError::limit("device of a chunk", address.device, "device 0 in a block map"));
    }
    out.extend_from_slice(&low.to_le_bytes());
    Ok(())
}

/// Reads the entry at the start of `bytes`, which stand at byte `at`; device numbers are cut to
/// `device_mask`.
pub fn decode_entry(
    format: ChunkFormat,
    bytes: &[u8],
    at: u64,
    device_mask: u16,
) -> Result<Option<ChunkAddress>, FormatError> {
    let short = || FormatError::short("chunk entry", at, bytes.len(), format.entry_size());
    if !format.indexes {
        let low = u32::from_le_bytes(*bytes.first_chunk().ok_or_else(short)?);
        return Ok((low != u32::MAX).then(|| ChunkAddress { device: 0, block: u64::from(low) }));
    }
    let (high, rest) = bytes.split_first_chunk::<2>().ok_or_else(short)?;
    let (device, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let low = u32::from_le_bytes(*rest.first_chunk().ok_or_else(short)?);
    let high = if format.wide { u16::from_le_bytes(*high) } else { 0 };
    let device = u16::from_le_bytes(*device) & device_mask;
    let hole = low == u32::MAX && (!format.wide || high == u16::MAX);
    Ok((!hole).then(|| ChunkAddress { device, block: u64::from(low) | (u64::from(high) << 32) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_undoes_encoding() {
        let map = ChunkFormat { blkbits: 3, indexes: false, wide: false };
        let index = ChunkFormat { blkbits: 0, indexes: true, wide: false };
        let wide = ChunkFormat { blkbits: 31, indexes: true, wide: true };
        let chunk = |device, block| Some(ChunkAddress { device, block });
        for (format, entry) in [
            (map, chunk(0, 5)),
            (map, None),
            (index, chunk(3, 0xffff_fffe)),
            (index, None),
            (wide, chunk(1, 0xffff_ffff)),
            (wide, chunk(0, 1 << 47)),
            (wide, None),
        ] {
            let mut bytes = Vec::new();
            encode_entry(format, entry, &mut bytes).unwrap();
            assert_eq!(bytes.len(), format.entry_size());
            assert_eq!(decode_entry(format, &bytes, 0, 3).unwrap(), entry);
            assert_eq!(ChunkFormat::decode(format.encode(), 0).unwrap(), format);
        }
    }

    #[test]
    fn addresses_without_room_are_refused() {
        let map = ChunkFormat { blkbits: 0, indexes: false, wide: false };
        for (device, block) in [(1, 0), (0, 1 << 32), (0, u64::from(u32::MAX))] {
            assert!(encode_entry(map, Some(ChunkAddress { device, block }), &mut Vec::new()).is_err());
        }
        assert!(ChunkFormat::decode(0x80, 0).is_err());
    }

    #[test]
    fn chunks_are_counted_in_their_own_size() {
        let format = ChunkFormat { blkbits: 1, indexes: true, wide: false };
        for (size, want) in [(0, 0), (1, 1), (8192, 1), (8193, 2), (1 << 33, 1 << 20)] {
            assert_eq!(format.chunks(size, BlockBits::DEFAULT), want);
        }
        assert_eq!(format.entries_at(44), Some(48));
        assert_eq!(
            ChunkFormat { blkbits: 31, ..format }.chunks(u64::MAX, BlockBits::new(16).unwrap()),
            131_072
        );
    }
}
