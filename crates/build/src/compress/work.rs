//! The work on one unit: read, fingerprint, encode. Everything that needs neither a place nor an order.

use std::collections::BTreeMap;
use std::ops::Range;

use erofs_algo::fingerprint::{Fingerprint, Hasher};
use erofs_encode::{EncodeError, Params};
use erofs_format::compression::PCLUSTER_MAX_SIZE;

use super::dedupe::{Piece, Recipe, Recipes, Reference};
use super::encode::{Coder, Encoded, End, Rest, Sizes};
use super::{SEGMENT_SIZE, own};
use crate::content::{File, Input, Unit};
use crate::error::BuildError;
use crate::key;
use crate::options::{CompressClass, CompressionOptions, FingerprintOptions};
use crate::zeros;

/// How one file is to be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Choice {
    /// Index of the algorithm; `None` for a file that a hint leaves uncompressed.
    pub(crate) algorithm: Option<usize>,
    /// The largest pcluster in bytes.
    pub(crate) pcluster: u32,
    /// Whether pclusters may be of the second algorithm.
    pub(crate) has_alternative: bool,
}

impl Choice {
    /// How files are encoded that no hint concerns.
    pub(crate) fn usual(compression: &CompressionOptions, pcluster: u32) -> Self {
        Self { algorithm: Some(0), pcluster, has_alternative: compression.head2.is_some() }
    }
}

/// What the work on a set of files needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Phase<'a> {
    pub(crate) input: &'a dyn Input,
    pub(crate) files: &'a [File],
    /// One per file, or a single one for all of them.
    pub(crate) choices: &'a [Choice],
    pub(crate) compression: &'a CompressionOptions,
    pub(crate) fingerprint: Option<&'a FingerprintOptions>,
    /// Equal files are stored once.
    pub(crate) file_dedupe: bool,
    pub(crate) block: usize,
    /// Whether this is the packed inode, which ends in blocks and has no attributes.
    pub(crate) is_packed: bool,
    /// What refers to what, where equal parts of files are stored once.
    pub(crate) recipes: Option<&'a Recipes>,
}

/// What a part of a file becomes.
#[derive(Debug)]
pub(crate) enum Span {
    /// Extents of its own.
    Own(Encoded),
    /// Those of a file before it, or of a part before it; with the place of its last bytes, up to two blocks, in the
    /// buffer.
    Equal(Reference, Range<usize>),
}

/// What became of a file or segment.
#[derive(Debug)]
pub(crate) enum Form {
    /// Stored as it is.
    Plain,
    /// Stored compressed.
    Encoded(Vec<Span>),
    /// Equal to a file before it.
    Twin,
}

/// A file or a segment of one.
#[derive(Debug)]
pub(crate) struct Part {
    /// Index of the file.
    pub(crate) file: usize,
    /// Where its bytes are in the buffer.
    pub(crate) range: Range<usize>,
    /// Stands for the content where no fingerprint does.
    pub(crate) key: u128,
    /// The fingerprint of a whole file, where one is computed.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// What becomes of it.
    pub(crate) form: Form,
    /// The key of what goes to the packed inode, where equal fragments are stored once.
    pub(crate) fragment: Option<[u8; 32]>,
}

/// The buffers of a unit; used again and again, because the first touch of memory is dear.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Content.
    pub(crate) content: Vec<u8>,
    /// What it was encoded to.
    pub(crate) encoded: Vec<u8>,
    /// So many zeros are the content: a hole, which nobody reads.
    pub(crate) zeros: usize,
}

impl Buffers {
    /// Bytes of content.
    pub(crate) fn len(&self) -> usize {
        self.content.len() + self.zeros
    }
}

/// A unit that is ready for its turn.
#[derive(Debug)]
pub(crate) struct Done {
    /// The files, or one segment.
    pub(crate) parts: Vec<Part>,
    /// Their content, and what it was encoded to.
    pub(crate) buffers: Buffers,
    /// First byte and whether it is the file's end, for a segment.
    pub(crate) segment: Option<(u64, bool)>,
}

