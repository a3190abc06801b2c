//! The full index: 8 bytes for each lcluster (`struct z_erofs_lcluster_index`,
//! `EROFS_INODE_COMPRESSED_FULL`).
//!
//! ```text
//! 0 advise:2 (bits 0-1 type, bit 14 hole, bit 15 partial)  2 offset in the lcluster:2
//! 4 block:4 (heads)   or   4 distance back or block count:2  6 distance ahead:2 (others)
//! ```
//!
//! The entries stand 16 bytes behind the start of the map header.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::datalayout::lcluster::{
    BLOCK_COUNT_BIT, Back, HeadKind, Lcluster, Shape, from_extents, header_for,
};
use crate::error::{FormatError, units_u64};
use crate::extent::ZExtent;
use crate::map_header::{self, MapHeader};

/// The length of an entry, in bytes.
pub const ENTRY_SIZE: usize = 8;
/// The reserved bytes between map header and index.
pub const RESERVED: usize = 8;

/// Behind the offset stands a block, or a distance back in the lower and one ahead in the upper half.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
struct Entry {
    advise: U16,
    offset: U16,
    block: U32,
}

const _: () = assert!(size_of::<Entry>() == ENTRY_SIZE);

const TYPE_MASK: u16 = 3;
const NONHEAD: u16 = 2;
const HOLE: u16 = 1 << 14;
const PARTIAL: u16 = 1 << 15;

/// Where the index starts, in bytes from where [`Shape::header_end`] counts; `None` past 2^64.
pub fn index_at(shape: &Shape) -> Option<u64> {
    map_header::end(shape.header_end)?.checked_add(units_u64(RESERVED))
}

/// Where the index ends, and inline data starts; `None` past 2^64.
pub fn index_end(shape: &Shape) -> Option<u64> {
    index_at(shape)?.checked_add(shape.lclusters().checked_mul(units_u64(ENTRY_SIZE))?)
}

/// The length of map header, reserved bytes and index, in bytes: what [`encode`] gives. `None` past 2^64.
pub fn encoded_size(shape: &Shape) -> Option<u64> {
    index_end(shape)?.checked_sub(map_header::at(shape.header_end)?)
}

/// The entry in these bytes, which stand at byte `at`.
pub fn decode(bytes: &[u8], at: u64) -> Result<Lcluster, FormatError> {
    let (entry, _) = Entry::read_from_prefix(bytes)
        .map_err(|_| FormatError::short("lcluster entry", at, bytes.len(), ENTRY_SIZE))?;
    let advise = entry.advise.get();
    let block = entry.block.get();
    let kind = match advise & TYPE_MASK {
        0 => HeadKind::Plain,
        1 => HeadKind::Head1,
        NONHEAD => {
            let low = u16::try_from(block & 0xffff).unwrap_or(0);
            let ahead = u16::try_from(block >> 16).unwrap_or(0);
            let count = low & !BLOCK_COUNT_BIT;
            let back = if low & BLOCK_COUNT_BIT != 0 { Back::Blocks(count) } else { Back::Distance(low) };
            return Ok(Lcluster::Nonhead { back, ahead });
        }
        _ => HeadKind::Head2,
    };
    Ok(Lcluster::Head {
        kind,
        offset: u32::from(entry.offset.get()),
        block,
        partial: advise & PARTIAL != 0,
        hole: advise & HOLE != 0,
    })
}

/// The bytes of an entry. Offsets that do not fit 16 bits (lclusters above 64 KiB) are an error.
pub fn encode_entry(entry: Lcluster) -> Result<[u8; ENTRY_SIZE], FormatError> {
    let record = match entry {
        Lcluster::Head { kind, offset, block, partial, hole } => {
            let number = match kind {
                HeadKind::Plain => 0,
                HeadKind::Head1 => 1,
                HeadKind::Head2 => 3_u16,
            };
            let advise = number | if partial { PARTIAL } else { 0 } | if hole { HOLE } else { 0 };
            let offset = u16::try_from(offset)
                .map_err(|_| FormatError::limit("offset in an lcluster", offset, "less than 65536"))?;
            let block = U32::new(if hole { 0 } else { block });
            Entry { advise: U16::new(advise), offset: U16::new(offset), block }
        }
        Lcluster::Nonhead { back, ahead } => {
            let low = match back {
                Back::Distance(distance) => distance,
                Back::Blocks(blocks) => blocks | BLOCK_COUNT_BIT,
            };
            let block = U32::new(u32::from(low) | (u32::from(ahead) << 16));
            Entry { advise: U16::new(NONHEAD), offset: U16::new(0), block }
        }
    };
    Ok(zerocopy::transmute!(record))
}

/// Map header, reserved bytes and index of a file with these extents, to stand at [`map_header::at`] of the
/// shape's `header_end`; inline data follows at once. An error if a full index cannot hold the extents: see
/// [`from_extents`].
pub fn encode(shape: &Shape, extents: &[ZExtent]) -> Result<Vec<u8>, FormatError> {
    let header = header_for(shape, extents)?;
    let mut out = MapHeader::Index(header).encode(shape.block_bits)?.to_vec();
    out.resize(out.len().saturating_add(RESERVED), 0);
    for entry in from_extents(shape, &header, extents)? {
        out.extend_from_slice(&encode_entry(entry)?);
    }
    Ok(out)
}
