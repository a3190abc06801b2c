//! Compressed files of the original: their extents become those of the companion, moved to where the original starts in
//! the unified address space, which is what the addresses of pclusters lie in (`z_erofs_submit_queue`).
//!
//! A last pcluster behind an inode of the original stands at any byte, which extent records can name. Where the companion may
//! have those, and where they are shorter, it stays where it is. Else it is copied behind the inode of the companion,
//! or, if it cannot end in the block in which it would start there, to a block of its own. Fragments stay where they are
//! in the packed inode, of which the companion has one with the same content.

use erofs_format::compression::Algorithm;
use erofs_format::datalayout::{DataLayout, lcluster};
use erofs_format::extent::{Coding, Stored, ZExtent};
use erofs_format::map_header::{self, MapHeader};
use erofs_format::units::INODE_SLOT_SIZE;
use erofs_format::{BlkAddr, BlockBits, FormatError};
use erofs_image::FileData;

use super::room::Room;
use crate::compress;
use crate::error::BuildError;
use crate::layout::compose::block_32;
use crate::layout::plan::Shape;
use crate::options::IndexForm;

/// The most extents that one file can have, because all of them are in memory at a time.
const EXTENTS_MAX: u64 = 1 << 22;
/// Bytes that extent records of 8 bytes can name.
const NEAR_BYTES: u64 = 1 << 32;

/// What compressed files make use of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a feature on its own")]
pub(super) struct Uses {
    /// The bits of the algorithms.
    pub(super) algorithms: u16,
    /// There is a compressed file.
    pub(super) any: bool,
    /// A pcluster is longer than a block.
    pub(super) big: bool,
    /// A pcluster stands behind an inode.
    pub(super) inline: bool,
    /// An index has heads of two algorithms.
    pub(super) two_heads: bool,
    /// A fragment is in the packed inode.
    pub(super) fragments: bool,
    /// There are extent records.
    pub(super) records: bool,
}

/// Where the last pcluster goes, if the original has it behind an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Behind the inode.
    Behind,
    /// Nowhere: it is read from where it is.
    Stays,
    /// To this block of the companion, counted from its first one that holds contents.
    Own(u64),
}

/// How a compressed file refers to its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoded {
    shape: Shape,
    /// Blocks that the inode tells.
    pub(super) blocks: u32,
    /// Where the xattrs end, counted from the inode.
    header: u64,
    last: Last,
    /// The last byte of the original that a pcluster starts at, where that decides how long extent records are.
    highest: Option<u64>,
}

/// Where the original, and the blocks that the companion has for contents, start in the unified address space, in blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Starts {
    pub(super) original: u64,
    pub(super) own: u64,
}

/// Finds out how a compressed file refers to its bytes, if the original starts at block `start`. `header` is where its xattrs
/// will end, counted from its inode.
pub(super) fn find(
    data: &FileData,
    header: u64,
    start: u64,
    room: &mut Room,
    uses: &mut Uses,
) -> Result<Encoded, BuildError> {
    room.take_index(data)?;
    let list = list(data, room)?;
    check_inline(&list, data)?;
    let blocks = data.inode().record.start_block();
    let blocks = u32::try_from(blocks)
        .map_err(|_| FormatError::limit("compressed blocks of a file", blocks, "fewer than 2^32"))?;
    let shape = Shape { layout: DataLayout::CompressedFull, table: 0, tail: 0 };
    let start = Starts { original: start, own: 0 };
    let of = |last: Last, blocks: u32| {
        Encoded { shape, blocks, header, last, highest: None }.shaped(&list, data, room, start)
    };
    let mut found = of(Last::Behind, blocks)?;
    if found.shape.tail != 0 {
        let fits = fits(header, &found.shape, room.block_bits);
        let bytes = |shape: Shape| u64::from(shape.table) + u64::from(shape.tail);
        let stays = if may_stay(&list, data, room) { of(Last::Stays, blocks).ok() } else { None };
        match stays.filter(|stays| !fits || bytes(stays.shape) <= bytes(found.shape)) {
            Some(stays) => found = stays,
            None if fits => {}
            None => {
                found = of(Last::Own(room.own_blocks), blocks.saturating_add(1))?;
                room.take_own(1)?;
            }
        }
    }
    note(&list, &found, data, room.block_bits, uses);
    Ok(found)
}

