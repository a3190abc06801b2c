//! Committing the parts of large files: each gets its places when its turn comes, and the file its record
//! when all are written and hashed.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use erofs_algo::fingerprint::Hasher;
use erofs_format::extent::Coding;

use super::commit::Commit;
use super::feed::File;
use super::job::{HashJob, TailBytes, WriteJob};
use super::large::{Hashing, Large, Waiting, WaitingBytes};
use super::work::{Buffers, DedupeKey, Form, Part, Span};
use crate::coder::plain::{Piece, Plain};
use crate::content::{Class, Content, Extent, Tail};
use crate::error::BuildError;
use crate::key;
use crate::options::CompressClass;
use crate::zeros;

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
            packed_from: self.packed_len(),
            sums: self.sums.clone(),
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
            self.unpack(large.packed_from);
            self.sums = large.sums.restored(&self.sums);
            self.duplicate(number, original, size)?;
        } else {
            let rules = &self.phase.rules;
            let keeps_class = large.smaller
                || rules.is_unaligned()
                || self.phase.recipes.is_some()
                || rules.class == CompressClass::Always;
            if !keeps_class {
                large.content.flatten(|tail| tail.len() <= large.file.tail_room as usize);
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
            if let Some(Waiting { bytes: WaitingBytes::Memory { written, .. }, .. }) = waiting {
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
                if !matches!(waiting.bytes, WaitingBytes::Memory { written: true, .. }) {
                    continue;
                }
                if let WaitingBytes::Memory { buffers, .. } =
                    std::mem::replace(&mut waiting.bytes, WaitingBytes::Image { at })
                {
                    // The job that wrote it has let go of it before it said so.
                    return Arc::into_inner(buffers);
                }
            }
        }
        None
    }
}
