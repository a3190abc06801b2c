//! Large files: they pass through segment by segment. Each segment gets its blocks when its turn comes; the segments
//! are hashed one after the other beside that; the inode follows when both are done.
//!
//! Hashing one file is serial and slower than reading and writing it. Segments that wait for it must not hold up the
//! other workers, so those that are written already give their buffers back when these run out, and are hashed from
//! the image: what is hashed is what was written, and the source is still read once.
//!
//! A large file may turn out to be equal to an earlier one only after its blocks were given out. So a file that has
//! the size and the first segment of an earlier one holds up all others behind it until its digest is known, and gives
//! its blocks back if it is one.

use std::collections::VecDeque;
use std::sync::Arc;

use erofs_algo::fingerprint::Hasher;

use super::commit::{Commit, Job, push_run};
use super::holes::SEGMENT_SIZE;
use super::read::{Buffer, Piece, ReadPart};
use super::units::{File, Hole};
use crate::error::BuildError;
use crate::key;
use crate::layout::compose::{Data, HOLE};
use crate::zeros;

/// The state of a fingerprint that is computed segment by segment.
#[derive(Default)]
enum Hashing {
    /// None is wanted.
    #[default]
    Never,
    /// The next segment can be hashed.
    Idle(Box<dyn Hasher>),
    /// A segment is being hashed.
    Busy,
}

/// Zeros are hashed in pieces of so many bytes, so that others get their turn and a failure ends all.
const ZEROS_AT_ONCE: u64 = 1 << 28;

/// A segment, or a hole, that was committed and not hashed.
struct Waiting {
    offset: u64,
    length: u64,
    bytes: Held,
    /// Where it is in the image, if it is there in one piece.
    stored_at: Option<u64>,
}

/// Where the bytes of a waiting segment are.
enum Held {
    /// In memory; whether they are in the image as well.
    Memory { buffer: Arc<Buffer>, written: bool },
    /// In the image alone.
    Image { at: u64 },
    /// Nowhere: they are zeros.
    Zeros,
}

/// A large file between its first segment and its inode.
#[derive(Default)]
pub(super) struct Large {
    hashing: Hashing,
    waiting: VecDeque<Waiting>,
    /// Segments that were committed and whose data is not written.
    writing: usize,
    /// Whether the last segment was committed.
    committed: bool,
    /// The content may be that of an earlier file, so nothing is committed after it before its digest is known.
    candidate: bool,
    start_block: u64,
    /// One entry per chunk.
    blocks: Vec<u32>,
    holes: bool,
    /// How many bytes of zeros a long chunk begins with, as long as it has no place.
    leading_zeros: Option<u64>,
    unit_bits: u8,
    tail: Vec<u8>,
    /// What was counted for it, to be taken back if it turns out to be stored already.
    stored_bytes: u64,
    hole_bytes: u64,
}

