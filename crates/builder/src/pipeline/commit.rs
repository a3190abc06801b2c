//! Committing: the one place where order matters. Units come in order, and each file gets its bytes of the
//! data area, its entry in the packed inode, or the content of an equal file before it. What is to be written
//! becomes jobs.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;

use erofs_algo::fingerprint::Fingerprint;
use erofs_format::extent::Coding;
use erofs_tree::ContentRef;

use super::feed::File;
use super::job::{Copy, HashJob, NewRecord, Run, TailBytes, WriteJob, push};
use super::large::Large;
use super::work::{DedupeKey, Done, Form, Part, Phase, Span};
use crate::coder::pcluster::{self, Encoded, Rest};
use crate::coder::plain::Plain;
use crate::content::{Address, Class, Content, Extent, Kind, Record, Tail};
use crate::dedupe::recipe::{Reference, drop_short};
use crate::error::BuildError;
use crate::key;
use crate::options::{FingerprintOptions, IndexForm};
use crate::store::{Area, Spool};
use crate::stored::{Copied, Stored};
use crate::summary::Sums;

/// What is known of a file once its turn has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) content: ContentRef,
    pub(crate) record: Option<Record>,
}

/// A content that equal files can refer to.
#[derive(Debug, Clone, Copy)]
struct Original {
    /// Number of the file.
    file: usize,
    /// Bytes of a plain tail.
    tail: usize,
}

/// The packed inode's content while it grows.
#[derive(Debug)]
struct Packed<'a> {
    bytes: &'a Spool,
    known: HashMap<[u8; 32], u64>,
}

/// Everything that committing decides and remembers.
pub(crate) struct Commit<'a> {
    pub(super) phase: Phase<'a>,
    pub(super) area: Area,
    pub(super) records: &'a Spool,
    packed: Option<Packed<'a>>,
    pub(super) files: Vec<Known>,
    /// Hash of each file's content, fingerprint and places, for the image's UUID.
    pub(super) keys: Vec<u128>,
    originals: HashMap<DedupeKey, Original>,
    /// Where equal chunks are.
    chunks: HashMap<[u8; 32], u64>,
    /// Where the content is of files to which others refer.
    owners: BTreeMap<usize, Content<TailBytes>>,
    /// Size and key of the first segment of large files that may have duplicates.
    pub(super) first_segments: BTreeSet<(u64, u128)>,
    pub(super) large: BTreeMap<usize, Large>,
    /// A file whose digest has to be known before the next unit can be committed.
    pub(super) barrier: Option<usize>,
    pub(crate) hashes: VecDeque<HashJob>,
    pub(crate) writes: VecDeque<WriteJob>,
    pub(crate) new_records: VecDeque<NewRecord>,
    done: usize,
    pub(super) sums: Sums,
}

/// What became of the contents.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) files: Vec<Known>,
    /// First byte behind the data.
    pub(crate) end: u64,
    /// Bytes that are to be zeros and were not written: first one and length.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// Hash of all contents and their places.
    pub(crate) key: u128,
    pub(crate) sums: Sums,
}

impl<'a> Commit<'a> {
    pub(crate) fn new(
        phase: Phase<'a>,
        area: Area,
        records: &'a Spool,
        packed: Option<&'a Spool>,
        sums: Sums,
    ) -> Self {
        let packed = packed.map(|bytes| Packed { bytes, known: HashMap::new() });
        Self {
            phase,
            area,
            records,
            packed,
            files: Vec::new(),
            keys: Vec::new(),
            originals: HashMap::new(),
            chunks: HashMap::new(),
            owners: BTreeMap::new(),
            first_segments: BTreeSet::new(),
            large: BTreeMap::new(),
            barrier: None,
            hashes: VecDeque::new(),
            writes: VecDeque::new(),
            new_records: VecDeque::new(),
            done: 0,
            sums,
        }
    }

    /// Whether the next unit may be committed.
    pub(crate) fn is_open(&self) -> bool {
        self.barrier.is_none()
    }

    /// Whether every file whose turn has come has its record.
    pub(crate) fn is_complete(&self) -> bool {
        self.done == self.files.len()
    }

    /// The result, once everything is complete.
    pub(crate) fn finish(self) -> Committed {
        Committed {
            files: self.files,
            end: self.area.next(),
            gaps: self.area.into_gaps(),
            key: key::joined(&self.keys),
            sums: self.sums,
        }
    }