/// Refuses what kernels do not read alike: plain data behind an inode whose plain blocks are interlaced. Linux 7.2 takes it as it
/// stands (`EROFS_MAP_META` in `z_erofs_map_blocks_fo`), 6.18 turns it. mkfs.erofs 1.9 writes such packed inodes.
fn check_inline(list: &[ZExtent], data: &FileData) -> Result<(), FormatError> {
    let is_interlaced = matches!(data.map_header(), Some(MapHeader::Index(header)) if header.interlaced);
    let is_plain = |last: &ZExtent| {
        matches!(last.stored, Stored::Inline { .. }) && !matches!(last.coding, Coding::Compressed(_))
    };
    if is_interlaced && list.last().is_some_and(is_plain) {
        let found = "plain data behind an inode with interlaced blocks";
        return Err(FormatError::limit("index", found, "data that all kernels read alike"));
    }
    Ok(())
}

/// Whether the last pcluster can be read from where it is. That of a file in a metabox is on no device.
fn may_stay(list: &[ZExtent], data: &FileData, room: &Room) -> bool {
    let end = list.last().and_then(|last| match last.stored {
        Stored::Inline { byte, length } => byte.checked_add(u64::from(length)),
        Stored::Hole | Stored::Pcluster { .. } | Stored::Fragment { .. } => None,
    });
    let is_inside = end.is_some_and(|end| end <= room.original_bytes());
    room.may_name_bytes && is_inside && !data.inode().nid.in_metabox()
}

/// Whether what follows the table can end in the block in which it starts, if the inode has the best of all places; it does not
/// start at the first byte of one.
fn fits(header: u64, shape: &Shape, bits: BlockBits) -> bool {
    let front = header.next_multiple_of(map_header::SIZE as u64) + u64::from(shape.table);
    let tail = u64::from(shape.tail);
    let first = match front % INODE_SLOT_SIZE {
        0 => INODE_SLOT_SIZE,
        first => first,
    };
    front + tail <= bits.size() || first + tail <= bits.size()
}

/// All extents of a file, held to the rules that keep the work within bounds: one begins where the one before it ends,
/// and all of them lie within the original.
fn list(data: &FileData, room: &Room) -> Result<Vec<ZExtent>, BuildError> {
    let mut list: Vec<ZExtent> = Vec::new();
    let mut next = 0;
    while next < data.len() {
        let Some(extent) = data.zmap(next)? else {
            return Err(BuildError::Internal("no extents in a compressed file".to_owned()));
        };
        if extent.start != next {
            let found = format!("extents that start at bytes {next} and {} of the file", extent.start);
            return Err(FormatError::limit("index", found, "them one behind the other").into());
        }
        if let Stored::Pcluster { byte, length } = extent.stored {
            room.check(byte, u64::from(length))?;
        }
        if list.len() as u64 >= EXTENTS_MAX {
            let found = format!("more than {EXTENTS_MAX}");
            return Err(FormatError::limit("extents of a file", found, "fewer in a companion").into());
        }
        next = extent.end();
        list.push(extent);
    }
    Ok(list)
}

/// What a file makes use of.
fn note(list: &[ZExtent], found: &Encoded, data: &FileData, bits: BlockBits, uses: &mut Uses) {
    let mut algorithms = 0;
    for extent in list {
        if let Coding::Compressed(algorithm) = extent.coding {
            algorithms |= algorithm.bit();
        }
        match extent.stored {
            Stored::Pcluster { length, .. } => uses.big |= u64::from(length) > bits.size(),
            Stored::Inline { .. } => uses.inline |= found.last == Last::Behind,
            Stored::Fragment { .. } => uses.fragments = true,
            Stored::Hole => {}
        }
    }
    let has_records = found.form(data).0 == IndexForm::Extents;
    uses.records |= has_records;
    uses.two_heads |= !has_records && algorithms.count_ones() > 1;
    uses.algorithms |= algorithms;
    uses.any = true;
}

impl Encoded {
    /// What the plan has to know.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether the table is as long with the original at block `one` as at block `other`.
    pub(super) fn is_same(&self, bits: BlockBits, one: u64, other: u64) -> bool {
        let near = |highest: u64, start: u64| {
            bits.byte_of(BlkAddr(start)).is_ok_and(|start| highest.saturating_add(start) < NEAR_BYTES)
        };
        self.highest.is_none_or(|highest| near(highest, one) == near(highest, other))
    }

    /// The block of the companion that the last pcluster has to itself.
    pub(super) fn own(&self) -> Option<u64> {
        match self.last {
            Last::Own(block) => Some(block),
            Last::Behind | Last::Stays => None,
        }
    }

    /// Gives the last pcluster, which has a block to itself, another one.
    pub(super) fn set_own(&mut self, block: u64) {
        self.last = Last::Own(block);
    }

