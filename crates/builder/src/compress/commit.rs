//! Committing: units come in order, and each file gets its bytes of the data area, its entry in the packed inode, or
//! the place of an equal file before it. What its inode will need goes to the spool.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use erofs_algo::fingerprint::{Fingerprint, Hasher};
use erofs_format::compression::Algorithm;
use erofs_format::datalayout::chunk::ChunkFormat;

use super::area::ByteArea;
use super::body::{self, Body, Chunks, Content, Fragment, Inline};
use super::dedupe::Reference;
use super::encode::{Encoded, Extent, Rest};
use super::spool::Spool;
use super::work::{Buffers, Done, Form, Likeness, Part, Phase, Span};
use crate::content::holes;
use crate::error::BuildError;
use crate::key;
use crate::layout::compose::{HOLE, block_32};
use crate::layout::plan::Plan;
use crate::options::CompressClass;
use crate::summary::Sums;

/// Bytes of a unit's buffers that go to consecutive bytes of the image.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) at: u64,
    /// Whether they are encoded or content.
    pub(crate) encoded: bool,
    pub(crate) range: Range<usize>,
}

/// Bytes on their way to the image.
#[derive(Debug)]
pub(crate) struct WriteJob {
    /// The buffers of the unit.
    pub(crate) buffers: Arc<Buffers>,
    /// What of them goes where, in ascending order of places.
    pub(crate) runs: Vec<Run>,
    /// The large file to which this belongs.
    pub(crate) large: Option<usize>,
}

impl WriteJob {
    fn push(&mut self, at: u64, encoded: bool, range: Range<usize>) {
        if let Some(last) = self.runs.last_mut()
            && last.encoded == encoded
            && last.range.end == range.start
            && last.at + last.range.len() as u64 == at
        {
            last.range.end = range.end;
        } else if !range.is_empty() {
            self.runs.push(Run { at, encoded, range });
        }
    }
}

/// The next segment of a large file for its fingerprint.
pub(crate) struct HashJob {
    pub(crate) file: usize,
    pub(crate) hasher: Box<dyn Hasher>,
    pub(crate) buffers: Arc<Buffers>,
}

/// A file that passes through segment by segment.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "four states that change on their own")]
struct Large {
    content: Content,
    start: u64,
    hasher: Option<Box<dyn Hasher>>,
    hashing: bool,
    waiting: VecDeque<Arc<Buffers>>,
    writing: usize,
    complete: bool,
    /// An earlier file begins with the same bytes and is as long.
    candidate: bool,
    smaller: bool,
    /// The first blocks of its units, as a power of two of bytes, where it is stored as it is and may have holes.
    units: Option<(u8, Vec<u32>)>,
    stored: u64,
    holes: u64,
    key: u128,
}

/// A content that equal files refer to.
struct Original {
    /// The content without the bytes behind the inode.
    content: Content,
    /// Where those are in the spool.
    tail: Range<u64>,
}

/// Contents by their likeness. The map holds numbers alone: it is asked for every file, and contents are long.
struct Originals {
    numbers: HashMap<Likeness, usize>,
    contents: Vec<Original>,
}

impl Originals {
    /// None yet, with room for the numbers of so many.
    fn new(room: usize) -> Self {
        Self { numbers: HashMap::with_capacity(room), contents: Vec::new() }
    }

    fn get(&self, likeness: &Likeness) -> Option<&Original> {
        self.numbers.get(likeness).and_then(|&number| self.contents.get(number))
    }

    /// Adds a content, unless there is one like it.
    fn add(&mut self, likeness: Likeness, original: Original) {
        if let Entry::Vacant(free) = self.numbers.entry(likeness) {
            free.insert(self.contents.len());
            self.contents.push(original);
        }
    }
}

/// The packed inode's content while it grows.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) bytes: Spool,
    known: HashMap<[u8; 32], u64>,
}

/// Everything that committing decides and remembers.
pub(crate) struct Commit<'a> {
    phase: Phase<'a>,
    plan: &'a Plan<'a>,
    pub(crate) area: ByteArea,
    pub(crate) spool: Spool,
    pub(crate) packed: Option<Packed>,
    pub(crate) bodies: Vec<Option<Body>>,
    originals: Originals,
    /// Where the content is of files to which others refer.
    owners: BTreeMap<usize, Content>,
    heads: BTreeSet<(u64, u128)>,
    large: BTreeMap<usize, Large>,
    barrier: Option<usize>,
    pub(crate) hashes: VecDeque<HashJob>,
    pub(crate) writes: VecDeque<WriteJob>,
    keys: Vec<u128>,
    done: usize,
    pub(crate) sums: Sums,
}

