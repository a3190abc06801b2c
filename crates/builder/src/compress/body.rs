//! What the inode of a file will need besides its attributes, worked out once the places of its content are known.

use std::ops::Range;

use erofs_format::compression::Algorithm;
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::ChunkFormat;
use erofs_format::extent::{Coding, Stored, ZExtent};
use erofs_format::{BlockBits, FormatError};

use super::encode::Extent;
use crate::error::BuildError;
use crate::layout::compose::{Data, block_32};
use crate::layout::plan::Shape;
use crate::options::IndexForm;

/// Bytes behind the inode that are content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inline {
    /// Bytes of content, for a pcluster; 0 for the tail of a plain file.
    pub(crate) length: u32,
    /// What encoded it; `None` where the content stands there as it is.
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) bytes: Vec<u8>,
}

/// The end of a file in the packed inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub(crate) length: u32,
    pub(crate) at: u64,
}

/// An extent that has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// First byte in the file.
    start: u64,
    extent: Extent,
    /// First byte in the image.
    at: u64,
    /// More is stored there than this file has of it.
    partial: bool,
}

/// Drops the last extent of a reference that ends at a byte of the file, if it is too short for the lclusters of the file; tells
/// its length, or 0. `end` comes with the sizes of the file and of a block. A pcluster of many blocks needs two lclusters
/// for itself, and no two extents start in one.
pub(crate) fn drop_short(placed: &mut Vec<Placed>, (end, size, block): (u64, u64, u64)) -> u64 {
    let Some(last) = placed.last().copied() else { return 0 };
    let length = u64::from(last.extent.length);
    let lclusters = (end / block - (end - length) / block).max(u64::from(end == size));
    let wanted = if u64::from(last.extent.stored) > block { 2 } else { 1 };
    if lclusters >= wanted {
        return 0;
    }
    placed.pop();
    length
}

/// A file in chunks, some of which are holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunks {
    pub(crate) format: ChunkFormat,
    /// The first block of each chunk; [`HOLE`](crate::layout::compose::HOLE) for zeros.
    pub(crate) blocks: Vec<u32>,
}

/// Where the content of a file is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Pclusters and plain blocks with the places they have, in the order of the content.
    extents: Vec<Placed>,
    /// The first byte of a file that is stored as it is.
    pub(crate) flat: Option<u64>,
    /// The chunks of a file that is stored as it is and has holes.
    pub(crate) chunks: Option<Chunks>,
    pub(crate) inline: Option<Inline>,
    pub(crate) fragment: Option<Fragment>,
}

impl Content {
    /// Adds what follows.
    pub(crate) fn push(&mut self, extent: Extent, at: u64) {
        self.add(extent, at, false);
    }

    fn add(&mut self, extent: Extent, at: u64, partial: bool) {
        let start = self.extents.last().map_or(0, |last| last.start + u64::from(last.extent.length));
        self.extents.push(Placed { start, extent, at, partial });
    }

    /// Adds what holds `length` bytes from byte `from` of this content on, where an extent starts; `None` if none does
    /// or if they are not all in pclusters.
    pub(crate) fn refer(&self, from: u64, length: u64) -> Option<Vec<Placed>> {
        let first = self.extents.binary_search_by_key(&from, |placed| placed.start).ok()?;
        let end = from.checked_add(length)?;
        let mut found: Vec<Placed> =
            self.extents[first..].iter().take_while(|placed| placed.start < end).copied().collect();
        let last = found.last_mut()?;
        let kept = u32::try_from(end - last.start).unwrap_or(u32::MAX);
        if kept < last.extent.length {
            last.extent.length = kept;
            last.partial = last.extent.algorithm.is_some();
        }
        (last.start + u64::from(last.extent.length) == end).then_some(found)
    }

    /// Adds what another content has.
    pub(crate) fn extend(&mut self, placed: Vec<Placed>) {
        for Placed { extent, at, partial, .. } in placed {
            self.add(extent, at, partial);
        }
    }

