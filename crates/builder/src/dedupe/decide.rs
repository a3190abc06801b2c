//! What refers to what. Files come in their order, and the first occurrence of a chunk owns it.
//!
//! An index tells of each lcluster of a file at most one extent that starts in it. So an owner is cut at its
//! lclusters only, references end where an lcluster of theirs ends, and where a reference starts within an
//! lcluster nothing else may. What is encoded is made of extents of at least a block, so that it fits any
//! lclusters.

use std::collections::{BTreeMap, HashMap};

use super::recipe::{Recipe, Reference};
use super::scan::Chunk;
use crate::error::BuildError;

/// A part that ends within an lcluster has at least so many blocks: see
/// [`own::encode`](crate::coder::own::encode).
const SEAM_BLOCKS: u64 = 2;

/// What rules the places of references, all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// Extents of an owner can be made to start at multiples of this: a block, or 1 where no index of
    /// lclusters is.
    pub(super) unit: u64,
    pub(super) block: u64,
    /// Files are encoded in segments of this size.
    pub(super) segment: u64,
    /// No reference is shorter.
    pub(super) least: u64,
}

/// What is known of a file besides its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traits {
    pub(super) size: u64,
    /// Index of its algorithm: a file has one for all its pclusters.
    pub(super) algorithm: usize,
    /// Equal files are found without the help of references.
    pub(super) by_digest: bool,
    /// References may start within an lcluster: pclusters can have three blocks.
    pub(super) shifted: bool,
}

/// Whether a reference is worth so many places at which extents have to end because of it.
pub(super) type Pays<'p> = dyn FnMut(Reference, u64) -> Result<bool, BuildError> + 'p;

/// Goes through the files.
pub(super) struct Decider<'c> {
    rules: Rules,
    chunks: &'c [Vec<Chunk>],
    /// File and number of the first chunk with each key, by algorithm.
    first: HashMap<(usize, u128), (usize, usize)>,
    recipes: BTreeMap<usize, Recipe>,
}

/// Chunks of two files that are equal one after the other.
#[derive(Clone, Copy)]
struct Run {
    file: usize,
    chunk: usize,
    owner: usize,
    owner_chunk: usize,
    count: usize,
}

impl<'c> Decider<'c> {
    /// One that knows the chunks of all files and has decided nothing.
    pub(super) fn new(rules: Rules, chunks: &'c [Vec<Chunk>]) -> Self {
        Self { rules, chunks, first: HashMap::new(), recipes: BTreeMap::new() }
    }

    /// The recipes of all files that have one.
    pub(super) fn into_recipes(self) -> BTreeMap<usize, Recipe> {
        self.recipes
    }

    /// Decides of the next file.
    pub(super) fn file(
        &mut self,
        file: usize,
        traits: Traits,
        pays: &mut Pays<'_>,
    ) -> Result<(), BuildError> {
        let chunks = &self.chunks[file];
        let mut chunk = 0;
        while let Some(known) = chunks.get(chunk) {
            if known.key == 0 {
                chunk += 1;
                continue;
            }
            let key = (traits.algorithm, known.key);
            let Some(&(owner, owner_chunk)) = self.first.get(&key) else {
                self.first.insert(key, (file, chunk));
                chunk += 1;
                continue;
            };
            let count = self.count(file, chunk, owner, owner_chunk);
            let run = Run { file, chunk, owner, owner_chunk, count };
            let whole = count == chunks.len() && owner_chunk == 0 && count == self.chunks[owner].len();
            if whole && traits.by_digest {
                return Ok(());
            }
            let worth = match self.fit(run, traits) {
                Some(found) if whole || pays(found, self.edges(&found, traits.size))? => Some(found),
                Some(_) | None => None,
            };
            if let Some(reference) = worth {
                self.recipes.entry(owner).or_default().cuts.insert(reference.from);
                self.recipes.entry(file).or_default().references.push(reference);
                chunk += chunks[chunk..].partition_point(|chunk| chunk.at < reference.end());
            } else {
                chunk += 1;
            }
        }
        Ok(())
    }

    /// How many chunks from `chunk` on equal those of the owner. In the same file both sides must not
    /// overlap.
    fn count(&self, file: usize, chunk: usize, owner: usize, owner_chunk: usize) -> usize {
        let most = if file == owner { chunk - owner_chunk } else { usize::MAX };
        let pairs = self.chunks[file][chunk..].iter().zip(&self.chunks[owner][owner_chunk..]);
        pairs.take(most).take_while(|(one, other)| one.key == other.key && one.key != 0).count()
    }

