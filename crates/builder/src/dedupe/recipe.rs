//! How files are stored of which parts equal parts of others: what refers to what, and where pclusters have
//! to begin.

use std::collections::{BTreeMap, BTreeSet};

use crate::content::Extent;

/// A part of a file that equals a part of a file before it, or of the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    /// First byte in the file that refers.
    pub(crate) at: u64,
    /// Bytes.
    pub(crate) length: u64,
    /// Index of the file that is referred to.
    pub(crate) owner: usize,
    /// First byte there: an extent starts with it.
    pub(crate) from: u64,
}

impl Reference {
    /// First byte behind it.
    pub(crate) fn end(&self) -> u64 {
        self.at + self.length
    }
}

/// How one file is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// What it refers to, in ascending order.
    pub(crate) references: Vec<Reference>,
    /// Where others refer to: a pcluster has to start at each of these bytes.
    pub(crate) cuts: BTreeSet<u64>,
}

/// A part of a file as its recipe has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes to be encoded: first one and first one behind them.
    Own(u64, u64),
    /// A reference.
    Equal(Reference),
}

impl Recipe {
    /// Whether another part refers to this file.
    pub(crate) fn is_owner(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// The parts of the bytes from `start` to `end`, in order. A reference belongs to where it starts.
    pub(crate) fn pieces(&self, start: u64, end: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut at = start;
        let first = self.references.partition_point(|reference| reference.end() <= start);
        for reference in self.references.iter().skip(first).take_while(|reference| reference.at < end) {
            if reference.at >= start {
                self.own(at, reference.at, &mut pieces);
                pieces.push(Piece::Equal(*reference));
            }
            at = reference.end();
        }
        self.own(at, end, &mut pieces);
        pieces
    }

    fn own(&self, start: u64, end: u64, pieces: &mut Vec<Piece>) {
        if start >= end {
            return;
        }
        let mut at = start;
        for &cut in self.cuts.range(start + 1..end) {
            pieces.push(Piece::Own(at, cut));
            at = cut;
        }
        pieces.push(Piece::Own(at, end));
    }
}

/// What was decided.
#[derive(Debug, Default)]
pub(crate) struct Recipes {
    pub(super) files: BTreeMap<usize, Recipe>,
    /// Whether references may start within an lcluster of theirs: then no extent of an owner may be shorter
    /// than a block. That takes pclusters of three blocks.
    pub(crate) shifted: bool,
    /// The key of each segment of the files that were looked at, by which a change is seen.
    pub(super) keys: Vec<Vec<u128>>,
}

impl Recipes {
    /// How a file is stored, if it refers to others or others to it.
    pub(crate) fn of(&self, file: usize) -> Option<&Recipe> {
        self.files.get(&file)
    }

    /// Whether a segment is what it was when it was looked at; `true` if nobody did.
    pub(crate) fn is_unchanged(&self, file: usize, segment: usize, key: impl FnOnce() -> u128) -> bool {
        let known = self.keys.get(file).and_then(|keys| keys.get(segment));
        known.is_none_or(|known| *known == key())
    }
}

/// Drops the last extent of a reference that ends at a byte of the file, if it is too short for the lclusters
/// of the file: its length, or 0. `end` comes with the sizes of the file and of a block. A pcluster of many
/// blocks needs two lclusters for itself, and no two extents start in one.
pub(crate) fn drop_short(extents: &mut Vec<Extent>, (end, size, block): (u64, u64, u64)) -> u64 {
    let Some(last) = extents.last().copied() else { return 0 };
    let lclusters = (end / block - (end - last.length) / block).max(u64::from(end == size));
    let wanted = if last.stored > block { 2 } else { 1 };
    if lclusters >= wanted {
        return 0;
    }
    extents.pop();
    last.length
}

#[cfg(test)]
mod tests {
    use super::Piece::Own;
    use super::*;

    #[test]
    fn a_recipe_covers_every_byte_once() {
        let reference = |at, length| Reference { at, length, owner: 0, from: 0 };
        let recipe = Recipe {
            references: vec![reference(8192, 8192), reference(30_000, 40_000)],
            cuts: BTreeSet::from([0, 4096, 8192, 20_480, 98_304]),
        };
        let equal = |at, length| Piece::Equal(reference(at, length));
        for (start, end, want) in [
            (
                0,
                100_000,
                vec![
                    Own(0, 4096),
                    Own(4096, 8192),
                    equal(8192, 8192),
                    Own(16_384, 20_480),
                    Own(20_480, 30_000),
                    equal(30_000, 40_000),
                    Own(70_000, 98_304),
                    Own(98_304, 100_000),
                ],
            ),
            (
                0,
                32_768,
                vec![
                    Own(0, 4096),
                    Own(4096, 8192),
                    equal(8192, 8192),
                    Own(16_384, 20_480),
                    Own(20_480, 30_000),
                    equal(30_000, 40_000),
                ],
            ),
            (32_768, 65_536, vec![]),
            (65_536, 98_304, vec![Own(70_000, 98_304)]),
            (98_304, 100_000, vec![Own(98_304, 100_000)]),
        ] {
            assert_eq!(recipe.pieces(start, end), want, "{start} to {end}");
        }
    }
}