impl Phase<'_> {
    /// A fresh hasher, if fingerprints are computed.
    pub(crate) fn hasher(&self) -> Option<Box<dyn Hasher>> {
        self.fingerprint?.hasher()
    }

    /// How a file is encoded.
    pub(crate) fn choice(&self, file: usize) -> Choice {
        let none = Choice { algorithm: None, pcluster: 0, has_alternative: false };
        self.choices.get(file).or(self.choices.first()).copied().unwrap_or(none)
    }

    /// How a file is to be put together, if it refers to others or others to it.
    pub(crate) fn recipe(&self, file: usize) -> Option<&Recipe> {
        self.recipes?.of(file)
    }

    /// Whether a file may be given the content of an equal one before it.
    pub(crate) fn may_twin(&self, file: usize) -> bool {
        // What others refer to has to be there.
        self.file_dedupe && self.files[file].has_twin && !self.is_owner(file)
    }

    /// How many files have another one of their size, and digests to be compared: at most so many are remembered.
    pub(crate) fn twins_max(&self) -> usize {
        if !self.file_dedupe || !self.fingerprint.is_some_and(FingerprintOptions::is_computed) {
            return 0;
        }
        self.files.iter().filter(|file| file.has_twin).count()
    }

    /// What a file shares with those that may be given its content.
    pub(crate) fn likeness(&self, file: usize, fingerprint: &Fingerprint) -> Likeness {
        Likeness { digest: digest_of(fingerprint), choice: self.choice(file) }
    }

    /// Whether other parts refer to this file.
    pub(crate) fn is_owner(&self, file: usize) -> bool {
        self.recipe(file).is_some_and(Recipe::is_owner)
    }

    /// Holds a segment of a file to what was seen of it at first.
    fn check(&self, file: usize, segment: usize, key: impl FnOnce() -> u128) -> Result<(), BuildError> {
        match self.recipes {
            Some(recipes) if !recipes.is_unchanged(file, segment, key) => {
                Err(self.input.changed(&self.files[file]))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether pclusters start at any byte.
    pub(crate) fn is_tight(&self) -> bool {
        self.compression.index == crate::options::IndexForm::Extents
    }

    /// Whether plain blocks are turned. Linux does so from 6.1 on; an older one would not see the bit that tells it and
    /// show wrong bytes. So it is done with fragments alone, which no older one mounts. References need blocks that do
    /// not depend on where in a file they are, and without blocks there is nothing to turn.
    pub(crate) fn is_interlaced(&self) -> bool {
        self.compression.fragments.is_some() && !self.compression.dedupe && !self.is_tight()
    }

    fn sizes(&self, choice: Choice) -> Sizes {
        let input = match self.compression.max_extent_size as usize {
            0 => erofs_encode::MAX_INPUT,
            given => given.clamp(self.block, erofs_encode::MAX_INPUT),
        };
        let pcluster = limit(choice.pcluster, self.is_tight(), self.block) as usize;
        // Linux 6.18 gave I/O errors where plain pieces of more than 32 KiB at any byte were referred to from several
        // places within pages.
        let long = self.is_tight() && !self.compression.dedupe;
        Sizes {
            block: self.block,
            pcluster,
            input,
            tight: self.is_tight(),
            plain: if long { pcluster } else { self.block },
            squeeze: self.compression.squeeze && !self.is_tight(),
            interlaced: self.is_interlaced(),
        }
    }

    /// What may become of the end of a file.
    fn end(&self) -> End {
        match self.compression {
            CompressionOptions { fragments: Some(_), .. } if !self.is_packed => End::Fragment,
            // Extent records have no inline data, and bytes that start anywhere leave no rest of a block.
            CompressionOptions { tail_packing: true, .. } if !self.is_packed && !self.is_tight() => {
                // A slot less than a block, so that a place can be found behind an inode of any length.
                End::Inline(self.block - 32)
            }
            CompressionOptions { .. } => End::Blocks,
        }
    }
}

/// What the encoding of a part of a file depends on.
struct Whole {
    /// Index of the file.
    file: usize,
    choice: Choice,
    /// First byte of the part.
    offset: u64,
    /// What may become of the end of the file.
    end: End,
}

/// A worker's own things: encoders and buffers that are used again and again.
pub(crate) struct Worker<'a> {
    phase: Phase<'a>,
    coders: BTreeMap<Choice, Coder>,
    /// What a whole segment of zeros was encoded to.
    zeros: BTreeMap<Choice, Zeros>,
}

/// A whole segment of zeros.
struct Zeros {
    key: u128,
    encoded: Encoded,
    bytes: Vec<u8>,
}

/// What tells contents apart: the first 256 bits of a digest.
pub(crate) type Digest = [u8; 32];

/// What equal files have in common that may be stored once. The choice belongs to it: if one of them did not get the content of
/// another, because its inode has another tail behind it, what becomes of it would depend on which of them was read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Likeness {
    digest: Digest,
    choice: Choice,
}

