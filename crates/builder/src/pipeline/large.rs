//! Large files: they pass through part by part. Each part gets its places when its turn comes; the parts are hashed one after the
//! other beside that; the record follows when both are done.
//!
//! Hashing one file is serial and slower than reading and writing it. Parts that wait for it must not hold up the other
//! workers, so those that are in the image as they are give their buffers back when these run out, and are hashed from the
//! image: what is hashed is what was written, and the source is still read once.
//!
//! A large file may turn out to be equal to an earlier one only after its places were given out. So a file that has the size and the
//! first segment of an earlier one holds up all others behind it until its digest is known, and gives its places back if it
//! is equal.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use erofs_algo::fingerprint::Hasher;
use erofs_format::extent::Coding;

use super::commit::{Commit, HashJob, TailBytes, ToHash, WriteJob};
use super::feed::File;
use super::work::{Buffers, DedupeKey, Form, Part, Span};
use crate::coder::plain::{Piece, Plain};
use crate::content::{Class, Content, Extent, Tail};
use crate::error::BuildError;
use crate::key;
use crate::options::CompressClass;
use crate::zeros;

/// Zeros are hashed in pieces of so many bytes, so that others get their turn and a failure ends all.
const ZEROS_AT_ONCE: u64 = 1 << 28;

/// The state of a digest that is computed part by part.
#[derive(Default)]
enum Hashing {
    /// None is wanted.
    #[default]
    Never,
    /// The next part can be hashed.
    Idle(Box<dyn Hasher>),
    /// A part is being hashed.
    Busy,
}

/// A part that was committed and not hashed.
struct Waiting {
    offset: u64,
    length: u64,
    bytes: Held,
    /// Where it is in the image, if it is there as it is, in one piece.
    stored_at: Option<u64>,
}

/// Where the bytes of a waiting part are.
enum Held {
    /// In memory; whether they are in the image as well.
    Memory { buffers: Arc<Buffers>, written: bool },
    /// In the image alone.
    Image { at: u64 },
    /// Nowhere: they are zeros.
    Zeros,
}

/// A large file between its first part and its record.
pub(super) struct Large {
    file: File,
    pub(super) content: Content<TailBytes>,
    hashing: Hashing,
    waiting: VecDeque<Waiting>,
    /// Parts that were committed and whose data is not written.
    writing: usize,
    /// Whether the last part was committed.
    committed: bool,
    /// An earlier file begins with the same bytes and is as long.
    candidate: bool,
    /// Whether encoding made any part smaller.
    smaller: bool,
    /// The first byte that was free when it began, and the sums that it changed since.
    start: u64,
    stored_bytes: u64,
    hole_bytes: u64,
    deduplicated_bytes: u64,
    key: u128,
}

