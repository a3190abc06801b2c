//! Compressed files of the original: their pclusters stay where they are.
//!
//! A last pcluster that follows an inode of the original starts at any byte, which extent records can name.
//! Where the companion may have those, and where they are shorter, it stays where it is. Else it is copied:
//! after the inode of the companion, or, if it is too long for that, to a block of its own. Fragments stay
//! where they are in the packed inode, of which the companion has one with the same content.

use erofs_format::FormatError;
use erofs_format::compression::Algorithm;
use erofs_format::datalayout::DataLayout;
use erofs_format::extent::{Coding, Stored as Found, ZExtent};
use erofs_format::inode::EXTENDED_SIZE;
use erofs_format::map_header::MapHeader;
use erofs_format::units::INODE_SLOT_SIZE;
use erofs_image::FileData;

use super::bounds::Bounds;
use super::form::ORIGINAL;
use crate::content::{Address, Class, Content, Extent, Kind, Tail};
use crate::error::BuildError;
use crate::layout::table::Tables;
use crate::options::IndexForm;
use crate::stored::{Copied, Stored};

/// The most extents that one file can have, because all of them are in memory at a time.
const EXTENTS_MAX: usize = 1 << 22;

/// What compressed files make use of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Uses {
    /// There is a compressed file.
    pub(super) any: bool,
    /// The bits of the algorithms.
    pub(super) algorithms: u16,
    /// A fragment is in the packed inode.
    pub(super) fragments: bool,
    /// There are extent records.
    pub(super) records: bool,
}

/// Where the bytes of a compressed file are.
pub(super) fn stored(data: &FileData, bounds: &Bounds, uses: &mut Uses) -> Result<Stored, BuildError> {
    bounds.take_table(data)?;
    let found = list(data, bounds)?;
    check_inline(&found, data)?;
    let content = content(&found, data, bounds)?;
    let mut copies = Vec::new();
    let content = match found.last() {
        Some(last) if matches!(last.stored, Found::Inline { .. }) => {
            let stays = apart(&content, last, data, bounds);
            inline(content, stays, last, data, bounds, &mut copies)?
        }
        Some(_) | None => content,
    };
    note(&content, &found, uses);
    Ok(Stored { content, copies, has_fingerprint: true })
}

/// The extents of a file, with a fragment as its tail. A last pcluster that follows the inode is left out.
fn content(list: &[ZExtent], data: &FileData, bounds: &Bounds) -> Result<Content<Vec<u8>>, BuildError> {
    let mut content = Content::new(class(list, data, bounds));
    for (number, extent) in list.iter().enumerate() {
        let is_last = number + 1 == list.len();
        let (at, stored) = match extent.stored {
            Found::Hole => (None, 0),
            Found::Pcluster { byte, length } => (Some(Address { device: ORIGINAL, byte }), u64::from(length)),
            Found::Inline { .. } if is_last => break,
            Found::Fragment { offset } if is_last => {
                let length = u32::try_from(extent.length)
                    .map_err(|_| FormatError::limit("fragment", extent.length, "fewer than 2^32 bytes"))?;
                content.tail = Tail::Fragment { length, offset };
                break;
            }
            Found::Inline { .. } | Found::Fragment { .. } => {
                return Err(
                    FormatError::limit("index", "a tail before the end of its file", "it last").into()
                );
            }
        };
        let &ZExtent { start, length, coding, partial, .. } = extent;
        content.extents.push(Extent { start, length, stored, at, coding, partial });
    }
    Ok(content)
}

/// The form of the index is that of the original.
fn class(list: &[ZExtent], data: &FileData, bounds: &Bounds) -> Class {
    let (index, lcluster_bits) = match data.map_header() {
        Some(MapHeader::Extents(_)) => (IndexForm::Extents, bounds.block_bits.bits()),
        Some(MapHeader::Index(header)) if data.inode().layout() == DataLayout::CompressedCompact => {
            (IndexForm::Compact, header.lcluster_bits)
        }
        Some(MapHeader::Index(header)) => (IndexForm::Full, header.lcluster_bits),
        Some(MapHeader::Fragment { .. }) | None => (IndexForm::Full, bounds.block_bits.bits()),
    };
    let first = list.iter().find_map(|extent| match extent.coding {
        Coding::Compressed(algorithm) => Some(algorithm),
        Coding::Shifted | Coding::Interlaced => None,
    });
    let algorithm = data.algorithms().first().copied().or(first).unwrap_or(Algorithm::Lz4);
    Class::Compressed { index, lcluster_bits, algorithm }
}

/// The content where a last pcluster that follows the inode is read from where it is, if it can be: that of a
/// file in a metabox is on no device.
fn apart(
    content: &Content<Vec<u8>>,
    last: &ZExtent,
    data: &FileData,
    bounds: &Bounds,
) -> Option<Content<Vec<u8>>> {
    let Found::Inline { byte, length } = last.stored else { return None };
    let end = byte.checked_add(u64::from(length))?;
    let Class::Compressed { lcluster_bits, algorithm, .. } = content.class else { return None };
    if !bounds.may_name_bytes || end > bounds.original_bytes() || data.inode().nid.in_metabox() {
        return None;
    }
    let mut content = content.clone();
    content.class = Class::Compressed { index: IndexForm::Extents, lcluster_bits, algorithm };
    content.extents.push(Extent {
        start: last.start,
        length: last.length,
        stored: u64::from(length),
        at: Some(Address { device: ORIGINAL, byte }),
        coding: last.coding,
        partial: last.partial,
    });
    Some(content)
}

