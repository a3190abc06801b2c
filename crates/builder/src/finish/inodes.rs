//! Writing inodes, directories and links. Places are known, so the order is free: inodes are written in the
//! order of their places, a stretch of the area at a time, by several threads.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;

use erofs_format::BlockBits;
use erofs_format::map_header::{self, MapHeader};
use erofs_tree::{InodeId, Kind, Tree};

use super::area::InodeArea;
use super::context::{Contents, Context};
use crate::content;
use crate::error::BuildError;
use crate::layout::compose;
use crate::layout::headers::Headers;
use crate::layout::place::Shape;
use crate::layout::table::{Made, Tables};
use crate::store::Spool;

/// So many shapes are found by a thread before it takes the next ones.
const SHAPES_AT_ONCE: usize = 1024;
/// Inodes go out when there are so many bytes of them.
const FLUSH_AT: usize = 1 << 20;
/// How much of the area a thread writes at a time, in bytes.
const STRETCH: u64 = 1 << 20;
/// Longer bodies are read from the spool one by one, so that a stretch does not need much memory.
const BODY_LONG: u64 = STRETCH / 4;
/// Bodies that are no farther from each other than this are read at once, as long as no more than a stretch
/// is read for nothing.
const BODY_GAP: u64 = 4096;

/// The shape of each regular file with content; `None` for other inodes.
pub(crate) fn shapes(
    headers: &Headers<'_>,
    contents: &Contents,
    tables: &Tables,
    threads: usize,
) -> Result<Vec<Option<Shape>>, BuildError> {
    let ids: Vec<InodeId> = headers.tree.iter().map(|(id, _)| id).collect();
    let groups: Vec<&[InodeId]> = ids.chunks(SHAPES_AT_ONCE).collect();
    let shapes = erofs_threads::each("shapes", threads, &groups, |ids, window: &mut Window| {
        let compressed = ids.iter().filter_map(|id| contents.record(*id));
        let compressed = compressed.filter(|record| record.kind == content::Kind::Compressed);
        window.read(&contents.records, compressed.map(|record| record.range())).map_err(BuildError::spool)?;
        let mut shapes = Vec::with_capacity(ids.len());
        for &id in *ids {
            let Some(record) = contents.record(id) else {
                shapes.push(None);
                continue;
            };
            let (version, xattrs) = headers.of(id)?;
            let header = (version.size() + xattrs) as u64;
            let size = headers.size_of(&headers.tree.inodes[id.index()]);
            let bytes = match record.kind {
                content::Kind::Compressed => {
                    window.get(&contents.records, record.range()).map_err(BuildError::spool)?
                }
                content::Kind::Flat | content::Kind::Chunked { .. } => &[],
            };
            let shape = tables.shape(&record, size, header, bytes);
            shapes.push(Some(shape.map_err(|error| error.in_file(|| headers.tree.path_of(id)))?));
        }
        Ok::<_, BuildError>(shapes)
    })?;
    Ok(shapes.into_iter().flatten().collect())
}

/// Writes all inodes of the tree to `area`, directories and long links to the image. With `packed`,
/// directories go there.
pub(crate) fn write(
    context: &Context<'_>,
    area: InodeArea<'_>,
    packed: Option<&Spool>,
) -> Result<(), BuildError> {
    let layout = context.layout;
    let mut writer = Writer { context, area, parents: parents(layout.headers.tree), packed: BTreeMap::new() };
    if let Some(packed) = packed {
        writer.pack_directories(packed)?;
    }
    writer.write()
}

/// What writing an inode may have to know.
struct Writer<'a> {
    context: &'a Context<'a>,
    area: InodeArea<'a>,
    /// The parent of each directory.
    parents: HashMap<InodeId, InodeId>,
    /// Where directories start in the packed inode, if they are there.
    packed: BTreeMap<InodeId, u64>,
}

