//! Where the bytes of each file are: in the original, behind the inode here, or in a block here.

use erofs_format::BlockBits;
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::{CHUNK_BITS_MAX, ChunkFormat};
use erofs_format::extent::Place as Stored;
use erofs_format::inode::EXTENDED_SIZE;
use erofs_format::{FormatError, Nid};
use erofs_image::{FileData, Image};
use erofs_tree::{InodeId, Kind};

use super::Form;
use super::encoded::{self, Encoded, Uses};
use super::room::Room;
use crate::error::BuildError;
use crate::layout::compose::block_32;
use crate::layout::plan::{Plan, Shape};

/// What messages call the packed inode, which has no path.
pub(super) const PACKED: &[u8] = b"(packed inode)";

/// Where a piece of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Hole,
    /// From this block of the original on.
    Original(u64),
    /// In one block of the companion, by its number, to be copied.
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

impl Piece {
    /// The block of the original behind the piece, if it is there.
    fn end(&self, bits: BlockBits) -> Option<u64> {
        match self.place {
            Place::Original(block) => Some(block + bits.blocks_ceil(self.length)),
            Place::Hole | Place::Own(_) | Place::Inline => None,
        }
    }
}

/// How a file refers to its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Referral {
    /// They are stored as they are.
    Plain(Pieces),
    /// They are compressed.
    Encoded(Encoded),
}

impl Referral {
    /// What the plan has to know.
    pub(super) fn shape(&self, block_bits: BlockBits) -> Shape {
        match self {
            Self::Plain(pieces) => pieces.shape(block_bits),
            Self::Encoded(encoded) => encoded.shape(),
        }
    }

    /// Whether it has chunks.
    pub(super) fn is_chunked(&self) -> bool {
        matches!(self, Self::Plain(pieces) if pieces.layout == DataLayout::ChunkBased)
    }
}

/// How a file that is not compressed refers to its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pieces {
    pub(super) layout: DataLayout,
    /// In the order of the content, without gaps.
    pub(super) list: Vec<Piece>,
    /// With chunks, their size as a power of two of bytes.
    pub(super) chunk_bits: u8,
}

impl Pieces {
    fn size(&self) -> u64 {
        self.list.last().map_or(0, |last| last.start + last.length)
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> u64 {
        self.size().div_ceil(1 << self.chunk_bits)
    }

    /// The form of the table of chunks.
    pub(super) fn chunk_format(&self, block_bits: BlockBits) -> ChunkFormat {
        let blkbits = self.chunk_bits.saturating_sub(block_bits.bits());
        // Only indexes name a device.
        let indexes = self.list.iter().any(|piece| matches!(piece.place, Place::Original(_)));
        ChunkFormat { blkbits, indexes, wide: false }
    }

    fn shape(&self, block_bits: BlockBits) -> Shape {
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let entry = self.chunk_format(block_bits).entry_size() as u64;
        let chunked = self.layout == DataLayout::ChunkBased;
        let table = if chunked { self.chunks().saturating_mul(entry) } else { 0 };
        let inline = self.list.iter().filter(|piece| piece.place == Place::Inline);
        let tail = inline.map(|piece| piece.length).sum();
        Shape { layout: self.layout, table: narrow(table), tail: narrow(tail) }
    }
}

/// All files.
#[derive(Debug)]
pub(super) struct Referrals {
    /// One per inode of the tree, for regular files with content.
    pub(super) list: Vec<Option<Referral>>,
    /// The packed inode and its size, where files have fragments.
    pub(super) packed: Option<(Referral, u64)>,
    /// What compressed files make use of.
    pub(super) uses: Uses,
    /// The sizes of the original, and how many blocks the companion has for contents.
    pub(super) room: Room,
}

impl Referrals {
    /// Those of files, and that of the packed inode.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Referral> {
        self.list.iter().flatten().chain(self.packed.as_ref().map(|(packed, _)| packed))
    }