    /// The reference for a run, if there is room for its start and enough is left of it.
    fn fit(&self, run: Run, traits: Traits) -> Option<Reference> {
        let Rules { unit, block, least, .. } = self.rules;
        let Run { file, chunk, owner, owner_chunk, count } = run;
        let first = self.chunks[file][chunk];
        let last = self.chunks[file][chunk + count - 1];
        let owned = self.chunks[owner][owner_chunk].at;
        let mut from = owned.next_multiple_of(unit);
        let mut at = first.at + (from - owned);
        let mut end = last.at + last.length;
        if unit != 1 && !at.is_multiple_of(block) {
            if !traits.shifted {
                return None;
            }
            let lacking = SEAM_BLOCKS.saturating_mul(block).saturating_sub(at - self.start_before(file, at));
            let shift = lacking.next_multiple_of(block);
            (from, at) = (from + shift, at + shift);
            end = end.min(at.saturating_add(self.even_length(owner, from)));
        }
        if end != traits.size {
            end = end / unit * unit;
        }
        let length = end.checked_sub(at)?;
        let fits = length >= least && self.can_cut(owner, from);
        fits.then_some(Reference { at, length, owner, from })
    }

    /// At how many places extents have to end because of a reference of a file of `size` bytes.
    fn edges(&self, found: &Reference, size: u64) -> u64 {
        let is_cut = self.recipes.get(&found.owner).is_some_and(|recipe| recipe.cuts.contains(&found.from));
        u64::from(found.at != 0) + u64::from(found.end() != size) + u64::from(found.from != 0 && !is_cut)
    }

    /// The last place at or before `at` at which something of this file is made to start.
    fn start_before(&self, file: usize, at: u64) -> u64 {
        let segment = at / self.rules.segment * self.rules.segment;
        let Some(recipe) = self.recipes.get(&file) else { return segment };
        let reference = recipe.references.last().map_or(0, Reference::end);
        let cut = recipe.cuts.range(..=at).next_back().copied().unwrap_or(0);
        segment.max(reference).max(cut)
    }

    /// How far from byte `from` of a file all extents are as long as a block: the last one of a reference may
    /// be shorter, and has its place only where the lclusters of both files begin at the same bytes.
    fn even_length(&self, file: usize, from: u64) -> u64 {
        let Some(recipe) = self.recipes.get(&file) else { return u64::MAX };
        let next = recipe.references.partition_point(|reference| reference.end() <= from);
        recipe.references.get(next).map_or(u64::MAX, |reference| reference.end() - from)
    }