/// Finds a place for a last pcluster that follows the inode: one of the three that the module names.
fn inline(
    mut content: Content<Vec<u8>>,
    stays: Option<Content<Vec<u8>>>,
    last: &ZExtent,
    data: &FileData,
    bounds: &Bounds,
    copies: &mut Vec<(usize, Copied)>,
) -> Result<Content<Vec<u8>>, BuildError> {
    let block = bounds.block_bits.size();
    let bytes = data.stored(last)?;
    let length = u32::try_from(last.length)
        .map_err(|_| FormatError::limit("pcluster", last.length, "fewer than 2^32 bytes"))?;
    // After an inode of any length there is a place in the block for so many bytes, if it is chosen well.
    let fits = bytes.len() as u64 + INODE_SLOT_SIZE <= block;
    content.tail = Tail::Pcluster { length, coding: last.coding, bytes };
    let stays = stays.and_then(|stays| Some((metadata(&stays, data, bounds)?, stays)));
    if let Some((bytes, stays)) = stays
        && (!fits || metadata(&content, data, bounds).is_none_or(|inline| bytes <= inline))
    {
        return Ok(stays);
    }
    if fits {
        return Ok(content);
    }
    bounds.take_copies(1)?;
    if let Tail::Pcluster { bytes, .. } = std::mem::take(&mut content.tail) {
        copies.push((content.extents.len(), Copied::Pcluster(in_block(bytes, last.coding, bounds))));
    }
    content.extents.push(Extent {
        start: last.start,
        length: last.length,
        stored: block,
        at: None,
        coding: last.coding,
        partial: last.partial,
    });
    Ok(content)
}

/// Bytes of table and tail that a content takes among the metadata, wherever the original will start; `None`
/// if it is not known.
fn metadata(content: &Content<Vec<u8>>, data: &FileData, bounds: &Bounds) -> Option<usize> {
    let tables = Tables { block_bits: bounds.block_bits, forces_indexes: false, devices: vec![0] };
    let made = tables.make(content, Kind::Compressed, data.len(), EXTENDED_SIZE as u64).ok()?;
    Some(made.table.len() + content.tail_bytes().map_or(0, Vec::len))
}

/// Refuses what kernels do not read alike: plain data that follows an inode whose plain blocks are
/// interlaced. Linux 7.2 takes it as it is (`EROFS_MAP_META` in `z_erofs_map_blocks_fo`), 6.18 turns it.
/// mkfs.erofs 1.9 writes such packed inodes.
fn check_inline(list: &[ZExtent], data: &FileData) -> Result<(), FormatError> {
    let is_interlaced = matches!(data.map_header(), Some(MapHeader::Index(header)) if header.interlaced);
    let is_plain = |last: &ZExtent| {
        matches!(last.stored, Found::Inline { .. }) && !matches!(last.coding, Coding::Compressed(_))
    };
    if is_interlaced && list.last().is_some_and(is_plain) {
        let found = "plain data after an inode with interlaced blocks";
        return Err(FormatError::limit("index", found, "data that all kernels read alike"));
    }
    Ok(())
}

/// All extents of a file, held to the rules that keep the work within bounds: one begins where the one before
/// it ends, and all of them lie within the original.
fn list(data: &FileData, bounds: &Bounds) -> Result<Vec<ZExtent>, BuildError> {
    let mut list: Vec<ZExtent> = Vec::new();
    let mut next = 0;
    while next < data.len() {
        let Some(extent) = data.zmap(next)? else {
            return Err(BuildError::Internal("no extents in a compressed file".to_owned()));
        };
        if extent.start != next {
            let found = format!("extents that start at bytes {next} and {} of the file", extent.start);
            return Err(FormatError::limit("index", found, "one where the one before it ends").into());
        }
        if let Found::Pcluster { byte, length } = extent.stored {
            bounds.check(byte, u64::from(length))?;
        }
        if list.len() >= EXTENTS_MAX {
            let found = format!("more than {EXTENTS_MAX}");
            return Err(FormatError::limit("extents of a file", found, "fewer in a companion").into());
        }
        next = extent.end();
        list.push(extent);
    }
    Ok(list)
}

/// Adds what a file makes use of.
fn note(content: &Content<Vec<u8>>, list: &[ZExtent], uses: &mut Uses) {
    for extent in list {
        if let Coding::Compressed(algorithm) = extent.coding {
            uses.algorithms |= algorithm.bit();
        }
    }
    let is_fragment = matches!(content.tail, Tail::Fragment { .. });
    let has_table = !(is_fragment && content.extents.is_empty());
    uses.fragments |= is_fragment;
    uses.records |= has_table && matches!(content.class, Class::Compressed { index: IndexForm::Extents, .. });
    uses.any = true;
}

/// The bytes of a pcluster in a block: at its end, but for plain ones and LZ4 without zeros in front.
fn in_block(mut bytes: Vec<u8>, coding: Coding, bounds: &Bounds) -> Vec<u8> {
    let block = bounds.block_bits.bytes();
    let at_end = match coding {
        Coding::Compressed(algorithm) => algorithm != Algorithm::Lz4 || bounds.lz4_padding,
        Coding::Shifted | Coding::Interlaced => false,
    };
    let zeros = block.saturating_sub(bytes.len());
    let at = if at_end { 0 } else { bytes.len() };
    bytes.splice(at..at, std::iter::repeat_n(0, zeros));
    bytes
}
