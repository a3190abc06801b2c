//! Checks a whole image against its hash area, from the root hash down, in bounded memory: a block is
//! believed only when its digest stands in a block that was believed before.

use crate::error::VerityError;
use crate::hash::Hasher;
use crate::io::ReadAt;
use crate::levels::Levels;
use crate::params::{DIGEST_SIZE, Digest, RootHash, SUPERBLOCK_SIZE};
use crate::superblock::Superblock;
use crate::threads::{BATCH, PIECE};

/// What is checked.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The data; it may go on behind the blocks that the tree covers.
    pub data: &'a dyn ReadAt,
    /// What holds the hash area: the same, or a file of its own.
    pub hashes: &'a dyn ReadAt,
    /// Where the hash area begins, with its superblock.
    pub hash_offset: u64,
    /// The root hash that is trusted; without one, the tree is only compared with itself and the data.
    pub root: Option<RootHash>,
    /// How many threads work; 0 is one per processor.
    pub threads: usize,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { data: _, hashes: _, hash_offset, root, threads } = self;
        let mut shown = f.debug_struct("Request");
        shown.field("hash_offset", hash_offset).field("root", root).field("threads", threads);
        shown.finish_non_exhaustive()
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The superblock.
    pub superblock: Superblock,
    /// The root hash that the hash area itself leads to.
    pub root: RootHash,
    /// Length of the data that the tree covers, in bytes.
    pub data_bytes: u64,
    /// The first byte behind the hash area.
    pub end: u64,
    /// What is wrong first, in the order of the data; nothing if all is as it should be.
    pub wrong: Option<Wrong>,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The hash area is not the one of this root hash.
    #[error("root hash: found {found}, want {want}")]
    Root {
        /// The one that the hash area leads to.
        found: RootHash,
        /// The one that was asked for.
        want: RootHash,
    },
    /// A block of the tree is not what the level above says.
    #[error("hash block {block} of level {level} at byte {at} is not what the level above says")]
    Hash {
        /// Its level; level 0 hashes the data.
        level: usize,
        /// Its number in the level.
        block: u64,
        /// Where it is in the hash device.
        at: u64,
    },
    /// A block of the data is not what the tree says.
    #[error("data block {block} at byte {at} is not what the tree says")]
    Data {
        /// Its number.
        block: u64,
        /// Where it is.
        at: u64,
    },
    /// The bytes between the superblock and the tree are not zeros.
    #[error("byte {at} behind the verity superblock is not 0")]
    Padding {
        /// The first that is not.
        at: u64,
    },
}

/// Checks the data and its hash area.
///
/// # Errors
/// When the superblock is not understood, the data or the hash area is shorter than it says, or bytes cannot
/// be read. A wrong block is a result.
pub fn check(request: &Request<'_>) -> Result<Checked, VerityError> {
    let &Request { data, hashes, hash_offset, root: trusted, threads } = request;
    let superblock = Superblock::read(hashes, hash_offset)?;
    let (data_block, hash_block) = (superblock.params.data_block, superblock.params.hash_block);
    let levels =
        Levels::new(superblock.data_blocks, data_block, hash_block, hash_offset).ok_or_else(|| {
            let found = superblock.data_blocks.to_string();
            VerityError::Range { what: "data blocks", found, want: "1 to 2^64 bytes of them" }
        })?;
    let data_bytes = superblock.data_blocks * data_block.bytes();
    for (what, found, want) in [("data", data.len(), data_bytes), ("hash area", hashes.len(), levels.end())] {
        if found < want {
            return Err(VerityError::Short { what, found, want });
        }
    }
    let mut walk = Walk {
        request,
        superblock: &superblock,
        levels: &levels,
        hasher: Hasher::new(&superblock.params.salt),
        threads: erofs_threads::count(threads),
        batch: Vec::with_capacity(BATCH),
    };
    let found = RootHash(walk.top()?);
    let wrong = match trusted {
        Some(want) if want != found => Some(Wrong::Root { found, want }),
        Some(_) | None => match walk.padding()? {
            None => walk.everything(found.0)?,
            wrong => wrong,
        },
    };
    let end = levels.end();
    Ok(Checked { root: found, data_bytes, end, wrong, superblock })
}

struct Walk<'a> {
    request: &'a Request<'a>,
    superblock: &'a Superblock,
    levels: &'a Levels,
    hasher: Hasher,
    threads: usize,
    /// Blocks of level 0 that wait to be checked together, with the digests that they should have.
    batch: Vec<(u64, Digest)>,
}

type Found = Result<Option<Wrong>, VerityError>;