impl<'a> Commit<'a> {
    pub(crate) fn new(
        phase: Phase<'a>,
        plan: &'a Plan<'a>,
        area: ByteArea,
        spool: Spool,
        packed: Option<Packed>,
        sums: Sums,
    ) -> Self {
        Self {
            phase,
            plan,
            area,
            spool,
            packed,
            bodies: vec![None; phase.files.len()],
            originals: Originals::new(phase.twins_max()),
            owners: BTreeMap::new(),
            heads: BTreeSet::new(),
            large: BTreeMap::new(),
            barrier: None,
            hashes: VecDeque::new(),
            writes: VecDeque::new(),
            keys: vec![0; phase.files.len()],
            done: 0,
            sums,
        }
    }

    /// Whether the next unit may be committed.
    pub(crate) fn is_open(&self) -> bool {
        self.barrier.is_none()
    }

    /// Whether every file has its body.
    pub(crate) fn is_complete(&self) -> bool {
        self.done == self.phase.files.len()
    }

    /// Stands for all contents and their places.
    pub(crate) fn key(&self) -> u128 {
        key::joined(&self.keys)
    }

    /// Commits the next unit.
    pub(crate) fn unit(&mut self, done: Done) -> Result<(), BuildError> {
        let buffers = Arc::new(done.buffers);
        let mut job = WriteJob { buffers, runs: Vec::new(), large: None };
        match done.segment {
            None => {
                for part in done.parts {
                    self.small(part, &mut job)?;
                }
                self.writes.push_back(job);
                Ok(())
            }
            Some((offset, last)) => {
                let Some(part) = done.parts.into_iter().next() else {
                    return Err(BuildError::Internal("a segment without content".into()));
                };
                self.segment(part, offset, last, job)
            }
        }
    }

    fn small(&mut self, part: Part, job: &mut WriteJob) -> Result<(), BuildError> {
        let Part { file, range, key, fingerprint, form, fragment } = part;
        self.keys[file] = key;
        let likeness = fingerprint.as_ref().map(|fingerprint| self.phase.likeness(file, fingerprint));
        let (header, tail) = self.header(file)?;
        let sought = likeness.filter(|_| self.phase.may_twin(file));
        if let Some(content) = self.original(sought, tail)? {
            self.sums.deduplicated_bytes += self.phase.files[file].size;
            let value = self.value_of(file, fingerprint)?;
            return self.finish(file, header, &content, value);
        }
        let mut content = Content::default();
        match form {
            Form::Plain | Form::Twin => {
                self.sums.compression.plain_bytes += range.len() as u64;
                if let Some(bits) = self.hole_unit(&job.buffers.content[range.clone()], tail) {
                    let blocks = self.pieces(range, bits, true, job)?;
                    content.chunks = Some(self.chunked(bits, blocks));
                } else {
                    let stored = range.end - tail;
                    content.flat = Some(self.plain(range.start..stored, true, job)?);
                    content.inline = Some(Inline {
                        length: 0,
                        algorithm: None,
                        bytes: job.buffers.content[stored..range.end].to_vec(),
                    })
                    .filter(|inline| !inline.bytes.is_empty());
                    self.sums.stored_bytes += tail as u64;
                }
            }
            Form::Encoded(spans) => {
                self.spans(file, &mut content, spans, job)?;
                self.fragment(&mut content, fragment, &range, &job.buffers.content)?;
            }
        }
        let value = self.value_of(file, fingerprint)?;
        self.finish(file, header, &content, value)?;
        if self.phase.is_owner(file) {
            self.owners.insert(file, content.clone());
        }
        if let Some(likeness) = likeness
            && self.phase.file_dedupe
            && self.phase.files[file].has_twin
        {
            self.remember(likeness, file, content);
        }
        Ok(())
    }

    /// Lets equal files refer to the content of a file that has its body. The bytes behind its inode stay in the spool alone:
    /// all small files of a tree may wait here.
    fn remember(&mut self, likeness: Likeness, file: usize, mut content: Content) {
        let Some(body) = self.bodies[file] else { return };
        if let Some(inline) = &mut content.inline {
            inline.bytes = Vec::new();
        }
        self.originals.add(likeness, Original { content, tail: body.tail_range() });
    }

