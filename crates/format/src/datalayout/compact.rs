//! The compact index: packs of 2 entries in 8 bytes or of 16 entries in 32 bytes
//! (`EROFS_INODE_COMPRESSED_COMPACT`).
//!
//! ```text
//! pack   entries of 16 bits (8-byte pack) or 14 bits (32-byte pack), lowest bits first, then a block address:4
//! entry  low bits: offset in the lcluster (heads), distance back or block count (others)   then type:2
//! index  8-byte packs up to a multiple of 32 bytes | 32-byte packs | 8-byte packs
//! ```
//!
//! Low bits are as many as an lcluster has, at least 12. A head's block is not stored: it follows from the
//! pack's address and from the block counts of the heads before it in the pack, so that pclusters must stand
//! one behind the other. The last entry of a pack, unless it is a head or a block count, says how far the
//! next head is. Without 32-byte packs all are of 8.

use crate::datalayout::lcluster::{
    BLOCK_COUNT_BIT, Back, DISTANCE_MAX, HeadKind, Lcluster, Shape, from_extents, header_for, is_free,
};
use crate::error::{FormatError, units_u64};
use crate::extent::ZExtent;
use crate::map_header::{self, IndexHeader, MapHeader};

/// The largest lcluster that a compact index has, as a power of two of bytes.
pub const LCLUSTER_BITS_MAX: u8 = 14;
/// The largest lcluster that 32-byte packs have room for.
pub const LCLUSTER_BITS_2B_MAX: u8 = 12;
/// The largest pack, in bytes.
pub const PACK_MAX: usize = 32;

const NONHEAD: u32 = 2;
const LOW_BITS_MIN: u32 = 12;

/// A pack: where it stands and which entries it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pack {
    /// First byte, from where [`Shape::header_end`] counts.
    pub at: u64,
    /// 8 or 32 bytes.
    pub size: usize,
    /// The first lcluster.
    pub first: u64,
}

impl Pack {
    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        if self.size == PACK_MAX { 16 } else { 2 }
    }
}

/// How many lclusters are in 8-byte packs at the start, and how many in 32-byte packs behind them
/// (`z_erofs_load_compact_lcluster`).
fn regions(shape: &Shape, compacted_2b: bool) -> Option<(u64, u64)> {
    let base = map_header::end(shape.header_end)?;
    let total = total(shape);
    let initial = (32_u64.checked_sub(base % 32)? / 4) & 7;
    if !compacted_2b || initial >= total {
        return Some((0, 0));
    }
    let packed = total.checked_sub(initial)?;
    Some((initial, packed.checked_sub(packed % 16)?))
}

/// Linux counts blocks, not lclusters, here.
fn total(shape: &Shape) -> u64 {
    shape.block_bits.blocks_ceil(shape.size)
}

/// Whether a file of this shape gets 32-byte packs.
fn wants_2b(shape: &Shape) -> bool {
    shape.lcluster_bits <= LCLUSTER_BITS_2B_MAX
}

/// The pack with the entry of an lcluster; an error past the end of the file.
pub fn pack_of(shape: &Shape, compacted_2b: bool, lcluster: u64) -> Result<Pack, FormatError> {
    let limit = || FormatError::limit("lcluster of a compact index", lcluster, "lclusters of the file");
    if lcluster >= total(shape) || shape.lcluster_bits > LCLUSTER_BITS_MAX {
        return Err(limit());
    }
    let pack = pack(shape, compacted_2b, lcluster).ok_or_else(limit)?;
    if pack.size == PACK_MAX && !wants_2b(shape) {
        let bits = shape.lcluster_bits;
        return Err(FormatError::limit(
            "lcluster size, as a power of two",
            bits,
            "at most 12 in 32-byte packs",
        ));
    }
    Ok(pack)
}