    /// Makes a file of nothing but plain blocks, one behind the other, one that is stored as it is. Anything else stays.
    pub(crate) fn flatten(&mut self) {
        let Some(&Placed { at: start, .. }) = self.extents.first() else { return };
        let mut next = start;
        for Placed { extent, at, .. } in &self.extents {
            if extent.algorithm.is_some() || *at != next || self.inline.is_some() || self.fragment.is_some() {
                return;
            }
            next += u64::from(extent.stored);
        }
        self.extents.clear();
        self.flat = Some(start);
    }

    fn list(&self, form: &Form) -> Vec<ZExtent> {
        let mut start = 0;
        let mut list = Vec::with_capacity(self.extents.len() + 1);
        let mut add = |length: u32, stored: Stored, coding: Coding, partial: bool| {
            list.push(ZExtent { start, length: u64::from(length), stored, coding, partial });
            start += u64::from(length);
        };
        let plain = if form.interlaced { Coding::Interlaced } else { Coding::Shifted };
        for Placed { extent, at, partial, .. } in &self.extents {
            let stored = Stored::Pcluster { byte: *at, length: extent.stored };
            add(extent.length, stored, extent.algorithm.map_or(plain, Coding::Compressed), *partial);
        }
        if let Some(Inline { length, algorithm, bytes }) = &self.inline {
            let stored = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
            let coding = algorithm.map_or(Coding::Shifted, Coding::Compressed);
            add(*length, Stored::Inline { byte: 0, length: stored }, coding, false);
        }
        if let Some(Fragment { length, at }) = self.fragment {
            // Before Linux 7.0 a fragment whose head says "plain" was taken for damage.
            let algorithm = self.extents.iter().find_map(|placed| placed.extent.algorithm);
            let coding = Coding::Compressed(algorithm.unwrap_or(form.algorithm));
            add(length, Stored::Fragment { offset: at }, coding, false);
        }
        list
    }

    /// Blocks that the pclusters take, as the inode tells them: those that the file refers to twice count once.
    fn blocks(&self, block_bits: BlockBits) -> u64 {
        let mut pclusters: Vec<(u64, u32)> =
            self.extents.iter().map(|placed| (placed.at, placed.extent.stored)).collect();
        if !pclusters.is_sorted() {
            pclusters.sort_unstable();
        }
        pclusters.dedup();
        let bytes = pclusters.iter().map(|&(_, stored)| u64::from(stored)).sum();
        block_bits.blocks_ceil(bytes)
    }
}

/// What rules the form of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// Bytes of content.
    pub(crate) size: u64,
    pub(crate) block_bits: BlockBits,
    /// Where the xattrs end, counted from the inode.
    pub(crate) header: u64,
    pub(crate) index: IndexForm,
    /// Named by the head of a fragment where nothing else is encoded.
    pub(crate) algorithm: Algorithm,
    /// Plain blocks are turned.
    pub(crate) interlaced: bool,
}

/// What [`encode`] made.
#[derive(Debug)]
pub(crate) struct Made<'c> {
    pub(crate) layout: DataLayout,
    /// The union of the inode: first block, or number of blocks.
    pub(crate) i_u: u32,
    /// From the map header on.
    pub(crate) table: Vec<u8>,
    /// What follows it.
    pub(crate) tail: &'c [u8],
    /// The index has heads of two algorithms.
    pub(crate) two_heads: bool,
}

/// What an inode needs, by its place in the spool: fingerprint, then table, then tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) layout: DataLayout,
    pub(crate) i_u: u32,
    /// Where it starts in the spool.
    pub(crate) at: u64,
    /// Length of the fingerprint's value.
    pub(crate) fingerprint: u32,
    /// Length of map header and index.
    pub(crate) table: u32,
    /// Length of what stands behind them.
    pub(crate) tail: u32,
}