impl Writer<'_> {
    /// Adds the bytes of all directories to the packed inode.
    fn pack_directories(&mut self, packed: &Spool) -> Result<(), BuildError> {
        let layout = self.context.layout;
        for &id in layout.order.iter().filter(|id| layout.headers.tree.inodes[id.index()].is_directory()) {
            let offset = packed.push(&self.directory(id)?).map_err(BuildError::spool)?;
            self.packed.insert(id, offset);
        }
        Ok(())
    }

    /// Writes the inodes, and what they share.
    fn write(&self) -> Result<(), BuildError> {
        let Context { layout, options, progress, .. } = *self.context;
        let place = |id: &InodeId| layout.placed[id.index()].at;
        let mut ids = layout.order.clone();
        ids.sort_unstable_by_key(place);
        let stretches: Vec<&[InodeId]> =
            ids.chunk_by(|a, b| place(a) / STRETCH == place(b) / STRETCH).collect();
        erofs_threads::each("inodes", options.workers(), &stretches, |ids, window| {
            self.stretch(ids, window)?;
            progress.advance(ids.len() as u64, 0);
            Ok::<_, BuildError>(())
        })?;
        // They stand between two inodes, where there may be zeros by now.
        let xattrs = &layout.headers.xattrs;
        self.area.write_at(xattrs.shared_at(), xattrs.shared_area())
    }

    /// Writes inodes in ascending order of their places.
    fn stretch(&self, ids: &[InodeId], window: &mut Window) -> Result<(), BuildError> {
        let Context { layout, contents, .. } = *self.context;
        let mut out = Inodes::new(layout.headers.block_bits);
        let records = ids.iter().filter_map(|id| contents.record(*id));
        window.read(&contents.records, records.map(|record| record.range())).map_err(BuildError::spool)?;
        for &id in ids {
            match &layout.headers.tree.inodes[id.index()].kind {
                Kind::File { size, .. } if *size != 0 => self.file(id, *size, window, &mut out)?,
                Kind::Directory { .. } => match self.packed.get(&id) {
                    Some(&offset) => self.packed_directory(id, offset, &mut out)?,
                    None => self.inode(id, &self.directory(id)?, &mut out)?,
                },
                Kind::Symlink { target } => self.inode(id, target, &mut out)?,
                Kind::File { .. }
                | Kind::CharDevice { .. }
                | Kind::BlockDevice { .. }
                | Kind::Fifo
                | Kind::Socket => self.inode(id, &[], &mut out)?,
            }
        }
        out.flush(self.area)
    }

    /// Adds the inode of a regular file.
    fn file(&self, id: InodeId, size: u64, window: &mut Window, out: &mut Inodes) -> Result<(), BuildError> {
        let Context { layout, contents, tables, .. } = *self.context;
        let path = || layout.headers.tree.path_of(id);
        let missing = |what: &str| BuildError::Internal(format!("{}: {what}", crate::error::shown(&path())));
        let record = contents.record(id).ok_or_else(|| missing("its content was not stored"))?;
        let bytes = window.get(&contents.records, record.range()).map_err(BuildError::spool)?;
        let (content, computed) = record.decode(bytes)?;
        let fingerprint = match layout.headers.source_fingerprint(id) {
            Some(value) => Some(value),
            None => Some(computed).filter(|value| !value.is_empty()),
        };
        if layout.headers.wants_fingerprints() && fingerprint.is_none() {
            return Err(missing("no fingerprint was made"));
        }
        let header = layout.placed[id.index()].header_size();
        let made = tables.make(&content, record.kind, size, header);
        let made = made.map_err(|cause| BuildError::at(&path(), cause))?;
        self.add(id, &made, fingerprint, content.tail_bytes().copied().unwrap_or_default(), out)
    }

    /// Adds an inode whose data is metadata, and writes the whole blocks of that to where the layout put
    /// them; the rest comes behind the inode.
    fn inode(&self, id: InodeId, bytes: &[u8], out: &mut Inodes) -> Result<(), BuildError> {
        let Context { layout, image, .. } = *self.context;
        let placed = &layout.placed[id.index()];
        let path = || layout.headers.tree.path_of(id);
        let tail = placed.reserved as usize;
        let (blocks, tail) = bytes.split_at(bytes.len() - tail.min(bytes.len()));
        if !blocks.is_empty() {
            if placed.blocks_at == 0 {
                let text = format!("{}: no place was planned for its blocks", crate::error::shown(&path()));
                return Err(BuildError::Internal(text));
            }
            image.write_at(placed.blocks_at, blocks)?;
        }
        let start = layout.headers.block_bits.blocks_floor(placed.blocks_at);
        let made = Made::flat(placed.layout, start).map_err(|cause| BuildError::at(&path(), cause))?;
        self.add(id, &made, None, tail, out)
    }

    /// Adds the inode of a directory whose bytes are in the packed inode.
    fn packed_directory(&self, id: InodeId, offset: u64, out: &mut Inodes) -> Result<(), BuildError> {
        let headers = &self.context.layout.headers;
        let table = MapHeader::Fragment { offset }
            .encode(headers.block_bits)
            .map_err(|cause| BuildError::at(&headers.tree.path_of(id), cause))?;
        let layout = self.context.layout.placed[id.index()].layout;
        let made = Made { layout, i_u: 0, table: table.to_vec(), alignment: map_header::SIZE };
        self.add(id, &made, None, &[], out)
    }

    fn add(
        &self,
        id: InodeId,
        made: &Made,
        fingerprint: Option<&[u8]>,
        tail: &[u8],
        out: &mut Inodes,
    ) -> Result<(), BuildError> {
        let layout = self.context.layout;
        out.begin(self.area, layout.placed[id.index()].at)?;
        layout
            .encode_inode(id, made, fingerprint, out.bytes())
            .map_err(|cause| BuildError::at(&layout.headers.tree.path_of(id), cause))?;
        out.bytes().extend_from_slice(tail);
        Ok(())
    }

    /// The bytes of a directory.
    fn directory(&self, id: InodeId) -> Result<Vec<u8>, BuildError> {
        let layout = self.context.layout;
        let parent = self.parents.get(&id).copied().unwrap_or(id);
        compose::encode_directory(layout, id, parent)
            .map_err(|cause| BuildError::at(&layout.headers.tree.path_of(id), cause))
    }
}