    /// The content of an equal file before this one, if an inode that has `tail` bytes of a plain file behind it can
    /// refer to it.
    fn original(&self, sought: Option<Likeness>, tail: usize) -> Result<Option<Content>, BuildError> {
        let Some(original) = sought.and_then(|sought| self.originals.get(&sought)) else { return Ok(None) };
        let stored = original.tail.clone();
        if original.content.flat.is_some() && stored.end - stored.start != tail as u64 {
            return Ok(None);
        }
        let mut content = original.content.clone();
        if let Some(inline) = &mut content.inline {
            self.spool.load(stored, &mut inline.bytes).map_err(BuildError::spool)?;
        }
        Ok(Some(content))
    }

    /// Where the xattrs of a file end, counted from its inode, and how many bytes of its end stand behind them if it
    /// is stored as it is.
    fn header(&self, file: usize) -> Result<(u64, usize), BuildError> {
        if self.phase.is_packed {
            return Ok((erofs_format::inode::EXTENDED_SIZE as u64, 0));
        }
        self.plan.behind_header(self.phase.files[file].inode)
    }

    /// Gives bytes of the buffer a place as they are; `begins` tells that they are the first ones of their file.
    fn plain(&mut self, range: Range<usize>, begins: bool, job: &mut WriteJob) -> Result<u64, BuildError> {
        let whole = range.len().next_multiple_of(self.phase.block) as u64;
        let at = if begins { self.area.take_plain(whole)? } else { self.area.take(whole)? };
        self.sums.stored_bytes += whole;
        job.push(at, false, range);
        Ok(at)
    }

    /// The unit of a small file's holes, as a power of two of bytes, if holes make the image smaller. `tail` bytes of it could
    /// follow the inode otherwise.
    fn hole_unit(&self, content: &[u8], tail: usize) -> Option<u8> {
        let bits = holes::unit_bits(content.len() as u64, self.phase.hole_bits?);
        holes::chunks_pay(content, 1 << bits, self.plan.block_bits, tail as u64).then_some(bits)
    }

    /// Gives units of the buffer places as they are, but none to zeros: the first block of each. `begins` tells that they
    /// are the first ones of their file.
    fn pieces(
        &mut self,
        range: Range<usize>,
        bits: u8,
        mut begins: bool,
        job: &mut WriteJob,
    ) -> Result<Vec<u32>, BuildError> {
        let mut blocks = Vec::with_capacity(range.len().div_ceil(1 << bits));
        for start in range.clone().step_by(1 << bits) {
            let unit = start..range.end.min(start + (1 << bits));
            if holes::is_zero(&job.buffers.content[unit.clone()]) {
                self.sums.hole_bytes += unit.len() as u64;
                blocks.push(HOLE);
                continue;
            }
            let at = self.plain(unit, std::mem::take(&mut begins), job)?;
            blocks.push(block_32(self.plan.block_bits.blocks_floor(at))?);
        }
        Ok(blocks)
    }

    fn chunked(&mut self, bits: u8, blocks: Vec<u32>) -> Chunks {
        self.sums.chunked = true;
        let blkbits = bits - self.plan.block_bits.bits();
        let format = ChunkFormat { blkbits, indexes: self.plan.forces_chunk_indexes(), wide: false };
        Chunks { format, blocks }
    }

    /// Gives the parts of a file their places.
    fn spans(
        &mut self,
        file: usize,
        content: &mut Content,
        spans: Vec<Span>,
        job: &mut WriteJob,
    ) -> Result<(), BuildError> {
        for span in spans {
            match span {
                Span::Own(encoded) => self.place(content, encoded, job)?,
                Span::Equal(reference, end) => self.refer(file, content, reference, end, job)?,
            }
        }
        Ok(())
    }

