//! File contents and lengths that sit on the edges of a block.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// A small generator of reproducible pseudo-random numbers (`SplitMix64`: an added constant, then two
/// multiply-and-shift rounds). Equal seeds give equal streams on every machine.
#[derive(Debug, Clone)]
pub struct Stream(u64);

impl Stream {
    /// A stream that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `limit`; 0 if the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number().checked_rem(limit).unwrap_or(0)
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// Pseudo-random bytes: content that no two seeds share and that no compressor shortens.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    Stream::new(seed).bytes(len)
}

/// Noise with stretches of zeros: each compressor takes the zeros away, and none anything else.
pub fn gaps(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = noise(seed, len);
    for hole in bytes.chunks_mut(3001) {
        let kept = hole.len().min(2000);
        hole[kept..].fill(0);
    }
    bytes
}

/// Words in a pseudo-random order: content that compressors store in about a third of its length.
pub fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut stream = Stream::new(seed);
    let mut bytes = Vec::with_capacity(len + 16);
    while bytes.len() < len {
        bytes.extend_from_slice(format!("word{} ", stream.below(2000)).as_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The target of a symlink, `len` bytes: letters, with a slash often enough that every component is short
/// enough for a name.
pub fn symlink_target(len: usize) -> Vec<u8> {
    let component = b"abcdefghijklmnopqrstuvwxyz".repeat(4);
    component.into_iter().chain(*b"/").cycle().take(len).collect()
}

/// A piece of data: its offset in bytes and its bytes.
pub type Piece = (u64, Vec<u8>);

/// Writes pieces of data at offsets in bytes into a new file of `len` bytes; what lies between stays a hole.
///
/// # Errors
/// When the file cannot be made or written.
pub fn sparse(path: &Path, len: u64, pieces: &[Piece]) -> io::Result<()> {
    let file = File::create(path)?;
    file.set_len(len)?;
    for (offset, bytes) in pieces {
        file.write_all_at(bytes, *offset)?;
    }
    (&file).flush()
}

/// File lengths in bytes around everything that happens at a multiple of `block_size`: whole blocks and one
/// byte more or less, tails that just fit behind an inode of 32 or 64 bytes with or without attributes and
/// tails that just do not, and the chunk sizes 4,096 and 65,536.
pub fn edges(block_size: usize) -> Vec<usize> {
    let mut lengths = vec![0, 1, 2, 3, 63, 64, 65];
    for blocks in [1, 2, 3, 8, 16] {
        let whole = blocks * block_size;
        lengths.extend([whole - 1, whole, whole + 1, whole + block_size / 2]);
    }
    // An inode takes 32 or 64 bytes and a fingerprint with its header 56, so the last tail that shares their
    // block is somewhere in this range whatever else is stored with it.
    lengths.extend((28..=140).map(|room| block_size - room));
    lengths.extend((28..=140).step_by(4).map(|room| 2 * block_size - room));
    for chunk in [4096, 65536] {
        lengths.extend([chunk - 1, chunk, chunk + 1, 2 * chunk, 2 * chunk + 1]);
    }
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// Fills `dir` with one file of each length, named by its length, of different contents.
///
/// # Errors
/// When a file cannot be written.
pub fn write_lengths(dir: &Path, lengths: &[usize]) -> io::Result<()> {
    for &len in lengths {
        std::fs::write(dir.join(format!("{len:07}")), noise(len as u64, len))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_bytes() {
        assert_eq!(noise(7, 1000), noise(7, 1000));
        assert_ne!(noise(7, 1000), noise(8, 1000));
        assert_eq!(noise(7, 3), noise(7, 1000)[..3]);
    }

    #[test]
    fn edges_hold_the_boundaries_of_every_block_size() {
        for block_size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
            let edges = edges(block_size);
            for wanted in [0, 1, block_size - 1, block_size, block_size + 1, block_size - 120, 65536] {
                assert!(edges.contains(&wanted), "{wanted} is missing for blocks of {block_size}");
            }
        }
    }
}
