//! The map of a compressed file: its map header, and the extent that holds a byte (Linux's
//! `z_erofs_map_blocks_iter`).
//!
//! Indexes are read through a window, so that extents in a row cost one read and memory does not grow with
//! the file.

use std::sync::{Arc, Mutex, PoisonError};

use erofs_format::compression::Algorithm;
use erofs_format::datalayout::extents::{self, Record};
use erofs_format::datalayout::lcluster::{Index, Lcluster, Shape};
use erofs_format::datalayout::{DataLayout, compact, full};
use erofs_format::extent::{Coding, Stored, ZExtent};
use erofs_format::map_header::{self, ExtentsHeader, IndexHeader, MapHeader, RecordSize};
use erofs_format::{FormatError, Rule, words};

use crate::budget::Work;
use crate::context::{Compression, Context};
use crate::error::Result;
use crate::inode::Inode;
use crate::space::{Space, length_of};

/// How many bytes of an index are read at once.
const WINDOW: usize = 4096;

/// The map of a compressed file.
#[derive(Debug)]
pub(crate) struct Map {
    compression: Compression,
    space: Space,
    shape: Shape,
    kind: Kind,
    window: Mutex<Window>,
}

#[derive(Debug)]
enum Kind {
    Fragment { offset: u64 },
    Index { index: Index, layout: DataLayout, start: u64 },
    Extents { header: ExtentsHeader, start: u64 },
}

/// A part of an index in memory.
#[derive(Debug)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
    end: u64,
    /// With extent records of 4 bytes: the number of a record and where its pcluster starts.
    known: (u64, u64),
    work: Arc<Work>,
}

impl Window {
    /// Nothing yet of an index that ends at byte `end` of its space.
    fn new(end: u64, work: Arc<Work>) -> Self {
        Self { start: 0, bytes: Vec::new(), end, known: (0, 0), work }
    }

    /// `length` bytes of the index from byte `at` of the space on: an entry.
    fn get(&mut self, space: &Space, at: u64, length: usize) -> Result<&[u8]> {
        self.work.entries.take(1)?;
        let skip = |window: &Self| usize::try_from(at.checked_sub(window.start)?).ok();
        let has = |window: &Self| {
            skip(window)
                .and_then(|skip| skip.checked_add(length))
                .is_some_and(|end| end <= window.bytes.len())
        };
        if !has(self) {
            // The way to a head goes backwards, so that what is in front is read as well.
            let before = if at < self.start { WINDOW / 2 } else { 0 };
            let start = at.saturating_sub(u64::try_from(before).unwrap_or(0));
            let left = usize::try_from(self.end.saturating_sub(start)).unwrap_or(usize::MAX);
            let least = in_memory(at.saturating_sub(start)).saturating_add(length);
            self.bytes = space.read_vec("compressed index", start, left.min(WINDOW).max(least))?;
            self.start = start;
        }
        let skip = skip(self).unwrap_or(usize::MAX);
        let end = skip.saturating_add(length);
        let short = || FormatError::short("compressed index", at, 0, length);
        Ok(self.bytes.get(skip..end).ok_or_else(short)?)
    }
}

fn too_far(size: u64) -> FormatError {
    FormatError::limit("index of a compressed file", size, "an end below byte 2^64")
}