    /// The same with the shape of these extents, and the address that decides about it.
    fn shaped(
        self,
        list: &[ZExtent],
        data: &FileData,
        room: &Room,
        starts: Starts,
    ) -> Result<Self, BuildError> {
        let (layout, table) = self.encode(list.to_vec(), data, room, starts)?;
        let table = u32::try_from(table.len())
            .map_err(|_| FormatError::limit("index of a file", table.len(), "fewer than 2^32 bytes"))?;
        let tail = match list.last().map(|last| last.stored) {
            Some(Stored::Inline { length, .. }) if self.last == Last::Behind => u32::from(length),
            _ => 0,
        };
        let bytes = list.iter().filter_map(|extent| match extent.stored {
            Stored::Pcluster { byte, .. } | Stored::Inline { byte, .. } => Some(byte),
            Stored::Hole | Stored::Fragment { .. } => None,
        });
        let has_records = self.form(data).0 == IndexForm::Extents;
        let highest = bytes.max().filter(|_| has_records);
        Ok(Self { shape: Shape { layout, table, tail }, highest, ..self })
    }

    /// Map header and index, with the bytes behind them or in the block of the companion.
    pub(super) fn bytes(
        &self,
        data: &FileData,
        room: &Room,
        starts: Starts,
    ) -> Result<(Vec<u8>, Vec<u8>), BuildError> {
        let list = list(data, room)?;
        let inline = list.last().copied().filter(|end| matches!(end.stored, Stored::Inline { .. }));
        let (layout, table) = self.encode(list, data, room, starts)?;
        let tail = match (inline, self.last) {
            (Some(extent), Last::Behind) => data.stored(&extent)?,
            (Some(extent), Last::Own(_)) => in_block(data.stored(&extent)?, extent.coding, room),
            (Some(_), Last::Stays) | (None, _) => Vec::new(),
        };
        let behind = if self.own().is_some() { 0 } else { tail.len() };
        let Shape { table: table_len, tail: tail_len, .. } = self.shape;
        if (layout, table.len(), behind) != (self.shape.layout, table_len as usize, tail_len as usize) {
            let found = format!("{} and {behind} bytes", table.len());
            let want = format!("{table_len} and {tail_len}");
            return Err(FormatError::limit("index that changed while it was read", found, want).into());
        }
        Ok((table, tail))
    }

    /// The form of the index, and the size of its lclusters as a power of two.
    fn form(&self, data: &FileData) -> (IndexForm, Option<u8>) {
        match data.map_header() {
            Some(MapHeader::Extents(_)) => (IndexForm::Extents, None),
            _ if self.last == Last::Stays => (IndexForm::Extents, None),
            Some(MapHeader::Index(header)) => {
                let is_compact = data.inode().layout() == DataLayout::CompressedCompact;
                // Behind the pclusters of the original a block of the companion is out of order.
                let is_compact = is_compact && self.own().is_none();
                (if is_compact { IndexForm::Compact } else { IndexForm::Full }, Some(header.lcluster_bits))
            }
            Some(MapHeader::Fragment { .. }) | None => (IndexForm::Full, None),
        }
    }

    /// Data layout, map header and index for extents of the original.
    fn encode(
        &self,
        mut list: Vec<ZExtent>,
        data: &FileData,
        room: &Room,
        starts: Starts,
    ) -> Result<(DataLayout, Vec<u8>), BuildError> {
        let bits = room.block_bits;
        let (form, lcluster_bits) = self.form(data);
        let first = data.algorithms().first().copied();
        for extent in &mut list {
            extent.stored = self.moved(extent.stored, form, bits, starts)?;
            if let (Stored::Fragment { .. }, Some(algorithm)) = (extent.stored, first) {
                // Before Linux 7.0 a fragment whose head says "plain" was taken for damage.
                extent.coding = Coding::Compressed(algorithm);
            }
        }
        let shape = lcluster::Shape {
            size: data.len(),
            block_bits: bits,
            lcluster_bits: lcluster_bits.unwrap_or(bits.bits()),
            header_end: self.header,
        };
        Ok(compress::encode_shaped(&list, &shape, form)?)
    }

