//! Logical clusters: what a full and a compact index say, one entry for each piece of `1 << lcluster_bits`
//! bytes of the file, and how entries become extents and extents entries (`z_erofs_map_blocks_fo`).
//!
//! ```text
//! extents    |<------- A ------->|<-- B -->|<------ C ------>|
//! lclusters  |      |      |      |      |      |      |    (end of the file)
//!             HEAD   1st    2nd    HEAD   HEAD   1st    PLAIN with the end of C
//!             A      block  NONHEAD B, at C, at   block  as its offset
//!                    count         its    its    count
//!                                  offset offset
//! ```
//!
//! The entry of an lcluster is a head if an extent starts in it; at most one can. The first entry behind a
//! head counts the blocks of its pcluster, where pclusters may be larger than a block; every other entry says
//! how far the head is and how far the next one. A file that ends inside an lcluster, in which no extent
//! starts, ends with a head that nothing follows.

use crate::compression::Algorithm;
use crate::datalayout::DataLayout;
use crate::error::FormatError;
use crate::extent::{Coding, Stored, ZExtent};
use crate::map_header::{IndexHeader, Tail};
use crate::units::BlockBits;
use crate::words;

/// The bit that turns a distance into a count of blocks (`Z_EROFS_LI_D0_CBLKCNT`).
pub const BLOCK_COUNT_BIT: u16 = 1 << 11;
/// The longest distance and the largest count that stand beside that bit.
pub const DISTANCE_MAX: u16 = BLOCK_COUNT_BIT - 1;
/// The most entries that are looked at to find one extent. 12 MiB of 512-byte lclusters are 24,576.
const STEPS_MAX: u32 = 65_536;

/// The kind of a head (`Z_EROFS_LCLUSTER_TYPE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeadKind {
    /// Not compressed.
    Plain,
    /// Compressed with the first algorithm of the map header.
    Head1,
    /// Compressed with the second one.
    Head2,
}

/// What an entry says besides its own kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lcluster {
    /// An extent starts here.
    Head {
        /// Its kind.
        kind: HeadKind,
        /// Where in the lcluster it starts, in bytes.
        offset: u32,
        /// First block of its pcluster; the upper half of the offset in the packed inode if it is a fragment.
        block: u32,
        /// Only the first part of what the pcluster decodes to is meant. Full index only.
        partial: bool,
        /// The extent is a hole. Full index only.
        hole: bool,
    },
    /// The extent of an earlier head goes on.
    Nonhead {
        /// The way back.
        back: Back,
        /// How many lclusters on the next head is, or an entry from which to go on; 0 means 1.
        ahead: u16,
    },
}

/// What stands in the first half of an entry that is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Back {
    /// The head is this many lclusters before, or an entry from which to go on.
    Distance(u16),
    /// The head is the entry before, and its pcluster has this many blocks; 0 is a hole.
    Blocks(u16),
}

/// What an index depends on besides the extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Size of the file in bytes.
    pub size: u64,
    /// Block size.
    pub block_bits: BlockBits,
    /// Size of an lcluster as a power of two of bytes; `block_bits` to `block_bits` + 15, and at most 14 if
    /// compact.
    pub lcluster_bits: u8,
    /// Where the inode's xattrs end, in bytes. Counted from anywhere that is a multiple of 32, such as the
    /// inode's start.
    pub header_end: u64,
}

impl Shape {
    /// How many lclusters the file has, and entries a full index.
    pub fn lclusters(&self) -> u64 {
        self.size.div_ceil(self.lcluster_size())
    }

    /// Size of an lcluster in bytes.
    pub fn lcluster_size(&self) -> u64 {
        1_u64.checked_shl(u32::from(self.lcluster_bits)).unwrap_or(u64::MAX)
    }

    fn number(&self, offset: u64) -> u64 {
        offset.checked_shr(u32::from(self.lcluster_bits)).unwrap_or(0)
    }