    /// Gives the blocks that the companion has for contents their final numbers, the first of which stands at block `first`.
    ///
    /// Linux (`iomap_bio_read_folio_range`) lengthens a request by what stands behind its last sector and does not ask
    /// whether that is on the same device. So no such block may have the address, in the companion, at which the piece in front
    /// of it ends in the original; a block is left out there.
    pub(super) fn settle(&mut self, first: u64) {
        let bits = self.room.block_bits;
        let mut next = 0;
        for referral in self.list.iter_mut().flatten().chain(self.packed.as_mut().map(|(packed, _)| packed)) {
            match referral {
                Referral::Plain(pieces) => {
                    let Some((last, front)) = pieces.list.split_last_mut() else { continue };
                    let Place::Own(block) = &mut last.place else { continue };
                    let before = front.last().and_then(|piece| piece.end(bits));
                    if before == Some(first + next) {
                        self.room.gaps.push(next);
                        next += 1;
                    }
                    *block = next;
                    next += 1;
                }
                Referral::Encoded(encoded) if encoded.own().is_some() => {
                    encoded.set_own(next);
                    next += 1;
                }
                Referral::Encoded(_) => {}
            }
        }
        self.room.own_blocks = next;
    }

    /// Whether all tables are as long with the original at block `one` as at block `other`.
    pub(super) fn is_same(&self, one: u64, other: u64) -> bool {
        self.iter().all(|referral| match referral {
            Referral::Plain(_) => true,
            Referral::Encoded(encoded) => encoded.is_same(self.room.block_bits, one, other),
        })
    }
}

/// Finds out about all files, in the order of the plan, if the original starts at block `start` of the unified address
/// space.
pub(super) fn all(
    plan: &Plan<'_>,
    original: &Image,
    nids: &[Nid],
    form: &Form,
    start: u64,
) -> Result<Referrals, BuildError> {
    // Kernels that read compressed metadata know extent records.
    let room = Room::of(original, plan.has_metabox);
    let mut finder = Finder { plan, start, room, uses: Uses::default() };
    let mut list = vec![None; plan.tree.inodes.len()];
    for id in plan.walk() {
        let Kind::File { size, .. } = plan.tree.inodes[id.index()].kind else { continue };
        if size == 0 {
            continue;
        }
        list[id.index()] = Some(match form {
            Form::Overlay => {
                let hole =
                    chunked(vec![Piece { start: 0, length: size, place: Place::Hole }], plan.block_bits);
                // A file can claim 2^63 bytes, whose chunks would take 16 GiB.
                let taken = finder.room.take_chunks(hole.chunks());
                taken.map_err(|error| named(error.into(), &plan.tree.path_of(id)))?;
                Referral::Plain(hole)
            }
            Form::Index { .. } => {
                let found = original.inode(nids[id.index()]).and_then(|inode| original.data(&inode));
                let found = found.map_err(BuildError::from).and_then(|data| finder.refer(id, &data));
                found.map_err(|error| named(error, &plan.tree.path_of(id)))?
            }
        });
    }
    let packed = original.packed().filter(|_| finder.uses.fragments);
    let packed = packed.map(|data| finder.refer_packed(data).map(|found| (found, data.len()))).transpose();
    let packed = packed.map_err(|error| named(error, PACKED))?;
    Ok(Referrals { list, packed, uses: finder.uses, room: finder.room })
}

struct Finder<'a> {
    plan: &'a Plan<'a>,
    start: u64,
    room: Room,
    uses: Uses,
}

