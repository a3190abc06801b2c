//! The work on one unit: read, fingerprint, encode. Everything that needs neither an address nor an order.

use std::collections::BTreeMap;
use std::ops::Range;

use erofs_algo::fingerprint::{self, Fingerprint, Hasher};
use uuid::Uuid;

use super::feed::{self, File, Hole, Segment, Unit};
use super::input::Input;
use crate::buffer;
use crate::coder::codecs::{Choice, Codecs, Rules, refused};
use crate::coder::own;
use crate::coder::pcluster::{Coder, Encoded, End, Rest};
use crate::coder::plain::{Part as PlainPart, Plain, PlainCoder};
use crate::dedupe::recipe::{Piece, Recipe, Recipes, Reference};
use crate::error::BuildError;
use crate::key;
use crate::options::{CompressClass, FingerprintOptions};
use crate::stored::Stored;
use crate::zeros;

/// What the work on a set of contents needs to know: the files of an image, its packed inode, or its metabox.
#[derive(Clone, Copy)]
pub(crate) struct Phase<'a> {
    pub(crate) input: &'a dyn Input,
    pub(crate) codecs: &'a Codecs,
    pub(crate) rules: Rules,
    pub(crate) plain: PlainCoder,
    pub(crate) fingerprint: Option<&'a FingerprintOptions>,
    /// Equal files are stored once.
    pub(crate) file_dedupe: bool,
    /// Size of a block in bytes.
    pub(crate) block: usize,
    /// Files of more bytes come in segments of so many.
    pub(crate) segment: usize,
    /// Whether this is an internal inode, which ends in blocks.
    pub(crate) is_internal: bool,
    /// What refers to what, where equal parts of files are stored once.
    pub(crate) recipes: Option<&'a Recipes>,
}

/// What a part of a file becomes.
#[derive(Debug)]
pub(crate) enum Span {
    /// Extents of its own.
    Own(Encoded),
    /// Those of a file before it, or of a part before it; with the place of its last bytes, up to two blocks,
    /// in the buffer.
    Equal(Reference, Range<usize>),
}

/// What became of a file or segment.
#[derive(Debug)]
pub(crate) enum Form {
    /// Stored as it is.
    Plain(Plain),
    /// Stored compressed.
    Encoded(Vec<Span>),
    /// Equal to a file before it.
    Duplicate,
    /// So many zeros, which take no space.
    Hole(u64),
    /// Stored elsewhere.
    Stored(Box<Stored>),
}

/// A file or a part of one.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) file: File,
    /// Where its bytes are in the buffer.
    pub(crate) range: Range<usize>,
    /// Hash of the content where no digest stands for it.
    pub(crate) key: u128,
    /// The fingerprint of a whole file, where one is computed.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// What tells whether the whole file equals another, where that is looked for.
    pub(crate) dedupe: Option<DedupeKey>,
    /// What becomes of it.
    pub(crate) form: Form,
    /// The key of what goes to the packed inode, where equal fragments are stored once.
    pub(crate) fragment: Option<[u8; 32]>,
}

/// The buffers of a unit; used again and again, because the first touch of memory is expensive.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Content.
    pub(crate) content: Vec<u8>,
    /// What it was encoded to.
    pub(crate) encoded: Vec<u8>,
    /// So many zeros are the content: a hole, which is not read.
    pub(crate) zeros: u64,
}

impl Buffers {
    /// Bytes of content.
    pub(crate) fn len(&self) -> u64 {
        self.content.len() as u64 + self.zeros
    }
}

/// A unit that is ready for its turn.
#[derive(Debug)]
pub(crate) struct Done {
    /// The number of the first file.
    pub(crate) first: usize,
    /// The files, or one part of the only one.
    pub(crate) parts: Vec<Part>,
    /// Their content, and what it was encoded to.
    pub(crate) buffers: Buffers,
    /// First byte and whether it is the file's end, for a part of a file.
    pub(crate) segment: Option<(u64, bool)>,
}