impl Body {
    /// What the plan has to know.
    pub(crate) fn shape(&self) -> Shape {
        // The spool has four bytes for each chunk, whatever the form of the table will be.
        let is_long = self.layout == DataLayout::ChunkBased
            && ChunkFormat::decode(self.i_u, 0).is_ok_and(|format| format.entry_size() > CHUNK_IN_SPOOL);
        Shape {
            layout: self.layout,
            table: if is_long { 2 * self.table } else { self.table },
            tail: self.tail,
        }
    }
}

/// What the bytes of a body say.
#[derive(Debug)]
pub(crate) struct Loaded<'b> {
    pub(crate) fingerprint: &'b [u8],
    pub(crate) data: Data,
    pub(crate) tail: &'b [u8],
}

impl Body {
    /// Where its bytes are in the spool.
    pub(crate) fn range(&self) -> Range<u64> {
        self.at..self.at + u64::from(self.fingerprint) + u64::from(self.table) + u64::from(self.tail)
    }

    /// Where its tail is in the spool.
    pub(crate) fn tail_range(&self) -> Range<u64> {
        let end = self.range().end;
        end - u64::from(self.tail)..end
    }

    /// What its bytes say.
    pub(crate) fn of<'b>(&self, bytes: &'b [u8]) -> Result<Loaded<'b>, BuildError> {
        let short = || BuildError::Internal(format!("{} bytes of a body in the spool", bytes.len()));
        let (fingerprint, rest) = bytes.split_at_checked(self.fingerprint as usize).ok_or_else(short)?;
        let (table, tail) = rest.split_at_checked(self.table as usize).ok_or_else(short)?;
        let data = if self.layout.is_compressed() {
            Data::Compressed { layout: self.layout, blocks: self.i_u, table: table.to_vec() }
        } else if self.layout == DataLayout::ChunkBased {
            let entries = table.as_chunks().0.iter().map(|entry| u32::from_le_bytes(*entry));
            Data::Chunks { format: ChunkFormat::decode(self.i_u, 0)?, blocks: entries.collect() }
        } else {
            Data::Flat { start: u64::from(self.i_u) }
        };
        Ok(Loaded { fingerprint, data, tail })
    }
}

/// Bytes of the spool for each chunk: its first block.
const CHUNK_IN_SPOOL: usize = 4;

/// Encodes what the inode of a file needs.
pub(crate) fn encode<'c>(content: &'c Content, form: &Form) -> Result<Made<'c>, FormatError> {
    let tail = content.inline.as_ref().map_or(&[][..], |inline| &inline.bytes);
    if let Some(start) = content.flat {
        let layout = if tail.is_empty() { DataLayout::FlatPlain } else { DataLayout::FlatInline };
        let i_u = block_32(form.block_bits.blocks_floor(start))?;
        return Ok(Made { layout, i_u, table: Vec::new(), tail, two_heads: false });
    }
    if let Some(Chunks { format, blocks }) = &content.chunks {
        let table = blocks.iter().flat_map(|block| block.to_le_bytes()).collect();
        return Ok(Made {
            layout: DataLayout::ChunkBased,
            i_u: format.encode(),
            table,
            tail,
            two_heads: false,
        });
    }
    let extents = content.list(form);
    // Extent records name the algorithm of each extent.
    let two_heads = form.index != IndexForm::Extents && has_two(&extents);
    let (layout, table) = super::index::encode(&extents, form)?;
    let blocks = content.blocks(form.block_bits);
    let i_u = u32::try_from(blocks)
        .map_err(|_| FormatError::limit("compressed blocks of a file", blocks, u32::MAX))?;
    Ok(Made { layout, i_u, table, tail, two_heads })
}

/// Whether there are two algorithms among extents.
fn has_two(extents: &[ZExtent]) -> bool {
    let mut compressed = extents.iter().filter(|extent| matches!(extent.coding, Coding::Compressed(_)));
    let first = compressed.next().map(|extent| extent.coding);
    compressed.any(|extent| Some(extent.coding) != first)
}