    /// Commits the next unit.
    pub(crate) fn unit(&mut self, done: Done) -> Result<(), BuildError> {
        let Done { first, parts, buffers, segment } = done;
        for part in parts.iter().skip(self.files.len().saturating_sub(first)) {
            self.files.push(Known { content: part.file.content, record: None });
            self.keys.push(0);
        }
        let mut job = WriteJob::new(buffers);
        match segment {
            None => {
                for (number, part) in (first..).zip(parts) {
                    self.whole(number, part, &mut job)?;
                }
                self.writes.push_back(job);
                Ok(())
            }
            Some((offset, last)) => match parts.into_iter().next() {
                Some(part) => self.segment(first, part, (offset, last), job),
                None => Err(BuildError::Internal("a segment without content".into())),
            },
        }
    }

    /// Commits a whole file.
    fn whole(&mut self, number: usize, part: Part, job: &mut WriteJob) -> Result<(), BuildError> {
        let Part { file, range, key, fingerprint, dedupe, form, fragment } = part;
        self.keys[number] = key;
        if let Some(original) =
            dedupe.filter(|_| !self.phase.is_owner(number)).and_then(|key| self.original(key, &file))
        {
            return self.duplicate(number, original, file.size);
        }
        // The original has a tail for which the inode of this file has no room. Whether a worker saw the original
        // before it encoded this file depends on the threads, so what it made of this file does not count.
        let is_apart =
            dedupe.is_some_and(|key| !self.phase.is_owner(number) && self.originals.contains_key(&key));
        let content = match if is_apart { Form::Duplicate } else { form } {
            Form::Plain(plain) => self.plain(&range, &plain, job)?,
            Form::Duplicate => self.plain(&range, &Plain::flat(range.len()), job)?,
            Form::Encoded(spans) => {
                let mut content = self.compressed(&file);
                self.spans(number, &file, &mut content, spans, job)?;
                self.fragment(&mut content, fragment, &range, job);
                content
            }
            Form::Stored(stored) => self.stored(&file, *stored, job)?,
            Form::Hole(_) => return Err(BuildError::Internal("a whole file that is a hole".into())),
        };
        if self.phase.is_owner(number) {
            self.keep_owner(number, &content);
        }
        if let Some(key) = dedupe {
            self.remember(key, number, &content);
        }
        let record = self.record(number, content, fingerprint)?;
        job.records.push(record);
        Ok(())
    }

    /// A content of the class of compressed files.
    pub(super) fn compressed(&self, file: &File) -> Content<TailBytes> {
        Content::new(Class::Compressed {
            index: self.phase.rules.index,
            lcluster_bits: self.phase.plain.block_bits.bits(),
            algorithm: self.phase.codecs.algorithm(file.choice),
        })
    }

    /// Gives a whole file that is stored as it is its places.
    fn plain(
        &mut self,
        range: &Range<usize>,
        plain: &Plain,
        job: &mut WriteJob,
    ) -> Result<Content<TailBytes>, BuildError> {
        let mut content = Content::new(Class::Plain { chunk_bits: self.phase.plain.chunk_bits });
        self.pieces(&mut content, range.start, plain, job)?;
        if plain.tail != 0 {
            content.tail = Tail::Plain(TailBytes::Content(range.end - plain.tail..range.end));
            self.sums.stored_bytes += plain.tail as u64;
            self.sums.compression.plain_bytes += plain.tail as u64;
        }
        Ok(content)
    }

    /// Gives pieces of the buffer, counted from byte `base` of it, places as they are: none to zeros, that of
    /// an equal chunk where keys tell.
    pub(super) fn pieces(
        &mut self,
        content: &mut Content<TailBytes>,
        base: usize,
        plain: &Plain,
        job: &mut WriteJob,
    ) -> Result<(), BuildError> {
        for piece in &plain.pieces {
            let range = base + piece.range.start..base + piece.range.end;
            let length = range.len() as u64;
            let stored = length.next_multiple_of(self.phase.block as u64);
            let mut extent =
                Extent { start: 0, length, stored, at: None, coding: Coding::Shifted, partial: false };
            if piece.is_hole {
                extent.stored = 0;
                self.sums.hole_bytes += length;
            } else if let Some(at) = piece.key.and_then(|key| self.chunks.get(&key)) {
                extent.at = Some(Address::own(*at));
                self.sums.deduplicated_bytes += length;
            } else {
                let begins = content.extents.iter().all(|extent| extent.at.is_none());
                let at = if begins { self.area.take_plain(stored)? } else { self.area.take(stored)? };
                extent.at = Some(Address::own(at));
                self.sums.stored_bytes += stored;
                job.push(at, false, range);
                self.chunks.extend(piece.key.map(|key| (key, at)));
            }
            self.sums.compression.plain_bytes += if piece.is_hole { 0 } else { length };
            content.push(extent);
        }
        Ok(())
    }