impl Finder<'_> {
    fn refer(&mut self, id: InodeId, data: &FileData) -> Result<Referral, BuildError> {
        let (header, tail) = self.plan.behind_header(id)?;
        self.refer_with(data, header, tail as u64)
    }

    fn refer_packed(&mut self, data: &FileData) -> Result<Referral, BuildError> {
        let (header, block) = (EXTENDED_SIZE as u64, self.room.block_bits.size());
        let tail = self.room.block_bits.within(data.len());
        self.refer_with(data, header, if header + tail <= block { tail } else { 0 })
    }

    /// What a file refers to, whose xattrs end `header` bytes behind the start of its inode; `tail` bytes of it could stand
    /// there if it is stored as it is.
    fn refer_with(&mut self, data: &FileData, header: u64, tail: u64) -> Result<Referral, BuildError> {
        if data.inode().layout().is_compressed() {
            let found = encoded::find(data, header, self.start, &mut self.room, &mut self.uses)?;
            return Ok(Referral::Encoded(found));
        }
        let mut pieces = self.pieces(data)?;
        if let Some(last) = pieces.len().checked_sub(1).filter(|&last| pieces[last].place == Place::Inline) {
            let in_front = matches!(pieces[..last], [] | [Piece { place: Place::Original(_), .. }]);
            if in_front && tail == pieces[last].length {
                return Ok(Referral::Plain(Pieces {
                    layout: DataLayout::FlatInline,
                    list: pieces,
                    chunk_bits: 0,
                }));
            }
            pieces[last].place = Place::Own(self.room.take_block());
        }
        Ok(Referral::Plain(chunked(pieces, self.room.block_bits)))
    }

    /// The pieces of a file, as long as they can be.
    fn pieces(&mut self, data: &FileData) -> Result<Vec<Piece>, BuildError> {
        let bits = self.room.block_bits;
        let inode = data.inode();
        let is_chunked = inode.layout() == DataLayout::ChunkBased;
        let chunks =
            if is_chunked { ChunkFormat::decode(inode.record.i_u, 0)?.chunks(inode.size(), bits) } else { 1 };
        self.room.take_chunks(chunks)?;
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
        let bits = self.room.block_bits;
        if bits.within(byte) != 0 {
            return Err(FormatError::field("extent", byte, "a start inside a block", "whole blocks"));
        }
        self.room.check(byte, bits.blocks_ceil(length).saturating_mul(bits.size()))?;
        block_32(bits.blocks_floor(byte)).map(u64::from)
    }
}

/// An error with the path of its file.
pub(super) fn named(error: BuildError, path: &[u8]) -> BuildError {
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
fn chunked(pieces: Vec<Piece>, bits: BlockBits) -> Pieces {
    let alignment = |piece: &Piece| piece.start.trailing_zeros().min(u32::from(CHUNK_BITS_MAX));
    let least = pieces.iter().map(alignment).min().unwrap_or(0);
    let chunk_bits = u8::try_from(least).unwrap_or(CHUNK_BITS_MAX).max(bits.bits());
    Pieces { layout: DataLayout::ChunkBased, list: pieces, chunk_bits }
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
    fn blocks_of_the_companion_never_seem_to_go_on_in_the_original() {
        let file = |original: u64, blocks: u64| {
            let bytes = blocks * 4096;
            Some(Referral::Plain(chunked(
                vec![piece(0, bytes, Place::Original(original)), piece(bytes, 100, Place::Own(77))],
                BlockBits::DEFAULT,
            )))
        };
        let own = |referral: &Referral| match referral {
            Referral::Plain(pieces) => pieces.list.last().map(|last| last.place),
            Referral::Encoded(_) => None,
        };
        // The companion's first block for contents is number 10.
        let list = vec![file(3, 1), None, file(3, 8), file(4, 8), file(5, 8), file(1, 1)];
        let mut all = Referrals { list, packed: None, uses: Uses::default(), room: Room::empty() };
        all.settle(10);
        let found: Vec<_> = all.iter().filter_map(own).collect();
        assert_eq!(found, [0, 2, 3, 4, 5].map(Place::Own));
        assert_eq!((all.room.own_blocks, all.room.gaps.as_slice()), (6, &[1][..]));
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
