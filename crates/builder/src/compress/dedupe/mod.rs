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

use super::pool::Force;
use super::work::Phase;
use crate::content::Units;
use crate::error::BuildError;
use decide::{Decider, Rules};
use estimate::{Estimates, Sample};

/// A part of a file that equals a part of a file before it, or of the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    /// First byte in the file that refers.
    pub(super) at: u64,
    /// Bytes.
    pub(super) length: u64,
    /// Index of the file that is referred to.
    pub(super) owner: usize,
    /// First byte there: an extent starts with it.
    pub(super) from: u64,
}

impl Reference {
    /// First byte behind it.
    pub(super) fn end(&self) -> u64 {
        self.at + self.length
    }
}

/// How one file is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Recipe {
    /// What it refers to, in ascending order.
    pub(super) references: Vec<Reference>,
    /// Where others refer to: a pcluster has to start at each of these bytes.
    pub(super) cuts: BTreeSet<u64>,
}

/// A part of a file as its recipe has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes to be encoded: first one and first one behind them.
    Own(u64, u64),
    /// A reference.
    Equal(Reference),
}

impl Recipe {
    /// Whether another part refers to this file.
    pub(super) fn is_owner(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// The parts of the bytes from `start` to `end`, in order. A reference belongs to where it starts.
    pub(super) fn pieces(&self, start: u64, end: u64) -> Vec<Piece> {
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
pub(super) struct Recipes {
    files: BTreeMap<usize, Recipe>,
    /// Whether references may start within an lcluster of theirs: then no extent of an owner may be shorter than a block. That takes
    /// pclusters of three blocks.
    pub(super) shifted: bool,
    /// The key of each segment of the files that were looked at, by which a change is seen.
    keys: Vec<Vec<u128>>,
}

impl Recipes {
    /// How a file is stored, if it refers to others or others to it.
    pub(super) fn of(&self, file: usize) -> Option<&Recipe> {
        self.files.get(&file)
    }

    /// Whether a segment is what it was when it was looked at; `true` if nobody did.
    pub(super) fn is_unchanged(&self, file: usize, segment: usize, key: impl FnOnce() -> u128) -> bool {
        let known = self.keys.get(file).and_then(|keys| keys.get(segment));
        known.is_none_or(|known| *known == key())
    }
}

/// Looks for equal parts in all files of the phase.
pub(super) fn find(
    phase: Phase<'_>,
    units: Units<'_>,
    force: Force,
    progress: &dyn Progress,
) -> Result<Recipes, BuildError> {
    let mut scanned = scan::scan(phase, &units.collect::<Vec<_>>(), force, progress)?;
    name::name(phase, &mut scanned.chunks, force.threads)?;
    let block = phase.block as u64;
    let rules = Rules {
        unit: if phase.is_tight() { 1 } else { block },
        block,
        segment: super::SEGMENT_SIZE as u64,
        least: LEAST_RUN.max(4 * block),
    };
    let longest = match phase.compression.max_extent_size {
        0 => u64::MAX,
        given => u64::from(given),
    };
    let smallest =
        phase.choices.iter().filter(|choice| choice.algorithm.is_some()).map(|choice| choice.pcluster).min();
    let shifted = u64::from(smallest.unwrap_or(0)).min(longest) >= 3 * block;
    let traits = |index: usize| {
        let file = &phase.files[index];
        let small = file.size <= super::SEGMENT_SIZE as u64;
        decide::Traits {
            size: file.size,
            algorithm: phase.choice(index).algorithm.unwrap_or(usize::MAX),
            // Equal files are found by their digest, without a cut anywhere.
            by_digest: phase.file_dedupe && file.has_twin && small && phase.hasher().is_some(),
            shifted,
        }
    };
    let decided = |pays: &mut dyn FnMut(usize, Reference, u64) -> Result<bool, BuildError>| {
        let mut decider = Decider::new(rules, &scanned.chunks);
        for index in 0..phase.files.len() {
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
    let mut estimates = Estimates::new(phase, asked, force.threads)?;
    let files = decided(&mut |file, reference, edges| estimates.pays(file, reference, edges))?;
    Ok(Recipes { files, shifted, keys: scanned.keys })
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
