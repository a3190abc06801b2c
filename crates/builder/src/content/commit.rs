//! Committing: the one place where order matters. Units come in order; each file gets its blocks, or those of an equal
//! file that came before it, and what is to be written becomes jobs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use erofs_algo::fingerprint::{Fingerprint, Hasher};
use erofs_format::datalayout::DataLayout;
use erofs_format::datalayout::chunk::ChunkFormat;

use super::Stored;
use super::area::DataArea;
use super::large::Large;
use super::read::{Buffer, Piece, ReadPart, ReadUnit, Reader};
use crate::error::BuildError;
use crate::key;
use crate::layout::compose::{Data, HOLE};

/// Bytes of a buffer that go to consecutive blocks; the last block is filled up with zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) block: u32,
    pub(crate) range: Range<usize>,
}

/// A file whose inode can be written.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) file: usize,
    pub(crate) data: Data,
    pub(crate) fingerprint: Option<Vec<u8>>,
}

/// Something to do that no other job waits for in order.
pub(crate) enum Job {
    /// Data and the inodes of small files.
    Write {
        buffer: Arc<Buffer>,
        runs: Vec<Run>,
        /// Files and the place of their inline tails in the buffer.
        inodes: Vec<(Ready, Range<usize>)>,
        /// The large file to which the data belongs, and the segment's first byte in it.
        large: Option<(usize, u64)>,
        /// For the progress.
        files: u64,
        bytes: u64,
    },
    /// The inode of a large file.
    Inode { ready: Ready, tail: Vec<u8> },
    /// The next segment of a large file for its fingerprint.
    Hash { file: usize, hasher: Box<dyn Hasher>, buffer: Arc<Buffer>, length: usize },
    /// The same for a segment whose buffer was given back: it is read from byte `at` of the image.
    HashStored { file: usize, hasher: Box<dyn Hasher>, at: u64, length: usize },
    /// The same for a hole.
    HashZeros { file: usize, hasher: Box<dyn Hasher>, length: u64 },
}

/// A file that others can be equal to.
#[derive(Debug, Clone)]
pub(super) struct Original {
    pub(super) data: Data,
    /// Consecutive blocks that are stored, for flat data.
    pub(super) blocks: u64,
}

/// Everything that committing decides and remembers.
pub(crate) struct Commit<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) area: DataArea,
    /// Jobs that others wait for.
    pub(crate) hashes: VecDeque<Job>,
    /// Other jobs.
    pub(crate) writes: VecDeque<Job>,
    pub(super) large: BTreeMap<usize, Large>,
    pub(super) barrier: Option<usize>,
    pub(super) originals: BTreeMap<Vec<u8>, Original>,
    /// Size and key of the first segment of large files that have twins.
    pub(super) heads: BTreeSet<(u64, u128)>,
    chunks: BTreeMap<[u8; 32], u32>,
    /// One per file.
    pub(super) keys: Vec<u128>,
    /// Files whose inode is a job or has been written or moved.
    done: usize,
    pub(super) stored: Stored,
}

impl<'a> Commit<'a> {
    pub(crate) fn new(reader: Reader<'a>) -> Self {
        Self {
            reader,
            area: DataArea::new(reader.plan.data_at, reader.plan.block_bits, reader.options.dsunit),
            hashes: VecDeque::new(),
            writes: VecDeque::new(),
            large: BTreeMap::new(),
            barrier: None,
            originals: BTreeMap::new(),
            heads: BTreeSet::new(),
            chunks: BTreeMap::new(),
            keys: vec![0; reader.files.len()],
            done: 0,
            stored: Stored::default(),
        }
    }

    /// Whether the next unit may be committed.
    pub(crate) fn is_open(&self) -> bool {
        self.barrier.is_none()
    }

    /// Whether every file has its inode.
    pub(crate) fn is_complete(&self) -> bool {
        self.done == self.reader.files.len()
    }

    /// The result, once everything is complete.
    pub(crate) fn finish(mut self) -> Stored {
        self.stored.end_block = self.area.next();
        self.stored.gaps = self.area.into_gaps();
        self.stored.key = key::joined(&self.keys);
        self.stored
    }

    /// Commits the next unit.
    pub(crate) fn unit(&mut self, unit: ReadUnit) -> Result<(), BuildError> {
        match unit {
            ReadUnit::Batch { parts, buffer } => self.batch(parts, buffer),
            ReadUnit::Segment { part, offset, last, buffer } => self.segment(&part, offset, last, buffer),
            ReadUnit::Hole(hole) => self.hole(hole),
        }
    }