impl Commit<'_> {
    /// Commits the next segment of a file.
    pub(super) fn segment(
        &mut self,
        part: &ReadPart,
        offset: u64,
        last: bool,
        buffer: Buffer,
    ) -> Result<(), BuildError> {
        let file = part.file;
        let buffer = Arc::new(buffer);
        let mut large = if offset == 0 {
            self.begin_large(file, part.key)
        } else {
            self.large.remove(&file).unwrap_or_default()
        };
        let length = part.range.len();
        let mut runs = Vec::new();
        let before = (self.stored.stored_bytes, self.stored.hole_bytes);
        let Some((bits, pieces)) = &part.pieces else {
            return Err(BuildError::Internal("a segment was not looked at".into()));
        };
        if self.chunk_bits().is_some_and(|chunk| chunk > *bits) {
            let zeros = pieces.iter().all(|piece| matches!(piece, Piece::Zero));
            if let Some(first) = self.long_chunk(&mut large, offset, length as u64, zeros, last)? {
                push_run(&mut runs, first, 0..length, self.reader.plan.block_bits.bytes());
            }
        } else {
            large.unit_bits = *bits;
            large.holes |= pieces.iter().any(|piece| matches!(piece, Piece::Zero));
            let flat = Data::Flat { start: 0 };
            let tail = if last && !large.holes { self.tail_len(file, &flat) } else { 0 };
            large.tail = buffer[length - tail..length].to_vec();
            let range = 0..length - tail;
            let covered = range.len().div_ceil(1 << bits);
            large.blocks.extend(self.take_pieces(range, *bits, &pieces[..covered], &mut runs)?);
        }
        large.stored_bytes += self.stored.stored_bytes - before.0;
        large.hole_bytes += self.stored.hole_bytes - before.1;
        self.stored.stored_bytes += large.tail.len() as u64;
        self.keys[file] = key::joined(&[self.keys[file], part.key]);
        if !matches!(large.hashing, Hashing::Never) {
            let stored_at = match runs.as_slice() {
                [run] if run.range == (0..length) => {
                    Some(u64::from(run.block) * self.reader.plan.block_bits.size())
                }
                _ => None,
            };
            let bytes = Held::Memory { buffer: Arc::clone(&buffer), written: false };
            large.waiting.push_back(Waiting { offset, length: length as u64, bytes, stored_at });
        }
        large.writing += 1;
        large.committed = last;
        if last && large.candidate {
            self.barrier = Some(file);
        }
        self.large.insert(file, large);
        let (files, bytes) = (u64::from(last), length as u64);
        self.writes.push_back(Job::Write {
            buffer,
            runs,
            inodes: Vec::new(),
            large: Some((file, offset)),
            files,
            bytes,
        });
        self.advance(file)
    }

    /// Commits segments of a file that are a hole.
    pub(super) fn hole(&mut self, hole: Hole) -> Result<(), BuildError> {
        let Hole { file, offset, length, last } = hole;
        let end = offset + length;
        let segments = || (offset..end).step_by(SEGMENT_SIZE);
        let key = |at: u64| {
            let length = usize::try_from(end - at).map_or(SEGMENT_SIZE, |rest| rest.min(SEGMENT_SIZE));
            if self.reader.wants_key(file, at) { zeros::key(length) } else { 0 }
        };
        let first_key = key(offset);
        // Where a fingerprint stands for the content, nobody asks for the keys of the rest.
        let rest = if self.reader.is_hashed() { 0 } else { usize::MAX };
        self.keys[file] =
            segments().take(rest).fold(self.keys[file], |joined, at| key::joined(&[joined, key(at)]));
        let mut large = if offset == 0 {
            self.begin_large(file, first_key)
        } else {
            self.large.remove(&file).unwrap_or_default()
        };
        let before = (self.stored.stored_bytes, self.stored.hole_bytes);
        let bits = self.reader.piece_bits(self.reader.files[file].size);
        if let Some(chunk) = self.chunk_bits().filter(|chunk| *chunk > bits) {
            let mut at = offset;
            while at < end {
                let next = end.min(((at >> chunk) + 1) << chunk);
                self.long_chunk(&mut large, at, next - at, true, last && next == end)?;
                at = next;
            }
        } else {
            large.unit_bits = bits;
            large.holes = true;
            let count = usize::try_from(length.div_ceil(1 << bits)).unwrap_or(usize::MAX);
            large.blocks.extend(std::iter::repeat_n(HOLE, count));
            self.stored.hole_bytes += length;
        }
        large.stored_bytes += self.stored.stored_bytes - before.0;
        large.hole_bytes += self.stored.hole_bytes - before.1;
        if !matches!(large.hashing, Hashing::Never) {
            large.waiting.push_back(Waiting { offset, length, bytes: Held::Zeros, stored_at: None });
        }
        large.committed = last;
        if last && large.candidate {
            self.barrier = Some(file);
        }
        self.large.insert(file, large);
        self.advance(file)
    }

    fn chunk_bits(&self) -> Option<u8> {
        self.reader.options.chunks.map(|chunks| chunks.bits)
    }

    /// Places a segment that is only a part of a chunk, behind the segment before it, and gives the block at
    /// which its bytes are to be written. A chunk has no place until something in it is not zero.
    fn long_chunk(
        &mut self,
        large: &mut Large,
        offset: u64,
        length: u64,
        zeros: bool,
        last: bool,
    ) -> Result<Option<u32>, BuildError> {
        let block_bits = self.reader.plan.block_bits;
        let chunk = self.chunk_bits().map_or(u64::MAX, |bits| 1 << bits);
        if offset.is_multiple_of(chunk) {
            large.leading_zeros = Some(0);
        }
        if zeros && let Some(leading) = &mut large.leading_zeros {
            *leading += length;
            if last || (offset + length).is_multiple_of(chunk) {
                large.blocks.push(HOLE);
                self.stored.hole_bytes += *leading;
            }
            return Ok(None);
        }
        let begins = large.leading_zeros.take();
        let before = block_bits.blocks_floor(begins.unwrap_or(0));
        let count = before + block_bits.blocks_ceil(length);
        let start = self.area.take(count)?;
        self.stored.stored_bytes += count * block_bits.size();
        if begins.is_some() {
            large.blocks.push(start);
            self.area.leave_zeros(u64::from(start), before);
        }
        let first = start + u32::try_from(before).unwrap_or(u32::MAX);
        if zeros {
            self.area.leave_zeros(u64::from(first), count - before);
            return Ok(None);
        }
        Ok(Some(first))
    }

    /// Begins a file whose first segment has this key.
    fn begin_large(&mut self, file: usize, key: u128) -> Large {
        let file = self.reader.files[file];
        let mut large = Large { start_block: self.area.next(), ..Large::default() };
        self.area.begin_file();
        if let Some(hasher) = self.reader.hasher() {
            large.hashing = Hashing::Idle(hasher);
            if file.has_twin && self.dedupes_files() {
                let head = (file.size, key);
                large.candidate = !self.heads.insert(head);
            }
        }
        large
    }

    /// Takes the next step of a large file: hash its next segment, or, if everything is known, write its inode.
    fn advance(&mut self, file: usize) -> Result<(), BuildError> {
        let Some(large) = self.large.get_mut(&file) else { return Ok(()) };
        if let Hashing::Idle(_) = large.hashing
            && let Some(Waiting { offset, length, bytes, .. }) = large.waiting.pop_front()
            && let Hashing::Idle(hasher) = std::mem::replace(&mut large.hashing, Hashing::Busy)
        {
            let bounded = usize::try_from(length).unwrap_or(usize::MAX);
            self.hashes.push_back(match bytes {
                Held::Memory { buffer, .. } => Job::Hash { file, hasher, buffer, length: bounded },
                Held::Image { at } => Job::HashStored { file, hasher, at, length: bounded },
                Held::Zeros => {
                    let now = length.min(ZEROS_AT_ONCE);
                    let rest = Waiting { offset: offset + now, length: length - now, bytes, stored_at: None };
                    if rest.length != 0 {
                        large.waiting.push_front(rest);
                    }
                    Job::HashZeros { file, hasher, length: now }
                }
            });
            return Ok(());
        }
        let hashed = large.waiting.is_empty() && !matches!(large.hashing, Hashing::Busy);
        // Blocks can be given back only when nothing is on its way to them.
        let settled = large.writing == 0 || !large.candidate;
        if large.committed && hashed && settled { self.end_large(file) } else { Ok(()) }
    }

    fn end_large(&mut self, file: usize) -> Result<(), BuildError> {
        let size = self.reader.files[file].size;
        let candidate = self.large.get(&file).is_some_and(|large| large.candidate);
        if candidate && self.large.range(..file).any(|(&other, _)| self.reader.files[other].size == size) {
            // The file that this one may be equal to is not done; its end comes back here.
            return Ok(());
        }
        let Some(mut large) = self.large.remove(&file) else { return Ok(()) };
        let fingerprint = match std::mem::take(&mut large.hashing) {
            Hashing::Idle(hasher) => Some(hasher.finish()),
            Hashing::Never | Hashing::Busy => None,
        };
        if let Some(fingerprint) = &fingerprint {
            self.keys[file] = key::of(&fingerprint.digest);
        }
        let data = self.large_data(
            file,
            &large,
            fingerprint.as_ref().map(|fingerprint| fingerprint.digest.as_slice()),
        );
        let value = self.value_of(file, fingerprint)?;
        if let Some(ready) = self.ready(file, data, value) {
            self.writes.push_back(Job::Inode { ready, tail: large.tail });
        }
        if self.barrier == Some(file) {
            self.barrier = None;
        }
        match self.barrier {
            Some(waiting) => self.advance(waiting),
            None => Ok(()),
        }
    }

    /// Where the bytes of a large file are: where an equal file's are, or where they were put.
    fn large_data(&mut self, file: usize, large: &Large, digest: Option<&[u8]>) -> Data {
        let need = self.flat_blocks(file);
        let File { size, has_twin, .. } = self.reader.files[file];
        let digest = digest.filter(|_| has_twin && self.dedupes_files());
        if let Some(original) =
            digest.filter(|_| large.candidate).and_then(|digest| self.original(digest, need))
        {
            self.area.rewind(large.start_block);
            self.stored.stored_bytes -= large.stored_bytes;
            self.stored.hole_bytes -= large.hole_bytes;
            self.stored.deduplicated_bytes += size - large.tail.len() as u64;
            return original;
        }
        let data = if large.holes || self.reader.plan.chunk_format.is_some() {
            self.chunked(large.unit_bits, large.blocks.clone())
        } else {
            Data::Flat { start: large.blocks.first().map_or(0, |&block| u64::from(block)) }
        };
        if let Some(digest) = digest {
            self.remember_original(digest, &data, need);
        }
        data
    }

    /// A segment was hashed.
    pub(super) fn hashed(&mut self, file: usize, hasher: Box<dyn Hasher>) -> Result<(), BuildError> {
        if let Some(large) = self.large.get_mut(&file) {
            large.hashing = Hashing::Idle(hasher);
        }
        self.advance(file)
    }

    /// The data of the segment at byte `offset` of a file was written.
    pub(super) fn written(&mut self, file: usize, offset: u64) -> Result<(), BuildError> {
        if let Some(large) = self.large.get_mut(&file) {
            large.writing -= 1;
            let waiting = large.waiting.iter_mut().find(|waiting| waiting.offset == offset);
            if let Some(Waiting { bytes: Held::Memory { written, .. }, .. }) = waiting {
                *written = true;
            }
        }
        self.advance(file)
    }

    /// Takes the buffer of the segment that will be hashed last among those that can be hashed from the image.
    pub(super) fn spill(&mut self) -> Option<Buffer> {
        for large in self.large.values_mut() {
            for waiting in large.waiting.iter_mut().rev() {
                let Some(at) = waiting.stored_at else { continue };
                if !matches!(waiting.bytes, Held::Memory { written: true, .. }) {
                    continue;
                }
                if let Held::Memory { buffer, .. } = std::mem::replace(&mut waiting.bytes, Held::Image { at })
                {
                    // Whoever wrote it has let go of it before it said so.
                    return Arc::into_inner(buffer);
                }
            }
        }
        None
    }
}