    fn within(&self, offset: u64) -> u64 {
        offset & self.lcluster_size().wrapping_sub(1)
    }

    fn start_of(&self, lcluster: u64) -> u64 {
        lcluster.saturating_mul(self.lcluster_size())
    }
}

fn wrong(start: u64, found: &str, want: &str) -> FormatError {
    let found = format!("{found} at byte {start} of the file");
    FormatError::limit("extent of an lcluster index", found, want)
}

/// Whether Linux reads these bytes as one file: extents in order, without a gap, from 0 to `size`.
pub(crate) fn check_cover(extents: &[ZExtent], size: u64) -> Result<(), FormatError> {
    let mut at = 0;
    for extent in extents {
        if extent.start != at || extent.length == 0 {
            return Err(wrong(extent.start, "a gap, an overlap or nothing", "extents one behind the other"));
        }
        extent.check(size)?;
        at = extent.end();
    }
    if at == size { Ok(()) } else { Err(wrong(at, "the end", "an end at the file's size")) }
}

/// The header that these extents need. A file has at most two algorithms; the first that is met is HEAD1. All
/// plain pclusters are interlaced or none is. Big pclusters are announced, for both heads, if any pcluster
/// needs them.
pub fn header_for(shape: &Shape, extents: &[ZExtent]) -> Result<IndexHeader, FormatError> {
    let mut algorithms: Vec<Algorithm> = Vec::new();
    let mut plain: Option<bool> = None;
    let mut big = false;
    for extent in extents {
        if let Stored::Pcluster { length, .. } = extent.stored {
            big |= u64::from(length) > shape.block_bits.size();
            let interlaced = match extent.coding {
                Coding::Compressed(_) => None,
                Coding::Interlaced => Some(true),
                Coding::Shifted => Some(false),
            };
            if interlaced.is_some() && plain.is_some_and(|plain| Some(plain) != interlaced) {
                return Err(wrong(extent.start, "interlaced and shifted data", "one of both in a file"));
            }
            plain = interlaced.or(plain);
        }
        if let Coding::Compressed(algorithm) = extent.coding
            && !algorithms.contains(&algorithm)
        {
            algorithms.push(algorithm);
        }
    }
    if algorithms.len() > 2 {
        return Err(wrong(0, "three algorithms", "at most two in a file"));
    }
    let mut found = algorithms.into_iter();
    let tail = match extents.last().map(|extent| extent.stored) {
        Some(Stored::Inline { length, .. }) => Tail::Inline(length),
        Some(Stored::Fragment { offset }) => Tail::Fragment(u32::try_from(offset & 0xffff_ffff).unwrap_or(0)),
        Some(Stored::Hole | Stored::Pcluster { .. }) | None => Tail::None,
    };
    Ok(IndexHeader {
        compacted_2b: false,
        big_pcluster_1: big,
        big_pcluster_2: big,
        interlaced: plain == Some(true),
        tail,
        algorithms: [found.next().unwrap_or(Algorithm::Lz4), found.next().unwrap_or(Algorithm::Lz4)],
        lcluster_bits: shape.lcluster_bits,
    })
}