impl Commit<'_> {
    /// Commits the next part of a file; `segment` is its first byte, and whether the file ends with it.
    pub(super) fn segment(
        &mut self,
        number: usize,
        part: Part,
        (offset, last): (u64, bool),
        mut job: WriteJob,
    ) -> Result<(), BuildError> {
        let Part { file, range, key, form, fragment, .. } = part;
        let mut large = match self.large.remove(&number) {
            Some(large) => large,
            None if offset == 0 => self.begin_large(number, &file, key),
            None => return Err(BuildError::Internal("a part of a file that has not begun".into())),
        };
        let before = (self.sums.stored_bytes, self.sums.hole_bytes, self.sums.deduplicated_bytes);
        let length = job.buffers.len();
        large.key = key::joined(&[large.key, key]);
        match form {
            Form::Plain(plain) => self.plain_part(&mut large, &range, plain, &mut job)?,
            Form::Hole(length) => self.hole_part(&mut large, offset, length),
            Form::Encoded(spans) => {
                large.smaller |= spans.iter().any(|span| match span {
                    Span::Own(encoded) => encoded.smaller,
                    Span::Equal(..) => true,
                });
                self.spans(number, &file, &mut large.content, spans, &mut job)?;
                self.fragment(&mut large.content, fragment, &range, &mut job);
            }
            Form::Duplicate | Form::Stored(_) => {
                return Err(BuildError::Internal("a part of a file that is stored already".into()));
            }
        }
        large.stored_bytes += self.sums.stored_bytes - before.0;
        large.hole_bytes += self.sums.hole_bytes - before.1;
        large.deduplicated_bytes += self.sums.deduplicated_bytes - before.2;
        large.wait(&job, offset, length);
        large.writing += 1;
        large.committed = last;
        if last && large.candidate {
            self.barrier = Some(number);
        }
        job.large = Some((number, offset));
        self.large.insert(number, large);
        self.writes.push_back(job);
        self.advance(number)
    }

    fn begin_large(&mut self, number: usize, file: &File, key: u128) -> Large {
        let phase = self.phase;
        let content = if phase.rules.encodes(file.choice) {
            self.compressed(file)
        } else {
            Content::new(Class::Plain { chunk_bits: phase.plain.chunk_bits })
        };
        let hasher = phase.hasher(file);
        // References find what is equal in large files, and before it is encoded.
        let compared = phase.recipes.is_none() && phase.compares(file) && !phase.is_owner(number);
        let candidate = compared && !self.first_segments.insert((file.size, key));
        Large {
            file: *file,
            content,
            hashing: hasher.map_or(Hashing::Never, Hashing::Idle),
            waiting: VecDeque::new(),
            writing: 0,
            committed: false,
            candidate,
            smaller: false,
            start: self.area.next(),
            stored_bytes: 0,
            hole_bytes: 0,
            deduplicated_bytes: 0,
            key: 0,
        }
    }

    /// Places a part that is stored as it is. A tail follows the inode only if the file has no holes.
    fn plain_part(
        &mut self,
        large: &mut Large,
        range: &Range<usize>,
        mut plain: Plain,
        job: &mut WriteJob,
    ) -> Result<(), BuildError> {
        let end = range.len();
        let tail = std::mem::take(&mut plain.tail);
        let has_holes = large.content.extents.iter().any(|extent| extent.at.is_none());
        if tail != 0 && has_holes {
            plain.pieces.push(Piece { range: end - tail..end, is_hole: false, key: None });
        } else if tail != 0 {
            let bytes = job.buffers.content[range.end - tail..range.end].to_vec();
            large.content.tail = Tail::Plain(TailBytes::Bytes(bytes));
            self.sums.stored_bytes += tail as u64;
            self.sums.compression.plain_bytes += tail as u64;
        }
        self.pieces(&mut large.content, range.start, &plain, job)
    }

    /// Passes over a part that is zeros.
    fn hole_part(&mut self, large: &mut Large, offset: u64, length: u64) {
        if !self.phase.has_digest(&large.file) {
            let segment = self.phase.segment;
            for at in (offset..offset + length).step_by(segment).skip(1) {
                let rest = usize::try_from(offset + length - at).map_or(segment, |rest| rest.min(segment));
                large.key = key::joined(&[large.key, zeros::key(rest)]);
            }
        }
        let extent =
            Extent { start: 0, length, stored: 0, at: None, coding: Coding::Shifted, partial: false };
        large.content.push(extent);
        self.sums.hole_bytes += length;
    }

    /// Takes the next step of a large file: hash its next part, or, if everything is known, make its record.
    fn advance(&mut self, number: usize) -> Result<(), BuildError> {
        let Some(large) = self.large.get_mut(&number) else { return Ok(()) };
        if let Some((hasher, bytes)) = large.next_to_hash() {
            self.hashes.push_back(HashJob { file: number, hasher, bytes });
            return Ok(());
        }
        let hashed = large.waiting.is_empty() && !matches!(large.hashing, Hashing::Busy);
        // Places can be given back only when nothing is on its way to them.
        let settled = large.writing == 0 || !large.candidate;
        if large.committed && hashed && settled { self.end_large(number) } else { Ok(()) }
    }

    fn end_large(&mut self, number: usize) -> Result<(), BuildError> {
        let Some(large) = self.large.get(&number) else { return Ok(()) };
        let (size, candidate) = (large.file.size, large.candidate);
        if candidate && self.large.range(..number).any(|(_, other)| other.file.size == size) {
            // The file that this one may be equal to is not done; its end comes back here.
            return Ok(());
        }
        let Some(mut large) = self.large.remove(&number) else { return Ok(()) };
        let digest = match std::mem::take(&mut large.hashing) {
            Hashing::Idle(hasher) => Some(hasher.finish()),
            Hashing::Never | Hashing::Busy => None,
        };
        self.keys[number] = digest.as_ref().map_or(large.key, |digest| key::of(&digest.digest));
        let compared = digest.as_ref().filter(|_| self.phase.compares(&large.file));
        let dedupe = compared.map(|digest| DedupeKey::new(&digest.digest, large.file.choice));
        let original = dedupe.filter(|_| candidate).and_then(|key| self.original(key, &large.file));
        if let Some(original) = original {
            self.area.rewind(large.start);
            self.sums.stored_bytes -= large.stored_bytes;
            self.sums.hole_bytes -= large.hole_bytes;
            self.sums.deduplicated_bytes -= large.deduplicated_bytes;
            self.duplicate(number, original, size)?;
        } else {
            let rules = &self.phase.rules;
            let keeps_class = large.smaller
                || rules.is_unaligned()
                || self.phase.recipes.is_some()
                || rules.class == CompressClass::Always;
            if !keeps_class {
                large.content.flatten();
            }
            if self.phase.is_owner(number) {
                self.keep_owner(number, &large.content);
            }
            if let Some(key) = dedupe {
                self.remember(key, number, &large.content);
            }
            let record = self.record(number, large.content, digest)?;
            self.new_records.push_back(record);
        }
        if self.barrier == Some(number) {
            self.barrier = None;
        }
        match self.barrier {
            Some(waiting) => self.advance(waiting),
            None => Ok(()),
        }
    }

    /// A part was hashed.
    pub(crate) fn hashed(&mut self, number: usize, hasher: Box<dyn Hasher>) -> Result<(), BuildError> {
        if let Some(large) = self.large.get_mut(&number) {
            large.hashing = Hashing::Idle(hasher);
        }
        self.advance(number)
    }

    /// The data of the part at byte `offset` of a file was written.
    pub(crate) fn written(&mut self, number: usize, offset: u64) -> Result<(), BuildError> {
        if let Some(large) = self.large.get_mut(&number) {
            large.writing -= 1;
            let waiting = large.waiting.iter_mut().find(|waiting| waiting.offset == offset);
            if let Some(Waiting { bytes: Held::Memory { written, .. }, .. }) = waiting {
                *written = true;
            }
        }
        self.advance(number)
    }

    /// Takes the buffers of the part that will be hashed last among those that can be hashed from the image.
    pub(crate) fn spill(&mut self) -> Option<Buffers> {
        for large in self.large.values_mut() {
            for waiting in large.waiting.iter_mut().rev() {
                let Some(at) = waiting.stored_at else { continue };
                if !matches!(waiting.bytes, Held::Memory { written: true, .. }) {
                    continue;
                }
                if let Held::Memory { buffers, .. } =
                    std::mem::replace(&mut waiting.bytes, Held::Image { at })
                {
                    // The job that wrote it has let go of it before it said so.
                    return Arc::into_inner(buffers);
                }
            }
        }
        None
    }
}

