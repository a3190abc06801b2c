//! Where the bytes of each file are: in the original, behind the inode here, or in a block here.

use erofs_format::BlockBits;
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::{CHUNK_BITS_MAX, ChunkFormat, MAP_ENTRY_SIZE};
use erofs_format::extent::Place as Stored;
use erofs_format::{FormatError, Nid};
use erofs_image::{Image, Inode};
use erofs_tree::{InodeId, Kind};

use super::Form;
use crate::error::{BuildError, shown};
use crate::layout::compose::block_32;
use crate::layout::plan::{Plan, Shape};

/// Pieces of small images that are always taken, however few bytes they have.
const PIECES_ALWAYS: u64 = 1024;

/// Where a piece of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Hole,
    /// From this block of the original on.
    Original(u64),
    /// In one block of the companion, to be copied.
    Own(u64),
    /// Behind the inode, to be copied.
    Inline,
}

/// Bytes of a file that are in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) place: Place,
}

/// How a file refers to its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Referral {
    pub(super) layout: DataLayout,
    /// In the order of the content, without gaps.
    pub(super) pieces: Vec<Piece>,
    /// With chunks, their size as a power of two of bytes.
    pub(super) chunk_bits: u8,
}

impl Referral {
    fn size(&self) -> u64 {
        self.pieces.last().map_or(0, |last| last.start + last.length)
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> u64 {
        self.size().div_ceil(1 << self.chunk_bits)
    }

    /// The form of the table of chunks.
    pub(super) fn chunk_format(&self, block_bits: BlockBits) -> ChunkFormat {
        let blkbits = self.chunk_bits.saturating_sub(block_bits.bits());
        // Only indexes name a device.
        let indexes = self.pieces.iter().any(|piece| matches!(piece.place, Place::Original(_)));
        ChunkFormat { blkbits, indexes, wide: false }
    }

    /// What the plan has to know.
    pub(super) fn shape(&self, block_bits: BlockBits) -> Shape {
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let entry = self.chunk_format(block_bits).entry_size() as u64;
        let chunked = self.layout == DataLayout::ChunkBased;
        let table = if chunked { self.chunks().saturating_mul(entry) } else { 0 };
        let inline = self.pieces.iter().filter(|piece| piece.place == Place::Inline);
        let tail = inline.map(|piece| piece.length).sum();
        Shape { layout: self.layout, table: narrow(table), tail: narrow(tail) }
    }
}

/// All files.
#[derive(Debug)]
pub(super) struct Referrals {
    /// One per inode of the tree, for regular files with content.
    pub(super) list: Vec<Option<Referral>>,
    /// First byte behind the blocks of the companion that hold content.
    pub(super) end: u64,
    /// Blocks of the original.
    pub(super) blocks: u64,
}

/// Finds out about all files, in the order of the plan.
pub(super) fn all(
    plan: &Plan<'_>,
    original: &Image,
    nids: &[Nid],
    form: &Form,
) -> Result<Referrals, BuildError> {
    let bits = plan.block_bits;
    let announced = original.superblock().blocks;
    let blocks = if announced == 0 { bits.blocks_ceil(original.primary_len()) } else { announced };
    let mut finder = Finder {
        plan,
        original,
        blocks,
        next_own: bits.blocks_floor(plan.data_at),
        pieces_left: (original.primary_len() / MAP_ENTRY_SIZE as u64).saturating_add(PIECES_ALWAYS),
    };
    let mut list = vec![None; plan.tree.inodes.len()];
    for id in plan.walk() {
        let Kind::File { size, .. } = plan.tree.inodes[id.index()].kind else { continue };
        if size == 0 {
            continue;
        }
        list[id.index()] = Some(match form {
            Form::Overlay => chunked(vec![Piece { start: 0, length: size, place: Place::Hole }], bits),
            Form::Index { .. } => {
                let inode = original.inode(nids[id.index()])?;
                finder.refer(id, &inode)?
            }
        });
    }
    Ok(Referrals { list, end: finder.next_own.saturating_mul(bits.size()), blocks })
}

struct Finder<'a> {
    plan: &'a Plan<'a>,
    original: &'a Image,
    blocks: u64,
    next_own: u64,
    /// How many more chunks the original can have, so that tables that overlap cost no more than their bytes.
    pieces_left: u64,
}

