//! Pages with bytes in more than one place. Linux 7.2 and 7.3 return wrong data for such a page, or crash, if
//! its file is read through pages that images share: the hidden inode has blocks of a page
//! (`erofs_ishare_fill_inode`), so that a page is taken as read when its first extent is. Where blocks are
//! smaller than pages, such pages are copied to blocks of the companion.

use erofs_format::BlockBits;

use super::piece::{Piece, Place};

/// The size of pages that images share, in bytes.
pub(super) const PAGE: u64 = 4096;

/// Makes every page that has more than one piece a part of a piece that is copied. `pieces` follow each other
/// without gaps from byte 0 on.
pub(super) fn copied(pieces: Vec<Piece>, bits: BlockBits) -> Vec<Piece> {
    let size = pieces.last().map_or(0, |last| last.start + last.length);
    let mut out: Vec<Piece> = Vec::with_capacity(pieces.len());
    for Piece { start, length, place } in pieces {
        let end = start + length;
        // The bytes of the piece that have their pages for themselves.
        let first = start.next_multiple_of(PAGE).min(end);
        let behind = if end == size { end } else { (end / PAGE * PAGE).max(first) };
        let inner = match place {
            Place::Original(block) => Place::Original(block + bits.blocks_floor(first - start)),
            Place::Hole | Place::Copied | Place::Inline => place,
        };
        for (start, end, place) in
            [(start, first, Place::Copied), (first, behind, inner), (behind, end, Place::Copied)]
        {
            match out.last_mut() {
                _ if start == end => {}
                Some(Piece { length, place: Place::Copied, .. }) if matches!(place, Place::Copied) => {
                    *length += end - start;
                }
                Some(_) | None => out.push(Piece { start, length: end - start, place }),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_with_several_pieces_are_copied() {
        use Place::{Copied, Hole, Inline, Original};
        for (list, want) in [
            (vec![(5000, Original(7))], vec![(5000, Original(7))]),
            (vec![(8192, Original(7)), (100, Inline)], vec![(8192, Original(7)), (100, Inline)]),
            (vec![(8704, Original(7)), (100, Inline)], vec![(8192, Original(7)), (612, Copied)]),
            (
                vec![(1024, Original(1)), (1024, Hole), (3048, Original(2))],
                vec![(4096, Copied), (1000, Original(6))],
            ),
            (
                vec![(1024, Original(1)), (7168, Hole), (3048, Original(2))],
                vec![(4096, Copied), (4096, Hole), (3048, Original(2))],
            ),
            (
                vec![(512, Hole), (4096, Original(1)), (8192, Original(20))],
                vec![(8192, Copied), (4608, Original(27))],
            ),
            (
                vec![(512, Hole), (12_288, Original(1)), (1, Hole)],
                vec![(4096, Copied), (8192, Original(8)), (513, Copied)],
            ),
        ] {
            let pieces = |list: &[(u64, Place)]| {
                let mut start = 0;
                let piece = |&(length, place): &(u64, Place)| {
                    start += length;
                    Piece { start: start - length, length, place }
                };
                list.iter().map(piece).collect::<Vec<_>>()
            };
            let found = copied(pieces(&list), BlockBits::new(9).unwrap());
            assert_eq!(found, pieces(&want), "{list:?}");
        }
    }
}