/// What tells contents apart: the first 256 bits of a digest.
pub(crate) type Digest = [u8; 32];

/// What equal files have in common that may be stored once. The choice belongs to it, so that what a hint
/// says of one file does not change another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DedupeKey {
    digest: Digest,
    choice: Choice,
}

impl DedupeKey {
    /// That of a file with this digest.
    pub(crate) fn new(digest: &[u8], choice: Choice) -> Self {
        let mut short = [0; 32];
        for (to, from) in short.iter_mut().zip(digest) {
            *to = *from;
        }
        Self { digest: short, choice }
    }
}

/// For each file from the first one on: does an earlier file have the same dedupe key?
pub(crate) type Claim<'c> = &'c dyn Fn(usize, &[Option<DedupeKey>]) -> Vec<bool>;

impl Phase<'_> {
    /// Whether digests tell whether a file equals another.
    pub(crate) fn compares(&self, file: &File) -> bool {
        self.file_dedupe && file.may_have_duplicate
    }

    /// A fresh hasher, if the digest of this file is of use.
    pub(crate) fn hasher(&self, file: &File) -> Option<Box<dyn Hasher>> {
        let own = self.fingerprint.and_then(FingerprintOptions::hasher);
        own.or_else(|| {
            let kind = fingerprint::by_name("blake3").filter(|_| self.compares(file))?;
            Some((kind.hasher)(Uuid::nil()))
        })
    }

    /// How a file is to be encoded, if it refers to others or others to it.
    pub(crate) fn recipe(&self, file: usize) -> Option<&Recipe> {
        self.recipes?.of(file)
    }

    /// Whether other parts refer to this file.
    pub(crate) fn is_owner(&self, file: usize) -> bool {
        self.recipe(file).is_some_and(Recipe::is_owner)
    }

    /// Compares a segment of a file with what was seen of it at first.
    fn check(
        &self,
        (number, file): (usize, &File),
        segment: usize,
        key: impl FnOnce() -> u128,
    ) -> Result<(), BuildError> {
        match self.recipes {
            Some(recipes) if !recipes.is_unchanged(number, segment, key) => Err(self.input.changed(file)),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the content of this file will have a digest, which stands for it.
    pub(crate) fn has_digest(&self, file: &File) -> bool {
        self.fingerprint.is_some_and(FingerprintOptions::is_computed) || self.compares(file)
    }

    /// Whether the hash of the part of a large file at byte `offset` is of use.
    fn wants_key(&self, file: &File, offset: u64) -> bool {
        !self.has_digest(file) || self.recipes.is_some() || (offset == 0 && self.compares(file))
    }

    /// What may become of the end of a file.
    fn end(&self) -> End {
        let rules = &self.rules;
        if self.is_internal {
            End::Blocks
        } else if rules.fragments.is_some() {
            End::Fragment
        } else if rules.tail_packing && !rules.is_unaligned() {
            // A slot less than a block, so that a place can be found after an inode of any length. Extent
            // records have no inline data, and bytes that start anywhere leave no rest of a block.
            End::Inline(self.block - 32)
        } else {
            End::Blocks
        }
    }
}

/// What the encoding of a part of a file depends on.
struct Whole<'f> {
    /// Number of the file.
    number: usize,
    file: &'f File,
    /// First byte of the part.
    offset: u64,
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

impl<'a> Worker<'a> {
    /// A worker without any encoder yet.
    pub(crate) fn new(phase: Phase<'a>) -> Self {
        Self { phase, coders: BTreeMap::new(), zeros: BTreeMap::new() }
    }

    /// Reads and encodes a unit.
    pub(crate) fn unit(
        &mut self,
        unit: Unit,
        mut buffers: Buffers,
        claim: Claim<'_>,
    ) -> Result<Done, BuildError> {
        buffers.encoded.clear();
        buffers.zeros = 0;
        let Unit { first, files, part } = unit;
        let is_filled = matches!(part, feed::Part::Filled | feed::Part::FilledSegment(_));
        let one = files.first().copied();
        let missing = || BuildError::Internal("a unit without files".into());
        let (parts, segment) = match part {
            feed::Part::Whole | feed::Part::Filled => {
                (self.batch(first, &files, is_filled, &mut buffers, claim)?, None)
            }
            feed::Part::Segment(segment) | feed::Part::FilledSegment(segment) => {
                let file = one.ok_or_else(missing)?;
                let part = self.segment(first, &file, segment, is_filled, &mut buffers)?;
                (vec![part], Some((segment.offset, segment.last)))
            }
            feed::Part::Hole(hole) => {
                let part = self.hole(&one.ok_or_else(missing)?, hole, &mut buffers);
                (vec![part], Some((hole.offset, hole.last)))
            }
            feed::Part::Stored(stored) => (self.stored(&files, stored, &mut buffers)?, None),
        };
        match self.coders.values_mut().filter_map(Coder::failure).last() {
            None => Ok(Done { first, parts, buffers, segment }),
            Some(failure) => Err(refused(&failure)),
        }
    }

    /// Whole files: all are read, then all are fingerprinted, then those are encoded that equal none before.
    fn batch(
        &mut self,
        first: usize,
        files: &[File],
        is_filled: bool,
        buffers: &mut Buffers,
        claim: Claim<'_>,
    ) -> Result<Vec<Part>, BuildError> {
        let phase = self.phase;
        let Buffers { content, encoded, .. } = buffers;
        let length = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
        // All of it will be filled; what the unit before left there need not be cleared.
        buffer::resize(content, usize::try_from(length).unwrap_or(usize::MAX))?;
        if files.iter().any(|file| phase.rules.encodes(file.choice)) {
            buffer::reserve(encoded, content.len())?;
        }
        let mut contents = Vec::with_capacity(files.len());
        let mut rest = &mut content[..];
        for (number, file) in (first..).zip(files) {
            let bytes;
            (bytes, rest) = rest.split_at_mut(usize::try_from(file.size).unwrap_or(usize::MAX));
            if !is_filled {
                phase.input.fill(file, 0, bytes)?;
            }
            phase.check((number, file), 0, || key::of(bytes))?;
            contents.push(&*bytes);
        }
        let fingerprints = FingerprintOptions::each(phase.fingerprint, &contents);
        let keys: Vec<Option<DedupeKey>> = files
            .iter()
            .zip(&contents)
            .zip(&fingerprints)
            .map(|((file, bytes), fingerprint)| {
                let digest = || match fingerprint {
                    Some(fingerprint) => DedupeKey::new(&fingerprint.digest, file.choice),
                    None => DedupeKey::new(&erofs_algo::chunk_key(bytes), file.choice),
                };
                phase.compares(file).then(digest)
            })
            .collect();
        // Only encoding costs enough that a file equal to an earlier one is worth finding before its turn.
        let is_sought = |number, file: &File| phase.rules.encodes(file.choice) && !phase.is_owner(number);
        let sought: Vec<_> = (first..)
            .zip(files)
            .zip(&keys)
            .map(|((number, file), key)| key.filter(|_| is_sought(number, file)))
            .collect();
        let duplicates = claim(first, &sought);
        let mut parts = Vec::with_capacity(files.len());
        let mut start = 0;
        let known = contents.into_iter().zip(fingerprints).zip(keys).zip(duplicates);
        for ((number, file), (((bytes, fingerprint), dedupe), is_duplicate)) in
            (first..).zip(files).zip(known)
        {
            let range = start..start + bytes.len();
            start = range.end;
            let key = key::of(fingerprint.as_ref().map_or(bytes, |fingerprint| &fingerprint.digest));
            let whole = Whole { number, file, offset: 0 };
            let form = if is_duplicate { Form::Duplicate } else { self.encode(&whole, bytes, encoded)? };
            let mut part = Part { file: *file, range, key, fingerprint, dedupe, form, fragment: None };
            self.name_fragment(&mut part, bytes);
            parts.push(part);
        }
        Ok(parts)
    }

    fn segment(
        &mut self,
        number: usize,
        file: &File,
        segment: Segment,
        is_filled: bool,
        buffers: &mut Buffers,
    ) -> Result<Part, BuildError> {
        let part = |range, key, form| Part {
            file: *file,
            range,
            key,
            fingerprint: None,
            dedupe: None,
            form,
            fragment: None,
        };
        if let Some((form, key)) = self.encoded_hole(file, segment, buffers)? {
            return Ok(part(0..segment.length, key, form));
        }
        let Segment { offset, length, .. } = segment;
        let Buffers { content, encoded, .. } = buffers;
        buffer::resize(content, length)?;
        if self.phase.rules.encodes(file.choice) {
            buffer::reserve(encoded, length)?;
        }
        if !is_filled {
            self.phase.input.fill(file, offset, content)?;
        }
        let key = if self.phase.wants_key(file, offset) { key::of(content) } else { 0 };
        let index = usize::try_from(offset).unwrap_or(0) / self.phase.segment;
        self.phase.check((number, file), index, || key)?;
        let form = self.encode(&Whole { number, file, offset }, content, encoded)?;
        let mut part = part(0..length, key, form);
        self.name_fragment(&mut part, content);
        Ok(part)
    }

    /// A part that takes no space. Its key is that of its first segment.
    fn hole(&self, file: &File, hole: Hole, buffers: &mut Buffers) -> Part {
        buffers.content.clear();
        buffers.zeros = hole.length;
        let first =
            usize::try_from(hole.length).map_or(self.phase.segment, |length| length.min(self.phase.segment));
        let key = if self.phase.wants_key(file, hole.offset) { zeros::key(first) } else { 0 };
        let form = Form::Hole(hole.length);
        Part { file: *file, range: 0..0, key, fingerprint: None, dedupe: None, form, fragment: None }
    }

    /// The form and the key of a whole segment of a file that is encoded, not the last one, that is a hole:
    /// nothing of it is read, and it is encoded once.
    fn encoded_hole(
        &mut self,
        file: &File,
        Segment { offset, length, last }: Segment,
        buffers: &mut Buffers,
    ) -> Result<Option<(Form, u128)>, BuildError> {
        let phase = self.phase;
        if length != phase.segment
            || last
            || !phase.rules.encodes(file.choice)
            || phase.recipes.is_some()
            || phase.input.data_from(file, offset)? - offset < length as u64
        {
            return Ok(None);
        }
        if !self.zeros.contains_key(&file.choice) {
            let mut bytes = Vec::new();
            let encoded = self.coder(file.choice)?.encode(&vec![0; length], End::Blocks, &mut bytes);
            self.zeros.insert(file.choice, Zeros { key: zeros::key(length), encoded, bytes });
        }
        let Some(Zeros { key, encoded, bytes }) = self.zeros.get(&file.choice) else { return Ok(None) };
        buffers.content.clear();
        buffers.zeros = length as u64;
        let start = buffers.encoded.len();
        buffers.encoded.extend_from_slice(bytes);
        let encoded = Encoded { bytes: start..buffers.encoded.len(), ..encoded.clone() };
        let key = if phase.wants_key(file, offset) { *key } else { 0 };
        Ok(Some((Form::Encoded(vec![Span::Own(encoded)]), key)))
    }

    /// Files that are stored elsewhere: they are read for their fingerprints alone.
    fn stored(
        &self,
        files: &[File],
        stored: Vec<Stored>,
        buffers: &mut Buffers,
    ) -> Result<Vec<Part>, BuildError> {
        buffers.content.clear();
        let mut parts = Vec::with_capacity(files.len());
        for (file, stored) in files.iter().zip(stored) {
            let wanted = self.phase.fingerprint.filter(|_| stored.has_fingerprint);
            let fingerprint = match wanted.and_then(FingerprintOptions::hasher) {
                Some(mut hasher) => {
                    self.phase.input.hash(file, hasher.as_mut())?;
                    Some(hasher.finish())
                }
                None => None,
            };
            let key = fingerprint.as_ref().map_or(0, |fingerprint| key::of(&fingerprint.digest));
            let form = Form::Stored(Box::new(stored));
            parts.push(Part {
                file: *file,
                range: 0..0,
                key,
                fingerprint,
                dedupe: None,
                form,
                fragment: None,
            });
        }
        Ok(parts)
    }

    fn name_fragment(&self, part: &mut Part, bytes: &[u8]) {
        if let Form::Encoded(spans) = &part.form
            && let Some(Span::Own(Encoded { rest: Rest::Fragment(length), .. })) = spans.last()
            && self.phase.rules.fragments.is_some_and(|fragments| fragments.dedupe)
        {
            let fragment = &bytes[bytes.len() - *length as usize..];
            part.fragment = Some(erofs_algo::chunk_key(fragment));
        }
    }

    /// Encodes a file, or the segment of one that starts at `offset`, if that pays.
    fn encode(&mut self, whole: &Whole<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Result<Form, BuildError> {
        let &Whole { number, file, offset } = whole;
        let File { size, choice, tail_room, .. } = *file;
        let phase = self.phase;
        let last = offset + bytes.len() as u64 == size;
        let plain = || Form::Plain(phase.plain.encode(&PlainPart { bytes, size, last, tail_room }));
        if !phase.rules.encodes(choice) {
            return Ok(plain());
        }
        if last && !phase.is_internal && phase.rules.fragments.is_some_and(|fragments| fragments.all) {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let rest = Rest::Fragment(length);
            let encoded = Encoded { rest, smaller: true, ..Encoded::default() };
            return Ok(Form::Encoded(vec![Span::Own(encoded)]));
        }
        let end = if last { phase.end() } else { End::Blocks };
        if let Some(recipe) = phase.recipe(number) {
            let end = if recipe.is_owner() { End::Blocks } else { end };
            let pieces = recipe.pieces(offset, offset + bytes.len() as u64);
            return self.pieces(&pieces, whole, end, bytes, out);
        }
        let start = out.len();
        let encoded = self.coder(choice)?.encode(bytes, end, out);
        let is_whole = size == bytes.len() as u64;
        // A file must not change its class for what is equal to it, so with references there is one class for
        // all that are longer than a block.
        let longer = phase.recipes.is_some() && size > phase.block as u64;
        if encoded.smaller || phase.rules.class == CompressClass::Always || !is_whole || longer {
            return Ok(Form::Encoded(vec![Span::Own(encoded)]));
        }
        out.truncate(start);
        Ok(plain())
    }

    /// Encodes those of the pieces that are the file's own.
    fn pieces(
        &mut self,
        pieces: &[Piece],
        whole: &Whole<'_>,
        end: End,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Form, BuildError> {
        let Whole { file, offset, .. } = *whole;
        let (input, size) = (self.phase.input, file.size);
        let (unaligned, block) = (self.phase.rules.is_unaligned(), self.phase.block as u64);
        let shifted = self.phase.recipes.is_some_and(|recipes| recipes.shifted);
        let at = |byte: u64| usize::try_from(byte - offset).unwrap_or(usize::MAX);
        let coder = self.coder(file.choice)?;
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
                    let inner = to != size && !unaligned && shifted;
                    Span::Own(own::encode(coder, &bytes[at(from)..at(to)], end, inner, out))
                }
            });
        }
        Ok(Form::Encoded(spans))
    }

    fn coder(&mut self, choice: Choice) -> Result<&mut Coder, BuildError> {
        use std::collections::btree_map::Entry;
        match self.coders.entry(choice) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(free) => {
                let Phase { codecs, rules, block, .. } = &self.phase;
                Ok(free.insert(codecs.coder(rules, choice, *block)?))
            }
        }
    }
}