/// The entries for these extents under `header`. An error if an index cannot hold them: two extents that
/// start in one lcluster, pclusters that are not whole blocks or have no entry for their block count,
/// addresses of 2^32 blocks or more, inline data or a fragment anywhere but at the end.
pub fn from_extents(
    shape: &Shape,
    header: &IndexHeader,
    extents: &[ZExtent],
) -> Result<Vec<Lcluster>, FormatError> {
    check_cover(extents, shape.size)?;
    let mut entries = Vec::with_capacity(usize::try_from(shape.lclusters()).unwrap_or(0));
    for extent in extents {
        let first = shape.number(extent.start);
        if u64::try_from(entries.len()) != Ok(first) {
            return Err(wrong(extent.start, "a second start in an lcluster", "one extent for each lcluster"));
        }
        // The last extent owns the lcluster in which it starts even if it ends there as well.
        let last = extent.end() == shape.size;
        let next = shape.number(extent.end());
        let count = next.saturating_sub(first).max(u64::from(last));
        entries.push(head(shape, header, extent, last)?);
        let blocks = block_count(shape, header, extent, count)?;
        for back in 1..count {
            let ahead = u16::try_from(count.saturating_sub(back)).unwrap_or(u16::MAX);
            let distance = u16::try_from(back).unwrap_or(u16::MAX).min(DISTANCE_MAX);
            let back = match blocks {
                Some(blocks) if back == 1 => Back::Blocks(blocks),
                _ => Back::Distance(distance),
            };
            entries.push(Lcluster::Nonhead { back, ahead });
        }
    }
    if u64::try_from(entries.len()).is_ok_and(|found| found < shape.lclusters()) {
        let offset = u32::try_from(shape.within(shape.size)).unwrap_or(0);
        entries.push(Lcluster::Head { kind: HeadKind::Plain, offset, block: 0, partial: false, hole: false });
    }
    Ok(entries)
}

/// Whether the block of an entry has no meaning: the entry ends the file, or its bytes are inline. Fragments
/// use it in a full index only.
pub(crate) fn is_free(shape: &Shape, extents: &[ZExtent], lcluster: u64) -> bool {
    let last = extents.last();
    let tail =
        last.is_some_and(|last| matches!(last.stored, Stored::Inline { .. } | Stored::Fragment { .. }));
    let start = last.map_or(0, |last| shape.number(last.start));
    lcluster > start || (tail && lcluster == start)
}

fn head(shape: &Shape, header: &IndexHeader, extent: &ZExtent, last: bool) -> Result<Lcluster, FormatError> {
    let block = match extent.stored {
        Stored::Pcluster { byte, length } => {
            if shape.block_bits.within(byte | u64::from(length)) != 0 {
                return Err(wrong(extent.start, "a pcluster between blocks", "whole blocks"));
            }
            shape.block_bits.blocks_floor(byte)
        }
        Stored::Fragment { offset } if last => offset >> 32,
        Stored::Inline { .. } if last => 0,
        Stored::Hole => 0,
        Stored::Fragment { .. } | Stored::Inline { .. } => {
            return Err(wrong(extent.start, "inline data or a fragment", "them at the end only"));
        }
    };
    let block = u32::try_from(block).map_err(|_| wrong(extent.start, "a far block", "blocks below 2^32"))?;
    let kind = match (extent.stored, extent.coding) {
        // Older kernels want as many bytes on disk as in the file behind every plain head.
        (Stored::Hole | Stored::Fragment { .. }, _) => HeadKind::Head1,
        (_, Coding::Shifted | Coding::Interlaced) => HeadKind::Plain,
        (_, Coding::Compressed(algorithm)) if header.algorithms.first() == Some(&algorithm) => {
            HeadKind::Head1
        }
        (_, Coding::Compressed(_)) => HeadKind::Head2,
    };
    let offset = u32::try_from(shape.within(extent.start)).unwrap_or(0);
    Ok(Lcluster::Head { kind, offset, block, partial: extent.partial, hole: extent.stored == Stored::Hole })
}

/// The block count behind the head of `extent`, which owns `count` lclusters; `None` where none is written.
fn block_count(
    shape: &Shape,
    header: &IndexHeader,
    extent: &ZExtent,
    count: u64,
) -> Result<Option<u16>, FormatError> {
    let blocks = match extent.stored {
        Stored::Pcluster { length, .. } => shape.block_bits.blocks_floor(u64::from(length)),
        Stored::Hole => 0,
        // Read over, but an entry without a count would not do where counts are expected.
        Stored::Inline { .. } | Stored::Fragment { .. } => 1,
    };
    if count < 2 && blocks > 1 {
        return Err(wrong(extent.start, "a big pcluster for one lcluster", "one block for it"));
    }
    let fitting = u16::try_from(blocks).ok().filter(|blocks| *blocks <= DISTANCE_MAX);
    let blocks = fitting.ok_or_else(|| wrong(extent.start, "a pcluster of 2048 blocks", "at most 2047"))?;
    Ok((header.big_pcluster_1 || header.big_pcluster_2).then_some(blocks))
}