impl Walk<'_> {
    fn read_data(&self, at: u64, bytes: &mut [u8]) -> Result<(), VerityError> {
        self.request.data.read_at(at, bytes).map_err(|cause| VerityError::Io { what: "data", at, cause })
    }

    fn read_hashes(&self, at: u64, bytes: &mut [u8]) -> Result<(), VerityError> {
        let read = self.request.hashes.read_at(at, bytes);
        read.map_err(|cause| VerityError::Io { what: "hash area", at, cause })
    }

    /// The digest of the block at the top.
    fn top(&self) -> Result<Digest, VerityError> {
        if let Some(top) = self.levels.as_slice().last() {
            let mut block = vec![0; self.superblock.params.hash_block.len()];
            self.read_hashes(top.at, &mut block)?;
            return Ok(self.hasher.block(&block));
        }
        let mut block = vec![0; self.superblock.params.data_block.len()];
        self.read_data(0, &mut block)?;
        Ok(self.hasher.block(&block))
    }

    fn padding(&self) -> Found {
        let from = self.request.hash_offset + SUPERBLOCK_SIZE;
        let mut bytes = vec![0; usize::try_from(self.levels.start() - from).unwrap_or_default()];
        self.read_hashes(from, &mut bytes)?;
        let first = bytes.iter().position(|&byte| byte != 0);
        Ok(first.map(|index| Wrong::Padding { at: from + index as u64 }))
    }

    /// Everything under the block at the top, whose digest is `root`.
    fn everything(&mut self, root: Digest) -> Found {
        match self.levels.as_slice().len() {
            // The only block there is was hashed to find the root.
            0 => Ok(None),
            levels => match self.descend(levels - 1, 0, root)? {
                None => self.flush(),
                wrong => Ok(wrong),
            },
        }
    }

    /// Checks a block and everything under it; those of level 0 wait in the batch. A tree has at most 16
    /// levels.
    fn descend(&mut self, level: usize, index: u64, want: Digest) -> Found {
        if level == 0 {
            self.batch.push((index, want));
            return if self.batch.len() < BATCH { Ok(None) } else { self.flush() };
        }
        let place = self.levels.as_slice()[level];
        let size = self.superblock.params.hash_block;
        let at = place.at + index * size.bytes();
        let mut block = vec![0; size.len()];
        self.read_hashes(at, &mut block)?;
        if self.hasher.block(&block) != want {
            // What comes before it in the data is reported first.
            return Ok(self.flush()?.or(Some(Wrong::Hash { level, block: index, at })));
        }
        let below = self.levels.as_slice()[level - 1].blocks;
        let first = index << self.levels.fanout_bits();
        for (child, want) in (first..below).zip(digests(&block)) {
            if let Some(wrong) = self.descend(level - 1, child, want)? {
                return Ok(Some(wrong));
            }
        }
        Ok(None)
    }

    /// Checks the batch.
    fn flush(&mut self) -> Found {
        let batch = std::mem::take(&mut self.batch);
        let work = |(index, want): &(u64, Digest), piece: &mut Vec<u8>| self.lowest(*index, want, piece);
        let results = erofs_threads::each("verity", self.threads, &batch, work)?;
        Ok(results.into_iter().flatten().next())
    }

    /// Checks a block of level 0 and its data. `piece` is a buffer that a thread keeps.
    fn lowest(&self, index: u64, want: &Digest, piece: &mut Vec<u8>) -> Found {
        let (data_block, hash_block) = (self.superblock.params.data_block, self.superblock.params.hash_block);
        let at = self.levels.as_slice()[0].at + index * hash_block.bytes();
        let mut block = vec![0; hash_block.len()];
        self.read_hashes(at, &mut block)?;
        if self.hasher.block(&block) != *want {
            return Ok(Some(Wrong::Hash { level: 0, block: index, at }));
        }
        piece.resize(PIECE.max(data_block.len()), 0);
        let first = index << self.levels.fanout_bits();
        let end = self.superblock.data_blocks.min(first + (1 << self.levels.fanout_bits()));
        let mut wants = digests(&block);
        let mut next = first;
        while next < end {
            let count =
                (piece.len() / data_block.len()).min(usize::try_from(end - next).unwrap_or(usize::MAX));
            let bytes = &mut piece[..count * data_block.len()];
            self.read_data(next * data_block.bytes(), bytes)?;
            for (block, data) in (next..).zip(bytes.chunks_exact(data_block.len())) {
                if Some(self.hasher.block(data)) != wants.next() {
                    return Ok(Some(Wrong::Data { block, at: block * data_block.bytes() }));
                }
            }
            next += count as u64;
        }
        Ok(None)
    }
}

/// The digests that a hash block holds.
fn digests(block: &[u8]) -> impl Iterator<Item = Digest> {
    block.as_chunks::<DIGEST_SIZE>().0.iter().copied()
}