    /// Lets a file refer to what is placed already; `end` says where the last bytes of the reference are in the buffer.
    fn refer(
        &mut self,
        file: usize,
        content: &mut Content,
        reference: Reference,
        end: Range<usize>,
        job: &mut WriteJob,
    ) -> Result<(), BuildError> {
        let Reference { owner, from, length, .. } = reference;
        // All segments of a large file are placed before it ends, which waits for its fingerprint.
        let large = || self.large.get(&owner).map(|large| &large.content);
        let owned = if owner == file { Some(&*content) } else { self.owners.get(&owner).or_else(large) };
        let mut found = owned.and_then(|owned| owned.refer(from, length)).ok_or_else(|| {
            BuildError::Internal(format!("no extent starts at byte {from} of file {owner}"))
        })?;
        let shape = (reference.end(), self.phase.files[file].size, self.phase.block as u64);
        let rest = if self.phase.is_tight() { 0 } else { body::drop_short(&mut found, shape) };
        content.extend(found);
        self.sums.deduplicated_bytes += length - rest;
        self.sums.compression.references = true;
        let start = end.end - usize::try_from(rest).unwrap_or(0);
        self.blocks(content, start..end.end, job)
    }

    /// Adds bytes of the buffer of what is encoded as blocks that are stored plain.
    fn blocks(
        &mut self,
        content: &mut Content,
        range: Range<usize>,
        job: &mut WriteJob,
    ) -> Result<(), BuildError> {
        let block = self.phase.block;
        let stored = u32::try_from(block).unwrap_or(u32::MAX);
        for start in range.clone().step_by(block) {
            let end = range.end.min(start + block);
            let at = self.area.take_blocks(u64::from(stored))?;
            job.push(at, true, start..end);
            content.push(
                Extent { length: u32::try_from(end - start).unwrap_or(0), stored, algorithm: None },
                at,
            );
            self.sums.stored_bytes += u64::from(stored);
            self.sums.compression.plain_bytes += (end - start) as u64;
        }
        Ok(())
    }

    /// Gives encoded bytes a place.
    fn place(
        &mut self,
        content: &mut Content,
        encoded: Encoded,
        job: &mut WriteJob,
    ) -> Result<(), BuildError> {
        let Encoded { extents, bytes, granule, rest, .. } = encoded;
        let length = bytes.len() as u64;
        let mut at = if self.phase.is_tight() {
            self.area.take_from(u64::from(granule), length)?
        } else {
            self.area.take_blocks(length)?
        };
        job.push(at, true, bytes);
        self.sums.stored_bytes += length;
        self.count(&extents);
        for extent in extents {
            content.push(extent, at);
            at += u64::from(extent.stored);
        }
        match rest {
            Rest::Nothing => {}
            Rest::Inline { length, algorithm, bytes } => {
                self.sums.stored_bytes += bytes.len() as u64;
                self.sums.compression.inline_pclusters = true;
                let stored = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                self.count(&[Extent { length, stored, algorithm }]);
                content.inline = Some(Inline { length, algorithm, bytes });
            }
            Rest::Fragment(length) => content.fragment = Some(Fragment { length, at: 0 }),
        }
        Ok(())
    }

    fn count(&mut self, extents: &[Extent]) {
        for extent in extents {
            self.sums.compression.big_pclusters |= extent.stored as usize > self.phase.block;
            if let Some(algorithm) = extent.algorithm {
                let sums = self.sums.compression.algorithms.entry(algorithm).or_default();
                sums.content_bytes += u64::from(extent.length);
                sums.stored_bytes += u64::from(extent.stored);
            } else {
                self.sums.compression.plain_bytes += u64::from(extent.length);
                self.sums.compression.interlaced |= self.phase.is_interlaced();
            }
        }
    }

    /// Adds the end of a file, which is the end of `range` of the buffer, to the packed inode.
    fn fragment(
        &mut self,
        content: &mut Content,
        key: Option<[u8; 32]>,
        range: &Range<usize>,
        buffer: &[u8],
    ) -> Result<(), BuildError> {
        let (Some(fragment), Some(packed)) = (&mut content.fragment, &mut self.packed) else { return Ok(()) };
        let length = u64::from(fragment.length);
        if let Some(known) = key.as_ref().and_then(|key| packed.known.get(key)) {
            fragment.at = *known;
            self.sums.deduplicated_bytes += length;
            return Ok(());
        }
        let bytes = &buffer[range.end - fragment.length as usize..range.end];
        fragment.at = packed.bytes.push(bytes).map_err(BuildError::spool)?;
        self.sums.compression.fragment_bytes += length;
        if let Some(key) = key {
            packed.known.insert(key, fragment.at);
        }
        Ok(())
    }