/// An index as it is read: what [`Shape`] and header say, and where the last extent is.
#[derive(Debug, Clone, Copy)]
pub struct Index {
    /// What the index depends on.
    pub shape: Shape,
    /// The map header.
    pub header: IndexHeader,
    /// The number of the lcluster with the head of the last extent, and where that is stored, if it is no
    /// pcluster.
    pub tail: Option<(u64, Stored)>,
}

/// A head that was found, and what was learned on the way to it.
struct Found {
    lcluster: u64,
    head: Head,
    /// Blocks of the pcluster, if an entry on the way said so.
    blocks: Option<u16>,
    /// An lcluster at or before the next head.
    ahead: u64,
    /// The end of the extent, if it is known already.
    end: Option<u64>,
}

#[derive(Clone, Copy)]
struct Head {
    kind: HeadKind,
    offset: u32,
    block: u32,
    partial: bool,
    hole: bool,
}

/// The error for a head that starts outside of its lcluster (`z_erofs_load_full_lcluster`).
fn outside(lcluster: u64, offset: u32) -> FormatError {
    bogus("lcluster head", lcluster, &format!("offset {offset}"), "an offset within the lcluster")
}

fn bogus(what: &'static str, lcluster: u64, found: &str, want: &str) -> FormatError {
    FormatError::limit(what, format!("{found} in lcluster {lcluster}"), want)
}

impl Index {
    /// An index whose last extent is found by `load`, which reads the entry of an lcluster. `index_end` is
    /// the byte of the metadata space behind the index, where inline data starts.
    pub fn open<E: From<FormatError>>(
        shape: Shape,
        layout: DataLayout,
        header: IndexHeader,
        index_end: u64,
        load: &mut impl FnMut(u64) -> Result<Lcluster, E>,
    ) -> Result<Self, E> {
        let mut index = Self { shape, header, tail: None };
        let Some(last) = shape.size.checked_sub(1).filter(|_| header.tail != Tail::None) else {
            return Ok(index);
        };
        let found = index.find(last, load)?;
        let stored = match header.tail {
            Tail::None => return Ok(index),
            Tail::Fragment(low) => {
                // A compact index keeps block addresses where a full one keeps the upper half.
                let high = if layout == DataLayout::CompressedFull { found.head.block } else { 0 };
                Stored::Fragment { offset: u64::from(low) | (u64::from(high) << 32) }
            }
            Tail::Inline(length) => {
                let end = shape.block_bits.within(index_end).checked_add(u64::from(length));
                if end.is_none_or(|end| end > shape.block_bits.size()) {
                    let want = "a pcluster that ends in the block in which it starts";
                    return Err(
                        FormatError::field("inline pcluster", index_end, words::bytes(length), want).into()
                    );
                }
                Stored::Inline { byte: index_end, length }
            }
        };
        index.tail = Some((found.lcluster, stored));
        Ok(index)
    }