    /// The file before this one that has the same content, if the inode of this file has room for its tail.
    pub(super) fn original(&self, key: DedupeKey, file: &File) -> Option<usize> {
        let original = self.originals.get(&key)?;
        (original.tail <= file.tail_room as usize).then_some(original.file)
    }

    /// Keeps the places of a file to which others refer.
    pub(super) fn keep_owner(&mut self, number: usize, content: &Content<TailBytes>) {
        self.owners.insert(number, content.clone());
    }

    /// Lets equal files refer to this one. One without a tail after its inode serves all of them.
    pub(super) fn remember(&mut self, key: DedupeKey, file: usize, content: &Content<TailBytes>) {
        let tail = if let Tail::Plain(bytes) = &content.tail { bytes.len() } else { 0 };
        if self.originals.get(&key).is_none_or(|known| known.tail > tail) {
            self.originals.insert(key, Original { file, tail });
        }
    }

    /// Gives a file the content of another one.
    pub(super) fn duplicate(&mut self, number: usize, original: usize, size: u64) -> Result<(), BuildError> {
        let Some(record) = self.files[original].record else {
            return Err(BuildError::Internal("an equal file without a record".into()));
        };
        // A tail is stored once more, after the inode of this file.
        let again = if record.kind == Kind::Flat { u64::from(record.tail()) } else { 0 };
        self.sums.deduplicated_bytes += size - again;
        self.sums.stored_bytes += again;
        self.keys[number] = self.keys[original];
        self.files[number].record = Some(record);
        self.done += 1;
        Ok(())
    }

    /// Gives the parts of a file their places.
    pub(super) fn spans(
        &mut self,
        number: usize,
        file: &File,
        content: &mut Content<TailBytes>,
        spans: Vec<Span>,
        job: &mut WriteJob,
    ) -> Result<(), BuildError> {
        for span in spans {
            match span {
                Span::Own(encoded) => self.place(content, encoded, job)?,
                Span::Equal(reference, end) => self.refer((number, file), content, reference, end, job)?,
            }
        }
        Ok(())
    }

    /// Lets a file refer to what is placed already; `end` says where the last bytes of the reference are in
    /// the buffer.
    fn refer(
        &mut self,
        (number, file): (usize, &File),
        content: &mut Content<TailBytes>,
        reference: Reference,
        end: Range<usize>,
        job: &mut WriteJob,
    ) -> Result<(), BuildError> {
        let Reference { owner, from, length, .. } = reference;
        // All segments of a large file are placed before it ends, which waits for its fingerprint.
        let large = || self.large.get(&owner).map(|large| &large.content);
        let owned = if owner == number { Some(&*content) } else { self.owners.get(&owner).or_else(large) };
        let mut found = owned.and_then(|owned| owned.refer(from, length)).ok_or_else(|| {
            BuildError::Internal(format!("no extent starts at byte {from} of file {owner}"))
        })?;
        let shape = (reference.end(), file.size, self.phase.block as u64);
        let rest = if self.phase.rules.is_unaligned() { 0 } else { drop_short(&mut found, shape) };
        for extent in found {
            content.push(extent);
        }
        self.sums.deduplicated_bytes += length - rest;
        self.sums.compression.references = true;
        let start = end.end - usize::try_from(rest).unwrap_or(0);
        self.blocks(content, start..end.end, job)
    }