    fn value_of(&self, file: usize, computed: Option<Fingerprint>) -> Result<Option<Vec<u8>>, BuildError> {
        match computed {
            Some(fingerprint) => Ok(Some(fingerprint.value)),
            None if self.phase.fingerprint.is_none() => Ok(None),
            None => Ok(self.plan.source_fingerprint(self.phase.files[file].inode)?.map(<[u8]>::to_vec)),
        }
    }

    /// Encodes what the inode of a file needs and remembers it.
    fn finish(
        &mut self,
        file: usize,
        header: u64,
        content: &Content,
        value: Option<Vec<u8>>,
    ) -> Result<(), BuildError> {
        let form = body::Form {
            header,
            size: self.phase.files[file].size,
            block_bits: self.plan.block_bits,
            index: self.phase.compression.index,
            algorithm: self.algorithm(file),
            interlaced: self.phase.is_interlaced(),
        };
        let value = value.unwrap_or_default();
        let made = body::encode(content, &form).map_err(|cause| self.at_path(file, cause))?;
        self.sums.compression.two_heads |= made.two_heads;
        let at = self.spool.push(&value).map_err(BuildError::spool)?;
        self.spool.push(&made.table).map_err(BuildError::spool)?;
        self.spool.push(made.tail).map_err(BuildError::spool)?;
        let narrow = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let body = Body {
            layout: made.layout,
            i_u: made.i_u,
            at,
            fingerprint: narrow(&value),
            table: narrow(&made.table),
            tail: narrow(made.tail),
        };
        let stands_for = [&self.keys[file].to_le_bytes()[..], &value, &made.table, &made.i_u.to_le_bytes()];
        self.keys[file] = key::of(&stands_for.concat());
        self.sums.fingerprints += u64::from(!value.is_empty());
        self.end(file, body);
        Ok(())
    }

    fn algorithm(&self, file: usize) -> Algorithm {
        let index = self.phase.choice(file).algorithm.unwrap_or(0);
        let chosen = self.phase.compression.algorithms.get(index);
        chosen.and_then(|chosen| Algorithm::from_number(chosen.algorithm.number)).unwrap_or(Algorithm::Lz4)
    }

    fn at_path(&self, file: usize, cause: erofs_format::FormatError) -> BuildError {
        BuildError::at(&self.plan.tree.path_of(self.phase.files[file].inode), cause)
    }

    fn end(&mut self, file: usize, body: Body) {
        self.bodies[file] = Some(body);
        self.done += 1;
    }

    fn segment(&mut self, part: Part, offset: u64, last: bool, mut job: WriteJob) -> Result<(), BuildError> {
        let Part { file, range, key, form, fragment, .. } = part;
        let mut large = if offset == 0 {
            self.begin_large(file, key)
        } else {
            self.large.remove(&file).unwrap_or_default()
        };
        let (before, holes_before) = (self.sums.stored_bytes, self.sums.hole_bytes);
        match form {
            Form::Encoded(spans) => {
                large.smaller |= spans.iter().any(|span| match span {
                    Span::Own(encoded) => encoded.smaller,
                    Span::Equal(..) => true,
                });
                self.spans(file, &mut large.content, spans, &mut job)?;
                self.fragment(&mut large.content, fragment, &range, &job.buffers.content)?;
            }
            Form::Plain | Form::Twin => {
                self.sums.compression.plain_bytes += range.len() as u64;
                let known = &self.phase.files[file];
                if let Some(least) = self.phase.hole_bits {
                    let bits = holes::unit_bits(known.size, least);
                    let blocks = self.pieces(range, bits, large.stored == 0, &mut job)?;
                    large.units.get_or_insert((bits, Vec::new())).1.extend(blocks);
                } else {
                    let at = self.plain(range, offset == 0, &mut job)?;
                    large.content.flat.get_or_insert(at);
                }
            }
        }
        large.stored += self.sums.stored_bytes - before;
        large.holes += self.sums.hole_bytes - holes_before;
        large.key = key::joined(&[large.key, key]);
        if large.hasher.is_some() || large.hashing {
            large.waiting.push_back(Arc::clone(&job.buffers));
        }
        large.writing += 1;
        large.complete = last;
        if last && large.candidate {
            self.barrier = Some(file);
        }
        job.large = Some(file);
        self.large.insert(file, large);
        self.writes.push_back(job);
        self.advance(file)
    }

