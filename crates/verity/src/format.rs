//! Makes a hash area: superblock and levels, in one pass over the data and in bounded memory.
//!
//! A block of level 0 and the data under it are one unit of work, so that threads share nothing; the levels
//! above are a 128th of the work and are made in order by one thread, which keeps one block of each.

use crate::error::VerityError;
use crate::hash::Hasher;
use crate::io::{ReadAt, WriteAt};
use crate::levels::{Level, Levels};
use crate::params::{DIGEST_SIZE, Digest, Params, RootHash};
use crate::superblock::Superblock;
use crate::threads::{BATCH, PIECE};

/// A hash area that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Formatted {
    /// The root hash.
    pub root: RootHash,
    /// The superblock.
    pub superblock: Superblock,
    /// The first byte behind the hash area.
    pub end: u64,
}

/// Makes the hash area for the first `data_blocks` blocks of `data`, and writes it to `out` from byte
/// `hash_offset` on, which may lie behind the data in the same file. With 0 `threads` there is one for each
/// processor.
///
/// # Errors
/// When the offset is no multiple of 512, there is no data or less than said, or bytes cannot be read or
/// written.
pub fn format(
    data: &dyn ReadAt,
    data_blocks: u64,
    params: &Params,
    out: &dyn WriteAt,
    hash_offset: u64,
    threads: usize,
) -> Result<Formatted, VerityError> {
    if !hash_offset.is_multiple_of(512) {
        let found = hash_offset.to_string();
        return Err(VerityError::Range { what: "hash offset", found, want: "a multiple of 512" });
    }
    let levels =
        Levels::new(data_blocks, params.data_block, params.hash_block, hash_offset).ok_or_else(|| {
            let found = data_blocks.to_string();
            VerityError::Range { what: "data blocks", found, want: "1 to 2^64 bytes of them" }
        })?;
    let wanted = data_blocks * params.data_block.bytes();
    if data.len() < wanted {
        return Err(VerityError::Short { what: "data", found: data.len(), want: wanted });
    }
    let work = Work { data, data_blocks, params, out, levels: &levels, hasher: Hasher::new(&params.salt) };
    let threads = erofs_threads::count(threads);
    let root = match levels.as_slice() {
        [] => work.only_block()?,
        [lowest, upper @ ..] => work.tree(lowest, upper, threads)?,
    };
    let superblock = Superblock { params: params.clone(), data_blocks };
    // What lies between the superblock and the tree is zeros, also where the target held something else.
    let mut head = superblock.encode();
    head.resize(usize::try_from(levels.start() - hash_offset).unwrap_or(head.len()), 0);
    work.write(hash_offset, &head)?;
    Ok(Formatted { root: RootHash(root), superblock, end: levels.end() })
}

struct Work<'a> {
    data: &'a dyn ReadAt,
    data_blocks: u64,
    params: &'a Params,
    out: &'a dyn WriteAt,
    levels: &'a Levels,
    hasher: Hasher,
}

impl Work<'_> {
    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), VerityError> {
        self.out.write_at(at, bytes).map_err(|cause| VerityError::Io { what: "hash area", at, cause })
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), VerityError> {
        self.data.read_at(at, bytes).map_err(|cause| VerityError::Io { what: "data", at, cause })
    }

    fn only_block(&self) -> Result<Digest, VerityError> {
        let mut block = vec![0; self.params.data_block.len()];
        self.read(0, &mut block)?;
        Ok(self.hasher.block(&block))
    }

    fn tree(&self, lowest: &Level, upper: &[Level], threads: usize) -> Result<Digest, VerityError> {
        let mut above = Upper::new(self, upper);
        let mut first = 0;
        while first < lowest.blocks {
            let count = usize::try_from(lowest.blocks - first).map_or(BATCH, |left| left.min(BATCH));
            let indexes: Vec<u64> = (first..first + count as u64).collect();
            let blocks = erofs_threads::each("verity", threads, &indexes, |&index, piece| {
                self.lowest_block(index, piece)
            })?;
            let bytes = blocks.iter().map(|(bytes, _)| bytes.as_slice()).collect::<Vec<_>>().concat();
            self.write(lowest.at + first * self.params.hash_block.bytes(), &bytes)?;
            for (_, digest) in &blocks {
                above.push(0, digest)?;
            }
            first += count as u64;
        }
        above.finish()
    }

    /// Block `index` of level 0, and its digest. `piece` is a buffer that a thread keeps.
    fn lowest_block(&self, index: u64, piece: &mut Vec<u8>) -> Result<(Vec<u8>, Digest), VerityError> {
        let size = self.params.data_block.len();
        piece.resize(PIECE.max(size), 0);
        let first = index << self.levels.fanout_bits();
        let end = self.data_blocks.min(first + (1 << self.levels.fanout_bits()));
        let mut block = Vec::with_capacity(self.params.hash_block.len());
        let mut next = first;
        while next < end {
            let count = (piece.len() / size).min(usize::try_from(end - next).unwrap_or(usize::MAX));
            let bytes = &mut piece[..count * size];
            self.read(next * self.params.data_block.bytes(), bytes)?;
            for data in bytes.chunks_exact(size) {
                block.extend_from_slice(&self.hasher.block(data));
            }
            next += count as u64;
        }
        block.resize(self.params.hash_block.len(), 0);
        let digest = self.hasher.block(&block);
        Ok((block, digest))
    }
}

/// The levels above level 0: of each the block that is being filled.
struct Upper<'a> {
    work: &'a Work<'a>,
    levels: Vec<(Level, Vec<u8>, u64)>,
    /// The digest of the last block that was finished above all levels.
    root: Digest,
}

impl<'a> Upper<'a> {
    fn new(work: &'a Work<'a>, levels: &[Level]) -> Self {
        Self {
            work,
            levels: levels.iter().map(|&level| (level, Vec::new(), 0)).collect(),
            root: [0; DIGEST_SIZE],
        }
    }

    /// Takes the digest of a block of the level below.
    fn push(&mut self, level: usize, digest: &Digest) -> Result<(), VerityError> {
        let Some((_, block, _)) = self.levels.get_mut(level) else {
            self.root = *digest;
            return Ok(());
        };
        block.extend_from_slice(digest);
        if block.len() == DIGEST_SIZE << self.work.levels.fanout_bits() { self.flush(level) } else { Ok(()) }
    }

    fn flush(&mut self, level: usize) -> Result<(), VerityError> {
        let size = self.work.params.hash_block;
        let Some((place, block, next)) = self.levels.get_mut(level) else { return Ok(()) };
        block.resize(size.len(), 0);
        let digest = self.work.hasher.block(block);
        self.work.write(place.at + *next * size.bytes(), block)?;
        *next += 1;
        block.clear();
        self.push(level + 1, &digest)
    }

    fn finish(mut self) -> Result<Digest, VerityError> {
        for level in 0..self.levels.len() {
            if !self.levels[level].1.is_empty() {
                self.flush(level)?;
            }
        }
        Ok(self.root)
    }
}