    /// Adds bytes of the buffer of what is encoded as blocks that are stored plain.
    fn blocks(
        &mut self,
        content: &mut Content<TailBytes>,
        range: Range<usize>,
        job: &mut WriteJob,
    ) -> Result<(), BuildError> {
        let block = self.phase.block;
        let stored = block as u64;
        for start in range.clone().step_by(block) {
            let end = range.end.min(start + block);
            let at = self.area.take_blocks(stored)?;
            job.push(at, true, start..end);
            let length = (end - start) as u64;
            let at = Some(Address::own(at));
            content.push(Extent { start: 0, length, stored, at, coding: Coding::Shifted, partial: false });
            self.sums.stored_bytes += stored;
            self.sums.compression.plain_bytes += length;
        }
        Ok(())
    }

    /// Gives encoded bytes a place.
    fn place(
        &mut self,
        content: &mut Content<TailBytes>,
        encoded: Encoded,
        job: &mut WriteJob,
    ) -> Result<(), BuildError> {
        let Encoded { extents, bytes, granule, rest, .. } = encoded;
        let length = bytes.len() as u64;
        let mut at = if self.phase.rules.is_unaligned() {
            self.area.take_from(u64::from(granule), length)?
        } else {
            self.area.take_blocks(length)?
        };
        job.push(at, true, bytes);
        self.sums.stored_bytes += length;
        self.count(&extents);
        let plain = if self.phase.rules.is_interlaced() { Coding::Interlaced } else { Coding::Shifted };
        for extent in extents {
            let (length, stored) = (u64::from(extent.length), u64::from(extent.stored));
            let coding = extent.algorithm.map_or(plain, Coding::Compressed);
            let address = Some(Address::own(at));
            content.push(Extent { start: 0, length, stored, at: address, coding, partial: false });
            at += stored;
        }
        match rest {
            Rest::Nothing => {}
            Rest::Inline { length, algorithm, bytes } => {
                self.sums.stored_bytes += bytes.len() as u64;
                self.sums.compression.inline_pclusters = true;
                let stored = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                self.count(&[pcluster::Extent { length, stored, algorithm }]);
                let coding = algorithm.map_or(Coding::Shifted, Coding::Compressed);
                content.tail = Tail::Pcluster { length, coding, bytes: TailBytes::Bytes(bytes) };
            }
            Rest::Fragment(length) => content.tail = Tail::Fragment { length, offset: 0 },
        }
        Ok(())
    }

    fn count(&mut self, extents: &[pcluster::Extent]) {
        for extent in extents {
            self.sums.compression.big_pclusters |= extent.stored as usize > self.phase.block;
            if let Some(algorithm) = extent.algorithm {
                let sums = self.sums.compression.algorithms.entry(algorithm).or_default();
                sums.content_bytes += u64::from(extent.length);
                sums.stored_bytes += u64::from(extent.stored);
            } else {
                self.sums.compression.plain_bytes += u64::from(extent.length);
                self.sums.compression.interlaced |= self.phase.rules.is_interlaced();
            }
        }
    }

    /// Adds the end of a file, which is the end of `range` of the buffer, to the packed inode.
    pub(super) fn fragment(
        &mut self,
        content: &mut Content<TailBytes>,
        key: Option<[u8; 32]>,
        range: &Range<usize>,
        job: &mut WriteJob,
    ) {
        let (Tail::Fragment { length, offset }, Some(packed)) = (&mut content.tail, &mut self.packed) else {
            return;
        };
        let bytes = u64::from(*length);
        if let Some(known) = key.as_ref().and_then(|key| packed.known.get(key)) {
            *offset = *known;
            self.sums.deduplicated_bytes += bytes;
            return;
        }
        *offset = packed.bytes.reserve(bytes);
        let range = range.end - *length as usize..range.end;
        push(&mut job.fragments, Run { at: *offset, encoded: false, range });
        self.sums.compression.fragment_bytes += bytes;
        packed.known.extend(key.map(|key| (key, *offset)));
    }

    /// Gives back what was added to the packed inode from byte `from` on. Nothing else may have been added since,
    /// and nothing may be on its way there.
    pub(super) fn unpack(&mut self, from: u64) {
        if let Some(packed) = &mut self.packed {
            packed.bytes.rewind(from);
            packed.known.retain(|_, offset| *offset < from);
        }
    }

    /// How many bytes the packed inode has.
    pub(super) fn packed_len(&self) -> u64 {
        self.packed.as_ref().map_or(0, |packed| packed.bytes.len())
    }