    /// Where the companion finds what is stored in the original.
    fn moved(
        &self,
        stored: Stored,
        form: IndexForm,
        bits: BlockBits,
        starts: Starts,
    ) -> Result<Stored, FormatError> {
        let (byte, length) = match (stored, self.last) {
            (Stored::Inline { .. }, Last::Own(own)) => {
                let byte = bits.byte_of(BlkAddr(starts.own + own))?;
                let length = u32::try_from(bits.size()).unwrap_or(u32::MAX);
                return Ok(Stored::Pcluster { byte, length });
            }
            (Stored::Inline { byte, length }, Last::Stays) => (byte, u32::from(length)),
            (Stored::Pcluster { byte, length }, _) => (byte, length),
            (Stored::Inline { .. }, Last::Behind) | (Stored::Hole | Stored::Fragment { .. }, _) => {
                return Ok(stored);
            }
        };
        let moved = byte.checked_add(bits.byte_of(BlkAddr(starts.original))?);
        let far = || FormatError::limit("address of a pcluster", byte, "less than 2^48 blocks");
        let moved = moved.filter(|moved| bits.blocks_floor(*moved) >> 48 == 0).ok_or_else(far)?;
        if form != IndexForm::Extents {
            block_32(bits.blocks_floor(moved))?;
        }
        Ok(Stored::Pcluster { byte: moved, length })
    }
}

/// The bytes of a pcluster in a block: at its end, but for plain ones and LZ4 without zeros in front.
fn in_block(mut bytes: Vec<u8>, coding: Coding, room: &Room) -> Vec<u8> {
    let block = room.block_bits.bytes();
    let at_end = match coding {
        Coding::Compressed(algorithm) => algorithm != Algorithm::Lz4 || room.lz4_padding,
        Coding::Shifted | Coding::Interlaced => false,
    };
    let zeros = block.saturating_sub(bytes.len());
    let at = if at_end { 0 } else { bytes.len() };
    bytes.splice(at..at, std::iter::repeat_n(0, zeros));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(last: Last, highest: Option<u64>) -> Encoded {
        let shape = Shape { layout: DataLayout::CompressedFull, table: 16, tail: 0 };
        Encoded { shape, blocks: 1, header: 64, last, highest }
    }

    #[test]
    fn tails_fit_behind_some_place_or_none() {
        let bits = BlockBits::DEFAULT;
        for (header, table, tail, want) in [
            (64, 16, 4016, true),
            (64, 16, 4017, true),
            (64, 16, 4080, true),
            (64, 16, 4081, false),
            (64, 32, 4064, true),
            (64, 32, 4065, false),
            (60, 32, 4064, true),
            (120, 5000, 4096, false),
        ] {
            let shape = Shape { layout: DataLayout::CompressedFull, table, tail };
            assert_eq!(fits(header, &shape, bits), want, "{header} {table} {tail}");
        }
    }

    #[test]
    fn addresses_move_by_where_the_original_starts() {
        let bits = BlockBits::DEFAULT;
        let starts = Starts { original: 10, own: 3 };
        let pcluster = |byte, length| Stored::Pcluster { byte, length };
        let inline = Stored::Inline { byte: 100, length: 50 };
        let (full, records) = (IndexForm::Full, IndexForm::Extents);
        for (last, stored, form, want) in [
            (Last::Behind, pcluster(8192, 4096), full, Some(pcluster(49_152, 4096))),
            (Last::Behind, pcluster(8193, 7), records, Some(pcluster(49_153, 7))),
            (Last::Behind, pcluster(0xffff_fff5 << 12, 4096), full, None),
            (
                Last::Behind,
                pcluster(0xffff_fff5 << 12, 4096),
                records,
                Some(pcluster(0xffff_ffff << 12, 4096)),
            ),
            (Last::Behind, pcluster(((1 << 48) - 10) << 12, 4096), records, None),
            (Last::Behind, pcluster(u64::MAX, 1), records, None),
            (Last::Behind, inline, full, Some(inline)),
            (Last::Stays, inline, records, Some(pcluster(41_060, 50))),
            (Last::Own(2), inline, full, Some(pcluster(20_480, 4096))),
            (Last::Behind, Stored::Hole, full, Some(Stored::Hole)),
        ] {
            let found = encoded(last, None).moved(stored, form, bits, starts).ok();
            assert_eq!(found, want, "{last:?} {stored:?}");
        }
    }

    #[test]
    fn records_get_longer_where_addresses_get_long() {
        let bits = BlockBits::DEFAULT;
        for (highest, one, other, want) in [
            (None, 0, 1 << 30, true),
            (Some(4096), 0, 100, true),
            (Some((1 << 32) - 8192), 0, 1, true),
            (Some((1 << 32) - 8192), 0, 2, false),
            (Some(1 << 32), 0, 2, true),
        ] {
            let found = encoded(Last::Behind, highest).is_same(bits, one, other);
            assert_eq!(found, want, "{highest:?} {one} {other}");
        }
    }
}