/// Inodes on their way to their area, in the order of their places: those that follow each other go out
/// together.
#[derive(Debug)]
struct Inodes {
    start: u64,
    bytes: Vec<u8>,
    /// How many bytes between two inodes belong to nothing, at most, and may become zeros: between them are
    /// only whole blocks.
    gap: u64,
}

impl Inodes {
    fn new(block_bits: BlockBits) -> Self {
        Self { start: 0, bytes: Vec::new(), gap: block_bits.size() - 1 }
    }

    /// Goes to byte `at`, which is behind everything that was added.
    fn begin(&mut self, area: InodeArea<'_>, at: u64) -> Result<(), BuildError> {
        let end = self.start + self.bytes.len() as u64;
        let follows = !self.bytes.is_empty() && at >= end && at - end <= self.gap;
        if follows && self.bytes.len() < FLUSH_AT {
            self.bytes.resize(usize::try_from(at - self.start).unwrap_or(usize::MAX), 0);
            return Ok(());
        }
        self.flush(area)?;
        self.start = at;
        Ok(())
    }

    /// More bytes at the place that [`Self::begin`] went to.
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes what is left.
    fn flush(&mut self, area: InodeArea<'_>) -> Result<(), BuildError> {
        if !self.bytes.is_empty() {
            area.write_at(self.start, &self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

/// Bytes of the spool, read for many inodes at once. Those of inodes that stand side by side are mostly side
/// by side as well, but some came to the spool long before or after their neighbours.
#[derive(Default)]
struct Window {
    /// What was read, in ascending order: where it stands in the spool, and where in `bytes`.
    pieces: Vec<(Range<u64>, usize)>,
    bytes: Vec<u8>,
    /// What is not among them.
    alone: Vec<u8>,
}

impl Window {
    /// Reads all but the longest of `ranges`, those near each other together.
    fn read(&mut self, spool: &Spool, ranges: impl Iterator<Item = Range<u64>>) -> io::Result<()> {
        let mut ranges: Vec<_> = ranges.filter(|range| range.end - range.start <= BODY_LONG).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        self.pieces.clear();
        self.bytes.clear();
        let mut unused = 0;
        for range in ranges {
            match self.pieces.last_mut() {
                Some((piece, _)) if range.start <= piece.end + BODY_GAP && unused <= STRETCH => {
                    unused += range.start.saturating_sub(piece.end);
                    piece.end = piece.end.max(range.end);
                }
                Some(_) | None => self.pieces.push((range, 0)),
            }
        }
        for (piece, at) in &mut self.pieces {
            *at = self.bytes.len();
            let length =
                usize::try_from(piece.end - piece.start).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            self.bytes.resize(*at + length, 0);
            spool.read_at(piece.start, &mut self.bytes[*at..])?;
        }
        Ok(())
    }

    /// The bytes of `range`.
    fn get(&mut self, spool: &Spool, range: Range<u64>) -> io::Result<&[u8]> {
        let behind = self.pieces.partition_point(|(piece, _)| piece.start <= range.start);
        if let Some((piece, at)) = behind.checked_sub(1).and_then(|last| self.pieces.get(last))
            && range.end <= piece.end
            && let Ok(offset) = usize::try_from(range.start - piece.start)
            && let Ok(length) = usize::try_from(range.end - range.start)
        {
            return Ok(&self.bytes[at + offset..][..length]);
        }
        spool.load(range, &mut self.alone)?;
        Ok(&self.alone)
    }
}

/// The parent of each directory.
fn parents(tree: &Tree) -> HashMap<InodeId, InodeId> {
    let is_directory = |id: InodeId| tree.inodes[id.index()].is_directory();
    tree.iter()
        .flat_map(|(id, inode)| inode.entries().iter().map(move |entry| (entry.inode, id)))
        .filter(|&(child, _)| is_directory(child))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_what_the_spool_has() {
        let spool = Spool::new(crate::image_file::Scratch::temporary());
        let bytes: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251).to_le_bytes()[0]).collect();
        spool.push(&bytes).unwrap();
        let near = (0..50).map(|n| 1000 + 60 * n..1000 + 60 * n + 55);
        let far = [1_500_000..1_500_003, 0..0, 700_000..700_000 + BODY_LONG, 800_000..800_001 + BODY_LONG];
        let ranges: Vec<Range<u64>> = near.chain(far).rev().collect();
        let mut window = Window::default();
        for _ in 0..2 {
            window.read(&spool, ranges.iter().cloned()).unwrap();
            // All but the longest: one far away, one of exactly `BODY_LONG`, one at the start with those near
            // it.
            assert_eq!(window.pieces.len(), 3);
            for range in ranges.iter().cloned().chain([5..9, 1_999_990..2_000_000]) {
                let want = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                assert_eq!(window.get(&spool, range).unwrap(), &bytes[want]);
            }
        }
        assert!(window.get(&spool, 1_999_999..2_000_001).is_err());
        assert!(window.read(&spool, std::iter::once(1_999_999..2_000_001)).is_err());
    }
}