    /// Gives what is to be copied of a file that is stored elsewhere its places.
    fn stored(
        &mut self,
        file: &File,
        stored: Stored,
        job: &mut WriteJob,
    ) -> Result<Content<TailBytes>, BuildError> {
        let Stored { content, copies, .. } = stored;
        let Content { class, mut extents, tail } = content;
        for (index, copied) in copies {
            let at = self.take_apart(&extents, index)?;
            extents[index].at = Some(Address::own(at));
            self.sums.stored_bytes += extents[index].stored;
            match copied {
                Copied::Content(range) => job.copies.push(Copy { at, file: *file, range }),
                Copied::Pcluster(bytes) => job.blocks.push((at, bytes)),
            }
        }
        let block = self.phase.block as u64;
        let is_compressed = matches!(class, Class::Compressed { .. });
        self.sums.compression.big_pclusters |=
            is_compressed && extents.iter().any(|extent| extent.stored > block);
        self.sums.compression.inline_pclusters |= matches!(tail, Tail::Pcluster { .. });
        let holes = extents.iter().filter(|extent| extent.at.is_none());
        self.sums.hole_bytes += holes.map(|extent| extent.length).sum::<u64>();
        let tail = match tail {
            Tail::None => Tail::None,
            Tail::Plain(bytes) => Tail::Plain(TailBytes::Bytes(bytes)),
            Tail::Pcluster { length, coding, bytes } => {
                Tail::Pcluster { length, coding, bytes: TailBytes::Bytes(bytes) }
            }
            Tail::Fragment { length, offset } => Tail::Fragment { length, offset },
        };
        let content = Content { class, extents, tail };
        self.sums.stored_bytes += content.tail_bytes().map_or(0, TailBytes::len) as u64;
        Ok(content)
    }

    /// A place for the extent with this index, which is to be copied from another device.
    ///
    /// Linux (`iomap_bio_read_folio_range`) lengthens a request by what follows its last sector and does not
    /// ask whether that is on the same device. So no copy may start at the address, in the image, at which
    /// the extent before it ends on the other device, or end at that at which the extent after it starts; a
    /// block is left out there. Holes are not read, so they do not end a request.
    fn take_apart(&mut self, extents: &[Extent], index: usize) -> Result<u64, BuildError> {
        let elsewhere =
            |extent: &Extent| extent.at.filter(|at| at.device != 0).map(|at| (at.byte, extent.stored));
        let is_stored = |extent: &&Extent| extent.stored != 0;
        let before = extents[..index].iter().rev().find(is_stored).and_then(elsewhere);
        let after = extents[index + 1..].iter().find(is_stored).and_then(elsewhere);
        let length = extents[index].stored;
        loop {
            let at = self.area.take_blocks(0)?;
            let goes_on = before.is_some_and(|(byte, stored)| byte + stored == at)
                || after.is_some_and(|(byte, _)| at + length == byte);
            if !goes_on {
                return Ok(self.area.take_blocks(length)?);
            }
            self.area.leave_block();
        }
    }

    /// The record of a file that has its places.
    pub(super) fn record(
        &mut self,
        number: usize,
        content: Content<TailBytes>,
        fingerprint: Option<Fingerprint>,
    ) -> Result<NewRecord, BuildError> {
        let own = self.phase.fingerprint.is_some_and(FingerprintOptions::is_computed);
        let fingerprint = fingerprint.filter(|_| own).map_or_else(Vec::new, |fingerprint| fingerprint.value);
        let tail = content.tail_bytes().map_or(0, TailBytes::len);
        let record = Record::new(&content, fingerprint.len(), tail)?;
        let record = record.placed(self.records.reserve(record.len()));
        let parts = [&self.keys[number].to_le_bytes()[..], &fingerprint, &content.places()];
        self.keys[number] = key::of(&parts.concat());
        let sums = &mut self.sums;
        sums.chunked |= matches!(record.kind, Kind::Chunked { .. });
        // Extent records name the algorithm of each extent.
        let is_indexed =
            matches!(content.class, Class::Compressed { index, .. } if index != IndexForm::Extents);
        sums.compression.two_heads |= is_indexed && content.has_two_algorithms();
        self.files[number].record = Some(record);
        self.done += 1;
        Ok(NewRecord { record, content, fingerprint })
    }
}
