//! Whether a reference saves more than it costs: LZ4 tells how small the beginning of a run becomes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use erofs_encode::{Params, PrefixEncoder};
use erofs_format::compression::Algorithm;

use super::recipe::Reference;
use super::scan::Scope;
use crate::error::BuildError;

/// What a reference costs in bytes of the image, and once more for each place at which an extent has to end
/// because of it: a pcluster that is not full, what is lost where a window starts anew, a longer index.
/// Measured: with it the images of three large trees were smallest.
const EDGE_COST: u64 = 4096;
/// As many bytes of a run tell how well it can be compressed.
const SAMPLE: usize = 16 << 10;
/// So many samples are encoded before their results are put in order.
const SAMPLES_AT_ONCE: usize = 1 << 16;

/// The first bytes of what a reference refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Sample {
    owner: usize,
    from: u64,
    length: usize,
}

impl Sample {
    pub(super) fn of(Reference { owner, from, length, .. }: Reference) -> Self {
        Self { owner, from, length: usize::try_from(length).map_or(SAMPLE, |length| length.min(SAMPLE)) }
    }
}

/// Bytes of content, and what LZ4 makes of them.
#[derive(Debug, Clone, Copy)]
struct Ratio {
    content: u16,
    stored: u16,
}

/// What is known of samples.
pub(super) struct Estimates<'a> {
    scope: Scope<'a>,
    /// Those that were asked in advance, in ascending order, and what was found.
    asked: Vec<Sample>,
    answers: Vec<Ratio>,
    /// Those that were asked later.
    late: HashMap<Sample, Ratio>,
    sampler: Sampler,
}

impl<'a> Estimates<'a> {
    /// Encodes all samples of `asked`, by so many threads.
    pub(super) fn new(scope: Scope<'a>, asked: BTreeSet<Sample>, threads: usize) -> Result<Self, BuildError> {
        let asked: Vec<Sample> = asked.into_iter().collect();
        let mut answers = Vec::with_capacity(asked.len());
        let one = |sample: &Sample, sampler: &mut Sampler| sampler.ratio(scope, *sample);
        for some in asked.chunks(SAMPLES_AT_ONCE) {
            answers.extend(erofs_threads::each("estimate", threads, some, one)?);
        }
        Ok(Self { scope, asked, answers, late: HashMap::new(), sampler: Sampler::default() })
    }

    /// Whether what a reference of `file` saves is more than what it costs, with so many edges.
    pub(super) fn pays(&mut self, file: usize, reference: Reference, edges: u64) -> Result<bool, BuildError> {
        let Ratio { content, stored } = self.ratio(Sample::of(reference))?;
        let (content, stored) = (u64::from(content), u64::from(stored));
        let choice = self.scope.files[file].choice;
        let is_lz4 = self.scope.phase.codecs.algorithm(choice) == Algorithm::Lz4;
        // The others store text and programs in about two thirds of what LZ4 needs.
        let stored = if is_lz4 || stored == content { stored } else { stored * 2 / 3 };
        Ok(reference.length.saturating_mul(stored) / content >= EDGE_COST * (1 + edges))
    }

    fn ratio(&mut self, sample: Sample) -> Result<Ratio, BuildError> {
        if let Ok(at) = self.asked.binary_search(&sample) {
            return Ok(self.answers[at]);
        }
        match self.late.entry(sample) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(free) => Ok(*free.insert(self.sampler.ratio(self.scope, sample)?)),
        }
    }
}

/// Encodes samples. The encoder is made for the first of them.
#[derive(Default)]
struct Sampler {
    encoder: Option<Box<dyn PrefixEncoder>>,
    bytes: Vec<u8>,
    encoded: Vec<u8>,
}

impl Sampler {
    fn ratio(&mut self, scope: Scope<'_>, sample: Sample) -> Result<Ratio, BuildError> {
        let Self { encoder, bytes, encoded } = self;
        let encoder = match encoder {
            Some(encoder) => encoder,
            None => encoder.insert(fast_encoder()?),
        };
        bytes.resize(sample.length, 0);
        encoded.resize(SAMPLE, 0);
        scope.phase.input.fill(&scope.files[sample.owner], sample.from, bytes)?;
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