    fn batch(&mut self, parts: Vec<ReadPart>, buffer: Buffer) -> Result<(), BuildError> {
        let mut runs = Vec::new();
        let mut inodes = Vec::with_capacity(parts.len());
        let files = parts.len() as u64;
        let bytes = parts.iter().map(|part| part.range.len() as u64).sum();
        for part in parts {
            let (file, range) = (part.file, part.range.clone());
            self.keys[file] = part.key;
            let data = self.small(&part, &mut runs)?;
            let tail = range.end - self.tail_len(file, &data)..range.end;
            self.stored.stored_bytes += tail.len() as u64;
            let fingerprint = self.value_of(file, part.fingerprint)?;
            if let Some(ready) = self.ready(file, data, fingerprint) {
                inodes.push((ready, tail));
            }
        }
        let buffer = Arc::new(buffer);
        self.writes.push_back(Job::Write { buffer, runs, inodes, large: None, files, bytes });
        Ok(())
    }

    /// Places a small file: at the blocks of an equal one, in chunks, or in blocks of its own.
    fn small(&mut self, part: &ReadPart, runs: &mut Vec<Run>) -> Result<Data, BuildError> {
        let file = &self.reader.files[part.file];
        let (has_twin, size) = (file.has_twin, file.size);
        let need = self.flat_blocks(part.file);
        let digest = part.fingerprint.as_ref().map(|fingerprint| &fingerprint.digest);
        let digest =
            digest.filter(|_| has_twin && self.dedupes_files() && (need != 0 || part.pieces.is_some()));
        if let Some(original) = digest.and_then(|digest| self.original(digest, need)) {
            let tail = self.tail_len(part.file, &original) as u64;
            self.stored.deduplicated_bytes += size - tail;
            return Ok(original);
        }
        self.area.begin_file();
        let data = match &part.pieces {
            Some((bits, pieces)) => {
                let blocks = self.take_pieces(part.range.clone(), *bits, pieces, runs)?;
                self.chunked(*bits, blocks)
            }
            None => self.small_run(part, need, runs)?,
        };
        if let Some(digest) = digest {
            self.remember_original(digest, &data, need);
        }
        Ok(data)
    }

    /// Places a small file in consecutive blocks of its own.
    fn small_run(&mut self, part: &ReadPart, need: u64, runs: &mut Vec<Run>) -> Result<Data, BuildError> {
        let block_bits = self.reader.plan.block_bits;
        let start = self.area.take(need)?;
        let whole = usize::try_from(need * block_bits.size()).unwrap_or(usize::MAX);
        let range = part.range.start..part.range.start + part.range.len().min(whole);
        push_run(runs, start, range, block_bits.bytes());
        self.stored.stored_bytes += need * block_bits.size();
        Ok(match self.reader.plan.chunk_format {
            Some(format) => Data::Chunks { format, blocks: [start].into() },
            None => Data::Flat { start: u64::from(start) },
        })
    }

    pub(super) fn dedupes_files(&self) -> bool {
        self.reader.options.file_dedupe && self.reader.options.chunks.is_none()
    }

    /// Lets later files be equal to this one. Of equal files the one with the most blocks serves the others best.
    pub(super) fn remember_original(&mut self, digest: &[u8], data: &Data, blocks: u64) {
        if self.originals.get(digest).is_none_or(|known| known.blocks < blocks) {
            self.originals.insert(digest.to_vec(), Original { data: data.clone(), blocks });
        }
    }

    /// The data of an earlier file with this digest, if it can serve a file that needs so many consecutive blocks.
    pub(super) fn original(&self, digest: &[u8], need: u64) -> Option<Data> {
        let original = self.originals.get(digest)?;
        let serves = original.blocks >= need || matches!(original.data, Data::Chunks { .. });
        serves.then(|| original.data.clone())
    }

    fn block_size(&self) -> u64 {
        self.reader.plan.block_bits.size()
    }

    /// Blocks that a file takes in the data area if it is flat.
    pub(super) fn flat_blocks(&self, file: usize) -> u64 {
        let file = &self.reader.files[file];
        let bits = self.reader.plan.block_bits;
        let inline = self.reader.plan.placed[file.inode.index()].layout == DataLayout::FlatInline;
        if inline { bits.blocks_floor(file.size) } else { bits.blocks_ceil(file.size) }
    }