impl Finder<'_> {
    fn refer(&mut self, id: InodeId, inode: &Inode) -> Result<Referral, BuildError> {
        let path = || self.plan.tree.path_of(id);
        if inode.layout().is_compressed() {
            return Err(BuildError::Refer {
                path: shown(&path()),
                found: "compressed data".to_owned(),
                want: "data that is stored as it is, because blocks and chunks of a companion stand for their own bytes, \
                       never for compressed ones (--overlay works with any image)",
            });
        }
        let mut pieces = self.pieces(inode).map_err(|error| named(error, &path()))?;
        let bits = self.plan.block_bits;
        if let Some(last) = pieces.len().checked_sub(1).filter(|&last| pieces[last].place == Place::Inline) {
            let (_, tail) = self.plan.behind_header(id)?;
            let in_front = matches!(pieces[..last], [] | [Piece { place: Place::Original(_), .. }]);
            if in_front && tail as u64 == pieces[last].length {
                return Ok(Referral { layout: DataLayout::FlatInline, pieces, chunk_bits: 0 });
            }
            pieces[last].place = Place::Own(self.next_own);
            self.next_own += 1;
        }
        Ok(chunked(pieces, bits))
    }

    /// The pieces of a file, as long as they can be.
    fn pieces(&mut self, inode: &Inode) -> Result<Vec<Piece>, BuildError> {
        let bits = self.plan.block_bits;
        let chunked = inode.layout() == DataLayout::ChunkBased;
        let chunks =
            if chunked { ChunkFormat::decode(inode.record.i_u, 0)?.chunks(inode.size(), bits) } else { 1 };
        self.pieces_left = self.pieces_left.checked_sub(chunks).ok_or_else(|| {
            FormatError::limit("chunks of all files", chunks, "no more than the image has room for")
        })?;
        let data = self.original.data(inode)?;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut start = 0;
        while start < data.len() {
            let extent = data.map(start)?;
            let length = extent.length;
            let place = match extent.place {
                Stored::Hole => Place::Hole,
                Stored::Inline { .. } => Place::Inline,
                Stored::Device { byte, .. } => Place::Original(self.block(byte, length)?),
                Stored::Encoded(_) => {
                    return Err(FormatError::limit("extent", "encoded data", "plain data").into());
                }
            };
            start = start.saturating_add(length);
            if let Some(last) = pieces.last_mut()
                && continues(last, place, bits)
            {
                last.length += length;
            } else {
                pieces.push(Piece { start: extent.start, length, place });
            }
        }
        Ok(pieces)
    }

    /// The block of the original in which an extent starts, if it lies within.
    fn block(&self, byte: u64, length: u64) -> Result<u64, FormatError> {
        let bits = self.plan.block_bits;
        let block = bits.blocks_floor(byte);
        let end = block.checked_add(bits.blocks_ceil(length)).filter(|&end| end <= self.blocks);
        if end.is_none() || bits.within(byte) != 0 {
            let found = format!("{length} bytes at byte {byte}");
            return Err(FormatError::limit("extent", found, format!("{} blocks", self.blocks)));
        }
        block_32(block).map(u64::from)
    }
}

/// An error with the path of its file.
fn named(error: BuildError, path: &[u8]) -> BuildError {
    if let BuildError::Structure(cause) = error {
        BuildError::at(path, cause)
    } else if let BuildError::Original(error) = error {
        error.at_path(path).into()
    } else {
        error
    }
}

/// Whether `place` is where the bytes behind `last` would be.
fn continues(last: &Piece, place: Place, bits: BlockBits) -> bool {
    match (last.place, place) {
        (Place::Hole, Place::Hole) => true,
        (Place::Original(first), Place::Original(next)) => {
            bits.within(last.length) == 0 && first + bits.blocks_floor(last.length) == next
        }
        _ => false,
    }
}

/// Chunks as long as the boundaries between pieces let them be, so that their table is short.
fn chunked(pieces: Vec<Piece>, bits: BlockBits) -> Referral {
    let alignment = |piece: &Piece| piece.start.trailing_zeros().min(u32::from(CHUNK_BITS_MAX));
    let least = pieces.iter().map(alignment).min().unwrap_or(0);
    let chunk_bits = u8::try_from(least).unwrap_or(CHUNK_BITS_MAX).max(bits.bits());
    Referral { layout: DataLayout::ChunkBased, pieces, chunk_bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(start: u64, length: u64, place: Place) -> Piece {
        Piece { start, length, place }
    }

    #[test]
    fn chunks_are_as_long_as_pieces_allow() {
        let bits = BlockBits::DEFAULT;
        let hole = piece(0, 5 << 31, Place::Hole);
        for (pieces, chunk_bits, chunks, entry) in [
            (vec![hole], 31, 5, 4),
            (vec![piece(0, 10, Place::Hole)], 31, 1, 4),
            (vec![piece(0, 1 << 20, Place::Original(7))], 31, 1, 8),
            (vec![piece(0, 8192, Place::Original(7)), piece(8192, 100, Place::Own(3))], 13, 2, 8),
            (vec![piece(0, 12_288, Place::Original(7)), piece(12_288, 100, Place::Own(3))], 12, 4, 8),
            (vec![piece(0, 65_536, Place::Original(7)), piece(65_536, 1 << 20, Place::Hole)], 16, 17, 8),
        ] {
            let found = chunked(pieces, bits);
            assert_eq!((found.chunk_bits, found.chunks()), (chunk_bits, chunks), "{found:?}");
            assert_eq!(u64::from(found.shape(bits).table), chunks * entry);
        }
    }

    #[test]
    fn pieces_grow_where_blocks_follow() {
        let bits = BlockBits::DEFAULT;
        let first = piece(0, 8192, Place::Original(7));
        for (last, next, want) in [
            (first, Place::Original(9), true),
            (first, Place::Original(10), false),
            (first, Place::Hole, false),
            (piece(0, 100, Place::Original(7)), Place::Original(7), false),
            (piece(0, 8192, Place::Hole), Place::Hole, true),
        ] {
            assert_eq!(continues(&last, next, bits), want, "{last:?} {next:?}");
        }
    }
}
