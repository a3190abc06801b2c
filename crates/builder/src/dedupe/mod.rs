//! Parts of files that equal parts of files before them are stored once (`-E dedupe`).
//!
//! ```text
//! scan: chunks by content (any thread) ─► name: digests of those that seem to occur again (any thread)
//!     ─► decide: first occurrence owns (one thread, in order; samples tell whether it pays, any thread)
//!     ─► recipes: what each file refers to, and where the pclusters of an owner have to begin
//! ```
//!
//! Linux finds a pcluster by where its content begins, so a reference starts where an extent of the owner starts, and
//! the owner is cut there. Everything is decided before anything is encoded: encoding goes on in parallel, and the
//! image depends on the tree alone. Contents are read twice, and what occurs again once more; a file
//! that changes in between is an error.

mod chunk;
mod decide;
mod estimate;
mod name;
mod scan;

use std::collections::{BTreeMap, BTreeSet};

use erofs_tree::Progress;

use crate::content::Extent;
use crate::error::BuildError;
use crate::pipeline::{File, Parallelism, Phase};
use decide::{Decider, Rules};
use estimate::{Estimates, Sample};

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
    files: BTreeMap<usize, Recipe>,
    /// Whether references may start within an lcluster of theirs: then no extent of an owner may be shorter than a block. That takes
    /// pclusters of three blocks.
    pub(crate) shifted: bool,
    /// The key of each segment of the files that were looked at, by which a change is seen.
    keys: Vec<Vec<u128>>,
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

/// What is looked at.
#[derive(Clone, Copy)]
struct Scope<'a> {
    phase: Phase<'a>,
    files: &'a [File],
}

/// Looks for equal parts in files.
pub(crate) fn find(
    phase: Phase<'_>,
    files: &[File],
    parallelism: Parallelism,
    progress: &dyn Progress,
) -> Result<Recipes, BuildError> {
    let scope = Scope { phase, files };
    let threads = parallelism.threads;
    let mut scanned = scan::scan(scope, threads, progress)?;
    name::name(scope, &mut scanned.chunks, threads)?;
    let block = phase.block as u64;
    let rules = Rules {
        unit: if phase.rules.is_unaligned() { 1 } else { block },
        block,
        segment: phase.segment as u64,
        least: LEAST_RUN.max(4 * block),
    };
    let longest = match phase.rules.max_extent {
        0 => u64::MAX,
        given => u64::from(given),
    };
    let encoded = files.iter().filter(|file| file.choice.algorithm.is_some());
    let smallest = encoded.map(|file| file.choice.pcluster).min();
    let shifted = u64::from(smallest.unwrap_or(0)).min(longest) >= 3 * block;
    let traits = |index: usize| {
        let file = &files[index];
        decide::Traits {
            size: file.size,
            algorithm: file.choice.algorithm.unwrap_or(usize::MAX),
            // Equal files are found by their digest, without a cut anywhere.
            by_digest: phase.compares(file) && file.size <= phase.segment as u64,
            shifted,
        }
    };
    let decided = |pays: &mut dyn FnMut(usize, Reference, u64) -> Result<bool, BuildError>| {
        let mut decider = Decider::new(rules, &scanned.chunks);
        for index in 0..files.len() {
            decider.file(index, traits(index), &mut |reference, edges| pays(index, reference, edges))?;
        }
        Ok::<_, BuildError>(decider.into_recipes())
    };
    // Only one thread can decide. All threads answer first what it would ask if every answer were yes.
    let mut asked = BTreeSet::new();
    decided(&mut |_, reference, _| {
        asked.insert(Sample::of(reference));
        Ok(true)
    })?;
    let mut estimates = Estimates::new(scope, asked, threads)?;
    let files = decided(&mut |file, reference, edges| estimates.pays(file, reference, edges))?;
    Ok(Recipes { files, shifted, keys: scanned.keys })
}

/// Drops the last extent of a reference that ends at a byte of the file, if it is too short for the lclusters of the file: its
/// length, or 0. `end` comes with the sizes of the file and of a block. A pcluster of many blocks needs two lclusters
/// for itself, and no two extents start in one.
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

/// Shorter runs are not worth a look, in bytes.
const LEAST_RUN: u64 = 8192;

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