impl Map {
    /// Reads the map header of `inode`, whose data layout is a compressed one. The whole index must be there,
    /// so that the number of extents is bounded by the size of the image.
    pub(crate) fn open(context: &Context, space: Space, inode: &Inode) -> Result<Self> {
        let compression = context.compression;
        let header_end = inode.header_end()?;
        let at = map_header::at(header_end).ok_or_else(|| too_far(inode.size()))?;
        let bytes = space.read_vec("map header", at, map_header::SIZE)?;
        let layout = inode.layout();
        let header = MapHeader::decode(&bytes, at, layout, compression.block_bits)?;
        let mut shape = Shape {
            size: inode.size(),
            block_bits: compression.block_bits,
            lcluster_bits: compression.block_bits.bits(),
            header_end,
        };
        if let MapHeader::Index(header) = header {
            shape.lcluster_bits = header.lcluster_bits;
        }
        let end = index_end(&shape, layout, &header).ok_or_else(|| too_far(shape.size))?;
        if end > space.len() {
            let found = format!("an index up to byte {end}");
            let want = format!("an end within {}", words::bytes(space.len()));
            return Err(FormatError::field("compressed index", at, found, want).of(Rule::TableEnd).into());
        }
        let mut window = Window::new(end, Arc::clone(&context.work));
        let kind = match header {
            MapHeader::Fragment { offset } => Kind::Fragment { offset },
            MapHeader::Extents(header) => {
                let start =
                    extents::records_at(header_end, header.record).ok_or_else(|| too_far(shape.size))?;
                Kind::Extents { header, start }
            }
            MapHeader::Index(header) => {
                if (header.big_pcluster_1 || header.big_pcluster_2) && !compression.big_pclusters {
                    let want = "none in an image without the feature compr_cfgs";
                    return Err(FormatError::field("map header.h_advise", at, "big pclusters", want).into());
                }
                let start = full::index_at(&shape).ok_or_else(|| too_far(shape.size))?;
                let mut load =
                    |lcluster| entry(&mut window, &space, &shape, layout, &header, start, lcluster);
                Kind::Index { index: Index::open(shape, layout, header, end, &mut load)?, layout, start }
            }
        };
        Ok(Self { compression, space, shape, kind, window: Mutex::new(window) })
    }

    /// The extent that holds byte `offset`, which must be below the size of the file.
    pub(crate) fn extent(&self, offset: u64) -> Result<ZExtent> {
        // A panic in another thread leaves a window that is right for what it says it holds.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let extent = match &self.kind {
            Kind::Fragment { offset: at } => ZExtent {
                start: 0,
                length: self.shape.size,
                stored: Stored::Fragment { offset: *at },
                coding: Coding::Shifted,
                partial: false,
            },
            Kind::Index { index, layout, start } => {
                let header = &index.header;
                let mut load = |lcluster| {
                    entry(&mut window, &self.space, &self.shape, *layout, header, *start, lcluster)
                };
                index.map(offset, &mut load)?
            }
            Kind::Extents { header, start } => extents::map(&self.shape, header, offset, &mut |number| {
                record(&mut window, &self.space, header, *start, number)
            })?,
        };
        self.check_algorithm(&extent)?;
        Ok(extent)
    }

    /// Whether Linux finds the same extents from every byte of the file. Reads the whole index.
    pub(crate) fn check(&self) -> Result<()> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.kind {
            Kind::Fragment { .. } => Ok(()),
            Kind::Index { index, layout, start } => index.check(&mut |lcluster| {
                entry(&mut window, &self.space, &self.shape, *layout, &index.header, *start, lcluster)
            }),
            Kind::Extents { header, start } => extents::check(&self.shape, header, &mut |number| {
                record(&mut window, &self.space, header, *start, number)
            }),
        }
    }

    fn check_algorithm(&self, extent: &ZExtent) -> Result<()> {
        match extent.coding {
            Coding::Compressed(algorithm) if algorithm.bit() & self.compression.announced == 0 => {
                let announced =
                    Algorithm::ALL.iter().filter(|known| known.bit() & self.compression.announced != 0);
                let names: Vec<_> = announced.map(|known| known.name()).collect();
                let want = format!("one of the superblock's algorithms ({})", names.join(", "));
                Err(FormatError::field("algorithm of a pcluster", extent.start, algorithm.name(), want)
                    .into())
            }
            Coding::Shifted | Coding::Interlaced | Coding::Compressed(_) => Ok(()),
        }
    }

    /// The map header.
    pub(crate) fn header(&self) -> MapHeader {
        match &self.kind {
            Kind::Fragment { offset } => MapHeader::Fragment { offset: *offset },
            Kind::Index { index, .. } => MapHeader::Index(index.header),
            Kind::Extents { header, .. } => MapHeader::Extents(*header),
        }
    }

    /// The algorithms of the file, as its map says without a look at every extent; extent records do not say.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        match &self.kind {
            Kind::Index { index, .. } => index.header.algorithms.to_vec(),
            Kind::Fragment { .. } | Kind::Extents { .. } => Vec::new(),
        }
    }
}

