//! Files of the original that are stored as they are: the blocks in which their bytes are, and what of them
//! has to be copied.

use erofs_format::extent::{Coding, Place as Found};
use erofs_format::{BlkAddr, BlockBits, FormatError};
use erofs_image::FileData;

use super::bounds::Bounds;
use super::form::ORIGINAL;
use super::pages;
use super::piece::{Piece, Place};
use crate::content::{Address, Class, Content, Extent, Tail};
use crate::error::BuildError;
use crate::stored::{Copied, Stored};

/// Where the bytes of a file are. As many as `tail_room` of its end may follow its inode.
pub(super) fn stored(data: &FileData, tail_room: u32, bounds: &Bounds) -> Result<Stored, BuildError> {
    let bits = bounds.block_bits;
    bounds.take_table(data)?;
    let mut pieces = pieces(data, bounds)?;
    if bits.size() < pages::PAGE {
        pieces = pages::copied(pieces, bits);
    }
    let mut content = Content::new(Class::Plain { chunk_bits: None });
    if let Some((last, in_front)) = pieces.split_last_mut()
        && last.place == Place::Inline
    {
        let is_flat = matches!(in_front, [] | [Piece { place: Place::Original(_), .. }]);
        if is_flat && last.length <= u64::from(tail_room) {
            let mut bytes = vec![0; usize::try_from(last.length).unwrap_or(0)];
            data.read_range(last.start, &mut bytes)?;
            content.tail = Tail::Plain(bytes);
            pieces.pop();
        } else {
            last.place = Place::Copied;
        }
    }
    let mut copies = Vec::new();
    for (index, &Piece { start, length, place }) in pieces.iter().enumerate() {
        let blocks = bits.blocks_ceil(length);
        let at = match place {
            Place::Original(block) => Some(Address { device: ORIGINAL, byte: bits.byte_of(BlkAddr(block))? }),
            Place::Hole | Place::Copied | Place::Inline => None,
        };
        if matches!(place, Place::Copied | Place::Inline) {
            bounds.take_copies(blocks)?;
            copies.push((index, Copied::Content(start..start + length)));
        }
        let stored = if place == Place::Hole { 0 } else { blocks * bits.size() };
        content.extents.push(Extent { start, length, stored, at, coding: Coding::Shifted, partial: false });
    }
    Ok(Stored { content, copies, has_fingerprint: true })
}

/// The pieces of a file, as long as they can be.
fn pieces(data: &FileData, bounds: &Bounds) -> Result<Vec<Piece>, BuildError> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut start = 0;
    while start < data.len() {
        let extent = data.map(start)?;
        let length = extent.length;
        let place = match extent.place {
            Found::Hole => Place::Hole,
            Found::Inline { .. } => Place::Inline,
            Found::Device { byte, .. } => Place::Original(block(bounds, byte, length)?),
            Found::Encoded(_) => {
                return Err(FormatError::limit("extent", "encoded data", "plain data").into());
            }
        };
        start = start.saturating_add(length);
        if let Some(last) = pieces.last_mut()
            && continues(last, place, bounds.block_bits)
        {
            last.length += length;
        } else {
            pieces.push(Piece { start: extent.start, length, place });
        }
    }
    Ok(pieces)
}

/// The block of the original in which an extent starts, if it lies within.
fn block(bounds: &Bounds, byte: u64, length: u64) -> Result<u64, FormatError> {
    let bits = bounds.block_bits;
    if bits.within(byte) != 0 {
        return Err(FormatError::field("extent", byte, "a start inside a block", "whole blocks"));
    }
    bounds.check(byte, bits.blocks_ceil(length).saturating_mul(bits.size()))?;
    Ok(bits.blocks_floor(byte))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_where_blocks_follow() {
        let piece = |length, place| Piece { start: 0, length, place };
        let bits = BlockBits::DEFAULT;
        let first = piece(8192, Place::Original(7));
        for (last, next, want) in [
            (first, Place::Original(9), true),
            (first, Place::Original(10), false),
            (first, Place::Hole, false),
            (piece(100, Place::Original(7)), Place::Original(7), false),
            (piece(8192, Place::Hole), Place::Hole, true),
        ] {
            assert_eq!(continues(&last, next, bits), want, "{last:?} {next:?}");
        }
    }
}