/// The digest that a fingerprint is made from.
fn digest_of(fingerprint: &Fingerprint) -> Digest {
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(&fingerprint.digest) {
        *to = *from;
    }
    digest
}

/// Asks of files one after the other, the first of which has this index, whether one like it comes before.
pub(crate) type Claim<'c> = &'c dyn Fn(usize, &[Option<Likeness>]) -> Vec<bool>;

impl<'a> Worker<'a> {
    /// A worker without any encoder yet.
    pub(crate) fn new(phase: Phase<'a>) -> Self {
        Self { phase, coders: BTreeMap::new(), zeros: BTreeMap::new() }
    }

    /// Reads and encodes a unit.
    pub(crate) fn unit(
        &mut self,
        unit: &Unit,
        mut buffers: Buffers,
        claim: Claim<'_>,
    ) -> Result<Done, BuildError> {
        buffers.encoded.clear();
        buffers.zeros = 0;
        match unit {
            Unit::Batch(range) => {
                let parts = self.batch(range.clone(), &mut buffers, claim)?;
                Ok(Done { parts, buffers, segment: None })
            }
            &Unit::Segment { file, offset, length, last } => {
                let part = self.segment(file, offset, length, &mut buffers)?;
                Ok(Done { parts: vec![part], buffers, segment: Some((offset, last)) })
            }
        }
    }

    /// Whole files: all are read, then all are fingerprinted, then those are encoded that equal none before.
    fn batch(
        &mut self,
        range: Range<usize>,
        buffers: &mut Buffers,
        claim: Claim<'_>,
    ) -> Result<Vec<Part>, BuildError> {
        let Buffers { content, encoded, .. } = buffers;
        let files = &self.phase.files[range.clone()];
        let length = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
        // All of it will be filled; what the unit before left there need not be cleared.
        content.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
        let mut contents = Vec::with_capacity(range.len());
        let mut rest = &mut content[..];
        for (index, file) in range.clone().zip(files) {
            let bytes;
            (bytes, rest) = rest.split_at_mut(usize::try_from(file.size).unwrap_or(usize::MAX));
            self.phase.input.fill(file, 0, bytes)?;
            self.phase.check(index, 0, || key::of(bytes))?;
            contents.push(&*bytes);
        }
        let fingerprints = FingerprintOptions::each(self.phase.fingerprint, &contents);
        let sought = range.clone().zip(&fingerprints).map(|(file, fingerprint)| {
            let fingerprint = fingerprint.as_ref().filter(|_| self.phase.may_twin(file))?;
            Some(self.phase.likeness(file, fingerprint))
        });
        let twins = claim(range.start, &sought.collect::<Vec<_>>());
        let mut parts = Vec::with_capacity(range.len());
        let mut start = 0;
        for (((file, bytes), fingerprint), is_twin) in range.zip(contents).zip(fingerprints).zip(twins) {
            let range = start..start + bytes.len();
            start = range.end;
            let key = key::of(fingerprint.as_ref().map_or(bytes, |fingerprint| &fingerprint.digest));
            let form = if is_twin { Form::Twin } else { self.encode(file, 0, bytes, encoded)? };
            let mut part = Part { file, range, key, fingerprint, form, fragment: None };
            self.name_fragment(&mut part, bytes);
            parts.push(part);
        }
        Ok(parts)
    }

