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
mod name;
mod scan;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use erofs_encode::{Params, PrefixEncoder};
use erofs_format::compression::Algorithm;
use erofs_tree::Progress;

use super::pool::Force;
use super::work::Phase;
use crate::content::Units;
use crate::each::each;
use crate::error::BuildError;
use decide::{Decider, Rules};

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
    let asked: Vec<Sample> = asked.into_iter().collect();
    let mut answers: Vec<Ratio> = Vec::with_capacity(asked.len());
    for some in asked.chunks(SAMPLES_AT_ONCE) {
        answers.extend(each(force.threads, some, |&sample, sampler: &mut Sampler| {
            sampler.ratio(phase, sample)
        })?);
    }
    let mut sampler = Sampler::default();
    let mut late: HashMap<Sample, Ratio> = HashMap::new();
    let files = decided(&mut |file, reference, edges| {
        let sample = Sample::of(reference);
        let ratio = match asked.binary_search(&sample) {
            Ok(at) => answers[at],
            Err(_) => match late.entry(sample) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(free) => *free.insert(sampler.ratio(phase, sample)?),
            },
        };
        Ok(pays(phase, file, reference.length, ratio, edges))
    })?;
    Ok(Recipes { files, shifted, keys: scanned.keys })
}

/// Shorter runs are not worth a look, in bytes.
const LEAST_RUN: u64 = 8192;
/// What a reference costs in bytes of the image, and once more for each place at which an extent has to end because of it: a
/// pcluster that is not full, what is lost where a window starts anew, a longer index. Measured: with it the images of
/// three large trees were smallest.
const EDGE_COST: u64 = 4096;
/// As many bytes of a run tell how well it can be compressed.
const SAMPLE: usize = 16 << 10;
/// So many samples are encoded before their results are put in order.
const SAMPLES_AT_ONCE: usize = 1 << 16;

/// The first bytes of what a reference refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sample {
    owner: usize,
    from: u64,
    length: usize,
}

impl Sample {
    fn of(Reference { owner, from, length, .. }: Reference) -> Self {
        Self { owner, from, length: usize::try_from(length).map_or(SAMPLE, |length| length.min(SAMPLE)) }
    }
}

/// Bytes of content, and what LZ4 makes of them.
#[derive(Debug, Clone, Copy)]
struct Ratio {
    content: u16,
    stored: u16,
}

/// Encodes samples. The encoder is made for the first of them.
#[derive(Default)]
struct Sampler {
    encoder: Option<Box<dyn PrefixEncoder>>,
    bytes: Vec<u8>,
    encoded: Vec<u8>,
}

impl Sampler {
    fn ratio(&mut self, phase: Phase<'_>, sample: Sample) -> Result<Ratio, BuildError> {
        let Self { encoder, bytes, encoded } = self;
        let encoder = match encoder {
            Some(encoder) => encoder,
            None => encoder.insert(fast_encoder()?),
        };
        bytes.resize(sample.length, 0);
        encoded.resize(SAMPLE, 0);
        phase.input.fill(&phase.files[sample.owner], sample.from, bytes)?;
        encoder.begin_segment();
        let found = encoder.encode_prefix(bytes, encoded);
        let short = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        Ok(match (short(found.consumed), short(found.written)) {
            // Nothing gets smaller.
            (0, _) => Ratio { content: 1, stored: 1 },
            (content, stored) => Ratio { content, stored: stored.min(content) },
        })
    }
}

fn fast_encoder() -> Result<Box<dyn PrefixEncoder>, BuildError> {
    let row = erofs_encode::by_name("lz4");
    row.map(|row| erofs_encode::encoder(&Params::new(row, SAMPLE)))
        .ok_or_else(|| BuildError::Internal("no encoder for a sample".into()))?
        .map_err(|cause| BuildError::Internal(cause.to_string()))
}

/// Whether what a reference of `file` to so many bytes saves is more than what it costs, with so many edges.
fn pays(phase: Phase<'_>, file: usize, length: u64, ratio: Ratio, edges: u64) -> bool {
    let (content, stored) = (u64::from(ratio.content), u64::from(ratio.stored));
    let chosen = phase.choice(file).algorithm.and_then(|index| phase.compression.algorithms.get(index));
    let number = chosen.map(|chosen| chosen.algorithm.number);
    let is_lz4 = number.and_then(Algorithm::from_number) == Some(Algorithm::Lz4);
    // The others store text and programs in about two thirds of what LZ4 needs.
    let stored = if is_lz4 || stored == content { stored } else { stored * 2 / 3 };
    length.saturating_mul(stored) / content >= EDGE_COST * (1 + edges)
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