fn pack(shape: &Shape, compacted_2b: bool, lcluster: u64) -> Option<Pack> {
    let base = map_header::end(shape.header_end)?;
    let (initial, packed) = regions(shape, compacted_2b)?;
    let small = |from: u64, first: u64| {
        let number = lcluster.checked_sub(first)? & !1;
        let at = from.checked_add(number.checked_mul(4)?)?;
        Some(Pack { at, size: 8, first: first.checked_add(number)? })
    };
    if lcluster < initial {
        return small(base, 0);
    }
    let middle = base.checked_add(initial.checked_mul(4)?)?;
    let end = initial.checked_add(packed)?;
    if lcluster >= end {
        return small(middle.checked_add(packed.checked_mul(2)?)?, end);
    }
    let number = lcluster.checked_sub(initial)? & !15;
    let at = middle.checked_add(number.checked_mul(2)?)?;
    Some(Pack { at, size: PACK_MAX, first: initial.checked_add(number)? })
}

/// Where the index ends, and inline data starts; `None` past 2^64.
pub fn index_end(shape: &Shape, compacted_2b: bool) -> Option<u64> {
    let Some(last) = total(shape).checked_sub(1) else { return map_header::end(shape.header_end) };
    let pack = pack(shape, compacted_2b, last)?;
    pack.at.checked_add(units_u64(pack.size))
}

/// The length of map header and index, in bytes: what [`encode`] gives. `None` past 2^64.
pub fn encoded_size(shape: &Shape) -> Option<u64> {
    index_end(shape, wants_2b(shape))?.checked_sub(map_header::at(shape.header_end)?)
}

/// The entries of a pack, still as numbers.
struct Entries<'a> {
    bytes: &'a [u8],
    count: u32,
    bits: u32,
    low_bits: u32,
}

impl<'a> Entries<'a> {
    fn new(bytes: &'a [u8], lcluster_bits: u8) -> Self {
        let (count, bits) = if bytes.len() == PACK_MAX { (16, 14) } else { (2, 16) };
        Self { bytes, count, bits, low_bits: low_bits(lcluster_bits) }
    }