    fn begin_large(&mut self, file: usize, key: u128) -> Large {
        let known = &self.phase.files[file];
        let hasher = self.phase.hasher();
        // References find what is equal in large files, and before it is encoded.
        let may_twin = hasher.is_some() && self.phase.recipes.is_none() && self.phase.may_twin(file);
        let candidate = may_twin && !self.heads.insert((known.size, key));
        Large { start: self.area.next(), hasher, candidate, ..Large::default() }
    }

    /// Takes the next step of a large file: hash its next segment, or, if everything is known, end it.
    fn advance(&mut self, file: usize) -> Result<(), BuildError> {
        let Some(large) = self.large.get_mut(&file) else { return Ok(()) };
        if let Some(hasher) = large.hasher.take() {
            if let Some(buffers) = large.waiting.pop_front() {
                large.hashing = true;
                self.hashes.push_back(HashJob { file, hasher, buffers });
                return Ok(());
            }
            large.hasher = Some(hasher);
        }
        let hashed = large.waiting.is_empty() && !large.hashing;
        // Bytes can be given back only when nothing is on its way to them.
        let settled = large.writing == 0 || !large.candidate;
        if large.complete && hashed && settled { self.end_large(file) } else { Ok(()) }
    }

    fn end_large(&mut self, file: usize) -> Result<(), BuildError> {
        let size = self.phase.files[file].size;
        let candidate = self.large.get(&file).is_some_and(|large| large.candidate);
        if candidate && self.large.range(..file).any(|(&other, _)| self.phase.files[other].size == size) {
            // The file that this one may be equal to is not done; its end comes back here.
            return Ok(());
        }
        let Some(mut large) = self.large.remove(&file) else { return Ok(()) };
        let fingerprint = large.hasher.take().map(<dyn Hasher>::finish);
        self.keys[file] = match &fingerprint {
            Some(fingerprint) => key::of(&fingerprint.digest),
            None => large.key,
        };
        let may_twin = self.phase.file_dedupe && self.phase.files[file].has_twin;
        let compared = fingerprint.as_ref().filter(|_| may_twin);
        let likeness = compared.map(|fingerprint| self.phase.likeness(file, fingerprint));
        let (header, _) = self.header(file)?;
        let original = self.original(likeness.filter(|_| candidate), 0)?;
        let value = self.value_of(file, fingerprint)?;
        if let Some(content) = original {
            self.area.rewind(large.start);
            self.sums.stored_bytes -= large.stored;
            self.sums.hole_bytes -= large.holes;
            self.sums.deduplicated_bytes += size;
            self.finish(file, header, &content, value)?;
        } else {
            if let Some((bits, blocks)) = large.units.take() {
                if blocks.contains(&HOLE) {
                    large.content.chunks = Some(self.chunked(bits, blocks));
                } else {
                    let first = blocks.first().map_or(0, |&block| u64::from(block));
                    large.content.flat = Some(first * self.plan.block_bits.size());
                }
            }
            if !large.smaller
                && !self.phase.is_tight()
                && self.phase.recipes.is_none()
                && self.phase.compression.class != CompressClass::Always
            {
                large.content.flatten();
            }
            self.finish(file, header, &large.content, value)?;
            if self.phase.is_owner(file) {
                self.owners.insert(file, large.content.clone());
            }
            if let Some(likeness) = likeness {
                self.remember(likeness, file, large.content);
            }
        }
        if self.barrier == Some(file) {
            self.barrier = None;
        }
        match self.barrier {
            Some(waiting) => self.advance(waiting),
            None => Ok(()),
        }
    }

    /// A segment was hashed.
    pub(crate) fn hashed(&mut self, file: usize, hasher: Box<dyn Hasher>) -> Result<(), BuildError> {
        if let Some(large) = self.large.get_mut(&file) {
            large.hasher = Some(hasher);
            large.hashing = false;
        }
        self.advance(file)
    }

    /// The bytes of a segment were written.
    pub(crate) fn written(&mut self, file: usize) -> Result<(), BuildError> {
        if let Some(large) = self.large.get_mut(&file) {
            large.writing -= 1;
        }
        self.advance(file)
    }
}

impl Packed {
    /// An empty one.
    pub(crate) fn new(bytes: Spool) -> Self {
        Self { bytes, known: HashMap::new() }
    }
}