impl Large {
    /// Remembers a part of `length` bytes that is to be hashed.
    fn wait(&mut self, job: &WriteJob, offset: u64, length: u64) {
        if matches!(self.hashing, Hashing::Never) {
            return;
        }
        let stored_at = match job.runs.as_slice() {
            [run] if !run.encoded && run.range.len() as u64 == length => Some(run.at),
            _ => None,
        };
        let bytes = if job.buffers.content.is_empty() {
            Held::Zeros
        } else {
            Held::Memory { buffers: Arc::clone(&job.buffers), written: false }
        };
        self.waiting.push_back(Waiting { offset, length, bytes, stored_at });
    }

    /// The next part to be hashed, if the hasher is free.
    fn next_to_hash(&mut self) -> Option<(Box<dyn Hasher>, ToHash)> {
        if !matches!(self.hashing, Hashing::Idle(_)) {
            return None;
        }
        let Waiting { offset, length, bytes, .. } = self.waiting.pop_front()?;
        let Hashing::Idle(hasher) = std::mem::replace(&mut self.hashing, Hashing::Busy) else { return None };
        let bytes = match bytes {
            Held::Memory { buffers, .. } => ToHash::Memory(buffers),
            Held::Image { at } => ToHash::Image(at, usize::try_from(length).unwrap_or(usize::MAX)),
            Held::Zeros => {
                let now = length.min(ZEROS_AT_ONCE);
                if now != length {
                    let rest = Waiting { offset: offset + now, length: length - now, bytes, stored_at: None };
                    self.waiting.push_front(rest);
                }
                ToHash::Zeros(now)
            }
        };
        Some((hasher, bytes))
    }
}