    /// Type and low bits of entry `number` (`decode_compactedbits`).
    fn get(&self, number: u32) -> (u32, u16) {
        let position = number.saturating_mul(self.bits);
        let byte = usize::try_from(position / 8).unwrap_or(usize::MAX);
        let four = self.bytes.get(byte..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        let value = u32::from_le_bytes(four).checked_shr(position & 7).unwrap_or(0);
        let mask = 1_u32.checked_shl(self.low_bits).unwrap_or(0).wrapping_sub(1);
        let kind = value.checked_shr(self.low_bits).unwrap_or(0) & 3;
        (kind, u16::try_from(value & mask).unwrap_or(0))
    }

    fn address(&self) -> u32 {
        self.bytes.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// How far the next head is from entry `number` (`get_compacted_la_distance`).
    fn ahead(&self, number: u32) -> u16 {
        let mut distance = 0_u16;
        let mut low = 0;
        for entry in number..self.count {
            let (kind, value) = self.get(entry);
            if kind != NONHEAD {
                return distance;
            }
            distance = distance.saturating_add(1);
            low = value;
        }
        if low & BLOCK_COUNT_BIT == 0 {
            distance = distance.saturating_add(low).saturating_sub(1);
        }
        distance
    }

    /// The way back from entry `number`, which is no head.
    fn back(&self, number: u32, low: u16) -> Back {
        if low & BLOCK_COUNT_BIT != 0 {
            return Back::Blocks(low & !BLOCK_COUNT_BIT);
        }
        if number.saturating_add(1) != self.count {
            return Back::Distance(low);
        }
        // The last entry says how far the next head is; the one before it leads back.
        let before = match self.get(number.saturating_sub(1)) {
            (kind, _) if kind != NONHEAD => 0,
            (_, low) if low & BLOCK_COUNT_BIT != 0 => 1,
            (_, low) => low,
        };
        Back::Distance(before.saturating_add(1))
    }

    /// How many blocks lie between the pack's address and those of the head that is entry `number`.
    fn blocks_before(&self, number: u32, big: bool) -> Result<u32, FormatError> {
        let mut blocks = u32::from(!big);
        let mut at = i64::from(number);
        while at > 0 {
            at = at.saturating_sub(1);
            let (kind, low) = self.get(u32::try_from(at).unwrap_or(0));
            let distance = i64::from(low);
            if kind != NONHEAD {
                blocks = blocks.saturating_add(1);
            } else if !big {
                at = at.saturating_sub(distance);
                blocks = blocks.saturating_add(u32::from(at >= 0));
            } else if low & BLOCK_COUNT_BIT != 0 {
                at = at.saturating_sub(1);
                blocks = blocks.saturating_add(u32::from(low & !BLOCK_COUNT_BIT));
            } else if distance <= 1 {
                let want = "a block count right behind a head";
                return Err(FormatError::limit("distance in a compact index", distance, want));
            } else {
                at = at.saturating_sub(distance).saturating_add(2);
            }
        }
        Ok(blocks)
    }
}

fn low_bits(lcluster_bits: u8) -> u32 {
    u32::from(lcluster_bits).max(LOW_BITS_MIN)
}

/// The entry of `lcluster`, which must be one of `pack`, whose bytes these are.
pub fn decode(
    header: &IndexHeader,
    pack: Pack,
    bytes: &[u8],
    lcluster: u64,
) -> Result<Lcluster, FormatError> {
    let bytes = bytes
        .get(..pack.size)
        .ok_or_else(|| FormatError::short("pack of a compact index", pack.at, bytes.len(), pack.size))?;
    let entries = Entries::new(bytes, header.lcluster_bits);
    let number = u32::try_from(lcluster.saturating_sub(pack.first)).unwrap_or(u32::MAX);
    if number >= entries.count {
        return Err(FormatError::limit("lcluster of a pack", lcluster, "an lcluster of the pack"));
    }
    let (kind, low) = entries.get(number);
    let kind = match kind {
        0 => HeadKind::Plain,
        1 => HeadKind::Head1,
        NONHEAD => {
            return Ok(Lcluster::Nonhead { back: entries.back(number, low), ahead: entries.ahead(number) });
        }
        _ => HeadKind::Head2,
    };
    let blocks = entries.blocks_before(number, header.big_pcluster_1)?;
    let block = entries.address().wrapping_add(blocks);
    Ok(Lcluster::Head { kind, offset: u32::from(low), block, partial: false, hole: false })
}

/// Puts type and low bits of an entry into the `bits` bits from bit `position` of `pack` on, which are still
/// zeros.
fn put(pack: &mut [u8], position: u32, low_bits: u32, kind: u32, low: u16) {
    let value =
        (kind.checked_shl(low_bits).unwrap_or(0) | u32::from(low)).checked_shl(position & 7).unwrap_or(0);
    let byte = usize::try_from(position / 8).unwrap_or(usize::MAX);
    for (to, from) in pack.get_mut(byte..).unwrap_or_default().iter_mut().zip(value.to_le_bytes()) {
        *to |= from;
    }
}

/// The number of an entry's type and its low bits; `last` of its pack or not.
fn numbers(entry: Lcluster, last: bool) -> Result<(u32, u16), FormatError> {
    match entry {
        Lcluster::Head { partial: true, .. } | Lcluster::Head { hole: true, .. } => {
            let found = "a partial reference or a hole";
            Err(FormatError::limit("extent of a compact index", found, "whole pclusters"))
        }
        Lcluster::Head { kind, offset, .. } => {
            let number = match kind {
                HeadKind::Plain => 0,
                HeadKind::Head1 => 1,
                HeadKind::Head2 => 3,
            };
            Ok((number, u16::try_from(offset).unwrap_or(u16::MAX)))
        }
        Lcluster::Nonhead { back: Back::Blocks(blocks), .. } => Ok((NONHEAD, blocks | BLOCK_COUNT_BIT)),
        Lcluster::Nonhead { ahead, .. } if last => Ok((NONHEAD, ahead.min(DISTANCE_MAX))),
        Lcluster::Nonhead { back: Back::Distance(distance), .. } => Ok((NONHEAD, distance)),
    }
}

/// Writes one pack of `entries`, which may be fewer than it has room for, over zeros. `free` says which
/// entries' blocks do not matter.
fn encode_pack(
    header: &IndexHeader,
    pack: &mut [u8],
    entries: &[Lcluster],
    free: impl Fn(usize) -> bool,
) -> Result<(), FormatError> {
    let (count, bits) = if pack.len() == PACK_MAX { (16, 14) } else { (2_usize, 16_u32) };
    for (number, entry) in entries.iter().enumerate() {
        let (kind, low) = numbers(*entry, number.saturating_add(1) == count)?;
        let position = u32::try_from(number).unwrap_or(0).saturating_mul(bits);
        put(pack, position, low_bits(header.lcluster_bits), kind, low);
    }
    // Heads are found the way they will be read, so that an address that does not come out right is noticed
    // here.
    let mut address = None;
    let read = Entries::new(pack, header.lcluster_bits);
    for (number, entry) in entries.iter().enumerate() {
        let Lcluster::Head { block, .. } = entry else { continue };
        if free(number) {
            continue;
        }
        let before = read.blocks_before(u32::try_from(number).unwrap_or(0), header.big_pcluster_1)?;
        let base = block.wrapping_sub(before);
        if address.is_some_and(|address| address != base) {
            let want = "pclusters one behind the other";
            return Err(FormatError::limit("block in a compact index", block, want));
        }
        address = Some(base);
    }
    if let Some(field) = pack.last_chunk_mut() {
        *field = address.unwrap_or(0).to_le_bytes();
    }
    Ok(())
}

/// Map header and index of a file with these extents, to stand at [`map_header::at`] of the shape's
/// `header_end`; inline data follows at once. An error if a compact index cannot hold the extents: beyond the
/// reasons of a full one ([`from_extents`]) those are lclusters that are not blocks, pclusters that do not
/// follow each other, partial references, holes, and fragments 4 GiB or more into the packed inode.
pub fn encode(shape: &Shape, extents: &[ZExtent]) -> Result<Vec<u8>, FormatError> {
    if shape.lcluster_bits != shape.block_bits.bits() || shape.lcluster_bits > LCLUSTER_BITS_MAX {
        let limit = "lclusters of one block of at most 16384 bytes in a compact index";
        return Err(FormatError::limit("lcluster size, as a power of two", shape.lcluster_bits, limit));
    }
    let mut header = header_for(shape, extents)?;
    header.compacted_2b = wants_2b(shape);
    let entries = from_extents(shape, &header, extents)?;
    if let Some(crate::extent::Stored::Fragment { offset }) = extents.last().map(|last| last.stored)
        && offset >> 32 != 0
    {
        return Err(FormatError::limit(
            "offset in the packed inode",
            offset,
            "less than 2^32 in a compact index",
        ));
    }
    let mut out =
        Vec::with_capacity(encoded_size(shape).and_then(|size| usize::try_from(size).ok()).unwrap_or(0));
    out.extend_from_slice(&MapHeader::Index(header).encode(shape.block_bits)?);
    let mut rest = entries.as_slice();
    let mut first = 0_u64;
    while !rest.is_empty() {
        let pack = pack_of(shape, header.compacted_2b, first)?;
        let count = usize::try_from(pack.entries()).unwrap_or(0).min(rest.len());
        let (now, later) = rest.split_at(count);
        let free = |number: usize| is_free(shape, extents, first.saturating_add(units_u64(number)));
        let start = out.len();
        out.resize(start.saturating_add(pack.size), 0);
        encode_pack(&header, out.get_mut(start..).unwrap_or_default(), now, free)?;
        first = first.saturating_add(units_u64(count));
        rest = later;
    }
    Ok(out)
}