    fn segment(
        &mut self,
        file: usize,
        offset: u64,
        length: usize,
        buffers: &mut Buffers,
    ) -> Result<Part, BuildError> {
        if let Some((form, key)) = self.hole(file, offset, length, buffers)? {
            return Ok(Part { file, range: 0..length, key, fingerprint: None, form, fragment: None });
        }
        let Buffers { content, encoded, .. } = buffers;
        content.resize(length, 0);
        self.phase.input.fill(&self.phase.files[file], offset, content)?;
        let key = key::of(content);
        self.phase.check(file, usize::try_from(offset).unwrap_or(0) / SEGMENT_SIZE, || key)?;
        let form = self.encode(file, offset, content, encoded)?;
        let mut part = Part { file, range: 0..length, key, fingerprint: None, form, fragment: None };
        self.name_fragment(&mut part, content);
        Ok(part)
    }

    /// The form and the key of a whole segment, not the last of its file, that is a hole: nothing of it is
    /// read, and it is encoded once.
    fn hole(
        &mut self,
        file: usize,
        offset: u64,
        length: usize,
        buffers: &mut Buffers,
    ) -> Result<Option<(Form, u128)>, BuildError> {
        let (phase, known) = (self.phase, &self.phase.files[file]);
        let choice = phase.choice(file);
        let is_encoded = choice.algorithm.is_some() && phase.compression.class != CompressClass::Never;
        if length != SEGMENT_SIZE
            || offset + length as u64 == known.size
            || !is_encoded
            || phase.recipes.is_some()
            || phase.input.data_from(known, offset)? - offset < length as u64
        {
            return Ok(None);
        }
        if !self.zeros.contains_key(&choice) {
            let mut bytes = Vec::new();
            let encoded = self.coder(choice)?.encode(&vec![0; length], End::Blocks, &mut bytes);
            self.zeros.insert(choice, Zeros { key: zeros::key(length), encoded, bytes });
        }
        let Some(Zeros { key, encoded, bytes }) = self.zeros.get(&choice) else { return Ok(None) };
        buffers.content.clear();
        buffers.zeros = length;
        let start = buffers.encoded.len();
        buffers.encoded.extend_from_slice(bytes);
        let encoded = Encoded { bytes: start..buffers.encoded.len(), ..encoded.clone() };
        Ok(Some((Form::Encoded(vec![Span::Own(encoded)]), *key)))
    }

    fn name_fragment(&self, part: &mut Part, bytes: &[u8]) {
        if let Form::Encoded(spans) = &part.form
            && let Some(Span::Own(Encoded { rest: Rest::Fragment(length), .. })) = spans.last()
            && self.phase.compression.fragments.is_some_and(|fragments| fragments.dedupe)
        {
            let fragment = &bytes[bytes.len() - *length as usize..];
            part.fragment = Some(erofs_algo::chunk_key(fragment));
        }
    }