    /// Bytes of a file that stand behind its inode.
    pub(super) fn tail_len(&self, file: usize, data: &Data) -> usize {
        let file = &self.reader.files[file];
        let inline = self.reader.plan.placed[file.inode.index()].layout == DataLayout::FlatInline;
        match data {
            Data::Flat { .. } if inline => {
                usize::try_from(self.reader.plan.block_bits.within(file.size)).unwrap_or(0)
            }
            Data::Flat { .. } | Data::Chunks { .. } | Data::Compressed { .. } => 0,
        }
    }

    /// Gives each piece its blocks: none to zeros, those of an equal chunk where keys tell, else new ones.
    pub(super) fn take_pieces(
        &mut self,
        range: Range<usize>,
        bits: u8,
        pieces: &[Piece],
        runs: &mut Vec<Run>,
    ) -> Result<Vec<u32>, BuildError> {
        let unit = 1_usize << bits;
        let block = self.reader.plan.block_bits.bytes();
        let mut blocks = Vec::with_capacity(pieces.len());
        for (number, piece) in pieces.iter().enumerate() {
            let start = range.start + number * unit;
            let bytes = start..range.end.min(start + unit);
            let length = bytes.len() as u64;
            let known = match piece {
                Piece::Zero => {
                    self.stored.hole_bytes += length;
                    Some(HOLE)
                }
                Piece::Bytes(Some(key)) => self.chunks.get(key).copied().inspect(|_| {
                    self.stored.deduplicated_bytes += length;
                }),
                Piece::Bytes(None) => None,
            };
            let address = if let Some(address) = known {
                address
            } else {
                let count = self.reader.plan.block_bits.blocks_ceil(length);
                let address = self.area.take(count)?;
                self.stored.stored_bytes += count * self.block_size();
                push_run(runs, address, bytes, block);
                address
            };
            if let Piece::Bytes(Some(key)) = piece {
                self.chunks.entry(*key).or_insert(address);
            }
            blocks.push(address);
        }
        Ok(blocks)
    }

    pub(super) fn chunked(&self, bits: u8, blocks: Vec<u32>) -> Data {
        let plan = self.reader.plan;
        let chosen = || ChunkFormat {
            blkbits: bits - plan.block_bits.bits(),
            indexes: plan.forces_chunk_indexes(),
            wide: false,
        };
        let format = plan.chunk_format.unwrap_or_else(chosen);
        Data::Chunks { format, blocks: blocks.into() }
    }

    /// The value of a file's fingerprint: computed, or the source's own.
    pub(super) fn value_of(
        &self,
        file: usize,
        computed: Option<Fingerprint>,
    ) -> Result<Option<Vec<u8>>, BuildError> {
        match computed {
            Some(fingerprint) => Ok(Some(fingerprint.value)),
            None => {
                Ok(self.reader.plan.source_fingerprint(self.reader.files[file].inode)?.map(<[u8]>::to_vec))
            }
        }
    }

    /// A file that has everything its inode needs; `None` if the inode has to move and is remembered for later.
    pub(super) fn ready(&mut self, file: usize, data: Data, fingerprint: Option<Vec<u8>>) -> Option<Ready> {
        let inode = self.reader.files[file].inode;
        let placed = &self.reader.plan.placed[inode.index()];
        self.done += 1;
        let stands_for =
            [&self.keys[file].to_le_bytes(), fingerprint.as_deref().unwrap_or_default(), &data.to_key()];
        self.keys[file] = key::of(&stands_for.concat());
        self.stored.fingerprints += u64::from(fingerprint.is_some());
        self.stored.chunked |= matches!(data, Data::Chunks { .. });
        // Inodes stand on multiples of 32, so what aligns the table to its entries is the header's length alone.
        let entry = if let Data::Chunks { format, .. } = &data { format.entry_size() as u64 } else { 1 };
        let pad = placed.header_size().next_multiple_of(entry) - placed.header_size();
        if data.table_size() != 0 && pad + data.table_size() > u64::from(placed.reserved) {
            self.stored.moved.insert(inode, (data, fingerprint));
            return None;
        }
        Some(Ready { file, data, fingerprint })
    }
}

/// Adds bytes that go to `block` and the following ones; joins them with the last run where both sides continue.
pub(super) fn push_run(runs: &mut Vec<Run>, block: u32, range: Range<usize>, block_size: usize) {
    if range.is_empty() {
        return;
    }
    if let Some(last) = runs.last_mut() {
        let whole = last.range.len().is_multiple_of(block_size);
        let blocks = last.range.len() / block_size;
        if whole && last.range.end == range.start && last.block as usize + blocks == block as usize {
            last.range.end = range.end;
            return;
        }
    }
    runs.push(Run { block, range });
}