    /// Whether an extent of a file can start at a byte.
    fn can_cut(&self, file: usize, at: u64) -> bool {
        let Some(recipe) = self.recipes.get(&file) else { return true };
        let next = recipe.references.partition_point(|reference| reference.end() <= at);
        let Some(reference) = recipe.references.get(next) else { return true };
        let Rules { unit, block, .. } = self.rules;
        let seam = unit != 1 && !reference.at.is_multiple_of(block);
        let room = if seam { SEAM_BLOCKS * block } else { 0 };
        reference.at.checked_sub(at).is_some_and(|found| found >= room)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const RULES: Rules = Rules { unit: 4096, block: 4096, segment: 16 << 20, least: 8192 };

    /// Chunks of these lengths; equal letters are equal chunks.
    fn file(chunks: &[(char, u64)]) -> Vec<Chunk> {
        let mut at = 0;
        chunks
            .iter()
            .map(|&(letter, length)| {
                let chunk = Chunk { at, length, key: u128::from(u32::from(letter)) };
                at += length;
                chunk
            })
            .collect()
    }

    fn decide(rules: Rules, shifted: bool, files: &[Vec<Chunk>]) -> BTreeMap<usize, Recipe> {
        let mut decider = Decider::new(rules, files);
        for (index, chunks) in files.iter().enumerate() {
            let size = chunks.last().map_or(0, |chunk| chunk.at + chunk.length);
            let traits = Traits { size, algorithm: 0, by_digest: false, shifted };
            decider.file(index, traits, &mut |reference, _| Ok(reference.length > 9000)).unwrap();
        }
        decider.into_recipes()
    }

    fn reference(at: u64, length: u64, owner: usize, from: u64) -> Reference {
        Reference { at, length, owner, from }
    }

    /// What it shows, the rules, whether references may start within an lcluster, the second file, its
    /// reference.
    type Case = (&'static str, Rules, bool, Vec<Chunk>, Option<Reference>);

    #[test]
    fn references_start_and_end_where_an_index_can_tell() {
        let first = file(&[('a', 8192), ('b', 10_000), ('c', 20_000), ('d', 30_000), ('e', 5000)]);
        let cases: [Case; 9] = [
            (
                "starts at a block of the owner, ends at one of its own",
                RULES,
                true,
                file(&[('x', 8192), ('b', 10_000), ('c', 20_000), ('y', 9000)]),
                Some(reference(8192, 28_672, 0, 8192)),
            ),
            (
                "up to the end of the file",
                RULES,
                true,
                file(&[('x', 8192), ('b', 10_000), ('c', 20_000)]),
                Some(reference(8192, 30_000, 0, 8192)),
            ),
            (
                "the owner is not cut within a block",
                RULES,
                true,
                file(&[('x', 10_000), ('c', 20_000), ('d', 30_000)]),
                Some(reference(10_000 + 2288, 50_000 - 2288, 0, 20_480)),
            ),
            (
                "there is no room for two starts in the first lcluster",
                RULES,
                true,
                file(&[('x', 100), ('b', 10_000), ('c', 20_000)]),
                Some(reference(100 + 8192, 30_000 - 8192, 0, 8192 + 8192)),
            ),
            (
                "pclusters of one block cannot be split at any byte",
                RULES,
                false,
                file(&[('x', 10_100), ('c', 20_000), ('d', 30_000)]),
                None,
            ),
            (
                "but at blocks",
                RULES,
                false,
                file(&[('x', 12_288), ('b', 10_000)]),
                Some(reference(12_288, 10_000, 0, 8192)),
            ),
            (
                "extents that start anywhere",
                Rules { unit: 1, ..RULES },
                false,
                file(&[('x', 100), ('c', 20_000), ('d', 30_000), ('y', 1)]),
                Some(reference(100, 50_000, 0, 18_192)),
            ),
            ("too short", RULES, true, file(&[('x', 8192), ('a', 8192), ('y', 9000)]), None),
            ("nothing equal", RULES, true, file(&[('x', 8192), ('y', 10_000)]), None),
        ];
        for (name, rules, shifted, second, want) in cases {
            let recipes = decide(rules, shifted, &[first.clone(), second]);
            let found = recipes.get(&1).map_or(&[][..], |recipe| &recipe.references);
            assert_eq!(found, want.as_slice(), "{name}");
            let cuts = recipes.get(&0).map(|recipe| recipe.cuts.clone()).unwrap_or_default();
            assert_eq!(cuts, want.iter().map(|want| want.from).collect::<BTreeSet<_>>(), "{name}");
        }
    }

    #[test]
    fn a_file_refers_to_itself_and_through_others() {
        let files = [
            file(&[('a', 40_960), ('b', 40_960), ('a', 40_960), ('b', 40_960)]),
            file(&[('c', 40_960), ('a', 40_960), ('d', 40_960)]),
            file(&[('c', 40_960), ('a', 40_960), ('d', 40_960), ('e', 40_960)]),
        ];
        let recipes = decide(RULES, true, &files);
        assert_eq!(recipes[&0].references, [reference(81_920, 81_920, 0, 0)]);
        assert_eq!(recipes[&1].references, [reference(40_960, 40_960, 0, 0)]);
        // What was a reference in the owner is part of the run.
        assert_eq!(recipes[&2].references, [reference(0, 122_880, 1, 0)]);
        assert_eq!(recipes[&1].cuts, BTreeSet::from([0]));
    }

    #[test]
    fn pclusters_of_another_algorithm_are_not_referred_to() {
        let chunks = vec![file(&[('a', 40_960), ('b', 40_000)]); 3];
        let mut decider = Decider::new(RULES, &chunks);
        for (index, algorithm) in [0, 1, 0].into_iter().enumerate() {
            let traits = Traits { size: 80_960, algorithm, by_digest: false, shifted: true };
            decider.file(index, traits, &mut |_, _| Ok(true)).unwrap();
        }
        let recipes = decider.into_recipes();
        assert_eq!(recipes[&2].references, [reference(0, 80_960, 0, 0)]);
        assert_eq!(recipes.keys().copied().collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn equal_files_are_left_to_their_digest() {
        let chunks = vec![file(&[('a', 40_960), ('b', 40_000)]); 2];
        let mut decider = Decider::new(RULES, &chunks);
        for index in 0..2 {
            let traits = Traits { size: 80_960, algorithm: 0, by_digest: true, shifted: true };
            decider.file(index, traits, &mut |_, _| Ok(true)).unwrap();
        }
        assert!(decider.into_recipes().is_empty());
    }
}