fn index_end(shape: &Shape, layout: DataLayout, header: &MapHeader) -> Option<u64> {
    match header {
        MapHeader::Fragment { .. } => map_header::end(shape.header_end),
        MapHeader::Index(header) if layout == DataLayout::CompressedCompact => {
            compact::index_end(shape, header.compacted_2b)
        }
        MapHeader::Index(_) => full::index_end(shape),
        MapHeader::Extents(header) => {
            let count = extents::count(header, shape.size);
            let length = extents::encoded_size(shape.header_end, header.record, count)?;
            map_header::at(shape.header_end)?.checked_add(length)
        }
    }
}

fn entry(
    window: &mut Window,
    space: &Space,
    shape: &Shape,
    layout: DataLayout,
    header: &IndexHeader,
    start: u64,
    lcluster: u64,
) -> Result<Lcluster> {
    if layout == DataLayout::CompressedCompact {
        let pack = compact::pack_of(shape, header.compacted_2b, lcluster)?;
        return Ok(compact::decode(header, pack, window.get(space, pack.at, pack.size)?, lcluster)?);
    }
    if lcluster >= shape.lclusters() {
        return Err(FormatError::limit("lcluster of a full index", lcluster, "lclusters of the file").into());
    }
    let size = full::ENTRY_SIZE;
    let at = start.saturating_add(lcluster.saturating_mul(u64::try_from(size).unwrap_or(u64::MAX)));
    Ok(full::decode(window.get(space, at, size)?, at)?)
}

fn record(
    window: &mut Window,
    space: &Space,
    header: &ExtentsHeader,
    start: u64,
    number: u64,
) -> Result<Record> {
    let size = header.record.bytes();
    let read = |window: &mut Window, from: u64, number: u64| -> Result<Record> {
        let at = from.saturating_add(number.saturating_mul(u64::try_from(size).unwrap_or(u64::MAX)));
        Ok(Record::decode(header.record, window.get(space, at, size)?, at)?)
    };
    if header.record != RecordSize::Four {
        return read(window, start, number);
    }
    let first = start.saturating_add(u64::try_from(extents::START_SIZE).unwrap_or(u64::MAX));
    // Addresses are sums from the first record on, or from one that was asked for before.
    let (mut at, mut byte) = window.known;
    if at == 0 || at > number {
        let raw = window.get(space, start, extents::START_SIZE)?;
        let short = || FormatError::short("extent records", start, raw.len(), extents::START_SIZE);
        (at, byte) = (0, u64::from_le_bytes(*raw.first_chunk().ok_or_else(short)?));
    }
    while at < number {
        let length = u64::from(read(window, first, at)?.stored_length());
        byte = byte.checked_add(length).ok_or_else(|| too_far(byte))?;
        at = at.saturating_add(1);
    }
    window.known = (at, byte);
    Ok(Record { byte, ..read(window, first, number)? })
}

/// The length of a slice of an extent in memory.
pub(crate) fn in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// Splits what is wanted of an extent: how far into it `offset` is, and how many of the bytes wanted are in
/// it.
pub(crate) fn part_of(extent: &ZExtent, offset: u64, wanted: &[u8]) -> (u64, usize) {
    let skip = offset.saturating_sub(extent.start);
    let left = extent.length.saturating_sub(skip).min(length_of(wanted));
    (skip, in_memory(left))
}