    /// Encodes a file, or the segment of one that starts at `offset`, if that pays.
    fn encode(
        &mut self,
        file: usize,
        offset: u64,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Form, BuildError> {
        let CompressionOptions { class, .. } = *self.phase.compression;
        let choice = self.phase.choice(file);
        if choice.algorithm.is_none() || class == CompressClass::Never {
            return Ok(Form::Plain);
        }
        let size = self.phase.files[file].size;
        let last = offset + bytes.len() as u64 == size;
        if self.ends_in_fragments(last) {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let rest = Rest::Fragment(length);
            let encoded = Encoded { rest, smaller: true, ..Encoded::default() };
            return Ok(Form::Encoded(vec![Span::Own(encoded)]));
        }
        let end = if last { self.phase.end() } else { End::Blocks };
        if let Some(recipe) = self.phase.recipe(file) {
            let end = if recipe.is_owner() { End::Blocks } else { end };
            let pieces = recipe.pieces(offset, offset + bytes.len() as u64);
            return self.pieces(&pieces, &Whole { file, choice, offset, end }, bytes, out);
        }
        let start = out.len();
        let encoded = self.coder(choice)?.encode(bytes, end, out);
        let whole = size == bytes.len() as u64;
        // A file must not change its class for what is equal to it, so with references there is one class for all that
        // are longer than a block.
        let longer = self.phase.recipes.is_some() && size > self.phase.block as u64;
        if encoded.smaller || class == CompressClass::Always || !whole || longer {
            return Ok(Form::Encoded(vec![Span::Own(encoded)]));
        }
        out.truncate(start);
        Ok(Form::Plain)
    }

    /// Encodes those of the pieces that are the file's own.
    fn pieces(
        &mut self,
        pieces: &[Piece],
        how: &Whole,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Form, BuildError> {
        let Whole { file, choice, offset, end } = *how;
        let (input, file) = (self.phase.input, &self.phase.files[file]);
        let size = file.size;
        let (tight, block) = (self.phase.is_tight(), self.phase.block as u64);
        let shifted = self.phase.recipes.is_some_and(|recipes| recipes.shifted);
        let at = |byte: u64| usize::try_from(byte - offset).unwrap_or(usize::MAX);
        let coder = self.coder(choice)?;
        let mut spans = Vec::with_capacity(pieces.len());
        for piece in pieces {
            spans.push(match *piece {
                Piece::Equal(reference) => {
                    let start = out.len();
                    let length = reference.length.min(2 * block);
                    out.resize(start + usize::try_from(length).unwrap_or(0), 0);
                    input.fill(file, reference.end() - length, &mut out[start..])?;
                    Span::Equal(reference, start..out.len())
                }
                Piece::Own(from, to) => {
                    let end = if to == size { end } else { End::Blocks };
                    let inner = to != size && !tight && shifted;
                    Span::Own(own::encode(coder, &bytes[at(from)..at(to)], end, inner, out))
                }
            });
        }
        Ok(Form::Encoded(spans))
    }

    fn ends_in_fragments(&self, last: bool) -> bool {
        last && !self.phase.is_packed
            && self.phase.compression.fragments.is_some_and(|fragments| fragments.all)
    }

    fn coder(&mut self, choice: Choice) -> Result<&mut Coder, BuildError> {
        use std::collections::btree_map::Entry;
        match self.coders.entry(choice) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(coder(self.phase, choice)?)),
        }
    }
}

/// A coder for files of this choice.
fn coder(phase: Phase<'_>, choice: Choice) -> Result<Coder, BuildError> {
    let sizes = phase.sizes(choice);
    let params = |algorithm: usize| {
        params(phase.compression, algorithm, sizes)
            .ok_or_else(|| BuildError::Internal("an algorithm has no row".into()))
    };
    let refused = |cause: EncodeError| BuildError::Options(cause.to_string());
    let coder = Coder::new(&params(choice.algorithm.unwrap_or(0))?, sizes).map_err(refused)?;
    match phase.compression.head2.filter(|_| choice.has_alternative) {
        Some(percent) => coder.with_alternative(&params(1)?, percent).map_err(refused),
        None => Ok(coder),
    }
}

/// The largest pcluster in bytes where `wanted` was asked for. One that starts anywhere touches a block more than its
/// length says, and Linux has room for 1 MiB of blocks.
pub(crate) fn limit(wanted: u32, tight: bool, block: usize) -> u32 {
    let block = u32::try_from(block).unwrap_or(u32::MAX);
    if tight { wanted.min(PCLUSTER_MAX_SIZE - block) } else { wanted }
}

/// The parameters of the algorithm with this index for pclusters of these sizes.
pub(crate) fn params(compression: &CompressionOptions, algorithm: usize, sizes: Sizes) -> Option<Params> {
    let chosen = compression.algorithms.get(algorithm)?;
    // One configuration in the superblock holds for all files of an algorithm, so the dictionary must not follow the
    // pcluster size of a hint.
    let fresh = Params::new(chosen.algorithm, compression.largest_pcluster() as usize);
    Some(Params {
        level: chosen.level,
        dict_size: chosen.dict_size.unwrap_or(fresh.dict_size),
        max_input: sizes.input,
        ..fresh
    })
}