    /// The extent that holds byte `offset`, which must be below the size of the file; `load` reads the entry
    /// of an lcluster. At most 65,536 entries are read.
    pub fn map<E: From<FormatError>>(
        &self,
        offset: u64,
        load: &mut impl FnMut(u64) -> Result<Lcluster, E>,
    ) -> Result<ZExtent, E> {
        let size = self.shape.size;
        if offset >= size {
            return Err(FormatError::limit("offset in a file", offset, words::bytes(size)).into());
        }
        let found = self.find(offset, load)?;
        let start = self.shape.start_of(found.lcluster).saturating_add(u64::from(found.head.offset));
        let special = self.tail.filter(|(lcluster, _)| *lcluster == found.lcluster);
        let stored = match special {
            Some((_, stored)) => stored,
            None => self.pcluster(&found, load)?,
        };
        let end = match found.end {
            Some(end) => end,
            None => self.end(&found, load)?,
        };
        // Linux does not cut an extent that ends behind the file, and cannot decode so many bytes.
        if start > offset || end <= offset || end > size {
            let found = format!("bytes {start} to {end} for byte {offset} of {size}");
            let want = "a range with the byte, within the file";
            return Err(FormatError::limit("extent of an lcluster index", found, want).into());
        }
        let unpacked = matches!(stored, Stored::Fragment { .. } | Stored::Hole);
        let coding = if unpacked { Coding::Shifted } else { self.coding(found.head.kind, stored) };
        let partial = found.head.partial && !unpacked;
        let extent = ZExtent { start, length: end.saturating_sub(start), stored, coding, partial };
        extent.check(size)?;
        Ok(extent)
    }

    /// Whether Linux finds the same extents from every lcluster: it asks for one from any byte of it, so that
    /// each entry has to lead back to the head of its own extent, and none past the next head. `load` reads
    /// the entry of an lcluster; every one is read.
    pub fn check<E: From<FormatError>>(
        &self,
        load: &mut impl FnMut(u64) -> Result<Lcluster, E>,
    ) -> Result<(), E> {
        let (mut head, mut reach) = (None, 0);
        for lcluster in 0..self.shape.lclusters() {
            let (back, ahead) = match load(lcluster)? {
                Lcluster::Head { .. } if reach > lcluster => {
                    let found = format!("a way to lcluster {reach}");
                    let want = "none past the next head";
                    return Err(bogus("lcluster distance", lcluster.saturating_sub(1), &found, want).into());
                }
                Lcluster::Head { .. } => {
                    head = Some(lcluster);
                    continue;
                }
                Lcluster::Nonhead { back, ahead } => (back, ahead),
            };
            reach = reach.max(lcluster.saturating_add(u64::from(ahead.max(1))));
            let most = lcluster.saturating_sub(head.unwrap_or(lcluster));
            let (leads_back, found) = match back {
                Back::Distance(distance) => {
                    ((1..=most).contains(&u64::from(distance)), format!("distance {distance}"))
                }
                Back::Blocks(_) => (most == 1, "a block count".to_owned()),
            };
            if !leads_back {
                let want = format!("a way to the head, which is {most} lclusters back");
                return Err(bogus("lcluster distance", lcluster, &found, &want).into());
            }
        }
        Ok(())
    }

    fn coding(&self, kind: HeadKind, stored: Stored) -> Coding {
        let [first, second] = self.header.algorithms;
        match kind {
            HeadKind::Head1 => Coding::Compressed(first),
            HeadKind::Head2 => Coding::Compressed(second),
            HeadKind::Plain if self.header.interlaced && !matches!(stored, Stored::Inline { .. }) => {
                Coding::Interlaced
            }
            HeadKind::Plain => Coding::Shifted,
        }
    }

    /// The head of the extent that holds byte `offset`.
    fn find<E: From<FormatError>>(
        &self,
        offset: u64,
        load: &mut impl FnMut(u64) -> Result<Lcluster, E>,
    ) -> Result<Found, E> {
        let mut lcluster = self.shape.number(offset);
        let within = self.shape.within(offset);
        let mut blocks = None;
        let mut ahead = lcluster.saturating_add(1);
        let mut end = None;
        let mut first = true;
        for _ in 0..STEPS_MAX {
            let back = match load(lcluster)? {
                Lcluster::Head { offset: at, .. } if u64::from(at) >= self.shape.lcluster_size() => {
                    return Err(outside(lcluster, at).into());
                }
                Lcluster::Head { offset: at, .. } if first && within < u64::from(at) => {
                    end = Some(self.shape.start_of(lcluster).saturating_add(u64::from(at)));
                    1
                }
                Lcluster::Head { kind, offset, block, partial, hole } => {
                    let head = Head { kind, offset, block, partial, hole };
                    return Ok(Found { lcluster, head, blocks, ahead, end });
                }
                Lcluster::Nonhead { back, ahead: more } => {
                    if first {
                        ahead = lcluster.saturating_add(u64::from(more.max(1)));
                    }
                    match back {
                        Back::Distance(distance) => distance,
                        Back::Blocks(count) => {
                            self.check_big(lcluster)?;
                            blocks = Some(count);
                            1
                        }
                    }
                }
            };
            first = false;
            let want = "the way to an earlier head";
            lcluster = lcluster
                .checked_sub(u64::from(back))
                .filter(|_| back > 0)
                .ok_or_else(|| bogus("lcluster distance", lcluster, &back.to_string(), want))?;
        }
        Err(bogus("lcluster distance", lcluster, "no head", "a head within 65536 entries").into())
    }

    fn check_big(&self, lcluster: u64) -> Result<(), FormatError> {
        if self.header.big_pcluster_1 || self.header.big_pcluster_2 {
            return Ok(());
        }
        Err(bogus("lcluster index", lcluster, "a block count", "none in a file without big pclusters"))
    }

    /// Where the pcluster of a head is (`z_erofs_get_extent_compressedlen`).
    fn pcluster<E: From<FormatError>>(
        &self,
        found: &Found,
        load: &mut impl FnMut(u64) -> Result<Lcluster, E>,
    ) -> Result<Stored, E> {
        if found.head.hole {
            return Ok(Stored::Hole);
        }
        let big = match found.head.kind {
            HeadKind::Head1 => self.header.big_pcluster_1,
            HeadKind::Plain | HeadKind::Head2 => self.header.big_pcluster_2,
        };
        let next = found.lcluster.saturating_add(1);
        let blocks = match found.blocks {
            Some(blocks) => blocks,
            None if !big || self.shape.start_of(next) >= self.shape.size => 1,
            None => match load(next)? {
                Lcluster::Head { .. } => 1,
                Lcluster::Nonhead { back: Back::Blocks(blocks), .. } => blocks,
                Lcluster::Nonhead { back: Back::Distance(distance), .. } => {
                    let found = format!("distance {distance}");
                    return Err(bogus("lcluster index", next, &found, "a block count").into());
                }
            },
        };
        if blocks == 0 {
            return Ok(Stored::Hole);
        }
        let byte = u64::from(found.head.block).saturating_mul(self.shape.block_bits.size());
        let length = u64::from(blocks).saturating_mul(self.shape.block_bits.size());
        Ok(Stored::Pcluster { byte, length: u32::try_from(length).unwrap_or(u32::MAX) })
    }

    /// Where the extent of a head ends (`z_erofs_get_extent_decompressedlen`).
    fn end<E: From<FormatError>>(
        &self,
        found: &Found,
        load: &mut impl FnMut(u64) -> Result<Lcluster, E>,
    ) -> Result<u64, E> {
        let mut lcluster = found.ahead;
        for _ in 0..STEPS_MAX {
            let start = self.shape.start_of(lcluster);
            if start >= self.shape.size {
                return Ok(self.shape.size);
            }
            match load(lcluster)? {
                // A head behind the end of the file, too: Linux loads it when it looks for the end.
                Lcluster::Head { offset, .. } if u64::from(offset) >= self.shape.lcluster_size() => {
                    return Err(outside(lcluster, offset).into());
                }
                Lcluster::Head { offset, .. } => return Ok(start.saturating_add(u64::from(offset))),
                Lcluster::Nonhead { ahead, .. } => {
                    lcluster = lcluster.saturating_add(u64::from(ahead.max(1)));
                }
            }
        }
        Err(bogus("lcluster distance", lcluster, "no next head", "one within 65536 entries").into())
    }
}
